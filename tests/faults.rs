//! `docs/faults.md` says what each fault comes to: no cell is left open, and each row names tests that are there.

mod named_tests;

use named_tests::{document, missing, rows};

const COLUMNS: [&str; 5] = ["fault", "what the user sees", "in the files", "left behind", "test"];

/// What is wrong with a row.
fn wrong(row: &[&str]) -> Vec<String> {
    let [fault, .., tests] = row else { return vec![format!("{row:?} is no row")] };
    let mut wrong = missing(tests);
    if row.len() != COLUMNS.len() {
        wrong.push(format!("{fault}: {} cells", row.len()));
    }
    if row.iter().any(|cell| cell.is_empty()) {
        wrong.push(format!("{fault}: an empty cell"));
    }
    if !tests.contains('`') {
        wrong.push(format!("{fault}: no test"));
    }
    wrong
}

#[test]
fn every_fault_has_an_outcome_and_a_test() {
    let text = document("faults.md");
    let is_fault = |row: &Vec<&str>| row != &COLUMNS && !row.iter().all(|cell| cell.starts_with("---"));
    let faults: Vec<Vec<&str>> = rows(&text).into_iter().filter(is_fault).collect();
    assert!(faults.len() > 40, "{} faults", faults.len());
    let wrong: Vec<String> = faults.iter().flat_map(|row| wrong(row)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_wrong_with_a_row_is_found() {
    assert_eq!(wrong(&["a", "b", "c", "d", "`faults`"]), [""; 0]);
    assert_eq!(wrong(&["a", "b", "", "d", "`faults`"]), ["a: an empty cell"]);
    assert_eq!(wrong(&["a", "b", "c", "d", "later"]), ["a: no test"]);
    assert_eq!(wrong(&["a", "b", "c", "`faults`"]), ["a: 4 cells"]);
    assert_eq!(wrong(&["a", "b", "c", "d", "`faults::nothing`"]), ["faults::nothing: no such test"]);
}
