//! Names that became known only after their flows were written: a copy of the file that has them takes its place.
//!
//! Row by row, so memory does not depend on the file. Until the copy is complete the file is what it was.

use std::fs::{File, rename};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use netobserv_wire::Flow;

use super::Objects;
use crate::enrich::Names;

/// Bytes that are read or written together.
const BUFFER: usize = 256 << 10;

/// Fills in the names of a file, as far as it gets until `deadline`, and returns how many rows have something new and how many
/// bytes the file has.
pub(super) fn fill(path: &Path, objects: &Objects, names: &Names, deadline: Instant) -> io::Result<(u64, u64)> {
    let copy = path.with_file_name(format!(".{}.names", path.file_name().unwrap_or_default().to_string_lossy()));
    let filled = write_copy(path, &copy, objects, names, deadline).and_then(|filled| {
        rename(&copy, path)?;
        Ok(filled)
    });
    if filled.is_err() {
        let _ = std::fs::remove_file(&copy);
    }
    filled
}

fn write_copy(path: &Path, copy: &Path, objects: &Objects, names: &Names, end: Instant) -> io::Result<(u64, u64)> {
    let mut rows = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut copy = BufWriter::with_capacity(BUFFER, File::create_new(copy)?);
    let (mut line, mut row, mut changed, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    let (mut number, mut in_time) = (0_u32, true);
    loop {
        line.clear();
        if rows.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number = number.wrapping_add(1);
        if number.is_multiple_of(1024) {
            in_time = Instant::now() < end && !names.hurried();
        }
        let named = in_time && name_row(&line, objects, names, &mut row);
        let written = if named { &row } else { &line };
        changed += u64::from(named);
        bytes += written.len() as u64;
        copy.write_all(written)?;
    }
    copy.flush()?;
    Ok((changed, bytes))
}

/// Writes a line anew if there is a name for it.
fn name_row(line: &[u8], objects: &Objects, names: &Names, row: &mut Vec<u8>) -> bool {
    if line.first() != Some(&b'{') {
        return false;
    }
    let end = line.iter().rposition(|byte| *byte == b'}').map_or(0, |at| at + 1);
    // A row keeps its own time of arrival: the one given here does not count.
    let Ok(mut flow) = Flow::from_generic(&line[..end], 0) else { return false };
    if !names.name_late(&mut flow) {
        return false;
    }
    row.clear();
    objects.append(&flow, row);
    row.extend_from_slice(&line[end..]);
    true
}
