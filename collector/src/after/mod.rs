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
