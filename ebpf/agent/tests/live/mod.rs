//! The agent's program at work on real interfaces, a receiver for its packets, and tcpdump next to it.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use netobserv_testkit::memory::of_process;
use netobserv_testkit::{Finished, Netns, Process, Run, Signal, bpf, wait::settled, wait_for};
use netobserv_wire::{
    Packet,
    netobserv::{
        PacketBatch, PacketInterface,
        packets_server::{Packets, PacketsServer},
    },
    packet,
    pbflow::CollectorReply,
};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// Most time that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// tcpdump writes nothing for this time when it has written all.
const QUIET: Duration = Duration::from_millis(700);

/// Takes the place of the collector.
pub struct Receiver {
    dir: TempDir,
    state: Arc<State>,
    _runtime: Runtime,
}

#[derive(Default)]
struct State {
    batches: Mutex<Vec<PacketBatch>>,
    /// Nothing is answered.
    busy: AtomicBool,
}

struct Handler(Arc<State>);

#[tonic::async_trait]
impl Packets for Handler {
    async fn send(&self, request: Request<PacketBatch>) -> Result<Response<CollectorReply>, Status> {
        while self.0.busy.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.0.batches.lock().expect("no panic under the lock").push(request.into_inner());
        Ok(Response::new(CollectorReply::default()))
    }
}

impl Receiver {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let state = Arc::<State>::default();
        let handler = PacketsServer::new(Handler(state.clone()));
        let path = dir.path().join("socket");
        runtime.spawn(async move {
            let incoming = UnixListenerStream::new(UnixListener::bind(path).expect("a socket"));
            tonic::transport::Server::builder().add_service(handler).serve_with_incoming(incoming).await
        });
        Self { dir, state, _runtime: runtime }
    }

    /// From now on nothing is answered, or everything again.
    pub fn set_busy(&self, busy: bool) {
        self.state.busy.store(busy, Relaxed);
    }

    /// What came so far.
    pub fn batches(&self) -> Vec<PacketBatch> {
        self.state.batches.lock().expect("no panic under the lock").clone()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

/// The agent, capturing packets at one interface.
pub struct Agent {
    process: Process,
    receiver: Receiver,
}

/// What an agent captured until its end.
pub struct Captured {
    pub packets: Vec<Packet>,
    /// As they were reported last.
    pub interfaces: Vec<PacketInterface>,
    pub lost_kernel: u64,
    pub lost_export: u64,
    pub agent: Finished,
}

impl Agent {
    /// Starts it and waits until both of its programs are attached.
    #[track_caller]
    pub fn start(receiver: Receiver, ns: &Netns, interface: &str, settings: &[(&str, &str)]) -> Self {
        let mut run = Run::new(env!("CARGO_BIN_EXE_netobserv-agent"))
            .env("TARGET_HOST", format!("unix:{}", receiver.socket().display()))
            .env("ENABLE_PCA", "true")
            .env("NODE_NAME", "node1")
            .env("INTERFACES", interface);
        for (name, value) in settings {
            run = run.env(name, value);
        }
        let mut process = run.start();
        let attached =
            || bpf::attached(ns, interface).iter().filter(|program| program.name.starts_with("packet_")).count();
        let came = wait_for(PATIENCE, || process.ended() || attached() == 2);
        assert!(came && !process.ended(), "the agent does not capture: {}", process.stderr());
        Self { process, receiver }
    }

    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Largest memory that it had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        of_process(self.process.pid(), "VmHWM").expect("it runs")
    }

    /// Ends it; it sends what it has.
    #[track_caller]
    pub fn stop(self) -> Captured {
        self.process.signal(Signal::SIGTERM);
        let agent = self.process.wait(PATIENCE);
        assert!(agent.success(), "{agent}");
        let batches = self.receiver.batches();
        let last = batches.last().expect("a last word").clone();
        let status = last.agent.expect("who it is");
        assert!(status.last, "the last message says so");
        assert_eq!(status.node, "node1");
        let sequences: Vec<u64> = batches.iter().map(|batch| batch.sequence).collect();
        assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
        let packets = batches.iter().flat_map(|batch| packet::open(batch).expect("a batch that can be read")).collect();
        Captured {
            packets,
            interfaces: last.interfaces,
            lost_kernel: status.lost_kernel_packets,
            lost_export: status.lost_export_packets,
            agent,
        }
    }
}

impl Captured {
    /// The interface with this name.
    #[track_caller]
    pub fn interface(&self, name: &str) -> &PacketInterface {
        let found = self.interfaces.iter().find(|interface| interface.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.interfaces))
    }

    /// What was seen there.
    #[track_caller]
    pub fn at(&self, name: &str) -> Vec<Packet> {
        let id = self.interface(name).id;
        self.packets.iter().filter(|packet| packet.interface == id).cloned().collect()
    }
}

/// tcpdump, writing what it sees at an interface.
pub struct Tcpdump {
    process: Process,
    dir: TempDir,
}

/// A frame in tcpdump's file.
#[derive(Debug)]
pub struct Frame {
    pub time_ns: u64,
    pub original: u32,
    pub data: Vec<u8>,
}

impl Tcpdump {
    #[track_caller]
    pub fn start(ns: &Netns, interface: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("tcpdump.pcap");
        let process = ns
            .run("tcpdump")
            .args(["-n", "-Z", "root", "-s", "0", "-U", "-B", "32768", "--immediate-mode"])
            .args(["--time-stamp-precision=nano", "-i", interface, "-w"])
            .arg(&file)
            .start();
        assert!(wait_for(PATIENCE, || process.stderr().contains("listening on")), "{}", process.stderr());
        Self { process, dir }
    }

    /// Ends it and reads its file.
    #[track_caller]
    pub fn stop(self) -> Vec<Frame> {
        // What it has not read when it is asked to end, it leaves.
        let file = self.dir.path().join("tcpdump.pcap");
        settled(QUIET, || fs::metadata(&file).map_or(0, |file| file.len()));
        self.process.signal(Signal::SIGINT);
        let ended = self.process.wait(PATIENCE);
        assert!(ended.stderr.contains("0 packets dropped by kernel"), "{ended}");
        read(&fs::read(file).expect("its file"))
    }
}

/// A pcap file with times in ns, written by this machine (pcap-savefile(5)).
fn read(file: &[u8]) -> Vec<Frame> {
    let number = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(number(0), 0xa1b2_3c4d, "a file with times in ns");
    let (mut at, mut frames) = (24, vec![]);
    while at < file.len() {
        let (captured, data) = (number(at + 8) as usize, at + 16);
        frames.push(Frame {
            time_ns: u64::from(number(at)) * 1_000_000_000 + u64::from(number(at + 4)),
            original: number(at + 12),
            data: file[data..data + captured].to_vec(),
        });
        at = data + captured;
    }
    frames
}
