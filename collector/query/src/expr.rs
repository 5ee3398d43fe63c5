//! What a query says, once it is read.

use std::cmp::Ordering;
use std::fmt;

use netobserv_contract::selector::Term;
use regex::bytes::Regex;

use crate::fields::FieldId;
use crate::network::Network;

/// A condition.
#[derive(Clone, Debug)]
pub enum Expr {
    /// All of these.
    All(Vec<Expr>),
    /// Any of these.
    Any(Vec<Expr>),
    /// Not this.
    Not(Box<Expr>),
    /// The record has this field, or with `false`, it has not.
    Has(FieldId, bool),
    /// The field is a number, and stands in this order to another.
    Number(FieldId, Order, i64),
    /// The field's text is this one, or with `false`, is not.
    Text(FieldId, bool, Vec<Part>),
    /// The expression is found in the field's text, or with `false`, is not.
    Regex(FieldId, bool, Regex),
    /// The field is an address in this network.
    Within(FieldId, Network),
    /// An end is what this names in a cluster.
    Named(End, Term),
    /// The packet has a VLAN tag; if a number is given, the outer tag has that one.
    Vlan(Option<u16>),
    /// The row that is shown has this text, or `/expression/`, in it.
    Row(String, Regex),
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Used {
    /// A field.
    Field(FieldId),
    /// What a cluster has.
    Name(Term),
    /// The VLAN tag of a packet.
    Vlan,
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The sender.
    Src,
    /// The receiver.
    Dst,
    /// One of both.
    Either,
}

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `=`
    Equal,
    /// `!=`
    Different,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As written.
    Literal(String),
    /// The value of this field.
    Value(FieldId),
}

impl Order {
    /// Whether it is that of `left` to `right`.
    pub fn holds(self, left: i64, right: i64) -> bool {
        let order = left.cmp(&right);
        match self {
            Order::Equal => order == Ordering::Equal,
            Order::Different => order != Ordering::Equal,
            Order::Less => order == Ordering::Less,
            Order::AtMost => order != Ordering::Greater,
            Order::Greater => order == Ordering::Greater,
            Order::AtLeast => order != Ordering::Less,
        }
    }
}

impl Expr {
    /// All of these, without another layer around a single one.
    pub(crate) fn all(mut exprs: Vec<Expr>) -> Self {
        if exprs.len() == 1 { exprs.remove(0) } else { Self::All(exprs) }
    }

    /// Any of these.
    pub(crate) fn any(mut exprs: Vec<Expr>) -> Self {
        if exprs.len() == 1 { exprs.remove(0) } else { Self::Any(exprs) }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::Different => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}

/// As it can be typed, with the long names of fields.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |exprs: &[Expr], word: &str, f: &mut fmt::Formatter<'_>| {
            for (index, expr) in exprs.iter().enumerate() {
                f.write_str(if index > 0 { word } else { "" })?;
                let inner = matches!(expr, Self::All(_) | Self::Any(_));
                if inner { write!(f, "({expr})")? } else { write!(f, "{expr}")? }
            }
            Ok(())
        };
        match self {
            Self::All(exprs) => joined(exprs, " and ", f),
            Self::Any(exprs) => joined(exprs, " or ", f),
            Self::Not(expr) => write!(f, "not ({expr})"),
            Self::Has(field, is) => write!(f, "{}({})", if *is { "with" } else { "without" }, field.name()),
            Self::Number(field, order, number) => write!(f, "{} {order} {number}", field.name()),
            Self::Text(field, is, parts) => {
                write!(f, "{} {} \"", field.name(), if *is { "=" } else { "!=" })?;
                for part in parts {
                    match part {
                        Part::Literal(text) => f.write_str(&text.replace('"', "\\\""))?,
                        Part::Value(field) => write!(f, "$({})", field.name())?,
                    }
                }
                f.write_str("\"")
            }
            Self::Regex(field, is, regex) => {
                write!(f, "{} {} `{regex}`", field.name(), if *is { "=~" } else { "!~" })
            }
            Self::Within(field, network) => write!(f, "{} = {network}", field.name()),
            Self::Named(end, term) => {
                let end = match end {
                    End::Src => "src ",
                    End::Dst => "dst ",
                    End::Either => "",
                };
                write!(f, "{end}{}:{}", term.kind.option(), quoted(term.text()))
            }
            Self::Vlan(None) => f.write_str("vlan"),
            Self::Vlan(Some(number)) => write!(f, "vlan {number}"),
            Self::Row(text, _) => f.write_str(text),
        }
    }
}

fn quoted(text: &str) -> String {
    let plain = !text.contains(|c: char| c.is_whitespace() || "()\"`".contains(c));
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\\\"")) }
}
