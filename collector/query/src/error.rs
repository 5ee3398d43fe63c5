//! A query that is none, and where it goes wrong.

use std::fmt;
use std::ops::Range;

/// What is wrong with a query; its text shows the place with carets below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    query: String,
    wrong: Wrong,
}

/// What is wrong, and at which bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) at: Range<usize>,
    pub(crate) what: String,
    /// What stands below the place.
    pub(crate) more: Option<String>,
}

impl Wrong {
    pub(crate) fn new(at: Range<usize>, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), more: None }
    }

    pub(crate) fn within(self, query: &str) -> QueryError {
        QueryError { query: query.to_owned(), wrong: self }
    }
}

impl QueryError {
    /// What is wrong, in a few words and without the place.
    pub fn what(&self) -> &str {
        &self.wrong.what
    }

    /// The bytes of the query that are wrong; empty at the end of the query.
    pub fn at(&self) -> Range<usize> {
        self.wrong.at.clone()
    }
}

impl std::error::Error for QueryError {}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever is in it: the carets stand below.
        let line: String = self.query.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let chars = |range: Range<usize>| self.query.get(range).map_or(0, |text| text.chars().count());
        let (before, wrong) = (chars(0..self.wrong.at.start), chars(self.wrong.at.clone()).max(1));
        write!(f, "{}\n  {line}\n  {:before$}{:^<wrong$}", self.wrong.what, "", "")?;
        self.wrong.more.as_ref().map_or(Ok(()), |more| write!(f, "\n{more}"))
    }
}
