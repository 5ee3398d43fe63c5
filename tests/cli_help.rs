//! Help, and the words that are refused before anything is started.

mod cli_world;

use cli_world::{Outcome, World};

/// Runs words that are wrong: one line, exit code 2, and no program started, no file made.
#[track_caller]
fn assert_refused(words: &[&str], line: &str) {
    let world = World::new();
    let expected = Outcome { stdout: String::new(), stderr: format!("{line}\n"), code: Some(2) };
    assert_eq!(world.run(words), expected, "{words:?}");
    assert_eq!(world.log(), [""; 0]);
    assert!(!world.path("output").exists());
}

#[test]
fn help_lists_the_commands_and_has_examples() {
    let main = World::new().run(&["help"]);
    assert_eq!((main.code, main.stderr.as_str()), (Some(0), ""));
    for word in ["flows", "packets", "cleanup", "doctor", "version", "help", "Examples:", "oc-netobserv flows --local"]
    {
        assert!(main.stdout.contains(word), "{word} is missing in\n{}", main.stdout);
    }
    for words in [&["--help"][..], &["-h"], &["help", "help"]] {
        assert_eq!(World::new().run(words), main, "{words:?}");
    }
}

#[test]
fn help_anywhere_is_the_help_of_the_command() {
    let page = World::new().run(&["help", "flows"]);
    assert_eq!((page.code, page.stderr.as_str()), (Some(0), ""));
    for option in [
        "--local",
        "--interfaces",
        "--exclude_interfaces",
        "--enable_dns",
        "--enable_rtt",
        "--enable_pkt_drop",
        "--enable_all",
        "--sampling",
        "--max-time",
        "--max-bytes",
        "--log-level",
        "--output-dir",
        "--listen-port",
        "--protocol",
        "--port_range",
        "--tcp_flags",
        "--no-tui",
        "-o, --output",
        "--verbose",
    ] {
        assert!(page.stdout.contains(option), "{option} is missing in\n{}", page.stdout);
    }
    for words in [
        &["flows", "--help"][..],
        &["flows", "help"],
        &["flows", "--local", "--interfaces=br-ex", "--max-time=10s", "--help"],
        &["flows", "--no_such_option", "--help"],
    ] {
        let world = World::new();
        assert_eq!(world.run(words), page, "{words:?}");
        assert_eq!(world.log(), [""; 0]);
    }
}

#[test]
fn unknown_commands() {
    assert_refused(&["bogus"], "Unknown command bogus. Use 'oc netobserv help' to display options");
    assert_refused(&["flow"], "Unknown command flow; did you mean flows?");
    assert_refused(&["--flows"], "error: unknown option --flows. Use 'oc netobserv help' to display options");
    assert_refused(&[], "error: no command given. Use 'oc netobserv help' to display options");
}

#[test]
fn options_that_are_not_there() {
    assert_refused(&["flows", "--local", "--max-tim=3s"], "error: unknown option --max-tim; did you mean --max-time?");
    assert_refused(
        &["flows", "--local", "--frobnicate"],
        "error: unknown option --frobnicate. Use 'oc netobserv help' to display options",
    );
    assert_refused(
        &["flows", "--local", "80"],
        "error: unexpected word 80: options are written --name=value or --name value",
    );
}

#[test]
fn wrong_values_name_the_option_and_what_is_allowed() {
    for (word, line) in [
        ("--sampling=0", "error: --sampling=0 is not valid: use a whole number from 1 to 4294967295"),
        ("--listen-port=70000", "error: --listen-port=70000 is not valid: use a whole number from 1 to 65535"),
        ("--max-time=5", "error: --max-time=5 is not valid: use a duration above zero such as 30s, 5m or 1h30m"),
        (
            "--max-bytes=5MB",
            "error: --max-bytes=5MB is not valid: use a whole number of bytes from 1 to 9223372036854775807",
        ),
        (
            "--log-level=loud",
            "error: --log-level=loud is not valid: use one of trace, debug, info, warn, error, fatal, panic",
        ),
        (
            "--interfaces=/eth",
            "error: --interfaces=/eth is not valid: use interface names and /regular expressions/ separated by commas, \
             such as eth0,/^veth/ ('/eth' starts with / but does not end with it)",
        ),
        ("--max-bytes", "error: --max-bytes needs a value: --max-bytes=VALUE"),
        ("--output-dir=", "error: --output-dir needs a value: --output-dir=VALUE"),
    ] {
        assert_refused(&["flows", "--local", word], line);
    }
}

#[test]
fn wrong_filter_rules_are_told_before_anything_starts() {
    const EMPTY: &str =
        "error: an empty rule at 'or': use an option of a rule, such as --protocol=UDP, before and after it";
    for (words, line) in [
        ("--port=0", "error: --port=0 is not valid: use a port from 1 to 65535"),
        ("--dport=70000", "error: --dport=70000 is not valid: use a port from 1 to 65535"),
        (
            "--cidr=10.0.0",
            "error: --cidr=10.0.0 is not valid: use a network such as 10.0.0.0/8, 10.0.0.1/32 or fd00::/8",
        ),
        ("--peer_ip=x", "error: --peer_ip=x is not valid: use an IPv4 or IPv6 address"),
        (
            "--protocol=TCP or --protocol=TCP --icmp_type=8",
            "error: --icmp_type=8 is not valid: use --protocol=ICMP or ICMPv6 with it, not TCP",
        ),
        ("--protocol=TCP or", EMPTY),
        ("or", EMPTY),
        ("--port", "error: --port needs a value: --port=VALUE"),
    ] {
        let words: Vec<&str> = ["flows", "--local"].into_iter().chain(words.split(' ')).collect();
        assert_refused(&words, line);
    }
}

#[test]
fn metrics_have_no_files_that_grow() {
    assert_refused(&["metrics", "--max-bytes=5"], "error: --max-bytes is invalid option for metrics");
}
