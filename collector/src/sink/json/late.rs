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
use crate::sink::Filled;

/// Bytes that are read or written together.
const BUFFER: usize = 256 << 10;

/// What every row with names for both ends has.
const NAMED: [&[u8]; 2] = [b"\"SrcK8S_Name\":", b"\"DstK8S_Name\":"];

/// Fills in the names of a file, as far as it gets until `deadline`, and returns how far that was and how many bytes the file has.
pub(super) fn fill(path: &Path, objects: &Objects, names: &Names, deadline: Instant) -> io::Result<(Filled, u64)> {
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

fn write_copy(path: &Path, copy: &Path, objects: &Objects, names: &Names, end: Instant) -> io::Result<(Filled, u64)> {
    let mut rows = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut copy = BufWriter::with_capacity(BUFFER, crate::output::create(copy)?);
    let (mut line, mut row, mut filled, mut bytes) = (Vec::new(), Vec::new(), Filled::default(), 0);
    let (mut number, mut in_time) = (0_u32, true);
    loop {
        line.clear();
        if rows.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if number.is_multiple_of(1024) {
            in_time = Instant::now() < end && !names.hurried();
        }
        number = number.wrapping_add(1);
        let named = in_time && name_row(&line, objects, names, &mut row);
        let written = if named { &row } else { &line };
        filled.rows += u64::from(named);
        filled.left += u64::from(!in_time && lacks_name(&line));
        bytes += written.len() as u64;
        copy.write_all(written)?;
    }
    copy.flush()?;
    Ok((filled, bytes))
}

/// Whether a line is a row with an end that has no name.
fn lacks_name(line: &[u8]) -> bool {
    let has = |part: &[u8]| line.windows(part.len()).any(|at| at == part);
    line.first() == Some(&b'{') && !NAMED.iter().all(|name| has(name))
}

/// Writes a line again if there is a name for it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Fact, Identity, Service};
    use std::time::Duration;

    const ROWS: &str = "[\n{\"TimeFlowStartMs\":9,\"SrcAddr\":\"10.0.0.1\"},\n{\"SrcK8S_Name\":\"a\",\"DstK8S_Name\":\"b\",\"K8S_FlowLayer\":\"infra\"}\n]\n";

    #[test]
    fn late_names_without_time_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (path, objects, names) = (dir.path().join("flows.json"), Objects::default(), Names::default());
        let identity = Identity { uid: "1".into(), name: "web".into(), ..Identity::default() };
        names.learn(Fact::Service(Service {
            identity,
            addresses: vec!["10.0.0.1".parse().unwrap()],
            ..Service::default()
        }));
        std::fs::write(&path, ROWS).unwrap();
        let late = Instant::now();
        let (filled, bytes) = fill(&path, &objects, &names, late).unwrap();
        assert_eq!((filled, bytes), (Filled { rows: 0, left: 1 }, ROWS.len() as u64));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), ROWS, "as it was");
        let (filled, _) = fill(&path, &objects, &names, late + Duration::from_secs(3_600)).unwrap();
        assert_eq!(filled, Filled { rows: 1, left: 0 });
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"SrcK8S_Name\":\"web\""));
    }
}
