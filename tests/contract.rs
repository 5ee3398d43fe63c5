//! `docs/contract.md` names a test for each row: those tests have to be there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The last cells of the rows of all tables, in which tests are named.
fn cells(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'));
    rows.filter_map(|row| row.rsplit('|').next()).collect()
}

/// Whether a file has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let attributes = source.split("#[test]").skip(1);
    attributes.filter_map(|rest| rest.split("fn ").nth(1)).any(|rest| rest.split('(').next() == Some(name))
}

/// `module::test` or `module` beside the code of the plugin.
fn unit(name: &str) -> Result<(), String> {
    let words: Vec<&str> = name.split("::").filter(|word| *word != "tests").collect();
    let file = |words: &[&str]| root().join("src").join(words.join("/")).with_extension("rs");
    let (path, test) = match words.split_last() {
        Some((last, module)) if !file(&words).exists() => (file(module), Some(*last)),
        _ => (file(&words), None),
    };
    if !path.exists() {
        return Err(format!("unit {name}: there is no {}", path.display()));
    }
    let source = read(&path);
    let found = test.map_or_else(|| source.contains("#[test]"), |test| has_test(&source, test));
    if found { Ok(()) } else { Err(format!("unit {name}: no such test")) }
}

/// `file`, `file::test`, or `test` in the file that was named before it in the same cell.
fn integration<'a>(name: &'a str, file: &mut Option<&'a str>) -> Result<(), String> {
    let test = match name.split_once("::") {
        Some((before, test)) => {
            *file = Some(before);
            Some(test)
        }
        None if root().join("tests").join(name).with_extension("rs").exists() => {
            *file = Some(name);
            None
        }
        None => Some(name),
    };
    let path = root().join("tests").join(file.unwrap_or_default()).with_extension("rs");
    let found = path.exists() && test.is_none_or(|test| has_test(&read(&path), test));
    if found { Ok(()) } else { Err(format!("{name}: no such test")) }
}

/// Checks every name of a cell: the words in backquotes.
fn check(cell: &str) -> Vec<String> {
    let mut file = None;
    let mut wrong = Vec::new();
    for (index, part) in cell.split('`').enumerate().filter(|(index, _)| index % 2 == 1) {
        let before = cell.split('`').nth(index - 1).unwrap_or_default();
        let checked = if before.trim_end().ends_with("unit") { unit(part) } else { integration(part, &mut file) };
        wrong.extend(checked.err());
    }
    wrong
}

#[test]
fn every_test_that_is_named_is_there() {
    let text = read(&root().join("docs/contract.md"));
    let cells = cells(&text);
    assert!(cells.iter().filter(|cell| cell.contains('`')).count() > 50, "{cells:#?}");
    let wrong: Vec<String> = cells.into_iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_without_a_test_is_found() {
    assert_eq!(check(" `contract::a_name_without_a_test_is_found`, `every_test_that_is_named_is_there` "), [""; 0]);
    assert_eq!(check(" `contract` and unit `options::filter` "), [""; 0]);
    assert_eq!(check(" `contract::no_such`, `nor_this` ").len(), 2);
    assert_eq!(check(" `no_such_file`, unit `no::such`, unit `cli::tests::no_such` ").len(), 3);
}
