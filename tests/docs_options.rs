//! `docs/options.md` holds the help of every command, as the program prints it, and each page is one that can be read.
//! `UPDATE_DOCS=1 cargo test --test docs_options` writes the file anew.
#![cfg(target_os = "linux")]

mod cli_world;

use std::fmt::Write as _;
use std::path::Path;

use cli_world::World;

/// What fits a terminal that is half as wide as a screen.
const WIDEST: usize = 100;

const HEAD: &str = "\
# All options

<!-- Written from the program's own help by its test: UPDATE_DOCS=1 cargo test --test docs_options -->

What `oc netobserv help` prints, and `oc netobserv help COMMAND` for each command.
";

#[track_caller]
fn printed(words: &[&str]) -> String {
    let outcome = World::new().run(words);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{words:?}");
    outcome.stdout
}

fn commands() -> Vec<String> {
    let offered = printed(&["__complete", ""]);
    offered.lines().filter(|line| !line.starts_with(':')).map(str::to_owned).collect()
}

/// Every page with its command; the main page first.
fn pages() -> Vec<(String, String)> {
    let main = ("netobserv".to_owned(), printed(&["help"]));
    let of = |command: String| (command.clone(), printed(&["help", &command]));
    std::iter::once(main).chain(commands().into_iter().filter(|name| name != "help").map(of)).collect()
}

#[test]
fn the_list_of_options_is_what_the_program_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    let mut wanted = HEAD.to_owned();
    for (command, page) in pages() {
        let _ = write!(wanted, "\n## {command}\n\n```text\n{}\n```\n", page.trim_end());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/options.md can be written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/options.md can be read");
    assert!(found == wanted, "docs/options.md is old: UPDATE_DOCS=1 cargo test --test docs_options");
}

#[test]
fn every_page_fits_and_has_two_examples() {
    for (command, page) in pages() {
        for line in page.lines() {
            assert!(line.chars().count() <= WIDEST, "{command}: {line}");
        }
        let (_, examples) = page.split_once("Examples:\n").unwrap_or_else(|| panic!("{command} has no examples"));
        let lines = examples.lines().take_while(|line| line.starts_with("  "));
        let lines: Vec<&str> = lines.filter(|line| line.trim_start().starts_with("oc")).collect();
        assert!(lines.len() >= 2, "{command} has {} examples: {lines:#?}", lines.len());
        let of = |line: &&&str| command == "netobserv" || line.split_whitespace().any(|word| word == command);
        assert!(lines.iter().filter(of).count() >= 2, "{command}: {lines:#?}");
    }
}

/// A page shows each option under the heading that it belongs to, and no heading without options.
#[test]
fn options_stand_under_headings() {
    let page = printed(&["help", "flows"]);
    let headings: Vec<&str> = page.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
    let heading_of = |option: &str| {
        let bare = |line: &str| line.trim_start().trim_start_matches("-o, ").trim_start_matches("-i, ").to_owned();
        let line = page.lines().position(|line| bare(line).starts_with(option));
        let line = line.unwrap_or_else(|| panic!("{option} is not on the page"));
        page.lines().take(line).filter(|line| headings.contains(line)).last().unwrap_or_default()
    };
    for (option, heading) in [
        ("--interfaces", "What is captured"),
        ("--enable_rtt", "What is captured"),
        ("--max-time", "Limits and output"),
        ("--output-dir", "Limits and output"),
        ("--kubeconfig", "Access to the cluster"),
        ("--registry", "Images"),
        ("--no-registry", "Images"),
        ("--programs", "Images"),
        ("--lease", "In a cluster"),
        ("--background", "In a cluster"),
        ("--port", "Filter rules"),
    ] {
        assert!(heading_of(option).starts_with(heading), "{option} stands under '{}'", heading_of(option));
    }
    assert!(!page.contains("Options of packets"), "options of packets are no options of flows");
}

/// A page promises nothing that its command does not do.
#[test]
fn options_of_other_commands_are_not_on_the_page() {
    let page = printed(&["help", "packets"]);
    let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in ["JSON", "DNS", "round-trip", "Round-trip", "--output <", "--force"] {
        assert!(!text.contains(word), "packets: {word}");
    }
    for (command, option) in [
        ("flows", "--force"),
        ("follow", "--output-dir"),
        ("follow", "--force"),
        ("stop", "--output-dir"),
        ("stop", "--force"),
        ("copy", "--force"),
        ("cleanup", "--output-dir"),
    ] {
        assert!(!printed(&["help", command]).contains(option), "{command}: {option}");
    }
    assert!(printed(&["help", "copy"]).contains("--output-dir") && printed(&["help", "cleanup"]).contains("--force"));
}
