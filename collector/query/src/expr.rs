//! What a query says, once it is read.

use std::cmp::Ordering;

use regex::bytes::Regex;

use crate::fields::FieldId;

/// A condition.
#[derive(Clone, Debug)]
pub enum Expr {
    /// All of these.
    All(Vec<Expr>),
    /// Any of these.
    Any(Vec<Expr>),
    /// The record has this field, or with `false`, it has not.
    Has(FieldId, bool),
    /// The field is a number, and stands in this order to another.
    Number(FieldId, Order, i64),
    /// The field's text is this one, or with `false`, is not.
    Text(FieldId, bool, Vec<Part>),
    /// The expression is found in the field's text, or with `false`, is not.
    Regex(FieldId, bool, Regex),
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
