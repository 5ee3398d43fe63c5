//! What is typed while rows are shown has words besides the language: `web`, `nodejs-7c9`, `"two words"` and `/expression/` are looked
//! for in the row.

use regex::bytes::{Regex, RegexBuilder};

use crate::cursor::Cursor;
use crate::error::Wrong;
use crate::expr::Expr;
use crate::lex::{self, Token, Word};
use crate::vocabulary::is_word;
use crate::{Network, compare};

/// Largest expression, in bytes of memory.
const LARGEST: usize = 1 << 20;

/// Splits what is typed into words.
pub(crate) fn words(text: &str) -> Result<Vec<Word>, Wrong> {
    lex::split(text, word)
}

fn word(rest: &str, c: char, at: usize) -> Result<(Token, usize), Wrong> {
    if c == '/' {
        return Ok(pattern(rest));
    }
    // A name that continues with what no name has is a word.
    let whole = lex::length(rest, |c| !c.is_whitespace() && !"()<>=!~\"`&|".contains(c));
    let name = lex::length(rest, |c| c.is_ascii_alphanumeric() || c == '_');
    let is_plain = c.is_ascii_alphabetic() || c == '_';
    if whole > name
        && !"\"`()<>=!~&|".contains(c)
        && !rest[name..].starts_with(':')
        && (is_plain || !c.is_ascii_alphanumeric())
    {
        return Ok((Token::Word, whole));
    }
    lex::word(rest, c, at)
}

/// An expression ends at a slash before a space or a parenthesis; the last slash may still be to come.
fn pattern(rest: &str) -> (Token, usize) {
    let ends = |at: &usize| rest[at + 1..].chars().next().is_none_or(|c| c.is_whitespace() || c == ')');
    let end = rest.match_indices('/').skip(1).map(|(at, _)| at).find(ends);
    match end {
        Some(end) => (Token::Pattern(rest[1..end].to_owned()), end + 1),
        None => (Token::Pattern(rest[1..].to_owned()), rest.len()),
    }
}

/// Whether another condition follows without `and`.
pub(crate) fn goes_on(cursor: &Cursor<'_>) -> bool {
    let is_or = cursor.peek_name().is_some_and(|name| name.eq_ignore_ascii_case("or"));
    cursor.peek().is_some_and(|token| !is_or && !matches!(token, Token::Close | Token::Sign("or")))
}

/// What is looked for in the row, if that comes next.
pub(crate) fn condition(cursor: &mut Cursor<'_>) -> Result<Option<Expr>, Wrong> {
    let Some((token, at)) = cursor.here() else { return Ok(None) };
    let typed = &cursor.query[at.clone()];
    let expr = match token {
        Token::Pattern(pattern) => {
            expression(pattern).map_err(|why| Wrong::new(at.clone(), why)).map(|regex| (typed, regex))?
        }
        Token::Text(text) => (typed, literal(text)),
        Token::Number(_) | Token::Word if cursor.last.is_none() && !is_address(typed) => (typed, literal(typed)),
        Token::Name if is_searched(typed, cursor.after()) => (typed, literal(typed)),
        _ => return Ok(None),
    };
    cursor.skip(1);
    cursor.last = None;
    Ok(Some(Expr::Row(expr.0.to_owned(), expr.1)))
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok() || Network::parse(text).is_some() || compare::is_mac(text)
}

/// Whether a name is only a word: one without what makes it a condition, and not of another language.
fn is_searched(name: &str, next: Option<&Token>) -> bool {
    let is = |keywords: &[&str]| keywords.iter().any(|keyword| name.eq_ignore_ascii_case(keyword));
    match next {
        Some(Token::Operator(_)) => false,
        Some(Token::Open) if is(&["with", "without"]) => false,
        _ => !is(&["and", "or", "not"]) && !is_word(name),
    }
}

fn literal(text: &str) -> Regex {
    let built = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
    // Only what is longer than can be typed does not fit.
    built.unwrap_or_else(|_| Regex::new("$^").expect("an expression"))
}

fn expression(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(LARGEST).build();
    built.map_err(|error| format!("not a regular expression: {}", compare::explain(&error.to_string()).0))
}
