//! The JSON array: one object a line, a valid array on disk after every write.
//!
//! The rows of a write go over the closing bracket, with a new bracket behind them, in one write that a kill of
//! this program does not cut (`atomic.rs`). Should the whole machine fail, every row still is a line: cutting the file
//! after its last whole line and adding `]` repairs it.

mod late;
mod objects;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use netobserv_wire::Flow;
use tokio::sync::Notify;

pub use self::objects::Objects;
use super::atomic::AtomicWriter;
use super::{LATE_TIME, Sink, SinkError};
use crate::ahead::AHEAD;
use crate::counts::Counts;
use crate::enrich::Names;

/// Bytes of rows after which they are written: each write takes the start of a process (`atomic.rs`).
const WRITE: usize = 1 << 20;
const EMPTY: &[u8] = b"[]\n";
const OPEN: &[u8] = b"[\n";
const NEXT: &[u8] = b",\n";
const CLOSE: &[u8] = b"\n]\n";

/// Writes the JSON array.
pub struct JsonSink {
    file: File,
    atomic: AtomicWriter,
    path: PathBuf,
    counts: Arc<Counts>,
    limit: Limit,
    objects: Objects,
    /// Where the closing bracket's line feed is, or 0 when no row is there.
    tail: u64,
    /// Rows that are not yet written, each with what stands before it.
    pending: Vec<u8>,
    pending_rows: u64,
    names: Option<Arc<Names>>,
}

/// What to notify when the file has so many bytes.
pub struct Limit {
    /// Bytes of the file.
    pub bytes: Option<u64>,
    /// Notified once.
    pub reached: Arc<Notify>,
}

impl JsonSink {
    /// Makes `file` an empty array.
    pub fn new(file: File, path: PathBuf, counts: Arc<Counts>, limit: Limit) -> Result<Self, SinkError> {
        file.write_all_at(EMPTY, 0).map_err(SinkError::write(&path))?;
        counts.json().bytes.store(EMPTY.len() as u64, Relaxed);
        let (objects, pending) = (Objects::default(), Vec::with_capacity(WRITE + (WRITE >> 3)));
        let atomic = AtomicWriter::default();
        Ok(Self { file, atomic, path, counts, limit, objects, tail: 0, pending, pending_rows: 0, names: None })
    }

    /// Fills in at the end what `names` learnt too late.
    #[must_use]
    pub fn with_names(mut self, names: Option<Arc<Names>>) -> Self {
        self.names = names;
        self
    }

    /// The flows are in the file in any case: it is no failure when names are not.
    fn fill_names(&self) {
        let Some(names) = self.names.as_ref().filter(|names| names.late()) else { return };
        match late::fill(&self.path, &self.objects, names, Instant::now() + LATE_TIME) {
            Ok((filled, bytes)) => {
                tracing::debug!("{}: names of {} flows came late", self.path.display(), filled.rows);
                self.counts.json().bytes.store(bytes, Relaxed);
                self.counts.json().unnamed.store(filled.left, Relaxed);
            }
            Err(error) => tracing::warn!("{}: names that came late are not in it: {error}", self.path.display()),
        }
    }

    fn append(&mut self, flow: &Flow) {
        let first = self.tail == 0 && self.pending.is_empty();
        self.pending.extend_from_slice(if first { OPEN } else { NEXT });
        self.objects.append(flow, &mut self.pending);
        self.pending_rows += 1;
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = self.pending.len();
        self.pending.extend_from_slice(CLOSE);
        let written = self.atomic.write_all_at(&self.file, &self.pending, self.tail);
        self.pending.clear();
        if let Err(error) = written {
            self.counts.json().lost.fetch_add(std::mem::take(&mut self.pending_rows), Relaxed);
            self.take_back()?;
            return Err(error);
        }
        self.tail += rows as u64;
        self.counts.json().rows.fetch_add(std::mem::take(&mut self.pending_rows), Relaxed);
        self.counts.json().bytes.store(self.tail + CLOSE.len() as u64, Relaxed);
        Ok(())
    }

    /// Makes the file what it was before a write that failed half-way. The bracket's place is still the file's: it needs no room.
    fn take_back(&self) -> io::Result<()> {
        let close = if self.tail == 0 { EMPTY } else { CLOSE };
        self.file.write_all_at(close, self.tail)?;
        self.file.set_len(self.tail + close.len() as u64)
    }

