//! What the screen costs: the rate of the collector with it and without, in turns; the bytes and frames that come out at that
//! rate; and how long a key takes to show.
//!
//! `cargo bench -p netobserv-collector --bench screen -- --seconds 8 --pairs 5`

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use netobserv_testkit::{Signal, wait_for};
use prost::bytes::Bytes;
use support::client::{connect, send_encoded};
use support::pty::Pty;

/// Records of a batch, and different batches.
const RECORDS: u64 = 2_000;
const BATCHES: u64 = 50;
/// Requests under way.
const SENDERS: u64 = 4;
const SIZE: (u16, u16) = (120, 40);
const NO_LIMIT: [&str; 4] = ["--maxtime", "0", "--maxbytes", "0"];
/// What is wanted.
const LEAST_RATIO: f64 = 0.95;
const MOST_BYTES: f64 = 64.0 * 1024.0;
const MOST_LATENCY: Duration = Duration::from_millis(100);
/// Output that comes within this time is one frame.
const ONE_FRAME: Duration = Duration::from_millis(20);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let time = Duration::from_secs(number(&words, "--seconds", 8));
    let batches: Vec<Bytes> =
        (0..BATCHES).map(|batch| support::records::batch("bench", batch * RECORDS, RECORDS)).collect();
    let (mut ratios, mut shown) = (Vec::new(), Vec::new());
    for pair in 0..number(&words, "--pairs", 5) {
        let without = without_screen(&batches, time);
        let with = with_screen(&batches, time);
        println!("pair {pair}: {without:.0} rows/s without a screen, {:.0} with", with.rate);
        ratios.push(with.rate / without);
        shown.push(with);
    }
    let ratio = median(ratios);
    println!("ingest with the screen: {ratio:.3} times without; {}", verdict(ratio >= LEAST_RATIO, "at least 0.95"));
    let bytes = median(shown.iter().map(|run| run.bytes).collect());
    println!("output at 120x40: {:.1} KiB/s; {}", bytes / 1024.0, verdict(bytes < MOST_BYTES, "less than 64"));
    println!("frames: {:.1} a second", median(shown.iter().map(|run| run.frames).collect()));
    let mut keys: Vec<Duration> = shown.into_iter().flat_map(|run| run.keys).collect();
    keys.sort_unstable();
    let (half, worst) = (keys[keys.len() / 2], keys[keys.len() - 1]);
    let told = format!("keys: half within {} ms, all {} within {} ms", half.as_millis(), keys.len(), worst.as_millis());
    println!("{told}; {}", verdict(worst < MOST_LATENCY, "less than 100"));
}

fn number(words: &[String], name: &str, default: u64) -> u64 {
    let after = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    after.map_or(default, |number| number.parse().expect("a number"))
}

fn verdict(good: bool, wanted: &str) -> String {
    format!("wanted {wanted}: {}", if good { "ok" } else { "MISSED" })
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Rows a second.
fn without_screen(batches: &[Bytes], time: Duration) -> f64 {
    let words: Vec<_> = NO_LIMIT.into_iter().chain(["-o", "none"]).collect();
    let collector = support::Collector::start(&words);
    let load = Load::start(&collector.socket(), batches);
    wait(time);
    let rate = load.stop();
    collector.process.signal(Signal::SIGKILL);
    rate
}

/// A run with a screen.
struct Shown {
    rate: f64,
    /// A second.
    bytes: f64,
    frames: f64,
    /// From a key to its effect.
    keys: Vec<Duration>,
}

fn with_screen(batches: &[Bytes], time: Duration) -> Shown {
    let mut pty = Pty::start(&NO_LIMIT, SIZE);
    let load = Load::start(&pty.socket(), batches);
    wait(time / 4);
    let (start, before, frames) = (Instant::now(), pty.bytes().len(), pty.times().len());
    wait(time / 2);
    let seconds = start.elapsed().as_secs_f64();
    let bytes = (pty.bytes().len() - before) as f64 / seconds;
    let frames = frames_of(&pty.times()[frames..]) as f64 / seconds;
    let keys = [("\x1b7", "Round trip"), ("\x1b8", "Enrichment:"), ("zz", "Filter: zz"), ("\x15", "Type to filter")];
    let keys = keys.into_iter().map(|(key, text)| latency(&mut pty, key, text)).collect();
    wait(time / 4);
    let rate = load.stop();
    pty.signal(Signal::SIGKILL);
    pty.wait();
    Shown { rate, bytes, frames, keys }
}

fn latency(pty: &mut Pty, key: &str, text: &str) -> Duration {
    wait(Duration::from_millis(250));
    let start = Instant::now();
    pty.press(key);
    while !pty.text().contains(text) {
        assert!(start.elapsed() < support::SOON, "{text}:\n{}", pty.text());
        std::thread::yield_now();
    }
    start.elapsed()
}

fn frames_of(times: &[Instant]) -> usize {
    times.windows(2).filter(|pair| pair[1] - pair[0] > ONE_FRAME).count() + 1
}

fn wait(time: Duration) {
    let _ = wait_for(time, || false);
}

/// Batches as fast as they are taken.
struct Load {
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    start: Instant,
}

impl Load {
    fn start(socket: &Path, batches: &[Bytes]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let channel = runtime.block_on(connect(socket));
        for sender in 0..SENDERS {
            let (channel, stop, sent, batches) = (channel.clone(), stop.clone(), sent.clone(), batches.to_vec());
            runtime.spawn(async move {
                for batch in batches.iter().cycle().skip(sender as usize * 7) {
                    if stop.load(Relaxed) || send_encoded(channel.clone(), batch.clone()).await.is_err() {
                        return;
                    }
                    sent.fetch_add(RECORDS, Relaxed);
                }
            });
        }
        Self { runtime, stop, sent, start: Instant::now() }
    }

    /// Rows a second.
    fn stop(self) -> f64 {
        let rate = self.sent.load(Relaxed) as f64 / self.start.elapsed().as_secs_f64();
        self.stop.store(true, Relaxed);
        self.runtime.shutdown_background();
        rate
    }
}
