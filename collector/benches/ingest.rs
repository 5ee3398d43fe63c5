//! How fast the collector writes JSON and SQLite, against what SQLite itself takes for the same rows and columns;
//! and what it does when ten times more is offered.
//!
//! `cargo bench -p netobserv-collector --bench ingest -- --seconds 30`
//! `cargo bench -p netobserv-collector --bench ingest -- --names`: what names of a large cluster cost.

mod large;
mod names;
#[path = "../tests/support/mod.rs"]
mod support;
mod warm;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use netobserv_testkit::memory::{mib, of_process};
use netobserv_testkit::{Files, Process, Run, Signal, wait_for};
use prost::bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, Statement};
use support::client::{connect, send_encoded};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::{interval, timeout};

/// Records of a batch, and different batches.
const RECORDS: u64 = 2_000;
const BATCHES: u64 = 50;
/// Rows of one transaction of the baseline: more do not make it faster.
const BASELINE_ROWS: usize = 4_096;
/// Of the speed of SQLite alone.
const WANTED_RATIO: f64 = 0.8;
/// Most resident memory of the collector.
const MEMORY_LIMIT: f64 = 300.0;
/// How many times more than it takes is offered in the end, over how many connections.
const OVERLOAD: f64 = 10.0;
const CONNECTIONS: usize = 16;

fn main() {
    let seconds = seconds(std::env::args());
    let load = Duration::from_secs(seconds);
    if std::env::args().any(|word| word == "--names") {
        return names::run(load);
    }
    let baseline_time = Duration::from_secs((seconds / 3).clamp(2, 10));
    let batches: Vec<Bytes> =
        (0..BATCHES).map(|batch| support::records::batch("bench", batch * RECORDS, RECORDS)).collect();
    let bytes = batches.iter().map(Bytes::len).sum::<usize>() as f64 / (BATCHES * RECORDS) as f64;
    println!("records: {bytes:.0} bytes on the wire, {RECORDS} a batch");

    let rows = Rows::of(&batches);
    println!("table flow: {} columns, of which {:.1} have a value", rows.columns, rows.filled());
    let plain = rows.insert_for(baseline_time, Binding::Every);
    let before = rows.insert_for(baseline_time, Binding::Present);
    let taken = take_for(&batches, load);
    let after = rows.insert_for(baseline_time, Binding::Present);
    let baseline = f64::midpoint(before.rate, after.rate);
    println!("sqlite alone, every column bound: {:.0} rows/s, {:.2} us of CPU a row", plain.rate, plain.cpu);
    println!(
        "sqlite alone, only what is there bound: {baseline:.0} rows/s (before {:.0}, after {:.0})",
        before.rate, after.rate
    );
    println!("sqlite alone, only what is there bound: {:.2} us of CPU a row", f64::midpoint(before.cpu, after.cpu));
    println!("collector, JSON and SQLite: {:.0} rows/s", taken.rate);
    for (how, rate) in [("every column bound", plain.rate), ("only what is there bound", baseline)] {
        let ratio = taken.rate / rate;
        let verdict = verdict(ratio >= WANTED_RATIO, "wanted at least 0.8");
        println!("  {ratio:.2} times sqlite alone, {how}; {verdict}");
    }
    println!(
        "lost: {} of {}, {}",
        taken.sent - taken.written,
        taken.sent,
        verdict(taken.sent == taken.written, "wanted 0")
    );
    println!("end: {:.1} s for the rest of the queue and the indices", taken.end.as_secs_f64());
    println!(
        "resident memory: {:.0} MiB at most, {}",
        taken.memory,
        verdict(taken.memory < MEMORY_LIMIT, "wanted less than 300")
    );
    overload(&batches, taken.rate * OVERLOAD, load.min(Duration::from_secs(10)));
}

fn verdict(good: bool, wanted: &str) -> String {
    format!("{wanted}: {}", if good { "ok" } else { "MISSED" })
}

fn seconds(words: impl Iterator<Item = String>) -> u64 {
    let words: Vec<_> = words.collect();
    let after = words.iter().position(|word| word == "--seconds").and_then(|at| words.get(at + 1));
    after.map_or(30, |number| number.parse().expect("--seconds takes a number"))
}

