//! The words of `get-packets`, and what they mean.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::sink::output_file::Rotation;

/// As typed.
#[derive(Debug, Args)]
pub struct PacketWords {
    /// Packets with comments: the first of a flow and those where names change, every packet, or none
    #[arg(long, value_enum, default_value = "flow")]
    comments: Comments,
    /// Which copies of a packet to write: the first, or one for each interface
    #[arg(long, value_enum, default_value = "first")]
    sightings: Sightings,
    /// Format of the file
    #[arg(long, value_enum, default_value = "pcapng")]
    format: Format,
    /// Write to standard output while capturing, instead of to a file: -w -
    #[arg(short, long, value_name = "-", allow_hyphen_values = true, value_parser = standard_output,
        conflicts_with_all = ["max_file_size", "filename"])]
    write: Option<()>,
    /// File with TLS secrets, as written for SSLKEYLOGFILE; it may grow during the capture. Secrets precede the packets
    #[arg(long, value_name = "FILE")]
    tls_keylog: Option<PathBuf>,
    /// The key log is sent by `keylog`, some time after it was written: packets wait for it
    #[arg(long, conflicts_with = "tls_keylog")]
    tls_keylog_sent: bool,
    /// Start another file when one reaches this size in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(MIN_FILE_SIZE..))]
    max_file_size: Option<u64>,
    /// Keep only this many files, the newest
    #[arg(long, value_name = "N", requires = "max_file_size", value_parser = clap::value_parser!(u32).range(1..))]
    max_files: Option<u32>,
}

/// A smaller file has more explanations in it than packets.
const MIN_FILE_SIZE: u64 = 100_000;

/// What `get-packets` needs in addition to what every capture needs.
#[derive(Clone, Debug, Default)]
pub struct PacketOptions {
    /// Where comments stand.
    pub comments: Comments,
    /// Which sightings are written.
    pub sightings: Sightings,
    /// Format of the files.
    pub format: Format,
    /// Write to standard output.
    pub to_stdout: bool,
    /// A key log.
    pub keylog: Option<PathBuf>,
    /// Its secrets are sent from outside.
    pub keylog_sent: bool,
    /// When to begin another file.
    pub rotation: Option<Rotation>,
}

/// Where comments stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Comments {
    /// On every packet.
    Every,
    /// On the first packet of a flow, and where its names change.
    #[default]
    Flow,
    /// On no packet.
    None,
}

/// Which sightings of a packet are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sightings {
    /// The first: one copy of each packet.
    #[default]
    First,
    /// One copy for each interface that a packet crosses.
    All,
}

/// Format of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With names, comments, interfaces and losses.
    #[default]
    Pcapng,
    /// Packets only.
    Pcap,
}

impl Format {
    /// Ending of the files' names.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Pcapng => "pcapng",
            Self::Pcap => "pcap",
        }
    }
}

impl PacketWords {
    /// What they mean; or what is wrong with them, in one line.
    pub fn read(self) -> Result<PacketOptions, String> {
        if self.format == Format::Pcap && (self.tls_keylog.is_some() || self.tls_keylog_sent) {
            return Err("error: --format=pcap has no place for secrets: leave --tls-keylog or --format out".into());
        }
        let files = self.max_files;
        Ok(PacketOptions {
            comments: self.comments,
            sightings: self.sightings,
            format: self.format,
            to_stdout: self.write.is_some(),
            keylog: self.tls_keylog,
            keylog_sent: self.tls_keylog_sent,
            rotation: self.max_file_size.map(|bytes| Rotation { bytes, files }),
        })
    }
}

fn standard_output(word: &str) -> Result<(), String> {
    if word == "-" { Ok(()) } else { Err("use - for standard output; files are named with --filename".into()) }
}
