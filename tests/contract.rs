//! `docs/contract.md` names a test for each row: those tests have to be there.

mod named_tests;

use named_tests::{document, missing, rows};

#[test]
fn every_test_that_is_named_is_there() {
    let text = document("contract.md");
    let cells: Vec<&str> = rows(&text).into_iter().filter_map(|row| row.last().copied()).collect();
    assert!(cells.iter().filter(|cell| cell.contains('`')).count() > 50, "{cells:#?}");
    let wrong: Vec<String> = cells.into_iter().flat_map(missing).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_without_a_test_is_found() {
    assert_eq!(missing(" `contract::a_name_without_a_test_is_found`, `every_test_that_is_named_is_there` "), [""; 0]);
    assert_eq!(
        missing(" `contract` and unit `options::filter`, `collector/ends::the_byte_limit_ends_the_capture` "),
        [""; 0]
    );
    assert_eq!(missing(" `contract::no_such`, `nor_this`, `collector/ends::no_such` ").len(), 3);
    assert_eq!(missing(" `no_such_file`, unit `no::such`, unit `cli::tests::no_such`, `agent/no_such` ").len(), 4);
}
