//! What can be asked of a finished capture, on any machine and without a cluster: a summary, named questions, SQL, and what is different
//! from another capture.
//!
//! All of it reads one form: the database of this program. Files in JSON, and databases of other versions and of the Go program, are
//! imported into a private one first.

mod blocks;
pub mod command;
mod diff;
mod export;
mod file;
mod mcp;
mod merge;
mod output;
mod packets;
pub mod query;
mod questions;
mod records;
mod redact;
pub mod replay;
mod report;
mod summary;
mod table;

/// Reads, summarizes and redacts bytes as if they were a file. For the fuzz targets.
pub(crate) fn read_any(bytes: &[u8]) {
    if let Ok(summary) = packets::of_reader(bytes) {
        let text = summary.text();
        assert!(netobserv_contract::plain::lines(&text) == text, "nothing steers the terminal");
        assert!(summary.json().is_object() && redact::copies(bytes).is_ok(), "what is read is redacted");
    } else {
        let _ = redact::copies(bytes);
    }
}