    fn write_rows(&mut self, rows: &[Flow]) -> io::Result<()> {
        for (index, flow) in rows.iter().enumerate() {
            if index.is_multiple_of(AHEAD) {
                self.objects.prepare(&rows[index..rows.len().min(index + AHEAD)]);
            }
            self.append(flow);
            if self.pending.len() >= WRITE {
                self.flush().inspect_err(|_| self.lose(rows.len() - index - 1))?;
            }
        }
        self.flush()
    }

    fn lose(&self, rows: usize) {
        self.counts.json().lost.fetch_add(rows as u64, Relaxed);
    }
}

impl Sink for JsonSink {
    fn name(&self) -> &'static str {
        "json"
    }

    fn write(&mut self, rows: &[Flow]) -> Result<(), SinkError> {
        self.write_rows(rows).map_err(SinkError::write(&self.path))?;
        if self.limit.bytes.is_some_and(|limit| self.tail >= limit) {
            self.limit.bytes = None;
            self.limit.reached.notify_one();
        }
        Ok(())
    }

    fn finish(&mut self, well: bool) -> Result<(), SinkError> {
        if well {
            self.fill_names();
        }
        Ok(())
    }

    fn lost(&mut self, rows: usize) {
        self.lose(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn sink(limit: Option<u64>) -> (JsonSink, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flows.json");
        let limit = Limit { bytes: limit, reached: Arc::default() };
        (JsonSink::new(crate::output::create(&path).unwrap(), path, Arc::default(), limit).unwrap(), dir)
    }

    fn read(sink: &JsonSink) -> Vec<Json> {
        serde_json::from_slice(&std::fs::read(&sink.path).unwrap()).unwrap()
    }

    fn flow(bytes: u64) -> Flow {
        Flow { bytes, ..Flow::default() }
    }

    #[test]
    fn the_file_is_an_array_after_every_write() {
        let (mut sink, _dir) = sink(None);
        assert_eq!(read(&sink), Vec::<Json>::new());
        let mut rows = 0;
        for batch in [1, 0, 2, 500, 1] {
            sink.write(&vec![flow(7); batch]).unwrap();
            rows += batch;
            assert_eq!(read(&sink).len(), rows);
        }
        let text = std::fs::read_to_string(&sink.path).unwrap();
        assert_eq!(text.lines().count(), rows + 2, "a line for each row and bracket");
        assert_eq!(sink.counts.totals().json_bytes, text.len() as u64);
        assert_eq!(sink.counts.totals().json_rows, rows as u64);
    }

    #[test]
    fn a_failed_write_is_taken_back() {
        for rows in [0, 3] {
            let (mut sink, _dir) = sink(None);
            sink.write(&vec![flow(7); rows]).unwrap();
            sink.file.write_all_at(b",\n{\"half\":", sink.tail).unwrap();
            sink.take_back().unwrap();
            assert_eq!(read(&sink).len(), rows);
        }
    }

    #[test]
    fn a_write_that_fails_counts_every_row_as_lost() {
        let (mut sink, _dir) = sink(None);
        sink.write(&[flow(7)]).unwrap();
        sink.file = File::open(&sink.path).unwrap();
        let error = sink.write(&vec![flow(7); 1_000]).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("flows.json: "), "{error}");
        assert_eq!((sink.counts.totals().json_rows, sink.counts.totals().json_lost), (1, 1_000));
        assert_eq!(read(&sink).len(), 1);
    }

    #[tokio::test]
    async fn the_limit_is_told() {
        let (mut sink, _dir) = sink(Some(100));
        sink.write(&vec![flow(7); 20]).unwrap();
        sink.limit.reached.notified().await;
    }

    #[test]
    fn unknown_keys_are_written_as_they_came() {
        let record =
            json!({"Bytes": 7, "Strange \"key\"": {"a": [1, 2.5, null]}, "SrcPort": "443(https)", "TimeReceived": 1});
        let (mut sink, _dir) = sink(None);
        sink.write(&[Flow::from_generic(record.to_string().as_bytes(), 1).unwrap()]).unwrap();
        assert_eq!(read(&sink), [record]);
    }
}
