//! The files and folders of captures on this machine: each capture has its own, only its user can read them, and other users of
//! the machine can neither hold a capture up nor feed it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_testkit::proc::{alive, binaries, signal};
use netobserv_testkit::session::{command, ours};
use netobserv_testkit::{Blast, Files, LocalCapture, Pair, Run, Signal, require_privileged, wait_for};

/// User and group `nobody` on Debian and others.
const NOBODY: u32 = 65_534;
const SOON: Duration = Duration::from_secs(30);
/// What HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The files in a folder, with the one ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("it is there").permissions().mode() & 0o7777
}

/// An empty folder for `TMPDIR` that everybody can enter.
fn temporary(dir: &Path) -> PathBuf {
    let temporary = dir.join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    for (path, mode) in [(dir, 0o755), (&temporary, 0o1777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    temporary
}

/// Four captures begin in one folder at the same moment, among two that fail: each of the four has all packets in its files.
#[test]
fn captures_begun_together_in_one_folder_have_files_of_their_own() {
    require_privileged!();
    let (pair, dir) = (Pair::silent(), tempfile::tempdir().expect("a folder"));
    let start = |interface: &str| command(dir.path(), &[&format!("--interfaces={interface}")]).own_group().start();
    let mut captures = Vec::new();
    let mut failing = Vec::new();
    for _ in 0..2 {
        captures.push(start(pair.captured()));
        failing.push(start("nosuch0"));
        captures.push(start(pair.captured()));
    }
    for process in failing {
        let finished = process.wait(SOON);
        assert_eq!(finished.code(), 1, "{finished}");
    }
    assert!(wait_for(SOON, || ours(&pair.right, pair.captured()) == 8), "four captures of two programs each");
    Blast { flows: 100, rounds: 10, ..Blast::default() }.run(&pair.left, &pair.veth.a.name);
    for process in captures {
        process.signal(Signal::SIGTERM);
        let finished = process.wait(SOON);
        assert!(finished.success(), "{finished}");
    }
    let folder = dir.path().join("output/flow");
    let (json, db) = (files(&folder, "json"), files(&folder, "db"));
    assert_eq!((json.len(), db.len(), fs::read_dir(&folder).expect("a folder").count()), (4, 4, 8), "{json:?}");
    for file in json {
        // Files are read pair by pair.
        let alone = tempfile::tempdir().expect("a folder");
        fs::create_dir(alone.path().join("flow")).expect("a folder");
        for ending in ["json", "db"] {
            let name = file.with_extension(ending);
            fs::copy(&name, alone.path().join("flow").join(name.file_name().expect("a name"))).expect("a copy");
        }
        let files = Files::of(alone.path());
        files.assert_whole();
        assert_eq!(files.sum("true").packets, 1000, "{}", file.display());
    }
}

#[test]
fn packets_captured_together_are_in_files_of_their_own() {
    require_privileged!();
    let (pair, dir) = (Pair::silent(), tempfile::tempdir().expect("a folder"));
    let start = |more: &[&str]| {
        let run = Run::new(&binaries().plugin).args(["packets", "--local", "--all"]).args(more).dir(dir.path());
        run.arg(format!("--interfaces={}", pair.captured())).own_group().start()
    };
    let captures = [start(&[]), start(&[]), start(&["--max-file-size=1000000"])];
    assert!(wait_for(SOON, || ours(&pair.right, pair.captured()) == 6), "three captures of two programs each");
    for process in captures {
        process.signal(Signal::SIGTERM);
        let finished = process.wait(SOON);
        assert!(finished.success(), "{finished}");
    }
    assert_eq!(files(&dir.path().join("output/pcap"), "pcapng").len(), 3);
}

#[test]
fn only_the_user_can_read_what_is_captured() {
    require_privileged!();
    let pair = Pair::silent();
    for (what, umask) in [("flows", "0"), ("packets --all", "0"), ("flows", "0777"), ("packets --all", "0777")] {
        let dir = tempfile::tempdir().expect("a folder");
        let (temporary, keys) = (temporary(dir.path()), dir.path().join("keys"));
        fs::write(&keys, "").expect("a key log");
        let secrets = if what == "flows" { String::new() } else { format!("--tls-keylog={}", keys.display()) };
        let line = format!(
            "umask {umask}; exec \"$0\" {what} --local --interfaces={} --output-dir=new/output {secrets}",
            pair.captured()
        );
        let run = Run::new("sh").args(["-c", &line]).arg(&binaries().plugin).dir(dir.path());
        let process = run.env("TMPDIR", &temporary).own_group().start();
        assert!(wait_for(SOON, || ours(&pair.right, pair.captured()) == 2), "{}", process.stderr());
        let private: Vec<_> = fs::read_dir(&temporary).expect("a folder").flatten().map(|entry| entry.path()).collect();
        let modes: Vec<u32> = private.iter().map(|path| mode(path)).collect();
        assert_eq!(modes, [0o700], "the folder of the socket: {private:?}");
        process.signal(Signal::SIGTERM);
        let finished = process.wait(SOON);
        assert!(finished.success(), "{finished}");
        let folder = dir.path().join("new/output").join(if what == "flows" { "flow" } else { "pcap" });
        let made: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
        assert!(!made.is_empty() && made.iter().all(|file| mode(file) == 0o600), "{what}, umask {umask}: {made:?}");
        let folders = ["new", "new/output"].map(|name| mode(&dir.path().join(name)));
        assert_eq!((folders, mode(&folder)), ([0o700; 2], 0o700), "{what}, umask {umask}");
    }
}

/// A socket in a folder like ours that takes no more connections: who connects to it waits for ever.
const TRAP: &str = r#"
import os, socket, sys, time
folder = sys.argv[1] + "/oc-netobserv-trap"
os.mkdir(folder)
os.chmod(folder, 0o777)
listener = socket.socket(socket.AF_UNIX)
listener.bind(folder + "/collector.sock")
listener.listen(0)
os.chmod(folder + "/collector.sock", 0o777)
held = []
while True:
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    try:
        client.connect(folder + "/collector.sock")
    except BlockingIOError:
        break
    held.append(client)
print("full", flush=True)
time.sleep(120)
"#;

#[test]
fn a_socket_that_another_user_has_filled_holds_nothing_up() {
    require_privileged!();
    let (pair, dir) = (Pair::silent(), tempfile::tempdir().expect("a folder"));
    let temporary = temporary(dir.path());
    let trap = Run::new("python3").args(["-c", TRAP]).arg(&temporary).uid(NOBODY).start();
    assert!(wait_for(SOON, || trap.stdout().contains("full")), "{}", trap.stderr());
    let run = command(dir.path(), &[&format!("--interfaces={}", pair.captured())]).env("TMPDIR", &temporary);
    let mut capture = LocalCapture::start_run(dir, run);
    capture.wait_attached(&pair.right, pair.captured());
    let _ended = capture.stop();
    assert!(temporary.join("oc-netobserv-trap/collector.sock").exists(), "what is not ours stays");
}

#[test]
fn what_a_killed_plugin_leaves_is_removed_by_the_next() {
    require_privileged!();
    let (pair, dir) = (Pair::silent(), tempfile::tempdir().expect("a folder"));
    let temporary = temporary(dir.path());
    let count = || fs::read_dir(&temporary).expect("a folder").count();
    let start = |interface: &str| {
        let run = command(dir.path(), &[&format!("--interfaces={interface}")]).env("TMPDIR", &temporary);
        run.own_group().start()
    };
    let [killed, living] = [start(pair.captured()), start(pair.captured())];
    assert!(wait_for(SOON, || ours(&pair.right, pair.captured()) == 4 && count() == 2), "{}", killed.stderr());
    let children = [killed.children("netobserv-agent"), killed.children("netobserv-collector")].concat();
    signal(killed.pid(), Signal::SIGKILL);
    assert!(wait_for(SOON, || !children.iter().any(|child| alive(*child))), "its programs end with it");
    assert_eq!(count(), 2, "it could not remove its folder");
    let finished = start("nosuch0").wait(SOON);
    assert_eq!((finished.code(), count()), (1, 1), "the folder of the living one stays\n{finished}");
    living.signal(Signal::SIGTERM);
    let finished = living.wait(SOON);
    assert!(finished.success() && count() == 0, "{finished}");
}

/// Everybody on this machine reaches a port of 127.0.0.1, and only the agent of the capture is let in.
#[test]
fn strangers_at_the_port_are_not_let_in() {
    require_privileged!();
    let pair = Pair::silent();
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let word = format!("--listen-port={}", free.port());
    // The collector is in the namespace of the test, the agent watches all of them.
    let capture = LocalCapture::of(&pair.right, pair.captured(), &[&word]);
    let mut stranger = TcpStream::connect(free).expect("a connection");
    stranger.write_all(PREFACE).expect("a beginning");
    stranger.set_read_timeout(Some(SOON)).expect("a limit");
    stranger.read_to_end(&mut Vec::new()).expect("the end of the connection");
    drop(stranger);
    Blast { flows: 100, rounds: 10, ..Blast::default() }.run(&pair.left, &pair.veth.a.name);
    let ended = capture.stop();
    assert_eq!(ended.files().sum("true").packets, 1000);
    let said = &ended.finished.stderr;
    assert!(said.contains("refused a connection from 127.0.0.1:") && said.contains("does not speak TLS"), "{said}");
}

/// Without the agent nothing was captured: one line says why, and nothing is left.
#[test]
fn a_start_that_fails_prints_its_reason_and_nothing_else() {
    require_privileged!();
    for words in [&["flows"][..], &["packets", "--all"], &["packets", "--all", "-w", "-"]] {
        let dir = tempfile::tempdir().expect("a folder");
        let run = Run::new(&binaries().plugin).args(words).args(["--local", "--interfaces=nosuch0"]).dir(dir.path());
        let finished = run.own_group().start().wait(SOON);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(finished.code() == 1 && said.contains("nosuch0"), "{finished}");
        assert!(!said.contains("Captured for") && !said.contains("lost: "), "{finished}");
        let folder = dir.path().join("output").join(if words[0] == "flows" { "flow" } else { "pcap" });
        assert_eq!(fs::read_dir(folder).into_iter().flatten().count(), 0, "{finished}");
    }
}

#[test]
fn microseconds_have_two_signs() {
    require_privileged!();
    let pair = Pair::silent();
    for time in ["--max-time=90000000\u{b5}s", "--max-time=90000000\u{3bc}s"] {
        LocalCapture::of(&pair.right, pair.captured(), &[time]).stop();
    }
}
