//! What goes wrong is said in one line, with the right exit code, and leaves whole files and nothing attached.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::proc::binaries;
use netobserv_testkit::session::{command, ours};
use netobserv_testkit::tmpfs::Tmpfs;
use netobserv_testkit::{Blast, Files, Finished, LocalCapture, Pair, Run, require_privileged};

/// User and group `nobody` on Debian and others.
const NOBODY: u32 = 65_534;

/// Runs a capture that is expected to fail by itself.
#[track_caller]
fn fails(dir: &Path, options: &[&str]) -> Finished {
    command(dir, options).own_group().start().wait(Duration::from_secs(30))
}

/// Exit code, exactly one line that says it is an error, these words in it, and no program left behind.
#[track_caller]
fn assert_error(finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.code(), code, "{finished}");
    let errors: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line says what is wrong\n{finished}");
    for word in words {
        assert!(errors[0].contains(word), "no `{word}` in: {}", errors[0]);
    }
    assert!(!finished.stderr.contains("panicked"), "{finished}");
    assert!(finished.orphans.is_empty(), "still running: {:?}\n{finished}", finished.orphans);
}

#[test]
fn an_unknown_interface_is_named() {
    require_privileged!();
    let dir = tempfile::tempdir().expect("a folder");
    let finished = fails(dir.path(), &["--interfaces=nosuch0"]);
    assert_error(&finished, 1, &["nosuch0"]);
}

#[test]
fn without_root_it_says_what_is_missing() {
    require_privileged!();
    let dir = tempfile::tempdir().expect("a folder");
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("hand over the folder");
    // The folder of the tests may be closed to others.
    let run = command(dir.path(), &[]).env("TMPDIR", dir.path()).own_group().uid(NOBODY);
    let finished = run.start().wait(Duration::from_secs(30));
    assert_error(&finished, 1, &["root"]);
}

/// Without /proc everything that is read there seems to be missing: capabilities, the program beside this one.
#[test]
fn a_file_system_of_the_kernel_that_is_not_mounted_is_named() {
    require_privileged!();
    let binaries = binaries();
    let run = |mounted: &str, words: &[&str]| {
        let dir = tempfile::tempdir().expect("a folder");
        let line = format!("mount -t tmpfs none {mounted} && exec \"$@\"");
        let run = Run::new("unshare").args(["-m", "sh", "-c", &line, "sh"]).arg(&binaries.plugin).args(words);
        let finished = run.dir(dir.path()).own_group().start().wait(Duration::from_secs(30));
        assert_ne!(finished.code(), 0, "{finished}");
        format!("{}{}", finished.stdout, finished.stderr)
    };
    let flows = ["flows", "--local", "--enable_rtt", "--max-time=1s"];
    assert!(run("/proc", &flows).contains("is /proc mounted?"));
    let line = format!("mount -t tmpfs none /proc && exec {} doctor", binaries.agent.display());
    let finished = Run::new("unshare").args(["-m", "sh", "-c", &line]).finish();
    assert!(finished.code() == 1 && finished.stdout.contains("/proc is not mounted here"), "{finished}");
    let said = run("/sys", &flows);
    assert!(said.contains("/sys is not mounted here") && !said.contains("CONFIG_DEBUG_INFO_BTF"), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    require_privileged!();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let finished = fails(dir.path(), &[&format!("--listen-port={port}")]);
    assert_error(&finished, 1, &[&port, "in use"]);
}

#[test]
fn an_output_folder_that_cannot_be_made_is_named() {
    require_privileged!();
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("file"), "in the way").expect("a file");
    let finished = fails(dir.path(), &["--output-dir=file/output"]);
    assert_error(&finished, 1, &["file/output"]);
    assert_eq!(fs::read_to_string(dir.path().join("file")).expect("the file"), "in the way");
}

/// The disk becomes full under the capture: it ends by itself, and what fits is whole.
#[test]
fn a_full_disk_ends_the_capture_with_whole_files() {
    require_privileged!();
    let disk = Tmpfs::new(2_000_000);
    let pair = Pair::silent();
    let output = format!("--output-dir={}", disk.path().join("output").display());
    let mut capture = LocalCapture::of(&pair.right, pair.captured(), &[&output]);
    Blast { flows: 20_000, rounds: 1, ..Blast::default() }.run(&pair.left, &pair.veth.a.name);
    let ended = netobserv_testkit::wait_for(Duration::from_secs(30), || capture.has_ended());
    assert!(ended, "the capture goes on without a disk");
    let ended = capture.ended();
    assert_error(&ended.finished, 1, &["space"]);
    assert_eq!(ours(&pair.right, pair.captured()), 0, "programs are still attached");
    let files = Files::of(&disk.path().join("output"));
    files.assert_whole();
    assert!(!files.flows().is_empty(), "what fits is kept");
}

/// A capture beside another one: two sets of programs on one interface, both count all.
#[test]
fn two_captures_of_one_interface_do_not_disturb_each_other() {
    require_privileged!();
    let pair = Pair::silent();
    let named = format!("--interfaces={}", pair.captured());
    let mut captures = [LocalCapture::start(&[&named]), LocalCapture::start(&[&named])];
    captures.iter_mut().for_each(|capture| capture.wait_programs(&pair.right, pair.captured(), 4));
    Blast { flows: 100, rounds: 10, ..Blast::default() }.run(&pair.left, &pair.veth.a.name);
    for capture in captures {
        assert_eq!(capture.stop().files().sum("true").packets, 1000);
    }
}
