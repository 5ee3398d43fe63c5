//! A capture of packets at speed: how many a second go into a file without loss, and how much memory that takes. First the
//! collector alone, fed over its socket; then kernel, agent and collector together; then a TCP stream of 1 Gbit/s.
//!
//! `cargo bench -p netobserv-collector --bench packets -- --seconds 10` as root; the release programs must be built.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use netobserv_testkit::memory::of_process;
use netobserv_testkit::{Blast, LocalCapture, Pair, Run, Signal, link_counters, wait_for};
use netobserv_wire::netobserv::packets_client::PacketsClient;
use netobserv_wire::netobserv::{Encoding, PacketBatch, PacketInterface};
use netobserv_wire::packet::{self, BATCH_BYTES, Direction, HEAD, Head};
use netobserv_wire::pbflow::AgentStatus;
use support::client::connect;
use support::{Collector, SOON};

/// Packets a second, and bytes of each.
const RATE: u32 = 500_000;
const SIZE: usize = 128;
const MOST_MEMORY: u64 = 200 << 20;
const NO_LIMIT: [&str; 4] = ["--maxtime", "0", "--maxbytes", "0"];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let after = words.iter().position(|word| word == "--seconds").and_then(|at| words.get(at + 1));
    let seconds: u32 = after.map_or(10, |number| number.parse().expect("a number"));
    for rate in [Some(RATE), None] {
        collector_alone(seconds, rate);
    }
    whole_path(seconds);
    stream(seconds);
}

/// The collector, fed over its socket.
fn collector_alone(seconds: u32, rate: Option<u32>) {
    let (collector, output) = Collector::start_packets(&NO_LIMIT);
    let total = u64::from(RATE) * u64::from(seconds);
    let start = Instant::now();
    feed(&collector.socket(), total, rate);
    let took = start.elapsed();
    let memory = peak(collector.process.pid());
    let ended = collector.stop(Signal::SIGTERM);
    let written = count(&only_file(&output));
    println!(
        "collector alone, {}: {:.0} packets/s of {SIZE} B for {:.1} s; in the file {written} of {total}; {}; {}",
        rate.map_or("as fast as it takes them".into(), |rate| format!("fed with {rate}/s")),
        total as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        lost(&ended.finished.stdout),
        told(&[("collector", memory)]),
    );
    let kept_up = rate.is_none_or(|rate| total as f64 / took.as_secs_f64() > f64::from(rate) * 0.99);
    println!("  {}", verdict(written == total && kept_up && memory <= MOST_MEMORY));
}

