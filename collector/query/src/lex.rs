//! A query's words.

use std::ops::Range;

use crate::error::Wrong;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Open,
    Close,
    /// A field or a keyword.
    Name,
    Number(i64),
    /// A string, without its quotes.
    Text(String),
    /// `=`, `!=`, `=~`, `!~`, `<`, `<=`, `>`, `>=`.
    Operator(&'static str),
}

/// A word and its bytes.
pub(crate) type Word = (Token, Range<usize>);

/// Longest first.
const OPERATORS: [&str; 8] = ["!=", "=~", "!~", "<=", ">=", "=", "<", ">"];
/// What other languages write, and what it is here.
const FOREIGN: [(&str, &str); 7] = [
    ("==", "="),
    ("&&", "and"),
    ("||", "or"),
    ("<>", "!="),
    ("!", "!=, !~ or without(Field)"),
    ("'", "\""),
    ("~", "=~"),
];

/// Splits a query into words.
pub(crate) fn words(query: &str) -> Result<Vec<Word>, Wrong> {
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(c) = query[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, length) = word(&query[at..], c, at)?;
        words.push((token, at..at + length));
        at += length;
    }
    Ok(words)
}

/// The first word of `rest`, which begins with `c`, and its length.
fn word(rest: &str, c: char, at: usize) -> Result<(Token, usize), Wrong> {
    let length = |part: fn(char) -> bool| rest.find(|c: char| !part(c)).unwrap_or(rest.len());
    match c {
        '(' => Ok((Token::Open, 1)),
        ')' => Ok((Token::Close, 1)),
        '"' | '`' => string(rest, c, at),
        '0'..='9' | '-' => number(rest, at),
        'A'..='Z' | 'a'..='z' | '_' => Ok((Token::Name, length(|c| c.is_ascii_alphanumeric() || c == '_'))),
        _ => operator(rest, c, at),
    }
}

fn operator(rest: &str, c: char, at: usize) -> Result<(Token, usize), Wrong> {
    let length = |word: Option<&&str>| word.map_or(0, |word| word.len());
    let known = OPERATORS.iter().find(|operator| rest.starts_with(*operator));
    match FOREIGN.iter().find(|(word, _)| rest.starts_with(word)) {
        Some((word, here)) if word.len() > length(known) => {
            Err(Wrong::new(at..at + word.len(), format!("write {here} instead of {word}")))
        }
        _ => known
            .map(|operator| (Token::Operator(operator), operator.len()))
            .ok_or_else(|| Wrong::new(at..at + c.len_utf8(), format!("{c:?} means nothing here"))),
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Wrong> {
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._:-/".contains(c))).unwrap_or(rest.len());
    let number = rest[..length].parse().map_err(|_| {
        let why = "is not a whole number; write texts, such as addresses, in quotes";
        Wrong::new(at..at + length, format!("{} {why}", &rest[..length]))
    });
    Ok((Token::Number(number?), length))
}

fn string(rest: &str, quote: char, at: usize) -> Result<(Token, usize), Wrong> {
    let (mut text, mut chars) = (String::new(), rest.char_indices().skip(1));
    while let Some((index, c)) = chars.next() {
        if c == quote {
            return Ok((Token::Text(text), index + 1));
        }
        if c != '\\' || quote == '`' {
            text.push(c);
            continue;
        }
        // A pair: so that a string can end in two backslashes.
        match chars.next() {
            Some((_, '"')) => text.push('"'),
            Some((_, other)) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    Err(Wrong::new(at..at + rest.len(), format!("the string has no end: {quote} is missing")))
}
