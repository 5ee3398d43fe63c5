//! Agents without a collector: off all interfaces after a while, and back when it answers again. Over TLS, as in a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Blast, Files, Pair, Process, Run, Signal, bpf, require_privileged, wait_for};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// A folder with the certificates of a session, for a collector at [`Pair::LEFT`].
fn certificates(dir: &Path) {
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec![Pair::LEFT.to_owned()]).expect("parameters").signed_by(&key, &ca);
    for (name, text) in
        [("ca.crt", ca.pem()), ("tls.crt", own.expect("a certificate").pem()), ("tls.key", key.serialize_pem())]
    {
        std::fs::write(dir.join(name), text).expect("a file");
    }
}

/// Left a collector, right an agent that watches the wire between them.
struct Lab {
    pair: Pair,
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { pair: Pair::addressed(), dir: tempfile::tempdir().expect("a folder") };
        certificates(lab.dir.path());
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A collector whose files go into a folder of this name.
    #[track_caller]
    fn collector(&self, output: &str) -> Process {
        let words = ["get-flows", "--listen", "10.0.0.1:9999", "--maxbytes=0", "--tls-dir"];
        let run = Run::new(&binaries().collector).netns(&self.pair.left).args(words).arg(self.dir.path());
        let collector = run.arg("--output-dir").arg(self.path(output)).start();
        assert!(wait_for(SOON, || collector.stderr().contains("Started collector")), "{}", collector.stderr());
        collector
    }

    fn agent(&self, lost_after: &str) -> Process {
        let run = Run::new(&binaries().agent).netns(&self.pair.right).env("TARGET_HOST", Pair::LEFT);
        run.env("INTERFACES", self.pair.captured())
            .env("COLLECTOR_LOST_TIMEOUT", lost_after)
            .env("CACHE_ACTIVE_TIMEOUT", "200ms")
            .env("ENABLE_RTT", "true")
            .env("NODE_NAME", "n1")
            .env("TARGET_TLS_CA_CERT_PATH", self.path("ca.crt"))
            .env("TARGET_TLS_USER_CERT_PATH", self.path("tls.crt"))
            .env("TARGET_TLS_USER_KEY_PATH", self.path("tls.key"))
            .start()
    }

    fn hooks(&self) -> usize {
        bpf::attached(&self.pair.right, self.pair.captured()).len()
    }

    #[track_caller]
    fn wait_hooks(&self, wanted: usize, agent: &Process) {
        assert!(
            wait_for(SOON, || self.hooks() == wanted),
            "{} programs, wanted {wanted}: {}",
            self.hooks(),
            agent.stderr()
        );
    }

    /// Waits until a ping is in the files.
    #[track_caller]
    fn captures(&self, output: &str, agent: &Process) {
        self.pair.ping();
        let seen = || Files::of(&self.path(output)).sum("Proto = 1").packets >= 2;
        assert!(wait_for(SOON, seen), "{}", agent.stderr());
    }
}

#[test]
fn a_killed_collector_is_missed_and_a_new_one_is_served() {
    require_privileged!();
    let lab = Lab::new();
    let first = lab.collector("one");
    let mut agent = lab.agent("1s");
    lab.wait_hooks(2, &agent);
    lab.captures("one", &agent);
    first.signal(Signal::SIGKILL);
    lab.wait_hooks(0, &agent);
    let told = wait_for(SOON, || agent.stderr().contains("off all interfaces until it answers"));
    assert!(told && !agent.ended(), "{}", agent.stderr());

    let second = lab.collector("two");
    lab.wait_hooks(2, &agent);
    lab.captures("two", &agent);
    second.signal(Signal::SIGTERM);
    let ended = second.wait(SOON);
    assert!(ended.success() && ended.stdout.contains("from 1 agent"), "{ended}");
    // The last word has come: the agent was told to stop, and did.
    assert!(!ended.stdout.contains("did not report their end"), "{ended}");
    lab.wait_hooks(0, &agent);
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait(SOON).success());
}

#[test]
fn a_cut_network_is_missed_and_served_again_when_it_is_back() {
    require_privileged!();
    let lab = Lab::new();
    let collector = lab.collector("one");
    let agent = lab.agent("1s");
    lab.wait_hooks(2, &agent);
    lab.captures("one", &agent);
    lab.pair.left.ip(&format!("link set {} down", lab.pair.veth.a.name));
    lab.wait_hooks(0, &agent);
    lab.pair.left.ip(&format!("link set {} up", lab.pair.veth.a.name));
    lab.wait_hooks(2, &agent);
    let before = Files::of(&lab.path("one")).sum("Proto = 1").packets;
    lab.pair.ping();
    let seen = || Files::of(&lab.path("one")).sum("Proto = 1").packets > before;
    assert!(wait_for(SOON, seen), "{}", agent.stderr());
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait(SOON).success());
    collector.signal(Signal::SIGTERM);
    let ended = collector.wait(SOON);
    // The time off the interfaces is all that is missing.
    let lost = ended.stdout.lines().find_map(|line| line.trim().strip_prefix("lost: ")).unwrap_or_default();
    assert!(lost.starts_with("without an agent ") && !lost.contains(','), "{ended}");
    assert!(ended.success() && ended.stdout.contains("did not reach the collector from "), "{ended}");
}

#[test]
fn an_agent_without_a_collector_ends_when_it_is_told_to() {
    require_privileged!();
    let lab = Lab::new();
    let agent = lab.agent("500ms");
    lab.wait_hooks(2, &agent);
    lab.wait_hooks(0, &agent);
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait(SOON).success());
}

/// The collector cannot write: its queue fills, then that of the agent, which counts for longer instead of losing.
#[test]
fn a_slow_collector_makes_longer_windows() {
    require_privileged!();
    let lab = Lab::new();
    let collector = lab.collector("one");
    let agent = lab.agent("60s");
    lab.wait_hooks(2, &agent);
    lab.captures("one", &agent);
    let database = Files::of(&lab.path("one")).database();
    assert!(wait_for(SOON, || database.execute_batch("BEGIN IMMEDIATE").is_ok()), "the lock that the collector needs");
    let blast = Blast { flows: 30_000, rounds: 4, rate: Some(40_000), ..Blast::default() };
    let sent = blast.run(&lab.pair.left, &lab.pair.veth.a.name);
    assert!(wait_for(SOON, || agent.stderr().contains("records wait to be sent")), "{}", agent.stderr());
    database.execute_batch("ROLLBACK").expect("an end");
    drop(database);
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait(SOON).success());
    collector.signal(Signal::SIGTERM);
    let ended = collector.wait(SOON);
    assert!(ended.stdout.contains("1 agents counted for up to") && ended.stdout.contains("lost: nothing"), "{ended}");
    let files = Files::of(&lab.path("one"));
    assert_eq!(files.sum("IfDirection = 0 AND Proto = 17").packets, sent.packets, "{ended}");
}
