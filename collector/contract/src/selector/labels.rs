//! Conditions on labels in Kubernetes' own syntax: `K=V`, `K==V`, `K!=V`, `K in (A,B)`, `K notin (A,B)`, `K`, `!K`, separated by
//! commas, all of which have to hold.

use std::str::FromStr;

/// One condition on the labels of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label is there.
    Exists(String),
    /// It is not.
    Absent(String),
    /// It has one of these values.
    In(String, Vec<String>),
    /// It has none of these values, or is not there.
    NotIn(String, Vec<String>),
}

/// Conditions that all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(pub Vec<Requirement>);

impl Labels {
    /// Whether all conditions hold for an object whose labels are these.
    pub fn match_all<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
            Requirement::In(key, values) => label(key).is_some_and(|is| values.iter().any(|value| value == is)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|is| values.iter().all(|value| value != is)),
        })
    }

    /// The labels that it asks for.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| match requirement {
            Requirement::Exists(key) | Requirement::Absent(key) => key.as_str(),
            Requirement::In(key, _) | Requirement::NotIn(key, _) => key.as_str(),
        })
    }
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parts(text).into_iter().map(|part| requirement(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

/// What stands between the commas that are in no parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    if let Some(absent) = text.strip_prefix('!') {
        return key(absent.trim()).map(Requirement::Absent);
    }
    if let Some((name, listed)) = text.split_once('=') {
        // The last character of the key's side tells `!=` apart, the first of the value's side `==`.
        return match name.strip_suffix('!') {
            Some(name) => Ok(Requirement::NotIn(key(name.trim())?, vec![value(listed)?])),
            None => Ok(Requirement::In(key(name.trim())?, vec![value(listed.strip_prefix('=').unwrap_or(listed))?])),
        };
    }
    let Some((name, _)) = text.split_once(|c: char| c.is_whitespace() || c == '(') else {
        return key(text).map(Requirement::Exists);
    };
    let rest = &text[name.len()..].trim_start();
    let after = |word: &str| rest.strip_prefix(word).map(str::trim_start).filter(|list| list.starts_with('('));
    match (after("in"), after("notin")) {
        (Some(list), _) => Ok(Requirement::In(key(name)?, values(list)?)),
        (_, Some(list)) => Ok(Requirement::NotIn(key(name)?, values(list)?)),
        _ => Err(format!("after {name}, use =VALUE, !=VALUE, in (A,B) or notin (A,B), not {rest}")),
    }
}

fn values(list: &str) -> Result<Vec<String>, String> {
    let inside = list.strip_prefix('(').and_then(|rest| rest.trim_end().strip_suffix(')'));
    let inside = inside.ok_or_else(|| format!("the list {list} has to end with )"))?;
    inside.split(',').map(value).collect()
}

/// `[PREFIX/]NAME`: a name of up to 63 characters, which begins and ends with a letter or digit.
fn key(text: &str) -> Result<String, String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let good = prefix.is_none_or(|prefix| !prefix.is_empty() && prefix.len() <= 253 && is_value(prefix));
    if good && !name.is_empty() && is_value(name) {
        return Ok(text.to_owned());
    }
    Err(if text.is_empty() { "the name of a label is missing".into() } else { format!("{text} is no name of a label") })
}

fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    if is_value(text) { Ok(text.to_owned()) } else { Err(format!("{text} is no value of a label")) }
}

fn is_value(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let long = if text.contains('.') { 253 } else { 63 };
    text.len() <= long && text.chars().all(inside) && edge(text.chars().next()) && edge(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, labels: &[(&str, &str)]) -> bool {
        let wanted: Labels = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        wanted.match_all(|key| labels.iter().find(|(its, _)| *its == key).map(|(_, value)| *value))
    }

    #[test]
    fn each_form_of_kubernetes() {
        let web = [("app", "web"), ("tier", "front"), ("example.com/team", "a"), ("empty", "")];
        for yes in [
            "app",
            "!old",
            "app=web",
            "app==web",
            "app = web",
            "app!=db",
            "old!=x",
            "app in (db,web)",
            "app in(web)",
            "app notin (db, cache)",
            "old notin (x)",
            "app=web,tier in (front,back),!old",
            "example.com/team=a",
            "empty=",
            "! old",
        ] {
            assert!(matches(yes, &web), "{yes}");
        }
        for no in ["old", "!app", "app=db", "app!=web", "app in (db)", "app notin (web)", "app=web,old", "old=x"] {
            assert!(!matches(no, &web), "{no}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_place() {
        for (text, why) in [
            ("", "the name of a label is missing"),
            ("app=web,", "the name of a label is missing"),
            ("=web", "the name of a label is missing"),
            ("app=we b", "we b is no value of a label"),
            ("app in (a", "has to end with )"),
            ("app of (a)", "after app, use =VALUE, !=VALUE, in (A,B) or notin (A,B), not of (a)"),
            ("-app", "-app is no name of a label"),
            ("/app=x", "/app is no name of a label"),
        ] {
            let error = text.parse::<Labels>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
