//! Documents that name tests in their tables, and whether those tests are there.

use std::fs;
use std::path::{Path, PathBuf};

/// A document of this repository.
pub(crate) fn document(name: &str) -> String {
    read(&root().join("docs").join(name))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of all tables of a text, as cells. Headings are rows too.
pub(crate) fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect()).collect()
}

/// Whether a file has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let attributes = source.split("#[test]").skip(1);
    attributes.filter_map(|rest| rest.split("fn ").nth(1)).any(|rest| rest.split('(').next() == Some(name))
}

/// The crate that a name begins with, and the rest: `collector/`, `agent/`, or that of the plugin.
fn crate_of(name: &str) -> (PathBuf, &str) {
    for (prefix, folder) in [("collector/", "collector"), ("agent/", "ebpf/agent")] {
        if let Some(rest) = name.strip_prefix(prefix) {
            return (root().join(folder), rest);
        }
    }
    (root(), name)
}

/// `module::test` or `module` beside the code of a crate.
fn unit(name: &str) -> Result<(), String> {
    let (folder, rest) = crate_of(name);
    let words: Vec<&str> = rest.split("::").filter(|word| *word != "tests").collect();
    let file = |words: &[&str]| folder.join("src").join(words.join("/")).with_extension("rs");
    let (path, test) = match words.split_last() {
        Some((last, module)) if !file(&words).exists() => (file(module), Some(*last)),
        _ => (file(&words), None),
    };
    if !path.exists() {
        return Err(format!("unit {name}: there is no {}", path.display()));
    }
    // Tests may have a file of their own: module/tests.rs.
    let own = path.with_extension("").join("tests.rs");
    let source = read(&path) + &if own.exists() { read(&own) } else { String::new() };
    let found = test.map_or_else(|| source.contains("#[test]"), |test| has_test(&source, test));
    if found { Ok(()) } else { Err(format!("unit {name}: no such test")) }
}

/// The file of integration tests that a name means.
fn file_of(name: &str) -> PathBuf {
    let (folder, rest) = crate_of(name);
    folder.join("tests").join(rest).with_extension("rs")
}

/// `file`, `file::test`, `test` in the file that was named before it in the same cell, or a script.
fn integration<'a>(name: &'a str, file: &mut Option<&'a str>) -> Result<(), String> {
    let test = match name.split_once("::") {
        Some((before, test)) => {
            *file = Some(before);
            Some(test)
        }
        None if file_of(name).exists() => {
            *file = Some(name);
            None
        }
        None => Some(name),
    };
    if name.starts_with("scripts/") {
        return root().join(name).exists().then_some(()).ok_or_else(|| format!("{name}: no such script"));
    }
    let path = file_of(file.unwrap_or_default());
    let found = path.exists() && test.is_none_or(|test| has_test(&read(&path), test));
    if found { Ok(()) } else { Err(format!("{name}: no such test")) }
}

/// What is wrong with the names in a cell, which are the words in backquotes.
pub(crate) fn missing(cell: &str) -> Vec<String> {
    let mut file = None;
    let mut wrong = Vec::new();
    for (index, part) in cell.split('`').enumerate().filter(|(index, _)| index % 2 == 1) {
        let before = cell.split('`').nth(index - 1).unwrap_or_default();
        let checked = if before.trim_end().ends_with("unit") { unit(part) } else { integration(part, &mut file) };
        wrong.extend(checked.err());
    }
    wrong
}
