//! Hours of work in one go: a collector that is fed with flows of a large cluster at a fixed rate, JSON, SQLite and names on; and
//! beside it a whole local capture, agent included, of real packets. Nothing may be lost without being told, both files must be
//! whole, memory must stay where it is.
//!
//! `scripts/soak.sh` runs it. Ctrl-C ends it early, with the same account.

#[path = "../large/mod.rs"]
mod large;
mod local;
mod memory;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use memory::Memory;
use netobserv_testkit::follow::{Follower, free_bytes};
use netobserv_testkit::{Files, Process, Signal, wait_for};
use prost::bytes::Bytes;
use support::client::{connect, send_encoded};
use tempfile::TempDir;

/// Records of a batch, and different batches.
const RECORDS: u64 = 2_000;
const BATCHES: u64 = 50;
/// Batches under way at once.
const SENDERS: u64 = 8;
/// Kinds of objects that are watched.
const KINDS: usize = 5;
/// An agent waits so long before it sends again what was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes of the database for a row, its indices included (330 were seen), and what else there should be room for.
const ROW: u64 = 360;
const SPARE: u64 = 2 << 30;
/// Most resident memory, MiB: of a collector that knows a large cluster.
const COLLECTOR_MIB: f64 = 400.0;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(30);
/// The last rows and the indices of a long capture.
const LAST_WORDS: Duration = Duration::from_secs(3_600);

/// What was asked for.
struct Wanted {
    seconds: u64,
    rate: u64,
    folder: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let after = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let number = |name: &str, default| after(name).map_or(default, |text| text.parse().expect("a number"));
    let wanted = Wanted {
        seconds: number("--seconds", 1_800),
        rate: number("--rate", 50_000),
        folder: after("--folder").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from),
    };
    let needed = wanted.seconds * wanted.rate * ROW + SPARE;
    let free = free_bytes(&wanted.folder);
    if free < needed {
        println!("{} has {} GiB free, {} are needed", wanted.folder.display(), free >> 30, (needed >> 30) + 1);
        return ExitCode::FAILURE;
    }
    let wrong = run(&wanted);
    wrong.iter().for_each(|line| println!("WRONG: {line}"));
    println!("{}", if wrong.is_empty() { "nothing is wrong" } else { "the soak has failed" });
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs it and returns what is wrong.
fn run(wanted: &Wanted) -> Vec<String> {
    let server = large::cluster();
    let batches: Vec<Bytes> = large::batches(BATCHES, RECORDS);
    let dir = tempfile::tempdir_in(&wanted.folder).expect("a folder");
    let collector = collector(&dir, &server.url());
    // Watches begin when the lists are known: names that came late would be filled in at the end, and are another test's.
    let watched = || server.requests().iter().filter(|request| request.contains("watch=true")).count() >= KINDS;
    assert!(wait_for(support::SOON, watched), "no watches: {:?}", server.requests());
    let real = local::start(&wanted.folder);
    let mut follower = Follower::open(&Files::of(&dir.path().join("output")).json);
    let mut memory = Memory::of("collector", collector.pid(), COLLECTOR_MIB);

    let state = Arc::new(State::default());
    let load = Load {
        socket: dir.path().join("socket"),
        batches,
        rate: wanted.rate,
        time: Duration::from_secs(wanted.seconds),
    };
    let (told, sender) = (
        state.clone(),
        std::thread::spawn({
            let state = state.clone();
            move || runtime().block_on(load.offer(state))
        }),
    );
    let mut next = Instant::now() + PROGRESS;
    while !sender.is_finished() {
        follower.read();
        memory.look();
        if let Some(real) = &real {
            real.look();
        }
        if Instant::now() >= next {
            next += PROGRESS;
            println!("{:>5.0} s: {} flows accepted, {}", memory.seconds(), told.accepted.load(Relaxed), memory.now());
        }
        let _ = wait_for(Duration::from_millis(200), || sender.is_finished());
    }
    sender.join().expect("the sender");
    let seconds = memory.seconds();

    let mut wrong = real.map(local::Real::end).unwrap_or_default();
    let start = Instant::now();
    collector.signal(Signal::SIGINT);
    let finished = collector.wait(LAST_WORDS);
    println!("end: {:.1} s for the rest of the queue and the indices", start.elapsed().as_secs_f64());
    print!("{}", finished.stdout);
    if !finished.success() {
        wrong.push(finished.to_string());
    }
    wrong.extend(account(&state, follower, &dir.path().join("output"), wanted, seconds));
    wrong.extend(memory.verdict());
    wrong
}

