//! The words of a query, one after the other, and what has been read of them.

use std::ops::Range;

use crate::error::Wrong;
use crate::expr::{End, Used};
use crate::lex::{Token, Word};

/// What a condition asks for; a bare value after `or` is asked for in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) proto: Option<String>,
    pub(crate) end: Option<End>,
    pub(crate) kind: Option<&'static str>,
}

/// Where the reader of a query is.
pub(crate) struct Cursor<'a> {
    pub(crate) query: &'a str,
    words: &'a [Word],
    next: usize,
    used: Vec<(Used, Range<usize>)>,
    /// Conditions in the language of pcap so far.
    pub(crate) primitives: usize,
    /// What the latest of them asked for: in `port 80 or 443`, of 443 as well.
    pub(crate) last: Option<Asked>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(query: &'a str, words: &'a [Word]) -> Self {
        Self { query, words, next: 0, used: vec![], primitives: 0, last: None }
    }

    /// The next word.
    pub(crate) fn here(&self) -> Option<&'a Word> {
        self.words.get(self.next)
    }

    /// What the conditions so far are about.
    pub(crate) fn into_used(self) -> Vec<(Used, Range<usize>)> {
        self.used
    }

    pub(crate) fn close(&mut self, open: Range<usize>) -> Result<(), Wrong> {
        match self.words.get(self.next) {
            Some((Token::Close, _)) => self.next += 1,
            Some((_, at)) => return Err(Wrong::new(at.clone(), "and, or or a ) is missing before this")),
            None => return Err(Wrong::new(open, "this is never closed: a ) is missing")),
        }
        Ok(())
    }

    /// Notes what the condition is about.
    pub(crate) fn used(&mut self, used: Used, at: Range<usize>) {
        self.used.push((used, at));
    }

    /// The word behind the next one.
    pub(crate) fn after(&self) -> Option<&'a Token> {
        self.words.get(self.next + 1).map(|(token, _)| token)
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.words.get(self.next).map(|(token, _)| token)
    }

    /// The next word, if it is a name.
    pub(crate) fn peek_name(&self) -> Option<&'a str> {
        self.words.get(self.next).filter(|(token, _)| *token == Token::Name).map(|(_, at)| &self.query[at.clone()])
    }

    /// The next two words, if they are names.
    pub(crate) fn peek_two_names(&self) -> Option<(&'a str, &'a str)> {
        let name = |at: usize| {
            let (token, at) = self.words.get(self.next + at)?;
            (*token == Token::Name).then(|| &self.query[at.clone()])
        };
        name(0).zip(name(1))
    }

    pub(crate) fn skip(&mut self, words: usize) {
        self.next += words;
    }

    pub(crate) fn take(&mut self, missing: &str) -> Result<Word, Wrong> {
        let end = self.query.len();
        let word = self.words.get(self.next).cloned().ok_or_else(|| Wrong::new(end..end, missing))?;
        self.next += 1;
        Ok(word)
    }

    pub(crate) fn took_keyword(&mut self, keyword: &str) -> bool {
        self.took(keyword).is_some()
    }

    /// The place of a keyword, if it is the next word.
    pub(crate) fn took(&mut self, keyword: &str) -> Option<Range<usize>> {
        let (token, at) = self.words.get(self.next)?;
        let is = match token {
            Token::Sign(sign) => *sign == keyword,
            Token::Name => self.query[at.clone()].eq_ignore_ascii_case(keyword),
            _ => false,
        };
        self.next += usize::from(is);
        is.then(|| at.clone())
    }
}