/// Sends packets as an agent does, batch after batch; waits where there is no room.
fn feed(socket: &Path, total: u64, rate: Option<u32>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let channel = runtime.block_on(connect(socket));
    let (mut client, mut sent, start) = (PacketsClient::new(channel), 0, Instant::now());
    let in_batch = (BATCH_BYTES / (HEAD + SIZE)) as u64;
    let mut template = payload(in_batch);
    for sequence in 1.. {
        let number = in_batch.min(total - sent);
        patch_times(&mut template, number);
        let batch = batch(sequence, &template[..number as usize * (HEAD + SIZE)], number, sent + number == total);
        runtime.block_on(send(&mut client, batch));
        sent += number;
        if sent == total {
            return;
        }
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

async fn send(client: &mut PacketsClient<tonic::transport::Channel>, batch: PacketBatch) {
    // The collector answers that it is busy after a second.
    while let Err(status) = client.send(batch.clone()).await {
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    }
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    for n in 0..number {
        let mut frame = support::packets::frame(1_000 + (n % 1_000) as u16, SIZE - 42);
        frame.truncate(SIZE);
        let head = Head {
            id: packet::identity(&frame),
            interface: 1,
            original: SIZE as u32,
            sampling: 1,
            direction: Direction::In,
            ..Head::default()
        };
        packet::append(&mut payload, &head, &[&frame]);
    }
    payload
}

/// Packets that were seen a moment ago, one after the other: the time is the first field of a record.
fn patch_times(payload: &mut [u8], number: u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    for (n, record) in payload.chunks_mut(HEAD + SIZE).take(number as usize).enumerate() {
        record[..8].copy_from_slice(&(now - number + n as u64).to_le_bytes());
    }
}

fn batch(sequence: u64, payload: &[u8], packets: u64, last: bool) -> PacketBatch {
    let agent = AgentStatus { node: "bench".into(), instance: 1, last, ..AgentStatus::default() };
    let eth0 = PacketInterface { id: 1, name: "eth0".into(), ifindex: 2, ..PacketInterface::default() };
    let mut batch = PacketBatch {
        agent: Some(agent),
        sequence,
        interfaces: vec![eth0],
        packets: packets as u32,
        ..PacketBatch::default()
    };
    // As an agent on the same machine.
    packet::seal(&mut batch, payload.to_vec(), Encoding::Plain).expect("no compression");
    batch
}

/// Kernel, agent and collector.
fn whole_path(seconds: u32) {
    let pair = Pair::silent();
    let capture = LocalCapture::packets(&pair.right, pair.captured(), &["udp,53000", "--max-bytes=1000000000000"]);
    let blast =
        Blast { flows: 1_000, rounds: RATE / 1_000 * seconds, size: SIZE, rate: Some(RATE), ..Blast::default() };
    let start = Instant::now();
    let sent = blast.run(&pair.left, &pair.veth.a.name);
    let took = start.elapsed();
    let memory = family(capture.pid());
    let ended = capture.stop();
    let written = count(&ended.packets());
    println!(
        "kernel, agent and collector: {:.0} packets/s of {SIZE} B for {:.1} s; in the file {written} of {}; {}; {}",
        sent.packets as f64 / took.as_secs_f64(),
        took.as_secs_f64(),
        sent.packets,
        lost(&ended.finished.stdout),
        told(&memory),
    );
    println!("  {}", verdict(written == sent.packets && memory.iter().all(|(_, bytes)| *bytes <= MOST_MEMORY)));
}

/// A TCP stream of 1 Gbit/s.
fn stream(seconds: u32) {
    let pair = Pair::addressed();
    let server = pair.right.run("iperf3").args(["--server", "--one-off"]).start();
    let listens = || pair.right.run("ss").args(["-Hltn", "sport = :5201"]).finish().stdout.contains("5201");
    assert!(wait_for(SOON, listens), "{}", server.stderr());
    let capture = LocalCapture::packets(&pair.right, pair.captured(), &["--all", "--max-bytes=1000000000000"]);
    let before = link_counters(&pair.right, pair.captured());
    let time = seconds.to_string();
    let client = pair.left.run("iperf3").args(["--client", Pair::RIGHT, "-b", "1G", "--time", &time, "--json"]);
    let done = client.start().wait(SOON * 3);
    assert!(done.success(), "{done}");
    let memory = family(capture.pid());
    let ended = capture.stop();
    let wire = link_counters(&pair.right, pair.captured()).since(&before);
    let bytes = wire.rx_bytes + wire.tx_bytes;
    let (packets, captured) = (count(&ended.packets()), data_bytes(&ended.packets()));
    let json: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON of iperf3");
    let rate = json["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or_default();
    println!(
        "TCP of {:.3} Gbit/s for {seconds} s: {packets} packets, in the file {captured} of {bytes} bytes of the interface; {}; {}",
        rate / 1e9,
        lost(&ended.finished.stdout),
        told(&memory),
    );
    println!("  {}", verdict(captured >= bytes && memory.iter().all(|(_, bytes)| *bytes <= MOST_MEMORY)));
}

fn verdict(good: bool) -> &'static str {
    if good { "wanted all of them, and at most 200 MiB: ok" } else { "wanted all of them, and at most 200 MiB: MISSED" }
}

/// The line on losses.
fn lost(account: &str) -> String {
    let line = account.lines().rev().find(|line| line.trim_start().starts_with("lost: "));
    line.unwrap_or("no account").trim().to_owned()
}

fn told(memory: &[(&str, u64)]) -> String {
    let each = memory.iter().map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20));
    format!("at most {}", each.collect::<Vec<_>>().join(", "))
}

/// Most memory that a process ever had.
fn peak(pid: i32) -> u64 {
    of_process(pid, "VmHWM").unwrap_or_default()
}

/// The same of the agent and of the collector that the plugin has started.
fn family(plugin: i32) -> Vec<(&'static str, u64)> {
    let children = std::fs::read_dir(format!("/proc/{plugin}/task")).into_iter().flatten().flatten();
    let children = children.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let pids: Vec<i32> = children.flat_map(|text| numbers(&text)).collect();
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let of = |wanted: &'static str| {
        let pid = pids.iter().find(|pid| name(pid).starts_with(&wanted[..15]));
        (wanted.trim_start_matches("netobserv-"), pid.map_or(0, |pid| peak(*pid)))
    };
    vec![of("netobserv-agent"), of("netobserv-collector")]
}

fn numbers(text: &str) -> Vec<i32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn only_file(output: &Path) -> PathBuf {
    let mut files =
        std::fs::read_dir(output.join("pcap")).expect("a folder").map(|entry| entry.expect("a file").path());
    files.next().expect("a file")
}

/// A number that capinfos tells of a file.
fn capinfos(option: &str, file: &Path) -> u64 {
    let line = Run::new("capinfos").args(["-M", "-T", "-r", option]).arg(file).start().wait(SOON * 10).stdout;
    line.trim().rsplit('\t').next().and_then(|word| word.parse().ok()).expect("a number")
}

fn count(file: &Path) -> u64 {
    capinfos("-c", file)
}

fn data_bytes(file: &Path) -> u64 {
    capinfos("-d", file)
}