/// A folder on the disk that holds the build, not in memory.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder below target/")
}

/// The rows that the collector makes of the batches, ready to be bound.
struct Rows {
    schema: String,
    columns: usize,
    rows: Vec<Vec<(usize, Value)>>,
}

impl Rows {
    fn of(batches: &[Bytes]) -> Self {
        let (collector, runtime) = (Bench::start(), runtime());
        let channel = runtime.block_on(connect(&collector.socket()));
        for batch in batches {
            runtime.block_on(send_encoded(channel.clone(), batch.clone())).expect("an accepted batch");
        }
        let (_, files) = collector.stop();
        let db = files.database();
        // One table with all that `flow` shows; `rowid` a table has by itself.
        let shown = "FROM pragma_table_info('flow') WHERE name <> 'rowid'";
        let list = |what: &str| {
            let sql = format!("SELECT group_concat({what}, ', ') {shown}");
            db.query_row(&sql, [], |row| row.get::<_, String>(0)).expect("the columns of flow")
        };
        let schema = format!("CREATE TABLE flow ({})", list("'\"' || name || '\" ' || type"));
        let mut select = db.prepare(&format!("SELECT {} FROM flow", list("'\"' || name || '\"'"))).expect("flow");
        let columns = select.column_count();
        let row = |row: &rusqlite::Row| {
            (0..columns).map(|column| Ok((column, row.get(column)?))).collect::<Result<Vec<_>, _>>()
        };
        let rows = select.query_map([], row).expect("rows").map(|row| row.expect("a row"));
        let present = |row: Vec<(usize, Value)>| row.into_iter().filter(|(_, value)| *value != Value::Null).collect();
        let rows = rows.map(present).collect();
        drop(select);
        Self { schema, columns, rows }
    }

    fn filled(&self) -> f64 {
        self.rows.iter().map(Vec::len).sum::<usize>() as f64 / self.rows.len() as f64
    }

    /// Rows a second, and CPU microseconds a row, through one prepared statement, with the collector's settings.
    fn insert_for(&self, time: Duration, binding: Binding) -> Speed {
        let dir = folder();
        let db = Connection::open(dir.path().join("baseline.db")).expect("a database");
        db.execute_batch("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 1000; PRAGMA cache_size = -16000;")
            .expect("settings");
        db.execute_batch(&self.schema).expect("table flow");
        let sql = format!("INSERT INTO flow VALUES ({})", vec!["?"; self.columns].join(","));
        let mut insert = db.prepare(&sql).expect("a statement");
        let (start, cpu, mut rows) = (Instant::now(), process_cpu("self"), 0);
        while start.elapsed() < time {
            for chunk in self.rows.chunks(BASELINE_ROWS) {
                db.execute_batch("BEGIN").expect("begin");
                for row in chunk {
                    binding.bind(&mut insert, row, self.columns);
                    insert.raw_execute().expect("a row");
                }
                db.execute_batch("COMMIT").expect("commit");
                rows += chunk.len();
            }
        }
        let rows = rows as f64;
        Speed { rate: rows / start.elapsed().as_secs_f64(), cpu: (process_cpu("self") - cpu) * 1e6 / rows }
    }
}

/// What a row binds.
#[derive(Clone, Copy)]
enum Binding {
    /// All columns, with NULL where there is no value: how one would write it.
    Every,
    /// The values that there are: the least that SQLite can be asked to do.
    Present,
}

impl Binding {
    fn bind(self, insert: &mut Statement<'_>, row: &[(usize, Value)], columns: usize) {
        if let Self::Present = self {
            insert.clear_bindings();
            for (column, value) in row {
                insert.raw_bind_parameter(column + 1, value).expect("a value");
            }
            return;
        }
        let mut present = row.iter().peekable();
        for column in 0..columns {
            let value = present.next_if(|(here, _)| *here == column).map_or(&Value::Null, |(_, value)| value);
            insert.raw_bind_parameter(column + 1, value).expect("a value");
        }
    }
}

/// Rows a second, and CPU microseconds a row.
struct Speed {
    rate: f64,
    cpu: f64,
}

