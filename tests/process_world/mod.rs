//! Two namespaces with servers and clients in them, and what a capture says of the two.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_testkit::{LocalCapture, Netns, Process, Signal, Veth, wait_for};
use serde_json::Value;

pub(crate) const PORT: u16 = 4747;
pub(crate) const RIGHT: &str = "10.0.0.2";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const SERVER: &str = include_str!("server.py");
const CLIENT: &str = include_str!("client.py");
const ASK: &str = include_str!("ask.py");

/// Two namespaces on a wire.
pub(crate) struct World {
    pub(crate) left: Netns,
    pub(crate) right: Netns,
    pub(crate) interface: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        let veth = Veth::with_neighbours(&left, &["10.0.0.1/24", "fd00::1/64"], &right, &["10.0.0.2/24", "fd00::2/64"]);
        Self { left, right, interface: veth.b.name }
    }

    pub(crate) fn capture(&self) -> LocalCapture {
        self.capture_with(&[])
    }

    pub(crate) fn capture_with(&self, words: &[&str]) -> LocalCapture {
        LocalCapture::of(&self.right, &self.interface, &[&["--output=text"], words].concat())
    }

    pub(crate) fn server(&self, words: &[&str]) -> Process {
        let server = self.right.run("python3").args(["-c", SERVER]).args(words).start();
        let ready = if words.contains(&"workers") { 3 } else { 1 };
        assert!(wait_for(PATIENCE, || server.stdout().matches("ready").count() == ready), "{}", server.stderr());
        server
    }

    /// A client that has had an answer.
    pub(crate) fn client(&self, words: &[&str]) -> Process {
        let client = self.left.run("python3").args(["-c", CLIENT]).args(words).start();
        wait_for_answers(&client, 1);
        client
    }

    /// A connection by a process that is gone at once; returns its number.
    pub(crate) fn visit(&self, to: &str) -> u64 {
        let line = format!("exec 3<>/dev/tcp/{to}/{PORT}; echo hello >&3; read -r answer <&3; echo $$");
        self.left.run("bash").args(["-c", &line]).output().trim().parse().expect("a process number")
    }

    pub(crate) fn ask(&self, to: &str) -> u64 {
        self.left.run("python3").args(["-c", ASK, to]).output().trim().parse().expect("a process number")
    }
}

#[track_caller]
pub(crate) fn wait_for_answers(client: &Process, more: usize) {
    let count = || client.stdout().matches("answered").count();
    let wanted = count() + more;
    assert!(wait_for(PATIENCE, || count() >= wanted), "{}", client.stderr());
}

/// Waits until two records name both, whose conversation goes on: names come when the machine has the time.
#[track_caller]
pub(crate) fn wait_for_named(capture: &LocalCapture, proto: u64, client: u64, server: u64) {
    let flows = || capture.files().flows();
    let named = || talks(&flows(), proto).iter().filter(|talk| (talk.client, talk.server) == (client, server)).count();
    assert!(wait_for(PATIENCE, || named() >= 2), "{client} {server}: {:?}", flows());
}

/// Has visitors come until so many of them are named together with the server; returns all that came.
#[track_caller]
pub(crate) fn visitors(
    capture: &LocalCapture,
    (proto, server): (u64, u64),
    count: usize,
    mut visit: impl FnMut() -> u64,
) -> BTreeSet<u64> {
    let mut came = BTreeSet::new();
    let all_named = || {
        came.insert(visit());
        let flows = capture.files().flows();
        let named = talks(&flows, proto).into_iter().filter(|talk| talk.server == server).map(|talk| talk.client);
        named.filter(|client| came.contains(client)).collect::<BTreeSet<_>>().len() >= count
    };
    assert!(wait_for(PATIENCE, all_named), "{count} visitors of {server}: {:?}", capture.files().flows());
    came
}

pub(crate) fn kill(process: Process) {
    process.signal(Signal::SIGKILL);
    process.wait(PATIENCE);
}

/// The number behind a word that a process printed.
#[track_caller]
pub(crate) fn told(process: &Process, word: &str) -> u64 {
    let number = || process.stdout().split_once(&format!("{word} "))?.1.split_whitespace().next()?.parse().ok();
    assert!(wait_for(PATIENCE, || number().is_some()), "{}", process.stderr());
    number().expect("a number")
}

/// One direction of a conversation with the server.
pub(crate) struct Talk<'a> {
    pub(crate) client: u64,
    pub(crate) server: u64,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) flow: &'a Value,
}

pub(crate) fn talks(flows: &[Value], proto: u64) -> Vec<Talk<'_>> {
    let number = |flow: &Value, field: String| flow[&field].as_u64().unwrap_or(0);
    let talk = |flow| {
        let side = |side: &str| number(flow, format!("{side}Port")) == u64::from(PORT);
        let (client, server) = match (side("Src"), side("Dst")) {
            (false, true) => ("Src", "Dst"),
            (true, false) => ("Dst", "Src"),
            _ => return None,
        };
        Some(Talk {
            client: number(flow, format!("{client}Pid")),
            server: number(flow, format!("{server}Pid")),
            start_ms: number(flow, "TimeFlowStartMs".into()),
            end_ms: number(flow, "TimeFlowEndMs".into()),
            flow,
        })
    };
    let mut all: Vec<_> = flows.iter().filter(|flow| flow["Proto"] == proto).filter_map(talk).collect();
    all.sort_by_key(|talk| talk.start_ms);
    all
}

pub(crate) fn pid(process: &Process) -> u64 {
    process.pid() as u64
}

/// A control group of the unified hierarchy, removed when dropped.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    pub(crate) fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let unified = mounts.lines().find_map(|line| line.split(" cgroup2 ").next().filter(|left| *left != line));
        let point = unified.and_then(|left| left.split(' ').nth(1)).expect("the unified hierarchy");
        let folder = Path::new(point).join(name);
        fs::create_dir(&folder).expect("a control group");
        Self(folder)
    }

    pub(crate) fn add(&self, process: &Process) {
        fs::write(self.0.join("cgroup.procs"), process.pid().to_string()).expect("a process in a control group");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets go of a process that has just ended a moment later.
        let _ = wait_for(PATIENCE, || fs::remove_dir(&self.0).is_ok());
    }
}
