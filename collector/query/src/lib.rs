//! The query language (`--query`): a condition on the fields of a record.
//!
//! A crate of its own, because the plugin must refuse a wrong query before it touches a cluster, and knows nothing of the
//! collector that applies it.
//!
//! ```text
//! query     := term { "or" term }
//! term      := factor { "and" factor }
//! factor    := "(" query ")" | "with" "(" FIELD ")" | "without" "(" FIELD ")" | FIELD comparison
//! comparison:= ( "=" | "!=" | "=~" | "!~" ) STRING | ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) NUMBER
//! ```
//!
//! `and` binds tighter than `or`. Keywords may be written in capitals, names of fields may not. A string stands in `"` or in
//! backquotes; between `"`, a quote is written `\"` and any other backslash is one. `$(Field)` in a string after `=` or `!=`
//! stands for that field's value. Regular expressions match anywhere, unless they are anchored.

mod error;
mod expr;
mod fields;
mod lex;
mod parse;
mod regexes;

pub use error::QueryError;
pub use expr::{Expr, Order, Part};
pub use fields::{FIELDS, FieldId, Kind};

/// A query that can be applied.
#[derive(Clone, Debug)]
pub struct Query {
    /// What must hold for a record to be kept.
    pub expr: Expr,
}

impl Query {
    /// Reads a query, or the older form of one: `Field~expression,Field~expression`, all of which must match.
    ///
    /// # Errors
    /// When it is neither, with the place that is wrong.
    pub fn read(text: &str) -> Result<Self, QueryError> {
        if regexes::is_list(text) { Self::parse(&regexes::query(text)?) } else { Self::parse(text) }
    }

    /// Reads a query.
    ///
    /// # Errors
    /// When it is none, with the place that is wrong.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::parse(text).map(|expr| Self { expr }).map_err(|wrong| wrong.within(text))
    }
}

#[cfg(test)]
mod tests;
