//! The commands for finished captures on the recorded scenes: what they print is kept in `after_world/golden`, and
//! `UPDATE_GOLDEN=1` writes it again.

mod after_world;

use std::fs;
use std::path::{Path, PathBuf};

use after_world::run;

const SCENES: [&str; 3] = ["nodejs", "nxdomain", "policy-drop"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What these commands print about a scene, each after its words.
fn transcript(dir: &Path, scene: &str) -> String {
    let file = format!("{scene}.json");
    fs::copy(root().join("collector/tests/scenes").join(&file), dir.join(&file)).unwrap();
    let (copy, twice) = (format!("{scene}-2.json"), format!("{scene}-twice.json"));
    fs::copy(dir.join(&file), dir.join(&copy)).unwrap();
    let csv = format!("csv:{scene}.csv");
    let commands: [&[&str]; 12] = [
        &["summary", &file],
        &["query", &file, "top", "--limit=3"],
        &["query", &file, "workloads"],
        &["query", &file, "drops"],
        &["query", &file, "dns"],
        &["query", &file, "unanswered"],
        &["diff", "nodejs.json", &file],
        &["report", &file],
        &["export", &file, "-o", &csv],
        // A capture with itself counts once.
        &["merge", &file, &copy, "-o", &twice],
        &["query", &twice, "workloads"],
        &["redact", &file],
    ];
    let mut text = String::new();
    for words in commands {
        let done = run(dir, words);
        assert!(done.success(), "{done}");
        text.push_str(&format!("$ oc netobserv {}\n{}\n", words.join(" "), done.stdout));
    }
    text
}

#[test]
fn commands_print_what_is_kept_of_each_scene() {
    let dir = tempfile::tempdir().unwrap();
    for scene in SCENES {
        let printed = transcript(dir.path(), scene);
        let kept = root().join("tests/after_world/golden").join(format!("{scene}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(kept.parent().unwrap()).unwrap();
            fs::write(&kept, &printed).unwrap();
        }
        let wanted = fs::read_to_string(&kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        for (number, (printed, wanted)) in printed.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(printed, wanted, "{scene}, line {}: UPDATE_GOLDEN=1 if this is meant", number + 1);
        }
        assert_eq!(printed.lines().count(), wanted.lines().count(), "{scene}");
    }
    // The same as in the file itself: nothing is counted twice.
    let rows = |file: &str| run(dir.path(), &["query", file, "workloads", "-o", "csv"]).stdout;
    assert_eq!(rows("policy-drop-twice.json"), rows("policy-drop.json"));
}
