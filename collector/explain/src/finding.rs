//! A finding: one thing that went wrong, in a sentence, with the evidence for it.

use serde::{Deserialize, Serialize};

use crate::observe::Party;

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// What happened, in plain words.
    pub sentence: String,
    /// What was seen of it.
    pub evidence: Vec<String>,
    /// How sure it is.
    pub certainty: Certainty,
    /// What to do.
    pub remedy: String,
    /// What to apply, as YAML.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// The end that opened the connection.
    pub client: Party,
    /// The end that accepted it.
    pub server: Party,
    /// IP protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// The server's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The name that was asked for, of a finding about DNS.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked: String,
    /// How often: packets, connections, queries or records, by its kind.
    pub count: u64,
    /// First and last time, milliseconds since 1970.
    pub first_ms: u64,
    /// Last time, milliseconds since 1970.
    pub last_ms: u64,
    /// The condition that finds the records in table `flow`.
    pub records: String,
}

/// Kinds of findings, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A policy of the cluster denies the connection.
    Policy,
    /// A service leads nowhere.
    Service,
    /// The port is that of a pod on another node.
    HostPort,
    /// The server's node is not ready.
    NodeNotReady,
    /// A filter dropped packets.
    DroppedByFilter,
    /// There was no way to the destination.
    NoRoute,
    /// A connection was asked for, and nothing came back.
    Unanswered,
    /// The server's machine refused the connection.
    Refused,
    /// A client tried many ports, and none was open.
    Scan,
    /// Packets are larger than the way lets through.
    TooBig,
    /// Packets of one node did not arrive at another.
    LostBetweenNodes,
    /// No DNS server answered.
    DnsTimeout,
    /// A DNS server could not answer.
    DnsFailed,
    /// A name that does not exist.
    DnsNoName,
    /// An end broke off a connection.
    Reset,
    /// Nothing listens on a UDP port.
    NoListener,
    /// Buffers or queues were full.
    NoRoom,
    /// Packets arrived damaged.
    Damaged,
    /// The kernel dropped packets for another cause.
    Dropped,
    /// DNS took long.
    SlowDns,
    /// Round trips took longer than before.
    Slow,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// The records show it.
    Seen,
    /// The objects of the cluster decide so.
    FollowsFromObjects,
    /// What was seen has this cause as a rule, and may have another.
    Likely,
}

impl Certainty {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::FollowsFromObjects => "follows from the cluster's objects",
            Self::Likely => "likely",
        }
    }
}

impl Kind {
    /// Whether objects of the cluster show it.
    pub fn is_of_objects(self) -> bool {
        matches!(self, Self::Policy | Self::Service | Self::HostPort | Self::NodeNotReady)
    }

    /// Whether objects of the cluster may show why.
    pub fn may_have_objects(self) -> bool {
        use Kind::{DnsTimeout, Dropped, DroppedByFilter, NoListener, NoRoute, Refused, Unanswered};
        matches!(self, DroppedByFilter | NoRoute | Unanswered | Refused | Dropped | NoListener | DnsTimeout)
    }

    /// As files have it.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Adds findings, each in its place.
pub fn add(findings: &mut Vec<Finding>, more: impl Iterator<Item = Finding>) {
    findings.extend(more);
    sort(findings);
}

/// Takes from findings of the same capture what the objects of its cluster explained.
pub fn adopt(findings: &mut [Finding], explained: &[Finding]) {
    let ends = |one: &Finding| (one.client.address, one.server.address, one.protocol, one.port);
    for finding in findings.iter_mut() {
        let same = explained.iter().find(|one| ends(one) == ends(finding) && one.kind.is_of_objects());
        if let Some(same) = same.filter(|_| finding.kind.may_have_objects()) {
            *finding = same.clone();
        }
    }
    sort(findings);
}

/// Worst first, then the most frequent.
pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        (a.kind, std::cmp::Reverse(a.count), &a.sentence).cmp(&(b.kind, std::cmp::Reverse(b.count), &b.sentence))
    });
}

/// `1 packet`, `2 packets`.
pub(crate) fn some(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
