//! Many interfaces, few file descriptors, and other programs on the same interfaces: each interface is watched, or is counted and named.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use netobserv_testkit::bpf::{attached, filters_here, put_in_front};
use netobserv_testkit::netns::unique_interface;
use netobserv_testkit::proc::{binaries, signal};
use netobserv_testkit::session::{command, ours};
use netobserv_testkit::{Blast, Ended, LocalCapture, Netns, Pair, Run, Signal, require_privileged};
use rusqlite::Connection;

/// Starts an agent that may open 64 files, but may raise that.
const SOFT: &str = "ulimit -S -n 64; exec";
/// Starts an agent that may not, and sees none of the other network namespaces of this machine, each of which takes two.
const HARD: &str = "if [ -z \"$ALONE\" ]; then ALONE=1 exec unshare --mount \"$0\" \"$@\"; fi
mount -t tmpfs none /run/netns; ulimit -n 64; exec setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource";

/// Two namespaces with `count` cables between them. The right ends are called `<prefix>r<number>`.
struct Wide {
    left: Netns,
    right: Netns,
    prefix: String,
    count: usize,
}

impl Wide {
    fn new(count: usize) -> Self {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        left.no_ipv6();
        right.no_ipv6();
        let prefix = unique_interface("w");
        let mut words = String::new();
        for number in 0..count {
            let (a, b) = (format!("{prefix}l{number}"), format!("{prefix}r{number}"));
            let _ = writeln!(words, "link add {a} type veth peer name {b} netns {}", right.name());
        }
        batch(&left, &words);
        for (ns, side) in [(&left, 'l'), (&right, 'r')] {
            batch(ns, &(0..count).map(|number| format!("link set {prefix}{side}{number} up\n")).collect::<String>());
        }
        Self { left, right, prefix, count }
    }

    /// The name of a right end.
    fn name(&self, number: usize) -> String {
        format!("{}r{number}", self.prefix)
    }

    /// Captures all right ends, by an agent that the shell starts with these words, until each is watched or reported.
    fn capture(&self, words: &str, mode: &str) -> LocalCapture {
        let dir = tempfile::tempdir().expect("a folder");
        let agent = dir.path().join("agent.sh");
        let script = format!("#!/bin/sh\n{words} {} \"$@\"\n", binaries().agent.display());
        std::fs::write(&agent, script).expect("written");
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).expect("made executable");
        let named = format!("--interfaces=/^{}r/", self.prefix);
        let run = command(dir.path(), &[&named]).env("NETOBSERV_AGENT_BIN", &agent).env("TC_ATTACH_MODE", mode);
        let run = if words == HARD { run.netns(&self.right) } else { run };
        let mut capture = LocalCapture::start_run(dir, run);
        let dir = capture.dir().to_owned();
        let reported = || now(&dir, "'interfaces', 'interfaces_unwatched'");
        capture.wait_until("each interface is watched or reported", || reported() == self.count as u64);
        capture
    }

    /// Ten packets over each cable.
    fn blast(&self) {
        for number in 0..self.count {
            // Of its own addresses: equal ones would be one packet that passes many interfaces.
            Blast { flows: 1, rounds: 10, net: number as u16, ..Blast::default() }
                .run(&self.left, &format!("{}l{number}", self.prefix));
        }
    }
}

fn batch(ns: &Netns, words: &str) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), words).expect("written");
    ns.run("ip").args(["-batch", file.path().to_str().expect("a plain name")]).output();
}

/// A number of the table `capture` of a capture that may have no table yet.
fn now(dir: &Path, names: &str) -> u64 {
    let files = std::fs::read_dir(dir.join("output/flow")).into_iter().flatten().flatten();
    let database = files.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "db"));
    let sql = format!("SELECT coalesce(sum(value), 0) FROM capture WHERE name IN ({names})");
    let number = |path| Connection::open(path).ok()?.query_row(&sql, [], |row| row.get::<_, i64>(0)).ok();
    database.and_then(number).unwrap_or(0).cast_unsigned()
}

/// Waits until so many interfaces are reported as not watched.
fn wait_unwatched(capture: &mut LocalCapture, count: u64) {
    let dir = capture.dir().to_owned();
    capture.wait_until("it is reported", || now(&dir, "'interfaces_unwatched'") == count);
}

fn value(ended: &Ended, name: &str) -> u64 {
    ended.files().number(&format!("SELECT value FROM capture WHERE name = '{name}'"))
}

fn unwatched(ended: &Ended) -> String {
    let sql = "SELECT value FROM capture WHERE name = 'unwatched'";
    ended.files().database().query_row(sql, [], |row| row.get(0)).expect("a reason")
}

