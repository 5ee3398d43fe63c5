//! The program under its other names, against the tools that people have.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::{Run, Signal, wait_for};
use serde_json::Value;
use support::{SOON, program};

/// A shell line; `$us` is our program, `$1` the folder.
fn shell(dir: &Path, line: &str) -> netobserv_testkit::Finished {
    Run::new("bash")
        .args(["-o", "pipefail", "-c", line, "bash"])
        .arg(dir)
        .env("us", env!("CARGO_BIN_EXE_netobserv-collector"))
        .env("LC_ALL", "C")
        .dir(dir)
        .finish()
}

/// What a capture leaves, and what it does not.
fn make_output(dir: &Path) {
    let flow = dir.join("output/flow");
    fs::create_dir_all(&flow).unwrap();
    fs::create_dir(flow.join("empty")).unwrap();
    fs::write(flow.join("a.json"), "[{}]").unwrap();
    fs::write(flow.join("b.db"), vec![7; 3_000_001]).unwrap();
    fs::write(flow.join("n".repeat(200)), "long").unwrap();
    fs::set_permissions(flow.join("a.json"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("a.json", flow.join("link")).unwrap();
}

#[test]
fn gnu_tar_reads_what_we_pack() {
    let dir = tempfile::tempdir().unwrap();
    make_output(dir.path());
    let done = shell(
        dir.path(),
        "mkdir out; $us tar cf - \"$1/output\" | tar xf - -C out && diff -r --no-dereference output out$1/output",
    );
    assert!(done.success(), "{done}");
    assert!(done.stderr.contains("tar: Removing leading `/' from member names"), "{done}");
    let mode = fs::metadata(dir.path().join("output/flow/a.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn we_unpack_what_gnu_tar_packs() {
    let dir = tempfile::tempdir().unwrap();
    make_output(dir.path());
    let line = "mkdir in; tar cf - output | $us tar --no-same-permissions --no-same-owner -xmf - -C in && diff -r --no-dereference output in/output";
    let done = shell(dir.path(), line);
    assert!(done.success(), "{done}");
    let age = fs::metadata(dir.path().join("in/output/flow/a.json")).unwrap().modified().unwrap().elapsed();
    assert!(age.unwrap_or_default() < Duration::from_secs(60));
}

#[test]
fn an_archive_cannot_write_outside_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("evil"), "x").unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    let line = "tar cPf - --transform 's,^,../,' evil | (mkdir a; cd a; mkdir in; $us tar xf - -C in); echo $?; ls a";
    let done = shell(dir.path(), line);
    assert_eq!(done.stdout, "2\nin\n", "{done}");
    assert!(done.stderr.contains("leads out of the folder"), "{done}");
}

#[test]
fn what_is_missing_is_told_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    make_output(dir.path());
    let done = shell(dir.path(), "$us tar cf - output/flow/none output/flow/a.json > t; echo $?; tar tf t");
    assert_eq!(done.stdout, "2\noutput/flow/a.json\n", "{done}");
    assert!(done.stderr.contains("tar: output/flow/none: Cannot stat: No such file or directory\n"), "{done}");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    make_output(dir.path());
    let done = shell(dir.path(), "$us tar cf - output | head -c 5000 | wc -c; echo ${PIPESTATUS[0]}");
    assert_eq!(done.stdout.trim_end(), "5000\n2", "{done}");
    let cut = shell(
        dir.path(),
        "mkdir in; $us tar cf - output | head -c 2000000 | $us tar xf - -C in; echo ${PIPESTATUS[2]}",
    );
    assert_eq!(cut.stdout, "2\n", "{cut}");
}

#[test]
fn sleep_ends_in_time_and_at_once_when_asked() {
    assert!(program(&["sleep", "0.05"]).finish().success());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let sleeper = program(&["sleep", "infinity"]).start();
        let status = format!("/proc/{}/status", sleeper.pid());
        // Once it buries no children itself, it waits for signals.
        let ignores = |status: String| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0x1_0000 != 0)
        };
        assert!(wait_for(SOON, || fs::read_to_string(&status).is_ok_and(ignores)));
        sleeper.signal(signal);
        assert_eq!(sleeper.wait(SOON).code(), 128 + signal as i32);
    }
}

#[test]
fn a_transfer_that_broke_off_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    make_output(dir.path());
    fs::create_dir(dir.path().join("output/.capture")).unwrap();
    let refused = program(&["files"]).dir(dir.path()).finish();
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.starts_with("error: the capture is not finished"), "{refused}");
    fs::write(dir.path().join("output/.capture/state.json"), r#"{"state":"finished"}"#).unwrap();
    let list: Value = serde_json::from_str(&program(&["files"]).dir(dir.path()).output()).unwrap();
    assert_eq!((list[1]["path"].as_str(), list[1]["size"].as_u64()), (Some("flow/b.db"), Some(3_000_001)));
    let line = "$us fetch flow/b.db | gunzip | head -c 1000000 > got; $us fetch flow/b.db --offset 1000000 | gunzip >> got; sha256sum < got";
    let done = shell(dir.path(), line);
    assert_eq!(done.stdout.split(' ').next(), list[1]["sha256"].as_str(), "{done}");
    assert_eq!(program(&["fetch", "../x"]).dir(dir.path()).finish().code(), 1);
    assert_eq!(program(&["fetch"]).finish().code(), 2);
}
