//! From words to a condition.

use std::ops::Range;

use crate::cursor::Cursor;
use crate::error::Wrong;
use crate::expr::{Expr, Used};
use crate::fields::FieldId;
use crate::lex::{Token, Word, words};
use crate::vocabulary::is_word;
use crate::{compare, pcap, row, short};

/// Parentheses in parentheses; more would be a mistake, and could use up the stack.
const DEEPEST: usize = 100;
const EXAMPLE: &str = "SrcK8S_Namespace = \"default\" and DstPort = 80";

/// A condition, and what it is about, with the places.
pub(crate) type Parsed = (Expr, Vec<(Used, Range<usize>)>);

pub(crate) fn parse(query: &str) -> Result<Parsed, Wrong> {
    read(query, &words(query)?, false)
}

/// The same where rows are shown, in which words can be looked for.
pub(crate) fn typed(query: &str) -> Result<Parsed, Wrong> {
    read(query, &row::words(query)?, true)
}

fn read(query: &str, words: &[Word], typed: bool) -> Result<Parsed, Wrong> {
    let mut parser = Parser { cursor: Cursor::new(query, words), depth: 0, typed };
    if words.is_empty() {
        return Err(Wrong::new(0..0, format!("the query is empty: write a condition, such as {EXAMPLE}")));
    }
    let expr = parser.any()?;
    match parser.cursor.here() {
        None => Ok((expr, parser.cursor.into_used())),
        Some((Token::Close, at)) => Err(Wrong::new(at.clone(), "nothing was opened that this could close")),
        Some((_, at)) => {
            let missing = || Wrong::new(at.clone(), "and or or is missing before this");
            Err(pcap::refusal(&query[at.clone()], at).unwrap_or_else(missing))
        }
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    /// Words may be looked for in a row.
    typed: bool,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expr, Wrong> {
        let (before, mut mixed) = (self.cursor.primitives, None);
        let mut terms = vec![self.all()?.0];
        while self.cursor.took_keyword("or") {
            let (term, and) = self.all()?;
            mixed = mixed.or(and);
            terms.push(term);
        }
        // Both would be read without an error, and mean something else.
        if let Some(and) = mixed.filter(|_| self.cursor.primitives > before) {
            let what = "tcpdump reads A or B and C as (A or B) and C, and this program as A or (B and C)";
            return Err(Wrong::new(and, format!("{what}: write parentheses")));
        }
        Ok(Expr::any(terms))
    }

    /// Conditions that all hold, and the first `and` between them.
    fn all(&mut self) -> Result<(Expr, Option<Range<usize>>), Wrong> {
        let (mut factors, mut first) = (vec![self.factor()?], None);
        loop {
            if let Some(at) = self.cursor.took("and") {
                first = first.or(Some(at));
            } else if !(self.typed && row::goes_on(&self.cursor)) {
                return Ok((Expr::all(factors), first));
            }
            factors.push(self.factor()?);
        }
    }

    fn factor(&mut self) -> Result<Expr, Wrong> {
        if self.typed
            && let Some(expr) = row::condition(&mut self.cursor)?
        {
            return Ok(expr);
        }
        let (token, at) = self.cursor.take("a condition is missing here")?;
        match token {
            Token::Open => self.nested(at, |parser, open| {
                let expr = parser.any()?;
                parser.cursor.close(open).map(|()| expr)
            }),
            Token::Sign("not") => self.not(at),
            Token::Sign(_) => Err(Wrong::new(at, "a condition is missing before this")),
            Token::Name => self.named(&self.cursor.query[at.clone()], at),
            Token::Tagged(name, value) => compare::tagged(&mut self.cursor, at.start..at.start + name, &value, at),
            Token::Number(_) | Token::Word => pcap::bare(&mut self.cursor, at),
            _ => Err(Wrong::new(at, format!("a condition begins with a field, such as in {EXAMPLE}"))),
        }
    }

    fn not(&mut self, at: Range<usize>) -> Result<Expr, Wrong> {
        self.nested(at, |parser, _| parser.factor().map(|expr| Expr::Not(Box::new(expr))))
    }

    fn nested(
        &mut self,
        open: Range<usize>,
        inner: impl FnOnce(&mut Self, Range<usize>) -> Result<Expr, Wrong>,
    ) -> Result<Expr, Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Wrong::new(open, format!("more than {DEEPEST} parentheses in one another")));
        }
        let expr = inner(self, open)?;
        self.depth -= 1;
        Ok(expr)
    }

    /// What begins with a name: `with(Field)`, `without(Field)`, `not`, a comparison, or a condition in the language of pcap.
    fn named(&mut self, name: &str, at: Range<usize>) -> Result<Expr, Wrong> {
        let is = |keyword: &str| name.eq_ignore_ascii_case(keyword);
        if is("with") || is("without") {
            return Ok(Expr::Has(self.in_parentheses()?, is("with")));
        }
        if is("and") || is("or") {
            return Err(Wrong::new(at, "a condition is missing before this"));
        }
        if is("not") {
            return self.not(at);
        }
        let compares = matches!(self.cursor.peek(), Some(Token::Operator(_)));
        if is_word(name) && !compares {
            return pcap::condition(&mut self.cursor, at);
        }
        let Some(fields) = short::find(name) else {
            return Err(pcap::refusal(name, &at).unwrap_or_else(|| short::unknown_field(name, at)));
        };
        compare::comparison(&mut self.cursor, name, &fields, at)
    }

    fn in_parentheses(&mut self) -> Result<FieldId, Wrong> {
        let (token, open) = self.cursor.take("( and a field are missing here")?;
        if token != Token::Open {
            return Err(Wrong::new(open, "a ( is missing before this"));
        }
        let (token, at) = self.cursor.take("a field is missing here")?;
        if token != Token::Name {
            return Err(Wrong::new(at, "a field is wanted here"));
        }
        let field = match short::find(&self.cursor.query[at.clone()]).as_deref() {
            Some([field]) => *field,
            _ => short::field(&self.cursor.query[at.clone()], at.clone())?,
        };
        self.cursor.used(Used::Field(field), at);
        self.cursor.close(open)?;
        Ok(field)
    }
}
