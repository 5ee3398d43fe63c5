//! Peers that may send and do harm with it: what they take from others has an end, and the log names them.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use netobserv_testkit::memory::{mib, of_process};
use netobserv_testkit::{Files, Process, Signal, wait_for};
use netobserv_wire::pbflow::{AgentStatus, CollectorReply, DupMapEntry, Record, Records};
use prost::Message;
use prost::bytes::Bytes;
use support::client::send_encoded;
use support::raw::Begun;
use support::{SOON, program, records};
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

const AGENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A collector that listens on TCP.
struct Lab {
    dir: TempDir,
    address: SocketAddr,
    process: Process,
}

impl Lab {
    #[track_caller]
    fn start(words: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Free now, and hardly taken within a moment.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let run = program(&["get-flows", "--listen", &address.to_string(), "--insecure", "--output-dir"]);
        let process = run.arg(dir.path().join("output")).args(words).start();
        let lab = Self { dir, address, process };
        lab.wait_for_log("Started collector");
        lab
    }

    #[track_caller]
    fn wait_for_log(&self, words: &str) {
        assert!(wait_for(SOON, || self.process.stderr().contains(words)), "{words}: {}", self.process.stderr());
    }

    /// Sends a batch from an address.
    fn send(&self, from: IpAddr, batch: Bytes) -> Result<CollectorReply, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
            let channel = endpoint.local_address(Some(from)).connect().await;
            send_encoded(channel.map_err(|error| Status::unavailable(error.to_string()))?, batch).await
        })
    }

    /// MiB that the collector had at most until now.
    #[track_caller]
    fn most_memory(&self) -> f64 {
        mib(of_process(self.process.pid(), "VmHWM").expect("it runs"))
    }

    /// The files, and what it printed.
    #[track_caller]
    fn end(self) -> (TempDir, Files, String) {
        self.process.signal(Signal::SIGTERM);
        let finished = self.process.wait(SOON);
        assert!(finished.success(), "{finished}");
        let files = Files::of(&self.dir.path().join("output"));
        (self.dir, files, finished.stdout)
    }
}

fn value(files: &Files, name: &str) -> u64 {
    files.number(&format!("SELECT value FROM capture WHERE name = '{name}'"))
}

fn status(node: &str, version: &str) -> AgentStatus {
    AgentStatus { node: node.into(), version: version.into(), ..AgentStatus::default() }
}

fn batch(agent: AgentStatus, flows: u64) -> Bytes {
    Records { entries: records::some(0, flows), agent: Some(agent), sequence: 0 }.encode_to_vec().into()
}

/// Before, these three held all memory for messages, and every other agent was refused.
#[test]
fn messages_that_trickle_keep_no_other_agent_out_and_are_given_up() {
    let lab = Lab::start(&[]);
    let begin = |_| Begun::message(STRANGER, lab.address, "/pbflow.Collector/Send", 16 << 20);
    let mut trickles: Vec<Begun> = (0..3).map(begin).collect();
    trickles.iter_mut().for_each(|trickle| assert!(trickle.send(&[0x0a])));
    for _ in 0..8 {
        lab.send(AGENT, batch(status("n1", ""), 10_000)).expect("room");
        trickles.iter_mut().for_each(|trickle| assert!(trickle.send(&[0])));
    }
    let words = "a message from 127.0.0.2:";
    let given_up = wait_for(SOON, || {
        // It is closed when it is given up.
        let _open = trickles.iter_mut().all(|trickle| trickle.send(&[0]));
        lab.process.stderr().contains(words)
    });
    assert!(given_up, "{}", lab.process.stderr());
    lab.wait_for_log("did not arrive within 10 seconds");
    lab.send(AGENT, batch(AgentStatus { last: true, ..status("n1", "") }, 1)).expect("room");
    let (_dir, files, _) = lab.end();
    assert_eq!((files.rows(), value(&files, "refused_flows")), (80_001, 0));
}

