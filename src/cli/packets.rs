//! The words that only `packets` has.

use clap::Args;

/// Options of a capture of packets, as typed.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Options of packets")]
pub struct PacketArgs {
    /// Capture all packets, without any filter
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub all: Option<String>,
    /// Bytes of each packet that are kept [default: whole packets]
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub snaplen: Option<String>,
    /// Where comments stand: every packet, the first of a flow, or none [default: flow]
    #[arg(long, value_name = "WHERE")]
    pub comments: Option<String>,
    /// Copies of a packet that crosses several interfaces: first, or all of them [default: first]
    #[arg(long, value_name = "WHICH")]
    pub sightings: Option<String>,
    /// Format of the files: pcapng, or pcap for programs that read no other [default: pcapng]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Write to standard output while capturing, and into no file: -w - | wireshark -k -i -
    #[arg(short = 'w', long, value_name = "-", allow_hyphen_values = true)]
    pub write: Option<String>,
    /// Secrets of TLS connections, as SSLKEYLOGFILE makes them, to be put into the file; on a cluster also NS/POD:/PATH
    #[arg(long = "tls-keylog", alias = "tls_keylog", value_name = "FILE")]
    pub tls_keylog: Option<String>,
    /// Begin another file when one has this many bytes
    #[arg(long = "max-file-size", alias = "max_file_size", value_name = "BYTES", allow_negative_numbers = true)]
    pub max_file_size: Option<String>,
    /// Keep this many of these files, the youngest [default: all]
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
