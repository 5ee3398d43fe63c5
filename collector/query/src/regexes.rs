//! The older way to write a query (`--regexes`): `Field~expression,Field~expression`, all of which must match.

use crate::error::{QueryError, Wrong};
use crate::{parse, short};

/// Whether a text begins as such a list does. No query does.
pub(crate) fn is_list(text: &str) -> bool {
    begins_item(text)
}

/// The query that says the same as a list of `field~expression`. A comma that no field follows belongs to the expression.
///
/// # Errors
/// When an item is none, names no field, or its expression is not one.
pub(crate) fn query(list: &str) -> Result<String, QueryError> {
    let mut conditions = Vec::new();
    for (start, item) in items(list) {
        let at = start..start + item.len();
        let Some((name, regex)) = item.split_once('~') else {
            let why = "write Field~expression, with commas between them: SrcK8S_Namespace~^openshift";
            return Err(Wrong::new(at, why).within(list));
        };
        let trimmed = name.trim();
        let name_at = start + (name.len() - name.trim_start().len());
        short::field(trimmed, name_at..name_at + trimmed.len()).map_err(|wrong| wrong.within(list))?;
        let condition = format!("{trimmed} =~ {}", quoted(regex));
        parse::parse(&condition).map_err(|wrong| Wrong::new(at, wrong.what).within(list))?;
        conditions.push(condition);
    }
    Ok(conditions.join(" and "))
}

/// The items, each with where it begins.
fn items(list: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![0];
    starts.extend(list.match_indices(',').map(|(at, _)| at + 1).filter(|at| begins_item(&list[*at..])));
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([list.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| (start, &list[start..end])).collect()
}

fn begins_item(rest: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    rest.split_once('~').is_some_and(|(name, _)| is_name(name.trim()))
}

/// As a string of the language.
fn quoted(regex: &str) -> String {
    if !regex.contains('`') {
        return format!("`{regex}`");
    }
    let (mut text, mut chars) = (String::new(), regex.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.extend(['\\'].into_iter().chain(chars.next())),
            other => text.push(other),
        }
    }
    format!("\"{text}\"")
}
