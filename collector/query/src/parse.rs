//! From words to a condition.

use std::net::IpAddr;
use std::ops::Range;

use regex::bytes::Regex;

use crate::error::Wrong;
use crate::expr::{Expr, Order, Part};
use crate::fields::{self, FieldId, Kind};
use crate::lex::{Token, Word, words};

/// Parentheses in parentheses; more would be a mistake, and could use up the stack.
const DEEPEST: usize = 100;
const EXAMPLE: &str = "SrcK8S_Namespace = \"default\" and DstPort = 80";

pub(crate) fn parse(query: &str) -> Result<Expr, Wrong> {
    let words = words(query)?;
    let mut parser = Parser { query, words: &words, next: 0, depth: 0 };
    if words.is_empty() {
        return Err(Wrong::new(0..0, format!("the query is empty: write a condition, such as {EXAMPLE}")));
    }
    let expr = parser.any()?;
    match parser.words.get(parser.next) {
        None => Ok(expr),
        Some((Token::Close, at)) => Err(Wrong::new(at.clone(), "nothing was opened that this could close")),
        Some((_, at)) => Err(Wrong::new(at.clone(), "and or or is missing before this")),
    }
}

struct Parser<'a> {
    query: &'a str,
    words: &'a [Word],
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expr, Wrong> {
        let mut terms = vec![self.all()?];
        while self.took_keyword("or") {
            terms.push(self.all()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::Any(terms) })
    }

    fn all(&mut self) -> Result<Expr, Wrong> {
        let mut factors = vec![self.factor()?];
        while self.took_keyword("and") {
            factors.push(self.factor()?);
        }
        Ok(if factors.len() == 1 { factors.remove(0) } else { Expr::All(factors) })
    }

    fn factor(&mut self) -> Result<Expr, Wrong> {
        let (token, at) = self.take("a condition is missing here")?;
        match token {
            Token::Open => self.group(at),
            Token::Name => self.named(&self.query[at.clone()], at),
            _ => Err(Wrong::new(at, format!("a condition begins with a field, such as in {EXAMPLE}"))),
        }
    }

    fn group(&mut self, open: Range<usize>) -> Result<Expr, Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Wrong::new(open, format!("more than {DEEPEST} parentheses in one another")));
        }
        let expr = self.any()?;
        self.close(open)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn close(&mut self, open: Range<usize>) -> Result<(), Wrong> {
        match self.words.get(self.next) {
            Some((Token::Close, _)) => self.next += 1,
            Some((_, at)) => return Err(Wrong::new(at.clone(), "and, or or a ) is missing before this")),
            None => return Err(Wrong::new(open, "this is never closed: a ) is missing")),
        }
        Ok(())
    }

    /// What begins with a name: `with(Field)`, `without(Field)` or a comparison.
    fn named(&mut self, name: &str, at: Range<usize>) -> Result<Expr, Wrong> {
        let is = |keyword: &str| name.eq_ignore_ascii_case(keyword);
        if is("with") || is("without") {
            return Ok(Expr::Has(self.in_parentheses()?, is("with")));
        }
        if is("and") || is("or") {
            return Err(Wrong::new(at, "a condition is missing before this"));
        }
        if is("not") {
            return Err(Wrong::new(at, "there is no not: write !=, !~ or without(Field)"));
        }
        let field = fields::find(name, at)?;
        self.comparison(field)
    }

    fn in_parentheses(&mut self) -> Result<FieldId, Wrong> {
        let (token, open) = self.take("( and a field are missing here")?;
        if token != Token::Open {
            return Err(Wrong::new(open, "a ( is missing before this"));
        }
        let (token, at) = self.take("a field is missing here")?;
        if token != Token::Name {
            return Err(Wrong::new(at, "a field is wanted here"));
        }
        let field = fields::find(&self.query[at.clone()], at)?;
        self.close(open)?;
        Ok(field)
    }

    fn comparison(&mut self, field: FieldId) -> Result<Expr, Wrong> {
        const WANTED: &str = "one of = != =~ !~ < <= > >=";
        let (token, at) = self.take(&format!("{WANTED} is missing here"))?;
        let Token::Operator(operator) = token else {
            return Err(Wrong::new(at, format!("{WANTED} is wanted here")));
        };
        let missing =
            format!("a {} is missing here", if takes_number(field, operator) { "number" } else { "string in quotes" });
        let (value, value_at) = self.take(&missing)?;
        match value {
            Token::Number(number) => compare_number(field, operator, number, at, value_at),
            Token::Text(text) => self.compare_text(field, operator, &text, at, value_at),
            Token::Name => {
                let name = &self.query[value_at.clone()];
                Err(Wrong::new(
                    value_at,
                    format!("write strings in quotes: \"{name}\"; another field's value is \"$({name})\""),
                ))
            }
            _ => Err(Wrong::new(value_at, missing)),
        }
    }

    fn compare_text(
        &self,
        field: FieldId,
        operator: &str,
        text: &str,
        at: Range<usize>,
        value: Range<usize>,
    ) -> Result<Expr, Wrong> {
        match operator {
            "=~" | "!~" => self.regex(text, value).map(|regex| Expr::Regex(field, operator == "=~", regex)),
            "=" | "!=" if takes_number(field, operator) => {
                Err(Wrong::new(value, format!("{} is a number: write it without quotes", field.name())))
            }
            "=" | "!=" => {
                let parts = parts(text, &value)?;
                check_text(field, &parts, value)?;
                Ok(Expr::Text(field, operator == "=", parts))
            }
            _ => Err(Wrong::new(at, format!("{operator} compares numbers; a text has = != =~ !~"))),
        }
    }

    fn regex(&self, text: &str, value: Range<usize>) -> Result<Regex, Wrong> {
        if let Ok(parts) = parts(text, &value)
            && parts.iter().any(|part| matches!(part, Part::Value(_)))
        {
            return Err(Wrong::new(value, "$(Field) works only in strings after = and !="));
        }
        Regex::new(text).map_err(|error| {
            let (why, column) = explain(&error.to_string());
            // Only a string that is written as it is has its columns where the reader of the expression sees them.
            let plain = self.query.get(value.start + 1..value.end - 1) == Some(text);
            let place = column.filter(|_| plain).and_then(|column| text.char_indices().nth(column));
            let at = place.map(|(index, c)| value.start + 1 + index..value.start + 1 + index + c.len_utf8());
            Wrong::new(at.unwrap_or(value), format!("not a regular expression: {why}"))
        })
    }

    fn take(&mut self, missing: &str) -> Result<Word, Wrong> {
        let end = self.query.len();
        let word = self.words.get(self.next).cloned().ok_or_else(|| Wrong::new(end..end, missing))?;
        self.next += 1;
        Ok(word)
    }

    fn took_keyword(&mut self, keyword: &str) -> bool {
        let taken = self
            .words
            .get(self.next)
            .is_some_and(|(token, at)| *token == Token::Name && self.query[at.clone()].eq_ignore_ascii_case(keyword));
        self.next += usize::from(taken);
        taken
    }
}

