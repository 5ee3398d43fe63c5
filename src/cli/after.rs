//! The words of the commands that read a finished capture: `summary`, `query`, `diff`, `report`, `export`, `merge`, `redact` and `mcp`. The collector checks what they mean.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::values::{self, OneOf};

/// Options of `summary`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct SummaryArgs {
    /// The database, JSON or pcapng file of a capture [default: the newest in ./output/flow]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How to print: text, or json (one object) [default: text]
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = OneOf(&values::LINES))]
    pub output: Option<String>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `query`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct QueryArgs {
    /// The database or JSON file of a capture [default: the newest in ./output/flow], and a question or a condition as for --filter;
    /// without one, all questions are listed
    #[arg(value_name = "FILE QUESTION", num_args = 0..=2)]
    pub words: Vec<String>,
    /// Ask this instead of a question; it can only read
    #[arg(long, value_name = "SELECT")]
    pub sql: Option<String>,
    /// Sum the records that match a condition by these, with commas: client, server, service, port, protocol, second, or fields
    #[arg(long, value_name = "NAMES")]
    pub by: Option<String>,
    /// Sort the records that match a condition by this: bytes, packets, drops, rtt, dns, count or time [default: time; with --by bytes]
    #[arg(long, value_name = "WHAT", value_parser = OneOf(&values::SORTS))]
    pub sort: Option<String>,
    /// How to print: table, json or csv [default: table]
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = OneOf(&values::TABLES))]
    pub output: Option<String>,
    /// Print at most so many rows, 0: all [default: 20; with --sql all]
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `diff`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct DiffArgs {
    /// The database or JSON file of the earlier capture
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// That of the later one
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// How to print: text, or json (an array) [default: text]
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = OneOf(&values::LINES))]
    pub output: Option<String>,
    /// Exit with code 3 when there are differences of these kinds: new-peers, gone-peers, rates, drops, dns-errors, rtt
    #[arg(long = "fail-on", alias = "fail_on", value_name = "KINDS", action = clap::ArgAction::Append)]
    pub fail_on: Vec<String>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `replay`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct ReplayArgs {
    /// The database or JSON file of a capture [default: the newest in ./output/flow]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Begin at this time of the capture: HH:MM:SS (UTC), or with a date as in 2026-01-31T12:00:00Z [default: its beginning]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// End at this time [default: its end]
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// So many times as fast as it was, from 0.1 to 1000 [default: 1]
    #[arg(long, value_name = "N")]
    pub speed: Option<String>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `mcp`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct McpArgs {
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `report`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct ReportArgs {
    /// The database or JSON file of a capture [default: the newest in ./output/flow]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The file to write, - for standard output [default: FILE with the ending .html]
    #[arg(short = 'o', long, value_name = "FILE.html")]
    pub output: Option<PathBuf>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `redact`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct RedactArgs {
    /// Captures: databases, JSON, pcapng or pcap files [default: the newest in ./output/flow]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The file to write, or a directory for several [default: FILE with .redacted before its ending]
    #[arg(short = 'o', long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `export`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct ExportArgs {
    /// The database or JSON file of a capture [default: the newest in ./output/flow]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The format: parquet:DIRECTORY, csv, csv:FILE, ndjson or ndjson:FILE; without a path on standard output
    #[arg(short = 'o', long, value_name = "FORMAT", required = true)]
    pub output: OsString,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Options of `merge`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct MergeArgs {
    /// Captures of one format: databases, JSON or pcapng files
    #[arg(value_name = "FILE", num_args = 2.., required = true)]
    pub files: Vec<PathBuf>,
    /// The file to write
    #[arg(short = 'o', long, value_name = "FILE", required = true)]
    pub output: PathBuf,
    /// Print the program as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}
