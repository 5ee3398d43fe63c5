//! `version` and `--version`: a line that scripts read.

mod cli_world;

use cli_world::{Outcome, World};

#[test]
fn prints_exactly_one_line() {
    for word in ["version", "--version"] {
        let expected = Outcome {
            stdout: concat!("Netobserv CLI version ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
            stderr: String::new(),
            code: Some(0),
        };
        assert_eq!(World::new().run(&[word]), expected);
    }
}
