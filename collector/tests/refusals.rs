//! What it refuses, with one line that says what and what to do: 2 for wrong words, 1 for the rest.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::tmpfs::Tmpfs;
use netobserv_testkit::{Files, Run, require_privileged};
use support::{Client, SOON, get_flows, program, records};

/// The one line that it ends with.
#[track_caller]
fn refused(run: Run, code: i32) -> String {
    let finished = run.start().wait(Duration::from_secs(20));
    assert_eq!(finished.code(), code, "{finished}");
    let errors: Vec<_> = finished.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{finished}");
    errors[0].to_owned()
}

#[test]
fn wrong_words_are_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let wrong =
        [["--maxtime", "5"], ["--maxbytes", "50MB"], ["--port", "x"], ["--loglevel", "x"], ["--filename", "../x"]];
    for command in ["get-flows", "get-packets"] {
        for words in wrong {
            let line = refused(program(&[command]).args(words).dir(dir.path()), 2);
            assert!(line.contains(words[0]), "{line}");
        }
        let line = refused(program(&[command]).dir(dir.path()), 2);
        assert!(line.contains("--tls-dir") && line.contains("--insecure"), "{line}");
    }
    assert!(refused(program(&["get-traces"]), 2).contains("get-traces"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was begun");
}

#[test]
fn a_port_in_use_is_told_before_any_file_is_made() {
    let other = TcpListener::bind("[::]:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let line = refused(program(&["get-flows", "--insecure", "--port", &port]).dir(dir.path()), 1);
    assert_eq!(
        line,
        format!("error: port {port} is in use: end the program that listens there, or choose another with --port")
    );
    assert_eq!(std::fs::read_dir(dir.path().join("output/flow")).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let line = refused(program(&["get-flows", "--insecure", "--output-dir"]).arg(file.join("output")), 1);
    let wanted = format!("error: cannot write to folder {}/output/flow: Not a directory", file.display());
    assert!(line.starts_with(&wanted) && line.ends_with("choose another with --output-dir"), "{line}");
}

#[test]
fn a_full_disk_ends_the_capture_with_whole_files() {
    require_privileged!();
    for size in [400, 800] {
        fill(&Tmpfs::new(size << 10));
    }
}

/// Sends until the disk is full.
fn fill(disk: &Tmpfs) {
    let dir = tempfile::tempdir().unwrap();
    let words = ["--maxbytes", "0", "--output-dir", disk.path().to_str().unwrap()];
    let socket = format!("unix:{}", dir.path().join("socket").display());
    let process = program(&["get-flows", "--listen", &socket]).args(words).start();
    assert!(
        netobserv_testkit::wait_for(SOON, || process.stderr().contains("Started collector")),
        "{}",
        process.stderr()
    );
    let agent = Client::connect(&dir.path().join("socket"));
    let mut sent = 0;
    while agent.send("n1", records::some(sent, 100), false).is_ok() {
        sent += 100;
        assert!(sent < 100_000, "the disk does not fill");
    }
    let finished = process.wait(SOON);
    assert_eq!(finished.code(), 1, "{finished}");
    let line = finished.stderr.lines().last().unwrap_or_default();
    let named = line.starts_with(&format!("error: cannot write {}", disk.path().display()));
    assert!(named && line.ends_with("free some space, or choose another --output-dir"), "{finished}");
    whole(disk.path(), sent, &finished.stdout);
}

fn whole(output: &Path, sent: u64, account: &str) {
    let files = Files::of(output);
    files.assert_whole();
    let (json, rows) = (files.flows().len() as u64, files.rows());
    assert!(json > 0 && json <= sent + 100 && rows <= sent + 100, "{json} and {rows} of {sent}");
    assert!(account.contains("lost: "), "{account}");
    assert!(!account.contains("lost: nothing"), "{account}");
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told() {
    require_privileged!();
    let disk = Tmpfs::new(8 << 10);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(disk.path().join("ballast"), vec![0; 8 << 10]).unwrap();
    let line = refused(get_flows(dir.path(), &[]).arg("--output-dir").arg(disk.path()), 2);
    assert!(line.contains("--output-dir"), "given twice: {line}");
    let socket = format!("unix:{}", dir.path().join("socket").display());
    let line = refused(program(&["get-flows", "--listen", &socket, "--output-dir"]).arg(disk.path()), 1);
    assert!(line.contains("No space left on device"), "{line}");
}
