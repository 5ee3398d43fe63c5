//! Short names: for a field, or for the same field of both ends. The screen has the same ones.

use std::ops::Range;

use netobserv_contract::selector::Kind as Selected;

use crate::error::{QueryError, Wrong};
use crate::fields::{self, FIELDS, FieldId};
use crate::vocabulary;

/// Short names, and the fields that each stands for. A comparison asks for one of them, but `!=` and `!~` for all.
pub static SHORT: &[(&str, &[&str])] = &[
    ("ip", &["SrcAddr", "DstAddr"]),
    ("addr", &["SrcAddr", "DstAddr"]),
    ("src", &["SrcAddr", "SrcK8S_Name"]),
    ("dst", &["DstAddr", "DstK8S_Name"]),
    ("port", &["SrcPort", "DstPort"]),
    ("sport", &["SrcPort"]),
    ("dport", &["DstPort"]),
    ("proto", &["Proto"]),
    ("mac", &["SrcMac", "DstMac"]),
    ("ns", &["SrcK8S_Namespace", "DstK8S_Namespace"]),
    ("namespace", &["SrcK8S_Namespace", "DstK8S_Namespace"]),
    ("name", &["SrcK8S_Name", "DstK8S_Name"]),
    ("pod", &["SrcK8S_Name", "DstK8S_Name"]),
    ("svc", &["SrcK8S_Name", "DstK8S_Name"]),
    ("owner", &["SrcK8S_OwnerName", "DstK8S_OwnerName"]),
    ("kind", &["SrcK8S_Type", "DstK8S_Type"]),
    ("node", &["SrcK8S_HostName", "DstK8S_HostName"]),
    ("zone", &["SrcK8S_Zone", "DstK8S_Zone"]),
    ("subnet", &["SrcSubnetLabel", "DstSubnetLabel"]),
    ("if", &["Interfaces"]),
    ("interface", &["Interfaces"]),
    ("bytes", &["Bytes"]),
    ("packets", &["Packets"]),
    ("flags", &["Flags"]),
    ("dscp", &["Dscp"]),
    ("rtt", &["TimeFlowRttNs"]),
    ("latency", &["DnsLatencyUs"]),
    ("drops", &["PktDropPackets"]),
    ("cause", &["PktDropLatestDropCause"]),
    ("state", &["PktDropLatestState"]),
    ("rcode", &["DnsFlagsResponseCode"]),
    ("dns", &["DnsName", "DnsFlagsResponseCode"]),
    ("proc", &["SrcComm", "DstComm"]),
    ("comm", &["SrcComm", "DstComm"]),
    ("process", &["SrcComm", "DstComm"]),
    ("pid", &["SrcPid", "DstPid"]),
    ("container", &["SrcContainer", "DstContainer"]),
    ("cgroup", &["SrcCgroup", "DstCgroup"]),
];

/// The fields of a name, short or long, in capitals or not.
pub(crate) fn find(name: &str) -> Option<Vec<FieldId>> {
    let short = SHORT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name));
    match short {
        Some((_, long)) => Some(long.iter().filter_map(|name| fields::by_name(name)).collect()),
        None => fields::by_name(name).map(|field| vec![field]),
    }
}

/// The fields of a name, short or long: both ends' where a short one stands for both.
///
/// # Errors
/// There is no such field; the error names one with nearly the same letters.
pub fn fields_of(name: &str) -> Result<Vec<FieldId>, QueryError> {
    find(name).ok_or_else(|| unknown_field(name, 0..name.len()).within(name))
}

/// The field of this long name, which stands at `at`.
pub(crate) fn field(name: &str, at: Range<usize>) -> Result<FieldId, Wrong> {
    fields::by_name(name).ok_or_else(|| unknown_field(name, at))
}

/// Whether a name may stand before a colon.
pub(crate) fn is_tag(name: &str) -> bool {
    Selected::of_option(&name.to_ascii_lowercase()).is_some() || find(name).is_some()
}

/// Refuses a name before a colon.
pub(crate) fn unknown_tag(name: &str, at: Range<usize>) -> Wrong {
    let selectors = Selected::ALL.into_iter().map(Selected::option);
    unknown(name, at, selectors.chain(known()), "name")
}

/// Refuses a name before an operator.
pub(crate) fn unknown_field(name: &str, at: Range<usize>) -> Wrong {
    unknown(name, at, known().chain(vocabulary::words()), "field")
}

fn known() -> impl Iterator<Item = &'static str> + Clone {
    FIELDS.iter().map(|(name, _)| *name).chain(SHORT.iter().map(|(short, _)| *short))
}

fn unknown(name: &str, at: Range<usize>, known: impl Iterator<Item = &'static str> + Clone, what: &str) -> Wrong {
    let hint = near(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Wrong { more: Some(list()), ..Wrong::new(at, format!("unknown {what} {name}{hint}")) }
}

/// The one that is spelt nearly alike.
pub(crate) fn near(name: &str, known: impl Iterator<Item = &'static str> + Clone) -> Option<&'static str> {
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
    let most = |known: &str| (known.len().min(name.len()) / 2).min(2.max(name.len() / 4));
    known.filter(|known| distance(known) <= most(known)).min_by_key(|known| distance(known))
}

/// All names, in lines that a terminal can show.
fn list() -> String {
    const WIDTH: usize = 100;
    let mut lines = Vec::new();
    let short: Vec<_> = SHORT.iter().map(|(short, _)| *short).collect();
    let long: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
    for (title, names) in [("fields:", long), ("short names:", short)] {
        lines.push(title.to_owned());
        for name in names {
            match lines.last_mut() {
                Some(line) if line.len() + name.len() < WIDTH => *line = format!("{line} {name}"),
                _ => lines.push(format!("  {name}")),
            }
        }
    }
    lines.join("\n")
}
