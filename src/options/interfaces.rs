//! Lists of interfaces: names and `/regex/` items between commas. Checked here so that a typing error is reported before
//! anything is attached to the kernel; the agent reads the same text.

use regex::Regex;

use super::{OptionError, not_allowed};

const ALLOWED: &str = "interface names and /regular expressions/ separated by commas, such as eth0,/^veth/";

const LOOPBACK: &str = "lo";

/// What is left out of these interfaces by default: a user who names `lo` wants it.
pub(super) fn left_out(interfaces: &str) -> &'static str {
    if interfaces.split(',').any(|name| name == LOOPBACK) { "" } else { LOOPBACK }
}

/// The list as it goes to the agent: `text` with blanks around the items taken away. Empty text is an empty list.
pub(super) fn check(option: &'static str, text: &str) -> Result<String, OptionError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    for item in &items {
        check_item(item).map_err(|problem| not_allowed(option, text, format!("{ALLOWED} ({problem})")))?;
    }
    Ok(items.join(","))
}

fn check_item(item: &str) -> Result<(), String> {
    if let Some(pattern) = item.strip_prefix('/') {
        return check_pattern(item, pattern);
    }
    match item {
        "" => Err("an item is empty".to_owned()),
        _ if item.contains('/') => Err(format!("'{item}' contains a /")),
        _ if item.contains(char::is_whitespace) => Err(format!("'{item}' contains a space")),
        _ => Ok(()),
    }
}

/// `pattern` is `item` without its first slash.
fn check_pattern(item: &str, pattern: &str) -> Result<(), String> {
    match pattern.strip_suffix('/') {
        None => Err(format!("'{item}' starts with / but does not end with it")),
        Some("") => Err(format!("'{item}' is empty")),
        Some(pattern) => Regex::new(pattern).map(drop).map_err(|error| format!("'{item}': {}", reason(&error))),
    }
}

/// The last line of the explanation, which names the mistake.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        for text in ["", "eth0", "eth0,eth1", "/^veth[0-9]+$/", "eth0,/br-.*/", "eth0.100", "veth@x"] {
            assert_eq!(check("interfaces", text), Ok(text.to_owned()));
        }
        assert_eq!(check("interfaces", " eth0 , /a b/ "), Ok("eth0,/a b/".to_owned()));
        // An empty variable in a script, quoted with a blank, must not mean every interface.
        assert!(check("interfaces", " ").is_err());
    }

    #[test]
    fn wrong_items_are_named() {
        for (text, problem) in [
            ("eth0,,eth1", "an item is empty"),
            ("eth0,", "an item is empty"),
            ("eth 0", "'eth 0' contains a space"),
            ("eth/0", "'eth/0' contains a /"),
            ("/eth", "'/eth' starts with / but does not end with it"),
            ("/", "'/' starts with / but does not end with it"),
            ("//", "'//' is empty"),
            ("/eth(/", "'/eth(/': unclosed group"),
            ("/[/", "'/[/': unclosed character class"),
        ] {
            assert_eq!(
                check("interfaces", text).unwrap_err().to_string(),
                format!("--interfaces={text} is not valid: use {ALLOWED} ({problem})")
            );
        }
    }
}
