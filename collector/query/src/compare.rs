//! Comparisons of fields with values: `Field = value`, and `name:value`.

use std::net::IpAddr;
use std::ops::Range;

use netobserv_contract::selector::{Kind as Selected, Term};
use regex::bytes::{Regex, RegexBuilder};

use crate::cursor::Cursor;
use crate::error::Wrong;
use crate::expr::{End, Expr, Order, Part, Used};
use crate::fields::{FieldId, Kind};
use crate::lex::Token;
use crate::network::Network;
use crate::{short, units};

/// The kernel keeps so many bytes of the name of a process.
const COMM: usize = 15;

/// What stands behind the name of one or several fields.
pub(crate) fn comparison(
    cursor: &mut Cursor<'_>,
    name: &str,
    fields: &[FieldId],
    name_at: Range<usize>,
) -> Result<Expr, Wrong> {
    const WANTED: &str = "one of = != =~ !~ < <= > >=";
    let (token, at) = cursor.take(&format!("{WANTED} is missing here"))?;
    let Token::Operator(operator) = token else {
        return Err(Wrong::new(at, format!("{WANTED} is wanted here")));
    };
    let is_number = fields.iter().all(|field| takes_number(*field, operator));
    let missing = format!("a {} is missing here", if is_number { "number" } else { "string in quotes" });
    let (value, value_at) = cursor.take(&missing)?;
    let value = Value { token: value, at: value_at, text: cursor.query };
    let short = !fields.iter().any(|field| field.name().eq_ignore_ascii_case(name));
    let made = fields.iter().map(|field| (*field, one(*field, operator, &at, &value, short, &missing)));
    let (mut exprs, mut wrong) = (vec![], None);
    for (field, made) in made {
        match made {
            Ok(expr) => {
                cursor.used(Used::Field(field), name_at.clone());
                exprs.push(expr);
            }
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    for field in exprs.iter().flat_map(values) {
        cursor.used(Used::Field(field), value.at.clone());
    }
    match wrong {
        Some(wrong) if exprs.is_empty() => Err(wrong),
        _ if operator.starts_with('!') => Ok(Expr::all(exprs)),
        _ => Ok(Expr::any(exprs)),
    }
}

/// The fields whose values stand in the text of a comparison.
fn values(expr: &Expr) -> Vec<FieldId> {
    let Expr::Text(_, _, parts) = expr else { return vec![] };
    let value = |part: &Part| if let Part::Value(field) = part { Some(*field) } else { None };
    parts.iter().filter_map(value).collect()
}

/// What a field is compared with.
struct Value<'a> {
    token: Token,
    at: Range<usize>,
    text: &'a str,
}

fn one(
    field: FieldId,
    operator: &'static str,
    at: &Range<usize>,
    value: &Value<'_>,
    short: bool,
    missing: &str,
) -> Result<Expr, Wrong> {
    let (word, value_at) = (&value.text[value.at.clone()], value.at.clone());
    match &value.token {
        Token::Number(number) if !(short && takes_number(field, operator)) => {
            compare_number(field, operator, *number, at.clone(), value_at)
        }
        Token::Number(_) | Token::Word if takes_number(field, operator) => {
            let number = units::read(field, word, short).map_err(|why| Wrong::new(value_at.clone(), why))?;
            compare_number(field, operator, number, at.clone(), value_at)
        }
        Token::Word if matches!(field.kind(), Kind::Address | Kind::Mac) => {
            compare_text(field, operator, word, at.clone(), value)
        }
        Token::Word | Token::Number(_) => {
            Err(Wrong::new(value_at, format!("{} is a text: write \"{word}\"", field.name())))
        }
        Token::Text(text) => compare_text(field, operator, text, at.clone(), value),
        Token::Name if takes_number(field, operator) => {
            let number = units::named(field, word).ok_or_else(|| Wrong::new(value_at.clone(), missing))?;
            compare_number(field, operator, number, at.clone(), value_at)
        }
        Token::Name => Err(Wrong::new(
            value_at,
            format!("write strings in quotes: \"{word}\"; another field's value is \"$({word})\""),
        )),
        _ => Err(Wrong::new(value_at, missing)),
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

fn compare_text(
    field: FieldId,
    operator: &str,
    text: &str,
    at: Range<usize>,
    value: &Value<'_>,
) -> Result<Expr, Wrong> {
    match operator {
        "=~" | "!~" => regex(text, value).map(|regex| Expr::Regex(field, operator == "=~", regex)),
        "=" | "!=" if takes_number(field, operator) => {
            Err(Wrong::new(value.at.clone(), format!("{} is a number: write it without quotes", field.name())))
        }
        "=" | "!=" => {
            if let (Kind::Address, Some(network)) = (field.kind(), Network::parse(text)) {
                let within = Expr::Within(field, network);
                return Ok(if operator == "=" { within } else { Expr::Not(Box::new(within)) });
            }
            let parts = parts(text, &value.at)?;
            check_text(field, &parts, value.at.clone())?;
            Ok(Expr::Text(field, operator == "=", parts))
        }
        _ => Err(Wrong::new(at, format!("{operator} compares numbers; a text has = != =~ !~"))),
    }
}

fn regex(text: &str, value: &Value<'_>) -> Result<Regex, Wrong> {
    let at = value.at.clone();
    if let Ok(parts) = parts(text, &at)
        && parts.iter().any(|part| matches!(part, Part::Value(_)))
    {
        return Err(Wrong::new(at, "$(Field) works only in strings after = and !="));
    }
    Regex::new(text).map_err(|error| {
        let (why, column) = explain(&error.to_string());
        // Only a string that is written as it is has its columns where the reader of the expression sees them.
        let plain = value.text.get(at.start + 1..at.end - 1) == Some(text);
        let place = column.filter(|_| plain).and_then(|column| text.char_indices().nth(column));
        let place = place.map(|(index, c)| at.start + 1 + index..at.start + 1 + index + c.len_utf8());
        Wrong::new(place.unwrap_or(at), format!("not a regular expression: {why}"))
    })
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
        parts.push(Part::Value(short::field(name, value.clone())?));
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

pub(crate) fn is_mac(text: &str) -> bool {
    let hex = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(':').count() == 6 && text.split(':').all(hex)
}

/// The reason, and the column of the caret, in what the regex crate prints in several lines.
pub(crate) fn explain(text: &str) -> (String, Option<usize>) {
    const INDENT: usize = 4;
    let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(text);
    let caret = text.lines().find(|line| line.contains('^') && line.chars().all(|c| c == ' ' || c == '^'));
    (reason.replace('\n', " "), caret.and_then(|line| line.find('^')?.checked_sub(INDENT)))
}

/// `name:value`: of what a cluster has, the object; of a number or a whole address, the same; of a text, a part of it.
pub(crate) fn tagged(
    cursor: &mut Cursor<'_>,
    name: Range<usize>,
    value: &str,
    whole: Range<usize>,
) -> Result<Expr, Wrong> {
    let tag = cursor.query[name.clone()].to_ascii_lowercase();
    let value_at = name.end + 1..whole.end;
    if let Some(kind) = Selected::of_option(&tag) {
        return named(cursor, End::Either, kind, value, (whole.clone(), value_at));
    }
    let fields = short::find(&tag).unwrap_or_default();
    let value = if tag.starts_with("proc") { &value[..value.floor_char_boundary(COMM)] } else { value };
    let found: Vec<(FieldId, Expr)> = match value.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some(pattern) => {
            let regex = RegexBuilder::new(pattern).case_insensitive(true).build().map_err(|error| {
                Wrong::new(value_at.clone(), format!("not a regular expression: {}", explain(&error.to_string()).0))
            })?;
            fields.iter().map(|field| (*field, Expr::Regex(*field, true, regex.clone()))).collect()
        }
        None => fields.iter().filter_map(|field| Some((*field, part_of(*field, value)?))).collect(),
    };
    if found.is_empty() {
        return Err(Wrong::new(value_at, format!("{tag} is a number, and this is none")));
    }
    found.iter().for_each(|(field, _)| cursor.used(Used::Field(*field), whole.clone()));
    Ok(Expr::any(found.into_iter().map(|(_, expr)| expr).collect()))
}

/// What a cluster has, at an end.
pub(crate) fn named(
    cursor: &mut Cursor<'_>,
    end: End,
    kind: Selected,
    value: &str,
    (whole, value_at): (Range<usize>, Range<usize>),
) -> Result<Expr, Wrong> {
    let term = Term::read(kind, value).map_err(|why| Wrong::new(value_at, why))?;
    cursor.used(Used::Name(term.clone()), whole);
    Ok(Expr::Named(end, term))
}

fn part_of(field: FieldId, value: &str) -> Option<Expr> {
    let literal = || Some(Expr::Text(field, true, vec![Part::Literal(value.to_owned())]));
    match field.kind() {
        Kind::Number | Kind::Numbers => {
            let number = value.parse().ok().or_else(|| units::named(field, value))?;
            Some(Expr::Number(field, Order::Equal, number))
        }
        Kind::Address if value.parse::<IpAddr>().is_ok() => literal(),
        Kind::Address if Network::parse(value).is_some() => Network::parse(value).map(|it| Expr::Within(field, it)),
        Kind::Mac if is_mac(value) => literal(),
        _ => {
            let part = RegexBuilder::new(&regex::escape(value)).case_insensitive(true).build().ok()?;
            Some(Expr::Regex(field, true, part))
        }
    }
}
