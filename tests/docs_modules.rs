//! Modules do not import each other in circles, and docs/architecture.md shows crates and modules as they are.
//! `UPDATE_DOCS=1 cargo test --test docs_modules` writes that part of the page.
#![cfg(target_os = "linux")]

mod modules_world;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use modules_world::Modules;

/// The folder of each crate.
const CRATES: [&str; 10] = [
    ".",
    "ebpf/agent",
    "ebpf/kernel",
    "ebpf/common",
    "collector",
    "collector/explain",
    "collector/wire",
    "collector/query",
    "collector/stdio",
    "collector/contract",
];
const BEGIN: &str = "<!-- Written by UPDATE_DOCS=1 cargo test --test docs_modules -->\n";
const END: &str = "<!-- end -->";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn modules(folder: &str) -> Modules {
    Modules::read(&root().join(folder).join("src"))
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    let mut wrong = String::new();
    for folder in CRATES {
        let modules = modules(folder);
        for circle in modules.in_circles().into_iter().filter_map(|name| modules.circle(name)) {
            let _ = writeln!(wrong, "{folder}: {}", circle.join(" -> "));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_crate_is_looked_at() {
    let manifest = manifest(".");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).expect("members");
    let members: Vec<&str> =
        members.split('"').filter(|part| part.contains(|c: char| c.is_ascii_lowercase())).collect();
    let is_missing = |member: &&str| !member.starts_with("tests/") && !CRATES.contains(member);
    assert_eq!(members.into_iter().filter(is_missing).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_circle_is_found_and_comments_and_tests_are_not_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\npub use c::Thing;\nfn f() { a::f() }\n");
    write("a.rs", "use crate::{b::B, d};\n#[cfg(test)]\nmod tests { use crate::c::C; }\n");
    write("b.rs", "fn f() { vec![crate::Thing] }\n");
    write("c.rs", "// use crate::b;\nmod inner { use super::super::a; use super::x; }\n");
    write("d.rs", "/* crate::a */ #[cfg(test)]\nuse crate::a;\nconst A: &str = \"crate::a\";\n");
    let modules = Modules::read(folder.path());
    assert_eq!(modules.in_circles(), ["a", "b", "c"]);
    assert_eq!(modules.circle("a").expect("a circle"), ["a", "b", "c", "a"]);
}

#[test]
fn the_page_shows_crates_and_modules_as_they_are() {
    let path = root().join("docs/architecture.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("a beginning");
    let (_, after) = rest.split_once(END).expect("an end");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", graphs());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("the page can be written");
    }
    assert!(page == wanted || std::env::var_os("UPDATE_DOCS").is_some(), "docs/architecture.md is old: UPDATE_DOCS=1");
}

/// The crates, and the modules of each.
fn graphs() -> String {
    let mut text = "\n```text\n".to_owned();
    for folder in CRATES {
        text += format!("{:<28}{}", name(folder), dependencies(folder).join(" ")).trim_end();
        text.push('\n');
    }
    text.push_str("```\n");
    for folder in CRATES {
        let (modules, sources) = (modules(folder), Path::new(folder).join("src"));
        let sources = sources.strip_prefix(".").unwrap_or(&sources).display();
        if modules.0.values().any(|used| !used.is_empty()) {
            let _ = write!(text, "\n`{sources}`:\n\n```text\n{}```\n", lines(&modules));
        }
    }
    text + "\n"
}

/// A module a line with those that it imports; each line imports only from lines below it.
fn lines(modules: &Modules) -> String {
    let mut placed = BTreeSet::new();
    let mut lines = Vec::new();
    while placed.len() < modules.0.len() {
        let is_ready = |name: &&String| modules.0[*name].iter().all(|used| placed.contains(used));
        let ready: Vec<String> =
            modules.0.keys().filter(|name| !placed.contains(*name)).filter(is_ready).cloned().collect();
        assert!(!ready.is_empty(), "in a circle, or not a module: {:?}", modules.0);
        for name in ready.iter().rev() {
            let used: Vec<&str> = modules.0[name].iter().map(String::as_str).collect();
            lines.push(format!("{:<16}{}", name, used.join(" ")).trim_end().to_owned() + "\n");
        }
        placed.extend(ready);
    }
    lines.into_iter().rev().collect()
}

fn manifest(folder: &str) -> String {
    std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest")
}

fn name(folder: &str) -> String {
    let manifest = manifest(folder);
    let line = manifest.lines().find_map(|line| line.strip_prefix("name = \"")).expect("a name");
    line.trim_end_matches('"').to_owned()
}

/// The crates of this repository that a crate needs to be built for its users.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = manifest(folder);
    let sections = manifest.split("\n[").filter(|section| section.starts_with("dependencies]"));
    let names = sections.flat_map(str::lines).filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("netobserv-")).map(str::to_owned).collect()
}
