use std::path::PathBuf;

use super::*;

fn read_words(words: &[&str]) -> Result<Request, WordsError> {
    read(std::iter::once("oc-netobserv").chain(words.iter().copied()).map(OsString::from))
}

#[track_caller]
fn flows(words: &[&str]) -> FlowsArgs {
    match read_words(words) {
        Ok(Request::Flows(flows)) => *flows,
        other => panic!("{words:?} gave {other:?}"),
    }
}

#[track_caller]
fn wrong(words: &[&str]) -> String {
    read_words(words).expect_err("the words are wrong").to_string()
}

#[test]
fn value_follows_an_equals_sign_or_a_space() {
    for words in [&["flows", "--sampling=7"][..], &["flows", "--sampling", "7"]] {
        assert_eq!(flows(words).sampling.as_deref(), Some("7"));
    }
}

#[test]
fn only_the_first_equals_sign_separates() {
    assert_eq!(flows(&["flows", "--interfaces=/a=b/"]).interfaces.as_deref(), Some("/a=b/"));
}

#[test]
fn dashes_and_underscores_are_the_same() {
    let flows = |words: &[&str]| FlowsArgs { typed: Vec::new(), ..flows(words) };
    let dashed = flows(&["flows", "--exclude-interfaces=a", "--max-time=1s", "--max-bytes=2", "--log-level=warn"]);
    let scored = flows(&["flows", "--exclude_interfaces=a", "--max_time=1s", "--max_bytes=2", "--log_level=warn"]);
    assert_eq!(format!("{dashed:?}"), format!("{scored:?}"));
    assert_eq!(dashed.max_time.as_deref(), Some("1s"));
}

#[test]
fn the_last_of_a_repeated_option_counts() {
    assert_eq!(flows(&["flows", "--sampling=1", "--sampling=2"]).sampling.as_deref(), Some("2"));
}

#[test]
fn local_is_a_switch_that_takes_a_value_too() {
    assert_eq!(flows(&["flows", "--local"]).local.as_deref(), Some("true"));
    assert_eq!(flows(&["flows", "--local=false"]).local.as_deref(), Some("false"));
    assert_eq!(flows(&["flows"]).local, None);
}

#[test]
fn features_are_switches_under_old_names_too() {
    for option in ["--enable_pkt_drop", "--enable-pkt-drop", "--enable_pktdrop", "--enable-pktdrop"] {
        assert_eq!(flows(&["flows", option]).enable_pkt_drop.as_deref(), Some("true"), "{option}");
    }
    assert_eq!(flows(&["flows", "--enable_all", "--enable_dns=false"]).enable_dns.as_deref(), Some("false"));
}

#[test]
fn help_is_help_wherever_it_stands() {
    for words in [
        &["flows", "--help"][..],
        &["flows", "--interfaces=br-ex", "--nonsense", "--help"],
        &["flows", "help"],
        &["--help", "flows"],
        &["help", "flows"],
        &["flows", "--max-time", "-h"],
    ] {
        assert!(matches!(read_words(words), Ok(Request::Help(text)) if text.contains("--sampling")), "{words:?}");
    }
}

#[test]
fn a_value_called_help_is_a_value() {
    assert_eq!(flows(&["flows", "--output-dir", "help"]).output_dir, Some(PathBuf::from("help")));
}

#[test]
fn unknown_words_are_one_line() {
    let help = format!(". Use '{} help' to display options", called());
    assert_eq!(wrong(&["bogus"]), format!("Unknown command bogus{help}"));
    assert_eq!(wrong(&[]), format!("no command given{help}"));
    assert_eq!(wrong(&["help", "bogus"]), format!("Unknown command bogus{help}"));
    for (word, meant) in [("flow", "flows"), ("packet", "packets"), ("dcotor", "doctor")] {
        assert_eq!(wrong(&[word]), format!("Unknown command {word}; did you mean {meant}?"));
    }
    assert_eq!(wrong(&["mna"]), format!("Unknown command mna{help}"));
    assert_eq!(wrong(&["flows", "80"]), "unexpected word 80: options are written --name=value or --name value");
    assert_eq!(wrong(&["flows", "--sampling"]), "--sampling needs a value: --sampling=VALUE");
    assert_eq!(wrong(&["flows", "--sampling", "--local"]), "--sampling needs a value: --sampling=VALUE");
}

#[test]
fn a_misspelt_option_names_the_right_one() {
    assert_eq!(wrong(&["flows", "--samplin=3"]), "unknown option --samplin; did you mean --sampling?");
}

#[test]
fn packets_have_a_short_form() {
    let packets = |words: &[&str]| match read_words(words) {
        Ok(Request::Packets(packets)) => packets.filter.0,
        other => panic!("{words:?} gave {other:?}"),
    };
    assert_eq!(packets(&["packets", "tcp,80"]), packets(&["packets", "--protocol=tcp", "--port=80"]));
    assert_eq!(wrong(&["packets", "tcp80"]), "unexpected word tcp80: options are written --name=value or --name value");
    assert_eq!(wrong(&["flows", "tcp,80"]), "unexpected word tcp,80: options are written --name=value or --name value");
}

#[test]
fn metrics_have_the_options_of_flows() {
    let words = ["metrics", "--enable_all", "--include_list=node", "--port=80", "or", "--protocol=UDP"];
    assert!(matches!(read_words(&words), Ok(Request::Metrics(_))));
    assert_eq!(wrong(&["metrics", "x"]), "unexpected word x: options are written --name=value or --name value");
}

#[test]
fn every_word_behind_the_command_is_kept_for_the_record() {
    assert_eq!(flows(&["flows", "--query=a b", "--local"]).typed, ["--query=a b", "--local"]);
}