fn takes_number(field: FieldId, operator: &str) -> bool {
    matches!(field.kind(), Kind::Number | Kind::Numbers) && !operator.ends_with('~')
}

fn compare_number(
    field: FieldId,
    operator: &str,
    number: i64,
    at: Range<usize>,
    value: Range<usize>,
) -> Result<Expr, Wrong> {
    let order = match operator {
        "=" => Order::Equal,
        "!=" => Order::Different,
        "<" => Order::Less,
        "<=" => Order::AtMost,
        ">" => Order::Greater,
        ">=" => Order::AtLeast,
        _ => return Err(Wrong::new(value, "write regular expressions in quotes")),
    };
    match takes_number(field, operator) {
        true => Ok(Expr::Number(field, order, number)),
        false if matches!(operator, "=" | "!=") => {
            Err(Wrong::new(value, format!("{} is a text: write \"{number}\"", field.name())))
        }
        false => Err(Wrong::new(at, format!("{operator} compares numbers, and {} is a text", field.name()))),
    }
}

/// A string's pieces. `value` is where it stands in the query.
fn parts(text: &str, value: &Range<usize>) -> Result<Vec<Part>, Wrong> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("$(")
        && let Some((name, behind)) = after.split_once(')')
    {
        if !before.is_empty() {
            parts.push(Part::Literal(before.to_owned()));
        }
        parts.push(Part::Value(fields::find(name, value.clone())?));
        rest = behind;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// Refuses what the field can never hold.
fn check_text(field: FieldId, parts: &[Part], value: Range<usize>) -> Result<(), Wrong> {
    let [Part::Literal(text)] = parts else { return Ok(()) };
    let (good, what) = match field.kind() {
        Kind::Address => (text.parse::<IpAddr>().is_ok(), "an address"),
        Kind::Mac => (is_mac(text), "a MAC address"),
        _ => return Ok(()),
    };
    let name = field.name();
    let why = || format!("{name} is {what}, and this is none; {name} =~ \"...\" matches part of one");
    if good { Ok(()) } else { Err(Wrong::new(value, why())) }
}

fn is_mac(text: &str) -> bool {
    let hex = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(hex)
}

/// The reason, and the column of the caret, in what the regex crate prints in several lines.
fn explain(text: &str) -> (String, Option<usize>) {
    const INDENT: usize = 4;
    let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(text);
    let caret = text.lines().find(|line| line.contains('^') && line.chars().all(|c| c == ' ' || c == '^'));
    (reason.replace('\n', " "), caret.and_then(|line| line.find('^')?.checked_sub(INDENT)))
}