/// Compares what was accepted with what is in the files, and with what the collector says of itself.
fn account(state: &State, follower: Follower, output: &Path, wanted: &Wanted, seconds: f64) -> Vec<String> {
    let files = Files::of(output);
    let (accepted, refused) = (state.accepted.load(Relaxed), state.refused.load(Relaxed));
    let json = follower.finish();
    let rows = files.rows();
    let lost = files.number("SELECT sum(value) FROM capture WHERE name LIKE 'lost%'");
    let counted = files.number("SELECT value FROM capture WHERE name = 'refused_flows'");
    let unnamed = files.number("SELECT count(*) FROM flow WHERE SrcK8S_Name IS NULL");
    let size = std::fs::metadata(&files.db).expect("the database").len();
    println!(
        "{:.0} flows/s for {seconds:.0} s (wanted {}), the slowest batch took {} ms",
        accepted as f64 / seconds,
        wanted.rate,
        state.slowest_ms.load(Relaxed)
    );
    println!(
        "accepted {accepted}; in the JSON file {json}, in the database {rows} ({} bytes each)",
        size / rows.max(1)
    );
    println!("lost {lost}; refused and sent again {refused}, counted as such {counted}; without a name {unnamed}");
    let check = files.database().query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0));
    let truths = [
        (json == accepted, "the JSON file has not what was accepted"),
        (rows == accepted, "the database has not what was accepted"),
        (lost == 0, "something is told as lost, and it is there"),
        (counted >= refused, "what was refused is not counted"),
        (unnamed == 0, "flows between pods have no names"),
        (check.is_ok_and(|text| text == "ok"), "the database is damaged"),
    ];
    truths.into_iter().filter(|(holds, _)| !holds).map(|(_, text)| text.to_owned()).collect()
}

fn collector(dir: &TempDir, url: &str) -> Process {
    let words = ["--maxtime", "0", "--maxbytes", "0", "-o", "none"];
    let run = support::get_flows(dir.path(), &words).env("NETOBSERV_KUBE_URL", url).own_group();
    let mut process = run.start();
    let listens = wait_for(support::SOON, || process.stderr().contains("Started collector") || process.ended());
    assert!(listens && !process.ended(), "{}", process.stderr());
    process
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// What came of the batches.
#[derive(Default)]
struct State {
    accepted: AtomicU64,
    refused: AtomicU64,
    slowest_ms: AtomicU64,
    next: AtomicU64,
    stop: AtomicBool,
}

/// Batches at a rate.
struct Load {
    socket: PathBuf,
    batches: Vec<Bytes>,
    rate: u64,
    time: Duration,
}

impl Load {
    async fn offer(self, state: Arc<State>) {
        let (start, load, stop) = (Instant::now(), Arc::new(self), state.clone());
        tokio::spawn(async move {
            let _ = tokio::signal::ctrl_c().await;
            stop.stop.store(true, Relaxed);
        });
        let senders: Vec<_> = (0..SENDERS).map(|_| tokio::spawn(load.clone().send(state.clone(), start))).collect();
        for sender in senders {
            sender.await.expect("a sender");
        }
    }

    /// Sends the next batch when its time has come, until there is no more time.
    async fn send(self: Arc<Self>, state: Arc<State>, start: Instant) {
        let channel = connect(&self.socket).await;
        loop {
            let number = state.next.fetch_add(1, Relaxed);
            let due = start + Duration::from_secs_f64((number * RECORDS) as f64 / self.rate as f64);
            if due >= start + self.time {
                return;
            }
            tokio::time::sleep_until(due.into()).await;
            if state.stop.load(Relaxed) || start.elapsed() >= self.time {
                return;
            }
            let begun = Instant::now();
            let batch = &self.batches[number as usize % self.batches.len()];
            while let Err(status) = send_encoded(channel.clone(), batch.clone()).await {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
                state.refused.fetch_add(RECORDS, Relaxed);
                tokio::time::sleep(AGAIN).await;
            }
            state.accepted.fetch_add(RECORDS, Relaxed);
            state.slowest_ms.fetch_max(begun.elapsed().as_millis() as u64, Relaxed);
        }
    }
}
