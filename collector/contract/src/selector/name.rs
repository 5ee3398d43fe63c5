//! Names of objects, with or without a namespace; `*` stands for any part of one.

use std::fmt;
use std::str::FromStr;

/// A name, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// A name in a namespace, or in any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// None for any namespace.
    pub namespace: Option<Pattern>,
    /// Of the object.
    pub name: Pattern,
}

impl Pattern {
    /// Names of Kubernetes: RFC 1123, at most 253 characters.
    fn read(text: &str, what: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '*');
        match text.chars().find(|c| !known(*c)) {
            _ if text.is_empty() => Err(format!("{what} is missing")),
            _ if text.len() > 253 => Err(format!("{what} has at most 253 characters")),
            Some(wrong) => {
                Err(format!("{what} has small letters, digits, - and . only, and * for any of them, not {wrong}"))
            }
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Whether a name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let mut last = None;
        for part in parts {
            if let Some(between) = last.replace(part) {
                let Some(at) = rest.find(between) else { return false };
                rest = &rest[at + between.len()..];
            }
        }
        last.map_or(rest.is_empty(), |last: &str| rest.ends_with(last))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// Of an object that is in no namespace.
    pub(super) fn without_namespace(text: &str) -> Result<Self, String> {
        Ok(Self { namespace: None, name: Pattern::read(text, "a name")? })
    }

    /// Whether the object of this name, in this namespace, is meant.
    #[must_use]
    pub fn matches(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted.matches(namespace)) && self.name.matches(name)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None => Self::without_namespace(text),
            Some((namespace, name)) => Ok(Self {
                namespace: Some(Pattern::read(namespace, "a namespace")?),
                name: Pattern::read(name, "a name")?,
            }),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.namespace.iter().try_for_each(|namespace| write!(f, "{}/", namespace.0))?;
        f.write_str(&self.name.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_part_of_a_name() {
        for (pattern, fits, misfits) in [
            ("web", &["web"][..], &["web-1", "we", ""][..]),
            ("web*", &["web", "web-1"], &["aweb"]),
            ("*web", &["web", "aweb"], &["web-1"]),
            ("w*b*1", &["wb1", "web-1", "web-b-11"], &["web", "b1"]),
            ("*a*a*", &["aa", "xaya"], &["a"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("*", &["", "web"], &[]),
        ] {
            let pattern = Pattern::read(pattern, "a name").unwrap();
            fits.iter().for_each(|name| assert!(pattern.matches(name), "{pattern:?} {name}"));
            misfits.iter().for_each(|name| assert!(!pattern.matches(name), "{pattern:?} {name}"));
        }
    }

    #[test]
    fn a_namespace_may_be_given() {
        let name: Name = "shop*/web".parse().unwrap();
        assert!(name.matches("shop-2", "web") && !name.matches("bank", "web") && !name.matches("shop", "db"));
        assert!("web".parse::<Name>().unwrap().matches("any", "web"));
        for (text, why) in [
            ("", "a name is missing"),
            ("/web", "a namespace is missing"),
            ("shop/", "a name is missing"),
            ("shop/Web", "not W"),
            ("a/b/c", "not /"),
        ] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
