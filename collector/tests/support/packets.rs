//! A collector of packets, and agents to feed it.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use netobserv_testkit::{Frame, Run, Signal, wait_for};
use netobserv_wire::netobserv::packets_client::PacketsClient;
use netobserv_wire::netobserv::{Encoding, PacketBatch, PacketInterface};
use netobserv_wire::packet::{self, Direction, Head};
use netobserv_wire::pbflow::{AgentStatus, CollectorReply};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

use super::{Collector, Ended, SOON, client};

const ETH0: u32 = 1;
const DROPS: u32 = 2;

/// A running collector of packets with a folder of its own.
pub struct Capture(Collector);

impl Capture {
    /// Starts one with these words and waits until it listens.
    #[track_caller]
    pub fn start(words: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let output = dir.path().join("output");
        Self::start_in(dir, output, words)
    }

    /// As [`Capture::start`], with its files elsewhere.
    #[track_caller]
    pub fn start_into(output: &Path, words: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), output.to_owned(), words)
    }

    /// As [`Capture::start`], with a standard output that somebody holds open and nobody reads. How it ended is the last that is said.
    #[track_caller]
    pub fn start_unread(words: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (output, socket) = (dir.path().join("output"), format!("unix:{}", super::socket(dir.path()).display()));
        let line = r#"("$@"; echo "ended with $?" >&2) | sleep 600"#;
        let words = ["get-packets", "--listen", &socket].into_iter().chain(words.iter().copied());
        let run = Run::new("sh").args(["-c", line, "sh", env!("CARGO_BIN_EXE_netobserv-collector")]).args(words);
        let run = run.arg("--output-dir").arg(&output).own_group();
        Self(Collector::started(dir, output, run))
    }

    /// What it said on standard error until now.
    pub fn stderr(&self) -> String {
        self.0.process.stderr()
    }

    #[track_caller]
    fn start_in(dir: TempDir, output: PathBuf, words: &[&str]) -> Self {
        let run = super::capture(dir.path(), "get-packets", &output, words);
        Self(Collector::started(dir, output, run))
    }

    /// An agent that is connected to it.
    #[track_caller]
    pub fn agent(&self, node: &str) -> Agent {
        Agent::connect(&self.0.socket(), node)
    }

    /// Bytes that it wrote to standard output.
    pub fn stdout_bytes(&self) -> usize {
        self.0.process.stdout().len()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.0.process.signal(Signal::SIGKILL);
        assert!(wait_for(SOON, || self.0.process.ended()), "killed");
    }

    /// The one file so far.
    #[track_caller]
    pub fn only_file(&self) -> PathBuf {
        only(&self.0.output)
    }

    /// Sends a signal, waits for the end, and expects it to be a good one.
    #[track_caller]
    pub fn stop(self, signal: Signal) -> Ended {
        self.0.stop(signal)
    }

    /// Waits for the end.
    #[track_caller]
    pub fn ended(self) -> Ended {
        self.0.ended()
    }
}

impl Ended {
    /// What it said.
    pub fn stdout(&self) -> &str {
        &self.finished.stdout
    }

    /// Where its files are.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Its only file.
    #[track_caller]
    pub fn only_file(&self) -> PathBuf {
        only(&self.output)
    }

    /// Its files of packets, by name.
    pub fn packet_files(&self) -> Vec<PathBuf> {
        files(&self.output)
    }
}

