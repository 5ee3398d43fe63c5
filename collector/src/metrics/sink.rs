//! The metrics as a sink of the pipeline, and the snapshot that stays on disk.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use netobserv_wire::Flow;

use super::registry::Registry;
use super::text::{self, Form};
use crate::counts::Counts;
use crate::output::create;
use crate::sink::{Sink, SinkError};

/// How old the file may be, if the collector is killed.
const SNAPSHOT: Duration = Duration::from_secs(10);

/// Counts flows, and keeps the counters in a file.
pub(crate) struct MetricsSink {
    registry: Arc<Registry>,
    counts: Arc<Counts>,
    path: PathBuf,
    written: Instant,
    lost: Arc<AtomicU64>,
}

impl MetricsSink {
    /// Writes into `path`, which is there, empty. `lost` counts flows that came after an error.
    pub(crate) fn new(registry: Arc<Registry>, counts: Arc<Counts>, path: PathBuf, lost: Arc<AtomicU64>) -> Self {
        Self { registry, counts, path, written: Instant::now(), lost }
    }

    fn save(&mut self) -> Result<(), SinkError> {
        let text = text::render(&self.registry, &self.counts.totals(), Form::OpenMetrics);
        self.written = Instant::now();
        replace(&self.path, text.as_bytes()).map_err(SinkError::write(&self.path))
    }
}

impl Sink for MetricsSink {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn write(&mut self, rows: &[Flow]) -> Result<(), SinkError> {
        self.registry.add(rows);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        if self.written.elapsed() < SNAPSHOT {
            return Ok(());
        }
        self.save()
    }

    fn finish(&mut self, well: bool) -> Result<(), SinkError> {
        if well { self.save() } else { Ok(()) }
    }

    fn lost(&mut self, rows: usize) {
        self.lost.fetch_add(rows as u64, Relaxed);
    }
}

/// Writes a new file next to the old one and puts it in its place: a reader finds either whole.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let part = path.with_file_name(format!(".{name}.part"));
    // What a killed process has left.
    let _ = std::fs::remove_file(&part);
    let written = create(&part).and_then(|mut file| file.write_all(text)).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use netobserv_contract::metrics::{DEFAULT_LIST, chosen};

    use super::*;

    #[test]
    fn the_file_is_whole_and_has_what_was_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        create(&path).unwrap();
        let registry = Arc::new(Registry::new(&chosen(DEFAULT_LIST).unwrap(), 100));
        let mut sink = MetricsSink::new(registry, Arc::default(), path.clone(), Arc::default());
        sink.write(&[Flow::default(), Flow::default()]).unwrap();
        sink.finish(true).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("on_demand_netobserv_namespace_flows_total{") && text.ends_with("# EOF\n"), "{text}");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/a.txt");
        let registry = Arc::new(Registry::new(&[], 1));
        let lost = Arc::<AtomicU64>::default();
        let mut sink = MetricsSink::new(registry, Arc::default(), path, lost.clone());
        assert!(sink.finish(true).unwrap_err().to_string().contains("gone/a.txt"));
        sink.lost(3);
        assert_eq!(lost.load(Relaxed), 3);
    }
}