/// CPU seconds of a process and of the children it has waited for.
fn process_cpu(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its times");
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // utime, stime, cutime and cstime are fields 14 to 17 of proc_pid_stat(5), in hundredths of a second.
    fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// CPU seconds of the whole machine, idle and waiting time left out.
fn machine_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("the machine's times");
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).map(|field| field.parse::<f64>().unwrap_or(0.0));
    // user, nice, system, idle, iowait, irq, softirq: proc_stat(5).
    ticks.take(7).enumerate().filter(|(field, _)| !matches!(field, 3 | 4)).map(|(_, ticks)| ticks).sum::<f64>() / 100.0
}

/// A collector without limits.
struct Bench {
    dir: TempDir,
    process: Process,
}

impl Bench {
    fn start() -> Self {
        Self::start_with(|run| run)
    }

    fn start_with(change: impl FnOnce(Run) -> Run) -> Self {
        let dir = folder();
        let words = ["--maxtime", "0", "--maxbytes", "0", "-o", "none"];
        let mut process = change(support::get_flows(dir.path(), &words)).start();
        let listens = wait_for(support::SOON, || process.stderr().contains("Started collector") || process.ended());
        assert!(listens && !process.ended(), "{}", process.stderr());
        Self { dir, process }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("socket")
    }

    /// Most resident memory until now, MiB.
    fn memory(&self) -> f64 {
        mib(of_process(self.process.pid(), "VmHWM").expect("the collector"))
    }

    /// CPU seconds of its threads until now, by name.
    fn cpu(&self) -> BTreeMap<String, f64> {
        let mut cpu = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.pid())).expect("its threads");
        for task in tasks.flatten() {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let Some((name, fields)) = stat.split_once(" (").and_then(|(_, rest)| rest.rsplit_once(") ")) else {
                continue;
            };
            // utime and stime are fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
            let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
            *cpu.entry(name.to_owned()).or_default() += ticks / 100.0;
        }
        cpu
    }

    /// Ends it and returns how long that took, and the files; their folder goes with the second.
    fn stop(self) -> (Duration, Kept) {
        let start = Instant::now();
        self.process.signal(Signal::SIGINT);
        let finished = self.process.wait(Duration::from_secs(300));
        assert!(finished.success(), "{finished}");
        (start.elapsed(), Kept { files: Files::of(&self.dir.path().join("output")), _dir: self.dir })
    }
}

/// Files, and the folder that they are in.
struct Kept {
    files: Files,
    _dir: TempDir,
}

impl std::ops::Deref for Kept {
    type Target = Files;