fn files(output: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(output.join("pcap")).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

#[track_caller]
fn only(output: &Path) -> PathBuf {
    let files = files(output);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// An agent with one interface, and the place of dropped packets.
pub struct Agent {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    node: String,
    received: Cell<u64>,
    lost: Cell<u64>,
}

impl Agent {
    /// One that is connected to the collector behind this socket.
    #[track_caller]
    pub fn connect(socket: &Path, node: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let channel = runtime.block_on(client::connect(socket));
        Self { runtime, channel, node: node.into(), received: Cell::new(0), lost: Cell::new(0) }
    }

    /// Sends packets that came in; true when the collector wants it to stop.
    #[track_caller]
    pub fn send(&self, packets: &[(u64, Vec<u8>)]) -> bool {
        self.post(0, packets, None, false).expect("an accepted batch").stop
    }

    /// Sends packets; false when the collector does not take them any more.
    pub fn try_send(&self, packets: &[(u64, Vec<u8>)]) -> bool {
        self.post(0, packets, None, false).is_ok()
    }

    /// Sends a batch with a number.
    #[track_caller]
    pub fn send_numbered(&self, sequence: u64, packets: &[(u64, Vec<u8>)]) {
        self.post(sequence, packets, None, false).expect("an accepted batch");
    }

    /// Sends a packet that the kernel dropped.
    #[track_caller]
    pub fn send_dropped(&self, time_ns: u64, frame: &[u8], cause: &str) {
        self.post(0, &[(time_ns, frame.to_vec())], Some(cause), false).expect("an accepted batch");
    }

    /// Says that nothing follows.
    #[track_caller]
    pub fn last(&self) {
        self.post(0, &[], None, true).expect("a last word");
    }

    /// From now on so many packets more were lost in the kernel.
    pub fn lose(&self, packets: u64) {
        self.lost.set(self.lost.get() + packets);
    }

    fn post(
        &self,
        sequence: u64,
        packets: &[(u64, Vec<u8>)],
        cause: Option<&str>,
        last: bool,
    ) -> Result<CollectorReply, Status> {
        let mut payload = vec![];
        for (time_ns, frame) in packets {
            let head = Head {
                time_ns: *time_ns,
                id: packet::identity(frame),
                interface: if cause.is_some() { DROPS } else { ETH0 },
                original: frame.len() as u32,
                sampling: 1,
                cause: u16::from(cause.is_some()),
                direction: if cause.is_some() { Direction::Unknown } else { Direction::In },
            };
            packet::append(&mut payload, &head, &[frame]);
        }
        self.received.set(self.received.get() + packets.len() as u64);
        let agent = AgentStatus {
            node: self.node.clone(),
            instance: 1,
            last,
            lost_kernel_packets: self.lost.get(),
            ..AgentStatus::default()
        };
        let mut batch = PacketBatch {
            agent: Some(agent),
            sequence,
            interfaces: self.interfaces(),
            causes: cause.into_iter().map(str::to_owned).collect(),
            packets: packets.len() as u32,
            ..PacketBatch::default()
        };
        packet::seal(&mut batch, payload, Encoding::Zstd).expect("zstd");
        let mut client = PacketsClient::new(self.channel.clone());
        self.runtime.block_on(client.send(batch)).map(tonic::Response::into_inner)
    }

    fn interfaces(&self) -> Vec<PacketInterface> {
        let eth0 = PacketInterface {
            id: ETH0,
            name: "eth0".into(),
            ifindex: 2,
            received_packets: self.received.get() + self.lost.get(),
            lost_ring_packets: self.lost.get(),
            ..PacketInterface::default()
        };
        let drops = PacketInterface {
            id: DROPS,
            name: format!("drop@{}", self.node),
            drops: true,
            ..PacketInterface::default()
        };
        vec![eth0, drops]
    }
}

/// A UDP packet to port 80.
pub fn frame(port: u16, payload: usize) -> Vec<u8> {
    let frame = Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    frame.ipv4("10.0.0.1", "10.0.0.2").udp(port, 80).payload(payload).build()
}

/// These fields of every packet, as tshark reads them. It must have nothing to say beside.
#[track_caller]
pub fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut run = Run::new("tshark").arg("-r").arg(file).args(["-n", "-T", "fields", "-E", "separator=/t"]);
    for field in fields {
        run = run.args(["-e", field]);
    }
    let finished = run.finish();
    assert!(finished.success(), "{finished}");
    let said: Vec<&str> = finished.stderr.lines().filter(|line| !line.contains("Running as user")).collect();
    assert!(said.is_empty(), "tshark says {said:?}");
    finished.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}
