//! The words that only `packets` has.

use clap::Args;

use super::values::{self, OneOf};

/// Options of a capture of packets, as typed.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Options of packets")]
pub struct PacketArgs {
    /// Capture all packets, without any filter
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub all: Option<String>,
    /// Bytes to keep of each packet [default: whole packets]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub snaplen: Option<String>,
    /// Packets with comments: every, flow (the first of a flow) or none [default: flow]
    #[arg(long, value_name = "WHERE", value_parser = OneOf(&values::COMMENTS))]
    pub comments: Option<String>,
    /// Which copies to keep of a packet that crosses several interfaces: first or all [default: first]
    #[arg(long, value_name = "WHICH", value_parser = OneOf(&values::SIGHTINGS))]
    pub sightings: Option<String>,
    /// Format of the files: pcapng, or pcap for programs that need it [default: pcapng]
    #[arg(long, value_name = "FORMAT", value_parser = OneOf(&values::FORMATS))]
    pub format: Option<String>,
    /// Write to standard output while capturing, and to no file: -w - | wireshark -k -i -
    #[arg(short = 'w', long, value_name = "-", allow_hyphen_values = true)]
    pub write: Option<String>,
    /// File with TLS secrets, as written for SSLKEYLOGFILE, to include; in a cluster also NS/POD:/PATH
    #[arg(long = "tls-keylog", alias = "tls_keylog", value_name = "FILE")]
    pub tls_keylog: Option<String>,
    /// Start another file when one reaches this size in bytes
    #[arg(long = "max-file-size", alias = "max_file_size", value_name = "BYTES", allow_negative_numbers = true)]
    pub max_file_size: Option<String>,
    /// Keep only this many files, the newest [default: all]
    #[arg(long = "max-files", alias = "max_files", value_name = "N", allow_negative_numbers = true)]
    pub max_files: Option<String>,
}

impl PacketArgs {
    /// Names of the options without dashes, each with whether it was typed.
    #[must_use]
    pub fn typed(&self) -> [(&'static str, bool); 9] {
        [
            ("all", self.all.is_some()),
            ("snaplen", self.snaplen.is_some()),
            ("comments", self.comments.is_some()),
            ("sightings", self.sightings.is_some()),
            ("format", self.format.is_some()),
            ("write", self.write.is_some()),
            ("tls-keylog", self.tls_keylog.is_some()),
            ("max-file-size", self.max_file_size.is_some()),
            ("max-files", self.max_files.is_some()),
        ]
    }
}
