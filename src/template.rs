//! Fills the holes of an embedded YAML file.
//!
//! A hole is `${name}` and always the whole rest of a line, behind `: ` or `- `. What goes in is written as JSON, which is
//! YAML on one line with every special character quoted: no value can end its line, start a comment or add a key.
//! `${name:-default}` has a value of its own, in JSON, for when none is given. Lines from `#if name` to `#end` stay when
//! the value is `true`. The files are valid YAML before they are filled, too.

use std::collections::BTreeMap;

use serde_json::Value;

/// What goes into the holes, by name.
pub type Values<'a> = BTreeMap<&'a str, Value>;

/// A template that cannot be filled: a mistake in this program, never of its user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A hole without a value.
    #[error("line {line}: no value for {name}")]
    NoValue {
        /// From 1.
        line: usize,
        /// Of the hole.
        name: String,
    },
    /// A hole that is not the whole rest of its line.
    #[error("line {line}: a hole must follow ': ' or '- ' and end its line")]
    NotWhole {
        /// From 1.
        line: usize,
    },
    /// `#if` and `#end` do not pair.
    #[error("line {line}: #if without #end, or #end without #if")]
    Unpaired {
        /// From 1.
        line: usize,
    },
}

/// The template with its holes filled.
///
/// # Errors
///
/// The template is wrong, or a value is missing.
pub fn fill(template: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut conditions: Vec<bool> = Vec::new();
    for (index, text) in template.lines().enumerate() {
        let line = index + 1;
        let word = text.trim_start();
        if let Some(name) = word.strip_prefix("#if ") {
            let value = values.get(name).ok_or_else(|| TemplateError::NoValue { line, name: name.to_owned() })?;
            conditions.push(value == &Value::Bool(true));
        } else if word == "#end" {
            conditions.pop().ok_or(TemplateError::Unpaired { line })?;
        } else if conditions.iter().all(|holds| *holds) {
            fill_line(&mut filled, text, line, values)?;
        }
    }
    let lines = template.lines().count();
    if conditions.is_empty() { Ok(filled) } else { Err(TemplateError::Unpaired { line: lines }) }
}

fn fill_line(filled: &mut String, text: &str, line: usize, values: &Values<'_>) -> Result<(), TemplateError> {
    let hole = if text.trim_start().starts_with('#') { None } else { text.split_once("${") };
    let Some((before, rest)) = hole else {
        filled.extend([text, "\n"]);
        return Ok(());
    };
    let inside = rest.strip_suffix('}').filter(|_| before.ends_with(": ") || before.ends_with("- "));
    let inside = inside.ok_or(TemplateError::NotWhole { line })?;
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    let value = values.get(name).map(yaml).or(default.map(str::to_owned));
    let value = value.ok_or_else(|| TemplateError::NoValue { line, name: name.to_owned() })?;
    filled.extend([before, &value, "\n"]);
    Ok(())
}

/// JSON that every YAML reader accepts: what YAML calls unprintable (YAML 1.2, 5.1), or a line break, is escaped.
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        let plain = matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..);
        if plain {
            text.push(c);
        } else {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn holes_are_filled_with_json() {
        let values = Values::from([("a", json!("x: y # z")), ("b", json!(["1"])), ("c", json!({"k": true}))]);
        let filled = fill("a: ${a}\nlist:\n  - ${b}\n# ${unknown} stays\nc: ${c}\n", &values).unwrap();
        assert_eq!(filled, "a: \"x: y # z\"\nlist:\n  - [\"1\"]\n# ${unknown} stays\nc: {\"k\":true}\n");
    }

    #[test]
    fn a_default_stands_in_for_a_value() {
        let template = "a: ${A:-\"1\"}\nb: ${B:-\"[]\"}";
        assert_eq!(fill(template, &Values::from([("A", json!("2"))])).unwrap(), "a: \"2\"\nb: \"[]\"\n");
    }

    #[test]
    fn conditions_nest() {
        let template = "#if a\n  a: 1\n  #if b\n  b: 1\n  #end\n#end\nc: 1\n";
        let fill = |a: bool, b: bool| fill(template, &Values::from([("a", json!(a)), ("b", json!(b))])).unwrap();
        assert_eq!(fill(true, true), "  a: 1\n  b: 1\nc: 1\n");
        assert_eq!(fill(true, false), "  a: 1\nc: 1\n");
        assert_eq!(fill(false, true), "c: 1\n");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let none = Values::new();
        let no_value = |line, name: &str| Err(TemplateError::NoValue { line, name: name.into() });
        assert_eq!(fill("x: 1\na: ${a}", &none), no_value(2, "a"));
        assert_eq!(fill("#if a\n#end", &none), no_value(1, "a"));
        assert_eq!(fill("a: \"${a}\"", &none), Err(TemplateError::NotWhole { line: 1 }));
        assert_eq!(fill("a: x${a:-1}", &none), Err(TemplateError::NotWhole { line: 1 }));
        assert_eq!(fill("a: 1\n#end", &none), Err(TemplateError::Unpaired { line: 2 }));
        assert_eq!(fill("#if a\n", &Values::from([("a", json!(true))])), Err(TemplateError::Unpaired { line: 1 }));
    }

    #[test]
    fn what_yaml_cannot_print_is_escaped() {
        let hostile = "\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}\r\n\t\0é😀";
        assert_eq!(yaml(&json!(hostile)), r#""\u007f\u0085\u2028\ufeff\uffff\r\n\t\u0000é😀""#);
        assert_eq!(serde_json::from_str::<String>(&yaml(&json!(hostile))).unwrap(), hostile);
    }
}
