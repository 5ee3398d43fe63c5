//! The query language (`--query`): a condition on the fields of a record.
//!
//! A crate of its own, because the plugin must refuse a wrong query before it touches a cluster, and knows nothing of the
//! collector that applies it.
//!
//! ```text
//! query     := term { "or" term }
//! term      := factor { "and" factor }
//! factor    := "not" factor | "(" query ")" | "with" "(" FIELD ")" | "without" "(" FIELD ")" | FIELD comparison | NAME ":" VALUE | pcap
//! comparison:= ( "=" | "!=" | "=~" | "!~" ) STRING | ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) NUMBER [ UNIT ]
//! pcap      := [ "ip" | "ip6" | "tcp" | ... ] [ "src" | "dst" ] [ "host" | "net" | "port" | "portrange" | "proto" ] VALUE
//!            | "tcp" | "udp" | ... | "vlan" [ NUMBER ] | ( "less" | "greater" ) NUMBER | ( "src" | "dst" ) NAME ":" VALUE
//! ```
//!
//! `and` binds tighter than `or`. Keywords and names of fields may be written in capitals or not. A string stands in `"` or in
//! backquotes; between `"`, a quote is written `\"` and any other backslash is one. `$(Field)` in a string after `=` or `!=`
//! stands for that field's value. Regular expressions match anywhere, unless they are anchored. FIELD is the name of a field, or a
//! [short one](SHORT) that may stand for both ends. `pod:shop/web` and the like name what a cluster has.

mod compare;
mod cursor;
mod error;
mod expr;
mod fields;
mod kernel;
mod lex;
mod names;
mod network;
mod parse;
mod pcap;
mod records;
mod regexes;
mod row;
mod short;
mod units;
mod vocabulary;

use std::ops::Range;

use netobserv_contract::selector::Term;

pub use error::QueryError;
use error::Wrong;
pub use expr::{End, Expr, Order, Part, Used};
pub use fields::{FIELDS, FieldId, Kind};
pub use kernel::{Condition, Rule, Split, split};
pub use names::in_fields;
pub use network::Network;
pub use short::{SHORT, fields_of};

/// A query that can be applied.
#[derive(Clone, Debug)]
pub struct Query {
    /// What must hold for a record to be kept.
    pub expr: Expr,
    text: String,
    used: Vec<(Used, Range<usize>)>,
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
        let made = parse::parse(text).map(|(expr, used)| Self { expr, text: text.to_owned(), used });
        made.map_err(|wrong| wrong.within(text))
    }

    /// Reads what is typed while rows are shown: the same language, and besides it words and `/expressions/`, which are looked for in
    /// the row. Conditions that follow one another must all hold.
    ///
    /// # Errors
    /// When it is none, with the place that is wrong.
    pub fn typed(text: &str) -> Result<Self, QueryError> {
        if regexes::is_list(text) {
            return Self::read(text);
        }
        let made = parse::typed(text).map(|(expr, used)| Self { expr, text: text.to_owned(), used });
        made.map_err(|wrong| wrong.within(text))
    }

    /// Both this and another one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let shift = self.text.len();
        self.text += &other.text;
        self.used.extend(other.used.into_iter().map(|(used, at)| (used, at.start + shift..at.end + shift)));
        Self { expr: Expr::All(vec![self.expr, other.expr]), ..self }
    }

    /// What it is about, in the order of its text.
    pub fn used(&self) -> impl Iterator<Item = &Used> {
        self.used.iter().map(|(used, _)| used)
    }

    /// What it names in a cluster, each thing once.
    #[must_use]
    pub fn terms(&self) -> Vec<&Term> {
        let mut terms = Vec::new();
        for used in self.used() {
            if let Used::Name(term) = used
                && !terms.contains(&term)
            {
                terms.push(term);
            }
        }
        terms
    }

    /// Refuses what cannot be known where the query is asked: `why` has a reason.
    ///
    /// # Errors
    /// The first reason, with its place.
    pub fn refuse(&self, why: impl Fn(&Used) -> Option<String>) -> Result<(), QueryError> {
        let mut wrong = self.used.iter().filter_map(|(used, at)| Some(Wrong::new(at.clone(), why(used)?)));
        wrong.next().map_or(Ok(()), |wrong| Err(wrong.within(&self.text)))
    }
}

#[cfg(test)]
mod tests;