/// Every interface is counted, nothing is lost, and nothing stays.
#[track_caller]
fn assert_exact(wide: &Wide, ended: &Ended) {
    let files = ended.files();
    assert_eq!(files.sum("IfDirection = 0").packets, 10 * wide.count as u64);
    assert_eq!(value(ended, "interfaces_unwatched"), 0);
    assert_eq!(files.number("SELECT interfaces FROM agent"), wide.count as u64);
    assert!(ended.finished.stdout.contains("lost: nothing"), "{}", ended.finished);
    for number in [0, wide.count - 1] {
        assert_eq!(ours(&wide.right, &wide.name(number)), 0, "still attached");
    }
    assert!(!wide.right.run("tc").args(["qdisc", "show"]).output().contains("clsact"), "a qdisc stays");
}

#[test]
fn a_low_limit_of_files_is_raised() {
    require_privileged!();
    let wide = Wide::new(80);
    let capture = wide.capture(SOFT, "tcx");
    wide.blast();
    assert_exact(&wide, &capture.stop());
}

/// As many interfaces as a large node has, and the limits that shells and services set.
#[test]
fn many_interfaces_are_exact_under_usual_limits() {
    require_privileged!();
    for (count, files) in [(80, 64), (300, 128), (1_000, 1_024)] {
        let wide = Wide::new(count);
        let capture = wide.capture(&format!("ulimit -S -n {files}; exec"), "any");
        wide.blast();
        assert_exact(&wide, &capture.stop());
    }
}

#[test]
fn three_hundred_interfaces_are_watched_with_few_files() {
    require_privileged!();
    let wide = Wide::new(300);
    let capture = wide.capture(HARD, "any");
    wide.right.enter(|| assert_eq!(filters_here(&wide.name(7)).len(), 2, "filters, as links would take too long"));
    wide.blast();
    assert_exact(&wide, &capture.stop());
}

#[test]
fn what_cannot_be_watched_is_counted_and_named() {
    require_privileged!();
    let wide = Wide::new(60);
    let capture = wide.capture(HARD, "tcx");
    wide.blast();
    let ended = capture.stop();
    let (watched, missed) = (value(&ended, "interfaces"), value(&ended, "interfaces_unwatched"));
    assert_eq!(watched + missed, 60);
    assert!(missed > 20, "two files for each of 60 interfaces are more than 64 files: {missed}");
    assert_eq!(ended.files().sum("IfDirection = 0").packets, 10 * watched, "those that are watched are counted");
    assert_eq!(ended.files().number("SELECT interfaces FROM agent"), watched);
    let reason = format!("{missed} interfaces: no file descriptor is left (the limit is 64): {}r", wide.prefix);
    assert!(unwatched(&ended).contains(&reason), "{}", unwatched(&ended));
    let said = &ended.finished.stdout;
    assert!(said.contains(&format!("not watched: {reason}")), "{said}");
    assert!(said.contains(&format!("packets of {missed} interfaces that were not watched all the time")), "{said}");
}

/// Waits until our programs are before all others at both hooks of the interface.
fn wait_at_the_head(capture: &mut LocalCapture, ns: &Netns, interface: &str) {
    let first = |ns, interface| {
        let programs = attached(ns, interface);
        let heads: Vec<bool> = programs.iter().map(netobserv_testkit::bpf::Program::is_ours).collect();
        heads == [true, false, true, false]
    };
    capture.wait_until("our programs are first again", || first(ns, interface));
}

/// A program that lets everything pass, and nothing through to ours.
#[test]
fn a_program_in_front_of_links_is_overtaken_and_reported() {
    require_privileged!();
    let pair = Pair::silent();
    let mut capture = LocalCapture::of(&pair.right, pair.captured(), &[]);
    let _front = put_in_front(&pair.right, pair.captured());
    wait_at_the_head(&mut capture, &pair.right, pair.captured());
    let (left, right) = pair.blast_both_ways(&Blast { flows: 10, rounds: 10, ..Blast::default() });
    let ended = capture.stop();
    assert_eq!(ended.files().sum("IfDirection = 0").packets, left.packets);
    assert_eq!(ended.files().sum("IfDirection = 1").packets, right.packets);
    let reason =
        "1 interface: another eBPF program was in front of the capture's for a moment, and may have hidden packets";
    assert_eq!(unwatched(&ended), format!("not watched: {reason}: {}@{}", pair.captured(), pair.right.name()));
    assert!(
        ended.finished.stdout.contains("packets of 1 interface that was not watched all the time"),
        "{}",
        ended.finished
    );
}

#[test]
fn a_program_in_front_of_filters_is_overtaken_and_reported() {
    require_privileged!();
    let wide = Wide::new(30);
    let mut capture = wide.capture("exec", "any");
    let name = wide.name(3);
    let _front = put_in_front(&wide.right, &name);
    wait_at_the_head(&mut capture, &wide.right, &name);
    wide.blast();
    let ended = capture.stop();
    assert_eq!(ended.files().sum("IfDirection = 0").packets, 300);
    assert_eq!(value(&ended, "interfaces_unwatched"), 1);
    assert!(unwatched(&ended).contains(&name), "{}", unwatched(&ended));
}

