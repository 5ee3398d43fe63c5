//! A query's words.

use std::ops::Range;

use crate::error::Wrong;
use crate::short;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Open,
    Close,
    /// A field or a keyword.
    Name,
    Number(i64),
    /// What begins like a number or an address and is no whole number: `10.0.0.1`, `80-90`, `5ms`.
    Word,
    /// A string, without its quotes.
    Text(String),
    /// `name:value`: the length of the name, and the value without quotes.
    Tagged(usize, String),
    /// `=`, `!=`, `=~`, `!~`, `<`, `<=`, `>`, `>=`.
    Operator(&'static str),
    /// `&&`, `||`, `!`, by the keyword for it.
    Sign(&'static str),
    /// `/expression/`, without its slashes.
    Pattern(String),
}

/// A word and its bytes.
pub(crate) type Word = (Token, Range<usize>);

/// Longest first.
const OPERATORS: [&str; 8] = ["!=", "=~", "!~", "<=", ">=", "=", "<", ">"];
/// What other languages write for a keyword.
const SIGNS: [(&str, &str); 3] = [("&&", "and"), ("||", "or"), ("!", "not")];
/// What other languages write, and what it is here.
const FOREIGN: [(&str, &str); 4] = [("==", "="), ("<>", "!="), ("'", "\""), ("~", "=~")];

/// Splits a query into words.
pub(crate) fn words(query: &str) -> Result<Vec<Word>, Wrong> {
    split(query, word)
}

/// The same, where `word` finds the first word of a text, which begins with this character at this place, and its length.
pub(crate) fn split(
    query: &str,
    word: impl Fn(&str, char, usize) -> Result<(Token, usize), Wrong>,
) -> Result<Vec<Word>, Wrong> {
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
pub(crate) fn word(rest: &str, c: char, at: usize) -> Result<(Token, usize), Wrong> {
    match c {
        '(' => Ok((Token::Open, 1)),
        ')' => Ok((Token::Close, 1)),
        '"' | '`' => string(rest, c, at).map(|(text, length)| (Token::Text(text), length)),
        '0'..='9' | '-' | ':' => Ok(number(rest)),
        'A'..='Z' | 'a'..='z' | '_' => name(rest, at),
        '[' => Err(Wrong::new(at..at + 1, "bytes of a packet, such as tcp[13], cannot be compared here")),
        _ => operator(rest, c, at),
    }
}

/// The length of the beginning that has only such characters.
pub(crate) fn length(rest: &str, part: impl Fn(char) -> bool) -> usize {
    rest.find(|c: char| !part(c)).unwrap_or(rest.len())
}

fn operator(rest: &str, c: char, at: usize) -> Result<(Token, usize), Wrong> {
    let known = OPERATORS.iter().find(|operator| rest.starts_with(*operator));
    if let Some((word, here)) = FOREIGN.iter().find(|(word, _)| rest.starts_with(word))
        && word.len() > known.map_or(0, |operator| operator.len())
    {
        return Err(Wrong::new(at..at + word.len(), format!("write {here} instead of {word}")));
    }
    if let Some(operator) = known {
        return Ok((Token::Operator(operator), operator.len()));
    }
    let sign = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
    sign.map(|(sign, keyword)| (Token::Sign(keyword), sign.len()))
        .ok_or_else(|| Wrong::new(at..at + c.len_utf8(), format!("{c:?} means nothing here")))
}

fn number(rest: &str) -> (Token, usize) {
    let length = length(rest, |c| c.is_ascii_alphanumeric() || "._:-/".contains(c));
    (rest[..length].parse().map_or(Token::Word, Token::Number), length)
}

/// A name; `name:value`; or an address that begins with a letter.
fn name(rest: &str, at: usize) -> Result<(Token, usize), Wrong> {
    let end = length(rest, |c| c.is_ascii_alphanumeric() || c == '_');
    let name = &rest[..end];
    if !rest[end..].starts_with(':') {
        return Ok((Token::Name, end));
    }
    if short::is_tag(name) {
        return value(&rest[end + 1..], at + end + 1)
            .map(|(value, length)| (Token::Tagged(end, value), end + 1 + length));
    }
    let (_, whole) = number(rest);
    if name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok((Token::Word, whole));
    }
    Err(short::unknown_tag(name, at..at + end))
}

/// What stands behind `name:`.
fn value(rest: &str, at: usize) -> Result<(String, usize), Wrong> {
    match rest.chars().next() {
        Some(quote @ ('"' | '`')) => string(rest, quote, at),
        Some('/') if rest[1..].contains('/') => {
            let whole = length(rest, |c| !c.is_whitespace());
            // The last slash before a space: a pattern has parentheses of its own.
            let end =
                rest[..whole].rfind('/').filter(|end| *end > 0).unwrap_or_else(|| rest[1..].find('/').unwrap_or(0) + 1);
            Ok((rest[..=end].to_owned(), end + 1))
        }
        _ => match length(rest, |c| !c.is_whitespace() && c != '(' && c != ')') {
            0 => Err(Wrong::new(at..at, "a value is missing after the colon")),
            length => Ok((rest[..length].to_owned(), length)),
        },
    }
}

fn string(rest: &str, quote: char, at: usize) -> Result<(String, usize), Wrong> {
    let (mut text, mut chars) = (String::new(), rest.char_indices().skip(1));
    while let Some((index, c)) = chars.next() {
        if c == quote {
            return Ok((text, index + 1));
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