/// Before, a hundred of these took two gigabytes, and 673 MB of the database.
#[test]
fn what_agents_say_of_themselves_has_an_end() {
    let lab = Lab::start(&[]);
    for (node, version) in [("n".repeat(254), "1".into()), ("n1".into(), "1".repeat(101))] {
        let refused = lab.send(STRANGER, batch(status(&node, &version), 5)).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    lab.wait_for_log("refused a message from 127.0.0.2:");
    let huge = batch(status(&"n".repeat(15 << 20), ""), 0);
    (0..20).for_each(|_| assert!(lab.send(STRANGER, huge.clone()).is_err()));
    lab.send(AGENT, batch(status(&"n".repeat(253), &"1".repeat(100)), 7)).expect("as long as may be");
    let most = lab.most_memory();
    assert!(most < 150.0, "{most} MiB");
    let (_dir, files, printed) = lab.end();
    assert_eq!((files.rows(), value(&files, "refused_messages"), value(&files, "agents")), (7, 22, 1));
    assert!(printed.contains("22 messages broke a rule and were refused"), "{printed}");
}

#[test]
fn more_nodes_than_a_cluster_has_are_refused_and_counted() {
    let lab = Lab::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{}", lab.address)).unwrap().connect().await.unwrap();
        let mut refused = 0;
        for node in 0..6_010 {
            let message = Records { agent: Some(status(&format!("n{node}"), "")), ..Records::default() };
            refused += u64::from(send_encoded(channel.clone(), message.encode_to_vec().into()).await.is_err());
        }
        refused
    });
    let (_dir, files, _) = lab.end();
    let agents = files.number("SELECT count(*) FROM agent");
    assert_eq!((refused, value(&files, "refused_messages"), value(&files, "agents"), agents), (10, 10, 6_000, 6_000));
}

/// A row may be long, and many of them are not in memory at the same time.
#[test]
fn few_long_rows_take_no_more_memory_than_many_short_ones() {
    let lab = Lab::start(&["--maxbytes=0"]);
    let long = Record { dup_list: vec![DupMapEntry::default(); 4_000], ..Record::default() };
    let endless = Record { dup_list: vec![DupMapEntry::default(); 5_000], ..Record::default() };
    let message: Bytes = Records { entries: vec![long; 1_000], ..Records::default() }.encode_to_vec().into();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        // Refused or not: the files are slower.
        let _ = lab.send(STRANGER, message.clone());
    }
    let most = lab.most_memory();
    assert!(most < 500.0, "{most} MiB");
    lab.send(AGENT, Records { entries: vec![endless; 3], ..Records::default() }.encode_to_vec().into()).unwrap();
    let (_dir, files, _) = lab.end();
    assert_eq!(value(&files, "lost_unreadable_flows"), 3);
}

#[test]
fn sums_of_what_agents_claim_stop_at_the_largest_number() {
    let lab = Lab::start(&[]);
    let claims = |bytes| Record { bytes, packets: bytes, ..Record::default() };
    let entries = vec![claims(u64::MAX - 1), claims(u64::MAX), claims(9)];
    let agent = AgentStatus { lost_kernel_packets: u64::MAX, lost_export_flows: u64::MAX, ..status("n1", "") };
    lab.send(AGENT, Records { entries, agent: Some(agent), sequence: 0 }.encode_to_vec().into()).unwrap();
    let other = AgentStatus { lost_kernel_packets: 5, ..status("n2", "") };
    lab.send(STRANGER, batch(other, 1)).unwrap();
    let (_dir, files, _) = lab.end();
    let largest = i64::MAX as u64;
    let sums = ["bytes", "packets", "lost_kernel_packets"].map(|name| value(&files, name));
    assert_eq!(sums, [largest; 3], "as large as the database takes");
}

/// Each speaks for the first node that it named: nothing is known of a cluster here.
#[test]
fn in_a_session_an_address_speaks_for_one_node_and_a_node_from_one_address() {
    let lab = Lab::start(&["--session=s1"]);
    lab.send(AGENT, batch(status("n1", ""), 3)).unwrap();
    for (from, node) in [(AGENT, "n2"), (STRANGER, "n1")] {
        let refused = lab.send(from, batch(status(node, ""), 100)).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    lab.send(STRANGER, batch(status("n2", ""), 5)).unwrap();
    lab.send(AGENT, batch(AgentStatus { last: true, ..status("n1", "") }, 3)).unwrap();
    lab.wait_for_log("it speaks for node n1, for which 127.0.0.1 spoke before");
    let (_dir, files, _) = lab.end();
    assert_eq!((files.rows(), value(&files, "refused_messages"), value(&files, "agents")), (11, 2, 2));
}