/// Where only filters may be used, the place cannot be taken back.
#[test]
fn a_program_that_stays_in_front_is_reported() {
    require_privileged!();
    let wide = Wide::new(2);
    let mut capture = wide.capture("exec", "tc");
    let _front = put_in_front(&wide.right, &wide.name(0));
    wait_unwatched(&mut capture, 1);
    let ended = capture.stop();
    let reason = "another eBPF program stays in front of the capture's and may hide packets";
    assert!(unwatched(&ended).contains(&format!("{reason}: {}", wide.name(0))), "{}", unwatched(&ended));
}

#[test]
fn filters_that_another_program_removes_are_put_back() {
    require_privileged!();
    let wide = Wide::new(30);
    let mut capture = wide.capture("exec", "any");
    wide.right.run("tc").args(["qdisc", "del", "dev", &wide.name(3), "clsact"]).output();
    capture.wait_until("they are back", || ours(&wide.right, &wide.name(3)) == 2);
    wide.blast();
    let ended = capture.stop();
    assert_eq!(ended.files().sum("IfDirection = 0").packets, 300);
    assert!(unwatched(&ended).contains("another program removed the capture's for a moment"), "{}", unwatched(&ended));
}

/// Unlike links, filters stay when the agent is killed. They go with the next capture of the interface.
#[test]
fn filters_of_a_killed_agent_are_removed_by_the_next() {
    require_privileged!();
    let wide = Wide::new(30);
    let first = wide.capture("exec", "any");
    signal(first.child("netobserv-agent"), Signal::SIGKILL);
    assert_eq!(first.ended().finished.code(), 1);
    assert_eq!(ours(&wide.right, &wide.name(3)), 2, "they stay");
    let second = wide.capture("exec", "any");
    assert_eq!(ours(&wide.right, &wide.name(3)), 2, "those of the second");
    wide.blast();
    assert_exact(&wide, &second.stop());
}

#[test]
fn an_interface_that_gets_another_name_is_reported() {
    require_privileged!();
    let wide = Wide::new(2);
    let mut capture = wide.capture("exec", "any");
    let (name, new) = (wide.name(1), unique_interface("o"));
    wide.right.ip(&format!("link set {name} down"));
    wide.right.ip(&format!("link set {name} name {new}"));
    capture.wait_until("it is left", || ours(&wide.right, &new) == 0);
    let ended = capture.stop();
    let reason = format!("1 interface: its new name, {new}, is not among those to capture: {name}@");
    assert!(unwatched(&ended).contains(&reason), "{}", unwatched(&ended));
}

/// `ip netns del` takes a name away. While a program runs there, the namespace and its traffic go on.
#[test]
fn a_namespace_that_lives_on_without_a_name_is_reported() {
    require_privileged!();
    let wide = Wide::new(2);
    let mut capture = wide.capture("exec", "any");
    let inside = wide.right.run("sleep").args(["600"]).start();
    Run::new("ip").args(["netns", "del", wide.right.name()]).output();
    wait_unwatched(&mut capture, 2);
    let ended = capture.stop();
    drop(inside);
    assert!(unwatched(&ended).contains("the name of its network namespace was deleted"), "{}", unwatched(&ended));
}

/// A control group with a limit, which goes when this is dropped.
struct Group(std::path::PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn an_agent_with_too_little_memory_says_what_it_needs() {
    require_privileged!();
    // Version 1 where there is one, else version 2.
    let (v1, v2) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
    let (root, file) = if v1.is_dir() { (v1, "memory.limit_in_bytes") } else { (v2, "memory.max") };
    let group = Group(root.join(unique_interface("m")));
    std::fs::create_dir(&group.0).expect("a control group");
    if let Err(error) = std::fs::write(group.0.join(file), "64M") {
        eprintln!("skipped: this machine does not limit the memory of its control groups: {error}");
        return;
    }
    let pair = Pair::silent();
    let dir = tempfile::tempdir().expect("a folder");
    let agent = dir.path().join("agent.sh");
    let script =
        format!("#!/bin/sh\necho $$ > {}/cgroup.procs; exec {}\n", group.0.display(), binaries().agent.display());
    std::fs::write(&agent, script).expect("written");
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    let run = command(dir.path(), &[&format!("--interfaces={}", pair.captured())]);
    let ended = LocalCapture::start_run(dir, run.env("NETOBSERV_AGENT_BIN", &agent)).ended();
    assert_eq!(ended.finished.code(), 1);
    let said = &ended.finished.stderr;
    assert!(said.contains("the agent may use 64 MiB of memory here and needs 1"), "{said}");
}
