//! `version` and `--version`: a line that scripts read; and that a capture tells it to its collector.

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

#[test]
fn the_collector_is_told_which_plugin_started_it() {
    let yaml = World::new().run(&["flows", "--yaml=-"]).stdout;
    let wanted = concat!("- name: NETOBSERV_CLI_VERSION\n          value: \"", env!("CARGO_PKG_VERSION"), "\"\n");
    assert!(yaml.contains(wanted), "{yaml}");
}
