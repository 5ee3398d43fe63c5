//! Values that would break a shell: they reach `oc` as one argument, unchanged, or are refused with the name of their option.
#![cfg(target_os = "linux")]

mod cli_world;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use cli_world::{Outcome, World};
use proptest::prelude::*;

/// Text without NUL, which no argument can hold, full of what means something to some program on the way.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\n".to_owned()),
        Just("$(touch x)".to_owned()),
        Just("`id`".to_owned()),
        Just("--".to_owned()),
        Just("|".to_owned()),
        Just("\\".to_owned()),
        Just("\\n".to_owned()),
        Just("=".to_owned()),
        Just(" ".to_owned()),
        Just("${HOME}".to_owned()),
        Just(",".to_owned()),
        Just("\u{1b}[2J".to_owned()),
        "[a-zA-Z0-9\u{e9}\u{1f980}]{1,4}",
    ];
    proptest::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

/// Bytes that are no UTF-8 among some that are.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![1..=255_u8, Just(b'\''), Just(b'\n'), Just(0xff)], 1..12)
}

/// All arguments of all calls.
fn arguments(world: &World) -> Vec<Vec<u8>> {
    let all = std::fs::read(world.cluster().join("argv")).expect("calls were made");
    all.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn paths_and_contexts_of_any_bytes(config in bytes(), context in bytes()) {
        let world = World::new();
        let option = |name: &str, value: &[u8]| OsString::from_vec([name.as_bytes(), b"=", value].concat());
        let words = ["cleanup".into(), option("--kubeconfig", &config), option("--context", &context)];
        let outcome = world.run_os(&words);
        prop_assert_eq!(outcome.code, Some(0), "{:?}", outcome);
        let given = arguments(&world);
        prop_assert!(given.contains(&words[1].as_bytes().to_vec()));
        prop_assert!(given.contains(&words[2].as_bytes().to_vec()));
        prop_assert!(!world.path("x").exists());
    }

    #[test]
    fn a_query_is_one_argument(query in hostile()) {
        let world = World::new();
        // Between backquotes a text may hold everything but a backquote.
        let word = format!("--query=SrcK8S_Name=~`{}`", query.replace('`', ""));
        let outcome = world.run(&["flows", "--background", &word]);
        // A query that is none may be refused, before anything is called; it may not be changed.
        if outcome.code == Some(2) {
            prop_assert!(world.calls().is_empty(), "{:?}", outcome);
        } else {
            prop_assert_eq!(outcome.code, Some(0), "{:?}", outcome);
            prop_assert!(arguments(&world).contains(&word.into_bytes()));
        }
        prop_assert!(!world.path("x").exists());
    }

    #[test]
    fn other_values_are_passed_on_or_refused_by_name(value in hostile(), index in 0..TEXTS.len()) {
        let world = World::new();
        let (option, place) = TEXTS[index];
        let outcome = world.run(&["flows", "--background", &format!("--{option}={value}")]);
        if outcome.code == Some(2) {
            prop_assert!(outcome.stderr.contains(option), "{:?}", outcome);
            prop_assert!(world.calls().is_empty());
        } else {
            prop_assert_eq!(outcome.code, Some(0), "{:?}", outcome);
            match place {
                Place::Argument => prop_assert!(
                    arguments(&world).iter().any(|word| word.ends_with(value.as_bytes())), "{:?}", outcome),
                Place::Document => {
                    let text = std::fs::read_to_string(world.cluster().join("stdin")).expect("documents");
                    // A mirror is the beginning of a longer name.
                    let start = value.trim_end_matches('/');
                    // Blanks around the items of a list of interfaces are taken away.
                    let items = value.split(',').map(str::trim).collect::<Vec<_>>().join(",");
                    let found = values(&text).iter().any(|text| text.starts_with(start) || *text == items);
                    prop_assert!(found, "{:?} is not in {}", value, text);
                }
            }
        }
        prop_assert!(!world.path("x").exists());
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Argument,
    Document,
}

/// Options with free text, and where it goes.
const TEXTS: [(&str, Place); 8] = [
    ("collector-image", Place::Argument),
    ("agent-image", Place::Document),
    ("registry", Place::Document),
    ("namespace", Place::Argument),
    ("interfaces", Place::Document),
    ("node-selector", Place::Document),
    ("pull-secret", Place::Document),
    ("cidr", Place::Document),
];

/// All texts of all documents.
fn values(stream: &str) -> Vec<String> {
    fn collect(value: &serde_json::Value, into: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => into.push(text.clone()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
            serde_json::Value::Object(fields) => fields.values().for_each(|item| collect(item, into)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for document in stream.split("\n---\n").filter(|text| !text.trim().is_empty()) {
        let value: serde_json::Value = serde_saphyr::from_str(document).expect("YAML");
        collect(&value, &mut all);
    }
    all
}

/// What is printed has no character that steers a terminal or is not seen, and something of what others wrote.
#[track_caller]
fn assert_plain(outcome: &Outcome, shown: &str) {
    let printed = format!("{}{}", outcome.stdout, outcome.stderr);
    let hidden = |c: char| c != '\n' && netobserv_contract::plain::is_hidden(c);
    assert!(!printed.contains(hidden), "{printed:?}");
    assert!(printed.contains(shown), "{shown} is not in {printed}");
}

/// As JSON writes it.
const STEERS: &str = r"\u001b[2J\u009b1m\u202eevil\u200b\nsaid by oc: all is well";

#[test]
fn a_namespace_of_others_does_not_steer_the_terminal() {
    let held = |world: World| {
        let world = world.file("session", STEERS).file("by", STEERS).file("started", STEERS);
        world.file("objects/namespace.netobserv-cli", "").file("objects/clusterrole.netobserv-cli", "")
    };
    let alive = held(World::new()).file("objects/pod.collector", "").file("objects/daemonset.netobserv-cli", "");
    for words in [["flows", "--max-time=1s"], ["cleanup", "--force"], ["follow", "--timeout=1s"]] {
        let outcome = alive.run(&words);
        let printed = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!printed.contains("\nsaid by oc"), "{words:?}: a line of its own in {printed}");
        let hidden = |c: char| c != '\n' && netobserv_contract::plain::is_hidden(c);
        assert!(!printed.contains(hidden), "{words:?}: {printed:?}");
    }
    assert_plain(&held(World::new()).run(&["flows"]), "removing what session ?[2J?1m?evil??said by oc");
}

#[test]
fn what_oc_answers_does_not_steer_the_terminal() {
    for call in ["get --raw /apis", "apply -f -", "network-observability-cli files", "delete namespace "] {
        let world = World::new().file("pod/flow/t.json", "[]").env("FAKE_BREAK", &format!("steer:{call}"));
        assert_plain(&world.run(&["flows"]), "Error from server: ?[2J?]0;title??1m ?evil?");
    }
    let who = World::new().file("answers/whoami", "\u{1b}[31madmin\u{202e}\n");
    assert_plain(&who.run(&["flows", "-v"]), "?[31madmin?");
}

#[test]
fn a_file_whose_name_steers_a_terminal_is_not_copied() {
    for name in [r"flow/\u001b[2J.json", r"flow/\u202ejson.exe"] {
        let listed = format!("[{{\"path\":\"{name}\",\"size\":0,\"sha256\":\"\"}}]");
        let world = World::new().file("answers/files", listed);
        let outcome = world.run(&["flows"]);
        assert_plain(&outcome, "which is not a file of a capture");
        assert_eq!(outcome.code, Some(1));
    }
}