    fn deref(&self) -> &Files {
        &self.files
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// What the collector took.
struct Taken {
    rate: f64,
    sent: u64,
    written: u64,
    end: Duration,
    memory: f64,
    /// Microseconds of the collector's CPU a row.
    cpu: f64,
}

/// Offers batches as fast as they are taken.
fn take_for(batches: &[Bytes], time: Duration) -> Taken {
    take_for_with(batches, time, |run| run)
}

/// As [`take_for`], by a collector that is run with some changes.
fn take_for_with(batches: &[Bytes], time: Duration, change: impl FnOnce(Run) -> Run) -> Taken {
    let collector = Bench::start_with(change);
    warm::memory(time);
    let cpu = |collector: &Bench| process_cpu("self") + process_cpu(&collector.process.pid().to_string());
    // What it took to start, and to learn the names of the cluster, is no cost of a row.
    let begun = collector.cpu();
    let (start, ours, all) = (Instant::now(), cpu(&collector), machine_cpu());
    let sent = runtime().block_on(offer_closed(&collector.socket(), batches, start + time));
    let rate = sent as f64 / start.elapsed().as_secs_f64();
    let others = (machine_cpu() - all - (cpu(&collector) - ours)) / start.elapsed().as_secs_f64();
    println!("other programs took {others:.1} cores meanwhile: the ratio means something only near 0");
    let memory = collector.memory();
    let mut micros = 0.0;
    for (thread, seconds) in collector.cpu() {
        let each = (seconds - begun.get(&thread).unwrap_or(&0.0)) * 1e6 / sent as f64;
        println!("thread {thread}: {each:.2} us of CPU a row");
        micros += each;
    }
    let (end, files) = collector.stop();
    let json = count_lines(&files.json) - 2;
    let written = files.rows().min(json);
    println!(
        "files: JSON {:.0} bytes a row, SQLite {:.0} without indices",
        per_row(&files.json, written),
        table_bytes(&files, written)
    );
    Taken { rate, sent, written, end, memory, cpu: micros }
}

fn per_row(path: &Path, rows: u64) -> f64 {
    std::fs::metadata(path).expect("a file").len() as f64 / rows as f64
}

fn table_bytes(files: &Files, rows: u64) -> f64 {
    files.number("SELECT sum(pgsize) FROM dbstat WHERE name IN ('flow_data', 'endpoint')") as f64 / rows as f64
}

fn count_lines(path: &Path) -> u64 {
    std::io::BufRead::split(std::io::BufReader::new(std::fs::File::open(path).expect("a file")), b'\n').count() as u64
}

/// Two agents, each with two batches under way.
async fn offer_closed(socket: &Path, batches: &[Bytes], until: Instant) -> u64 {
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = Vec::new();
    for _ in 0..2 {
        let channel = connect(socket).await;
        for _ in 0..2 {
            let (channel, next, batches) = (channel.clone(), next.clone(), batches.to_vec());
            senders.push(tokio::spawn(async move {
                let mut sent = 0;
                while Instant::now() < until {
                    let batch = batches[next.fetch_add(1, Relaxed) as usize % batches.len()].clone();
                    send_encoded(channel.clone(), batch).await.expect("an accepted batch");
                    sent += RECORDS;
                }
                sent
            }));
        }
    }
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.expect("a sender");
    }
    sent
}

/// Batches at a fixed rate, whatever the answers are.
fn overload(batches: &[Bytes], rate: f64, time: Duration) {
    let collector = Bench::start();
    let answers = runtime().block_on(offer_open(&collector.socket(), batches, rate, time));
    let memory = collector.memory();
    let (_, files) = collector.stop();
    let counted = files.number("SELECT value FROM capture WHERE name = 'refused_flows'");
    let (rows, lost) = (files.rows(), files.number("SELECT sum(value) FROM capture WHERE name LIKE 'lost%'"));
    println!(
        "overload: {:.0} rows/s offered for {} s ({OVERLOAD} times): {} accepted, {} refused, {} not sent in the end",
        rate,
        time.as_secs(),
        answers.accepted,
        answers.refused,
        answers.unsent
    );
    println!(
        "overload, counts: {}",
        verdict(
            rows >= answers.accepted && lost == 0 && counted >= answers.refused,
            "wanted every accepted row in the file and every refused one counted"
        )
    );
    println!("overload, rows in the file {rows}, counted as refused {counted}");
    println!(
        "overload, resident memory: {memory:.0} MiB at most, {}",
        verdict(memory < MEMORY_LIMIT, "wanted less than 300")
    );
}

#[derive(Default)]
struct Answers {
    accepted: u64,
    refused: u64,
    unsent: u64,
}

async fn offer_open(socket: &Path, batches: &[Bytes], rate: f64, time: Duration) -> Answers {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(connect(socket).await);
    }
    let mut ticks = interval(Duration::from_secs_f64(RECORDS as f64 / rate));
    let (start, mut sends) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        ticks.tick().await;
        let batch = batches[sends.len() % batches.len()].clone();
        sends.push(tokio::spawn(send_encoded(channels[sends.len() % CONNECTIONS].clone(), batch)));
    }
    let mut answers = Answers::default();
    let end = tokio::time::Instant::now() + Duration::from_secs(3);
    for send in sends {
        match timeout(end.saturating_duration_since(tokio::time::Instant::now()), send).await {
            Ok(Ok(Ok(_))) => answers.accepted += RECORDS,
            Ok(Ok(Err(status))) if status.code() == tonic::Code::ResourceExhausted => answers.refused += RECORDS,
            _ => answers.unsent += RECORDS,
        }
    }
    answers
}
