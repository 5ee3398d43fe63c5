//! Words that made documents, messages and code read like a translation do not come back: each with what to write instead.
#![cfg(target_os = "linux")]

mod modules_world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use modules_world::{Identifiers, sources};
use regex::Regex;

/// Patterns that documents and messages do without, and what to use instead.
const WORDS: [(&str, &str); 20] = [
    (r"\b(tells?|told|telling)\b", "report, print, show, distinguish"),
    (r"\b(says?|said|saying)\b", "report, print, show, mean"),
    (r"\bwish(es|ed)?\b", "request, interrupt"),
    (r"\b(whoever|nobody|somebody|by whom)\b", "name the actor: the user, another user, no process"),
    (r"\b(is|was|are|be) looked at\b|\blooks (whether|for)\b", "check, read, find"),
    (r"\b(story|porter|desk|doors?)\b", "a plain word"),
    (r"\banew\b", "again"),
    (r"\bso long\b", "how long, as long as"),
    (r"\bstands (in|on|there|still|alone|under|where|at|behind)\b", "is"),
    (r"\bat hand of\b", "by, with"),
    (r"\bgravest\b", "worst"),
    (r"\bwhat it comes to\b", "the outcome"),
    (r"\b(goes|go|went|going) on\b", "continue"),
    (r"\bway out\b", "access; a cluster without it is air-gapped"),
    (r"\bbeside\b", "next to, in addition to"),
    (r"\bneighbours?\b", "alternatives, other programs; neighbors of a network"),
    (
        r"\b(licences?|colou?red by|colours?|behaviours?|labelled|misspelt|spelt|favour\w*|centre)\b",
        "American spelling",
    ),
    (r"\bnot there yet\b", "not implemented yet"),
    (r"\ball the same\b", "anyway"),
    (r"\bin good order\b", "cleanly, in order"),
];
/// Folders whose messages are covered: whatever is in quotes.
const MESSAGES: [&str; 9] = [
    "src",
    "ebpf/agent/src",
    "ebpf/common/src",
    "ebpf/kernel/src",
    "collector/contract/src",
    "collector/query/src",
    "collector/explain/src",
    "collector/wire/src",
    "collector/src",
];
/// Names that had to be learned, and what they are called now.
const NAMES: [(&str, &str); 34] = [
    ("Wishes", "Interrupts"),
    ("wishes", "interrupts"),
    ("Steps", "Progress"),
    ("told", "printed, reported"),
    ("said", "output, message"),
    ("Story", "CaptureInfo"),
    ("Desk", "Inbox"),
    ("Porter", "Acceptor"),
    ("Who", "Role, ProcessIdentity"),
    ("who", "role, process"),
    ("Place", "InterfaceId, CacheSlot, Target"),
    ("Voice", "OutputStream"),
    ("Door", "Admission"),
    ("Book", "PacketFile"),
    ("Chapter", "InterfaceEntry"),
    ("Volume", "OutputFile"),
    ("Shield", "AtomicWriter"),
    ("Only", "FastAddressTable"),
    ("Seat", "Assignment"),
    ("Tenure", "AddressOwner"),
    ("Holder", "NamespaceOwner"),
    ("Lives", "SocketOwners"),
    ("Life", "SocketHistory"),
    ("Span", "Ownership"),
    ("Namer", "ProcessAttribution"),
    ("Naming", "AttributionThread"),
    ("Shower", "RenderLoop"),
    ("Spot", "SeenAt"),
    ("Told", "StopSources, Stamp"),
    ("Work", "DrainTask"),
    ("wish", "request"),
    ("tell", "report"),
    ("hear", "receive"),
    ("anew", "again"),
];
/// Folders whose comments are covered.
const COMMENTED: [&str; 5] = ["src", "ebpf/agent/src", "ebpf/common/src", "ebpf/kernel/src", "collector/src"];
/// The words of ARP, as tcpdump and Wireshark print them.
const ARP: &str = "who has ";
/// Folders whose names are covered.
const NAMED: [&str; 4] = ["src", "ebpf/agent/src", "ebpf/common/src", "ebpf/kernel/src"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every retired word of a text, with its line.
fn retired(text: &str) -> Vec<String> {
    static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let pattern = |(pattern, instead): (&str, _)| {
            let regex = Regex::new(&format!("(?i){pattern}")).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            (regex, instead)
        };
        WORDS.map(pattern).into()
    });
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (regex, instead) in &*PATTERNS {
            let words = regex.find_iter(line).map(|word| word.as_str());
            found.extend(words.map(|word| format!("{}: '{word}': use {instead}\n    {line}", number + 1)));
        }
    }
    found
}

/// A document without its code, which shows what programs print.
fn prose(text: &str) -> String {
    let code = Regex::new(r"(?s)```.*?```|`[^`\n]+`").expect("a pattern");
    let blank = |found: &regex::Captures<'_>| found[0].chars().filter(|c| *c == '\n').collect::<String>();
    code.replace_all(text, blank).into_owned()
}

fn documents() -> Vec<PathBuf> {
    let is_document = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let of = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).filter(is_document).collect()
    };
    [of(&root()), of(&root().join("docs"))].concat()
}

#[test]
fn documents_are_written_in_plain_words() {
    let mut wrong = Vec::new();
    for path in documents() {
        let name = path.strip_prefix(root()).expect("below").display().to_string();
        let text = fs::read_to_string(&path).expect("a document");
        // The pages of help are all code.
        let text = if name == "docs/options.md" { text } else { prose(&text) };
        wrong.extend(retired(&text).into_iter().map(|word| format!("{name}:{word}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_are_written_in_plain_words() {
    let mut wrong = Vec::new();
    for folder in MESSAGES {
        for file in sources(&root().join(folder)) {
            let name = file.strip_prefix(root()).expect("below").display();
            for text in
                Identifiers::read(&file).texts.iter().filter(|text| text.contains(' ') && !text.starts_with(ARP))
            {
                wrong.extend(retired(text).into_iter().map(|word| format!("{name}: {word}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_are_written_in_plain_words() {
    let comment = Regex::new(r"(?m)(?:^|\s)//.*$").expect("a pattern");
    let mut wrong = Vec::new();
    for file in COMMENTED.iter().flat_map(|folder| sources(&root().join(folder))) {
        let name = file.strip_prefix(root()).expect("below").display().to_string();
        let text = fs::read_to_string(&file).expect("a source file");
        // Line numbers stay those of the file.
        let comments: Vec<&str> =
            text.lines().map(|line| comment.find(line).map_or("", |found| found.as_str())).collect();
        wrong.extend(retired(&comments.join("\n")).into_iter().map(|word| format!("{name}:{word}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn retired_names_do_not_come_back() {
    let mut wrong = Vec::new();
    for folder in NAMED {
        for file in sources(&root().join(folder)) {
            let names = Identifiers::read(&file).names;
            let found = NAMES.iter().filter(|(old, _)| names.contains(*old));
            wrong.extend(found.map(|(old, new)| format!("{}: {old} is {new}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_retired_word_is_found_and_code_is_not_read() {
    assert_eq!(
        retired("See below.\nThe log says why."),
        ["2: 'says': use report, print, show, mean\n    The log says why."]
    );
    assert_eq!(retired(&prose("so far\n`it says` so\n```\nnobody\n```\nGoes on")).len(), 1);
}
