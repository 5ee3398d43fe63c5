//! Options that take one of a few words: the words, which help, completion and the check of the value share.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};

/// Levels of detail of a log.
pub(crate) const LOG_LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];
/// When files are copied.
pub(crate) const COPY: [&str; 3] = ["true", "false", "prompt"];
/// When the cluster fetches an image.
pub(crate) const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
/// Where YAML goes.
pub(crate) const YAML: [&str; 3] = ["true", "false", "-"];
/// Which packets have comments.
pub(crate) const COMMENTS: [&str; 3] = ["every", "flow", "none"];
/// Formats of files of packets.
pub(crate) const FORMATS: [&str; 2] = ["pcapng", "pcap"];
/// Which records are shown.
pub(crate) const OBSERVATIONS: [&str; 2] = ["once", "all"];
/// Which copies of a packet are kept.
pub(crate) const SIGHTINGS: [&str; 2] = ["first", "all"];
/// Forms of lines and reports.
pub(crate) const LINES: [&str; 2] = ["text", "json"];
/// Who scrapes metrics.
pub(crate) const SCRAPERS: [&str; 3] = ["service-monitor", "annotations", "none"];
/// Forms of the list of images.
pub(crate) const LISTS: [&str; 4] = ["text", "json", "mirror", "idms"];
/// Forms of a table.
pub(crate) const TABLES: [&str; 3] = ["table", "json", "csv"];
/// By what the rows of `query` are sorted.
pub(crate) const SORTS: [&str; 7] = ["bytes", "packets", "drops", "rtt", "dns", "count", "time"];
/// Forms of policies.
pub(crate) const POLICIES: [&str; 1] = ["yaml"];
/// What a rule does with packets.
pub(crate) const ACTIONS: [&str; 2] = ["Accept", "Reject"];
/// Where a packet is, from the view of an interface.
pub(crate) const DIRECTIONS: [&str; 2] = ["Ingress", "Egress"];
/// Protocols of rules.
pub(crate) const PROTOCOLS: [&str; 5] = ["TCP", "UDP", "SCTP", "ICMP", "ICMPv6"];
/// Flags of TCP in rules; the last one is another name of PSH.
pub(crate) const TCP_FLAGS: [&str; 12] =
    ["SYN", "SYN-ACK", "ACK", "FIN", "FIN-ACK", "RST", "RST-ACK", "PSH", "URG", "ECE", "CWR", "PUSH"];

/// Those that are offered.
pub(super) const FLAGS_OFFERED: &[&str] = match TCP_FLAGS.split_last() {
    Some((_, offered)) => offered,
    None => &[],
};

/// One of these words. Others pass, too: [`crate::options`] refuses them in the words that scripts match.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneOf(pub(super) &'static [&'static str]);

impl TypedValueParser for OneOf {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}
