//! A condition of the query language as one of SQL, on the view `flow`. It holds for the same records that [`crate::query`] keeps.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context;
use netobserv_query::{Expr, FieldId, Kind, Network, Order, Part, in_fields};
use netobserv_wire::{Flow, field};
use regex::bytes::Regex;
use rusqlite::Connection;
use rusqlite::functions::{Context as Call, FunctionFlags};
use rusqlite::types::ValueRef;

/// A condition, and what its functions look for.
#[derive(Debug, Default)]
pub(super) struct Where {
    sql: String,
    regexes: Vec<Regex>,
    networks: Vec<Network>,
}

impl Where {
    /// Translates a condition; without one, every record meets it.
    ///
    /// # Errors
    /// It names what records do not have.
    pub(super) fn of(expr: Option<&Expr>) -> anyhow::Result<Self> {
        let mut made = Self::default();
        made.sql = expr.map_or_else(|| Ok("1".into()), |expr| made.condition(expr))?;
        Ok(made)
    }

    /// The condition. It is never NULL.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Makes the functions that the condition calls.
    ///
    /// # Errors
    /// SQLite refuses them.
    pub(super) fn prepare(&self, db: &Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        let regexes = Arc::new(self.regexes.clone());
        db.create_scalar_function("matches", 2, flags, move |call| {
            Ok(text(call, 1).map(|text| regexes.get(number(call)).is_some_and(|regex| regex.is_match(&text))))
        })?;
        let networks = Arc::new(self.networks.clone());
        db.create_scalar_function("within", 2, flags, move |call| {
            let address = text(call, 1).and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
            Ok(address.map(|address| networks.get(number(call)).is_some_and(|network| network.holds(address))))
        })
    }

    fn condition(&mut self, expr: &Expr) -> anyhow::Result<String> {
        let mut all = |exprs: &[Expr], word: &str, none: &str| {
            let parts = exprs.iter().map(|expr| self.condition(expr)).collect::<anyhow::Result<Vec<_>>>()?;
            anyhow::Ok(if parts.is_empty() { none.into() } else { format!("({})", parts.join(word)) })
        };
        Ok(match expr {
            Expr::All(exprs) => all(exprs, " AND ", "1")?,
            Expr::Any(exprs) => all(exprs, " OR ", "0")?,
            Expr::Not(expr) => format!("NOT {}", self.condition(expr)?),
            Expr::Has(field, is) => format!("(\"{}\" IS {}NULL)", field.name(), if *is { "NOT " } else { "" }),
            Expr::Number(field, order, number) => compare_number(*field, *order, *number),
            Expr::Text(field, is, parts) => {
                let value = value(*field, parts);
                not(*is, holds(*field, |column| format!("{column} = {value}")))
            }
            Expr::Regex(field, is, regex) => {
                self.regexes.push(regex.clone());
                let index = self.regexes.len() - 1;
                not(*is, holds(*field, |column| format!("matches({index}, {column})")))
            }
            Expr::Within(field, network) => {
                self.networks.push(*network);
                holds(*field, |column| format!("within({}, {column})", self.networks.len() - 1))
            }
            Expr::Named(end, term) => {
                let expr = in_fields(*end, term).with_context(|| format!("a file does not have {term}"))?;
                self.condition(&expr)?
            }
            Expr::Vlan(_) | Expr::Row(..) => anyhow::bail!("records of a file do not have this: {expr}"),
        })
    }
}

fn not(is: bool, sql: String) -> String {
    if is { sql } else { format!("NOT {sql}") }
}

/// Whether a field, or one item of a list, meets a test.
fn holds(field: FieldId, test: impl FnOnce(&str) -> String) -> String {
    let column = format!("\"{}\"", field.name());
    match field.kind() {
        Kind::Texts | Kind::Numbers => format!("EXISTS (SELECT 1 FROM json_each({column}) WHERE {})", test("value")),
        _ => format!("ifnull({}, 0)", test(&column)),
    }
}

fn compare_number(field: FieldId, order: Order, number: i64) -> String {
    match (field.kind(), order) {
        (Kind::Numbers, Order::Different) => {
            let equal = holds(field, |column| format!("{column} = {number}"));
            format!("(\"{}\" IS NOT NULL AND NOT {equal})", field.name())
        }
        _ => holds(field, |column| format!("{column} {order} {number}")),
    }
}

/// The text that a field is compared with; an address is written as the database has it.
fn value(id: FieldId, parts: &[Part]) -> String {
    if let ([Part::Literal(text)], Some(field)) = (parts, field::by_name(id.name())) {
        let (mut flow, mut written) = (Flow::default(), Vec::new());
        let is_address = matches!(id.kind(), Kind::Address | Kind::Mac);
        if is_address && field.set(&mut flow, &text.as_str().into()) {
            field.get(&flow).append_text(&mut written);
            return quoted(&String::from_utf8_lossy(&written));
        }
        return quoted(text);
    }
    let mut sql = String::from("(''");
    for part in parts {
        let _ = match part {
            Part::Literal(text) => write!(sql, " || {}", quoted(text)),
            Part::Value(field) => write!(sql, " || ifnull(\"{}\", '')", field.name()),
        };
    }
    sql + ")"
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn number(call: &Call<'_>) -> usize {
    call.get::<i64>(0).ok().and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX)
}

/// The text of an argument, which is none for NULL.
fn text<'a>(call: &'a Call<'_>, index: usize) -> Option<std::borrow::Cow<'a, [u8]>> {
    match call.get_raw(index) {
        ValueRef::Text(text) => Some(text.into()),
        ValueRef::Integer(number) => Some(number.to_string().into_bytes().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
