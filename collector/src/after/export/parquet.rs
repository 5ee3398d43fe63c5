//! Parquet in Hive's layout: `dt=2026-11-30/hour=18/part-0-0.parquet`, by the end of a flow, in UTC. Each thread reads a part of the rows
//! and writes files of its own.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::DateTime;
use netobserv_contract::files;
use netobserv_wire::FIELDS;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use rusqlite::{Connection, Row};

use super::column::{Column, schema};
use crate::after::file::Capture;
use crate::after::records;
use crate::human;

/// Rows of a row group.
const GROUP: usize = 131_072;
/// Files that a thread has open; the one with the fewest rows waiting is closed when there would be more.
const MOST_OPEN: usize = 24;
/// Rows that are worth a thread.
const THREAD_ROWS: i64 = 100_000;
const MOST_THREADS: usize = 4;
const HOUR_MS: i64 = 3_600_000;
/// Hive's name for what has no value.
const NO_TIME: &str = "__HIVE_DEFAULT_PARTITION__";

/// Writes a directory of files, which appears when it is complete.
///
/// # Errors
/// When the capture cannot be read, or the directory not be written, or is not empty.
pub(super) fn write(capture: &Capture, folder: &Path) -> anyhow::Result<String> {
    let shown = folder.display();
    let cannot = || format!("cannot write {shown}");
    match folder.read_dir().map(|mut entries| entries.next().is_none()) {
        Ok(true) => std::fs::remove_dir(folder).with_context(cannot)?,
        Ok(false) => bail!("{shown} is not empty: choose another directory"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    let partial = Partial(partial_name(folder));
    let _ = std::fs::remove_dir_all(&partial.0);
    files::create_folder(&partial.0).with_context(cannot)?;
    let written = rows(capture, &partial.0)?;
    std::fs::rename(&partial.0, folder).with_context(cannot)?;
    Ok(format!("{shown}: {} flows in {} files", human::count(written.rows), human::count(written.files)))
}

fn partial_name(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// A directory that is removed, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    rows: u64,
    files: u64,
}

fn rows(capture: &Capture, folder: &Path) -> anyhow::Result<Written> {
    let last: i64 = capture.db.query_row("SELECT coalesce(max(rowid), 0) FROM flow_data", [], |row| row.get(0))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let threads = threads.min((last / THREAD_ROWS) as usize + 1);
    // A private database has no name: only this connection knows it.
    let named = capture.db.path().is_some_and(|path| !path.is_empty());
    if threads < 2 || !named {
        return range(&capture.db, (0, last), folder, 0);
    }
    let (share, path) = (last / threads as i64 + 1, &capture.path);
    std::thread::scope(|scope| {
        let begun: Vec<_> = (0..threads)
            .map(|number| {
                let first = share * number as i64;
                scope.spawn(move || range(&records::open(path)?, (first, first + share - 1), folder, number))
            })
            .collect();
        let mut ended =
            begun.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.try_fold(Written::default(), |sum, one| {
            let one = one?;
            Ok(Written { rows: sum.rows + one.rows, files: sum.files + one.files })
        })
    })
}

/// The rows of these numbers.
fn range(db: &Connection, (first, last): (i64, i64), folder: &Path, number: usize) -> anyhow::Result<Written> {
    let there = records::columns(db, "flow")?;
    let columns = FIELDS.iter().map(|field| {
        let is_there = there.iter().any(|name| name == field.name);
        if is_there { format!("\"{}\"", field.name) } else { "NULL".into() }
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let mut select = db.prepare(&format!("SELECT TimeFlowEndMs, {columns} FROM flow WHERE rowid BETWEEN ?1 AND ?2"))?;
    let mut files = Files::new(folder, number)?;
    let mut rows = select.query([first, last])?;
    while let Some(row) = rows.next()? {
        files.push(row)?;
    }
    files.close()
}

/// The files of a thread, one for each hour.
struct Files<'a> {
    folder: &'a Path,
    thread: usize,
    schema: parquet::schema::types::TypePtr,
    properties: Arc<WriterProperties>,
    open: HashMap<Option<i64>, Hour>,
    written: Written,
}

/// The file of an hour.
struct Hour {
    writer: SerializedFileWriter<File>,
    columns: Vec<Column>,
    rows: usize,
}

impl<'a> Files<'a> {
    fn new(folder: &'a Path, thread: usize) -> anyhow::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("netobserv-collector ", env!("CARGO_PKG_VERSION")).into());
        let (schema, properties) = (schema()?, Arc::new(properties.build()));
        Ok(Self { folder, thread, schema, properties, open: HashMap::new(), written: Written::default() })
    }

    fn push(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let end: Option<i64> = row.get(0)?;
        let hour = end.filter(|end| *end > 0).map(|end| end / HOUR_MS);
        if !self.open.contains_key(&hour) {
            self.make_room()?;
            let file = self.create(hour)?;
            self.open.insert(hour, file);
        }
        let Some(file) = self.open.get_mut(&hour) else { return Ok(()) };
        for (at, column) in (1..).zip(&mut file.columns) {
            column.push(row.get_ref(at)?);
        }
        file.rows += 1;
        self.written.rows += 1;
        if file.rows >= GROUP { file.flush() } else { Ok(()) }
    }

    fn make_room(&mut self) -> anyhow::Result<()> {
        if self.open.len() < MOST_OPEN {
            return Ok(());
        }
        let fewest = self.open.iter().min_by_key(|(_, file)| file.rows).map(|(hour, _)| *hour);
        fewest.and_then(|hour| self.open.remove(&hour)).map_or(Ok(()), Hour::close)
    }

    fn create(&mut self, hour: Option<i64>) -> anyhow::Result<Hour> {
        let time = hour.and_then(|hour| DateTime::from_timestamp_millis(hour * HOUR_MS));
        let (date, hour) = time.map_or_else(
            || (NO_TIME.to_owned(), NO_TIME.to_owned()),
            |time| (time.format("%Y-%m-%d").to_string(), time.format("%H").to_string()),
        );
        let folder = self.folder.join(format!("dt={date}")).join(format!("hour={hour}"));
        files::create_folder(&folder)?;
        let file = files::create(&folder.join(format!("part-{}-{}.parquet", self.thread, self.written.files)))?;
        self.written.files += 1;
        let writer = SerializedFileWriter::new(file, self.schema.clone(), self.properties.clone())?;
        let columns = FIELDS.iter().map(|field| Column::new(field.kind())).collect();
        Ok(Hour { writer, columns, rows: 0 })
    }

    fn close(mut self) -> anyhow::Result<Written> {
        self.open.drain().try_for_each(|(_, file)| file.close())?;
        Ok(self.written)
    }
}

impl Hour {
    /// Writes a row group.
    fn flush(&mut self) -> anyhow::Result<()> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { bail!("a column has no place in the file") };
            column.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    fn close(mut self) -> anyhow::Result<()> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.writer.close()?;
        Ok(())
    }
}
