//! The metrics of a capture: their names, labels and defaults. Scripts, dashboards and alerts of the original depend on them.

mod dashboard;

pub use dashboard::{console, grafana};

/// All names begin with it.
pub const PREFIX: &str = "on_demand_netobserv_";
/// Port of the text exposition in the collector's pod.
pub const PORT: u16 = 9401;
/// What is counted when nothing else is wanted; each feature adds [`Measure::of_feature`].
pub const DEFAULT_LIST: &str =
    "namespace_flows_total,node_ingress_bytes_total,node_egress_bytes_total,workload_ingress_bytes_total";
/// Most series, unless another number is given.
pub const DEFAULT_SERIES: u64 = 10_000;
/// Folder of the files below the output folder.
pub const FOLDER: &str = "metrics";
/// Endings of the files: a snapshot in OpenMetrics text, and a dashboard for Grafana.
pub const ENDINGS: [&str; 2] = [".txt", ".dashboard.json"];
/// Upper bounds of the buckets of histograms, in seconds.
pub const BUCKETS: [f64; 10] = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 1.0];

/// What the two ends of a flow are labeled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The nodes.
    Node,
    /// The namespaces.
    Namespace,
    /// The workloads.
    Workload,
}

/// What is counted or measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Bytes that leave a node.
    EgressBytes,
    /// Bytes that arrive at a node.
    IngressBytes,
    /// Packets that leave a node.
    EgressPackets,
    /// Packets that arrive at a node.
    IngressPackets,
    /// Flow records.
    Flows,
    /// Round-trip times of TCP.
    Rtt,
    /// Dropped packets.
    DropPackets,
    /// Bytes of dropped packets.
    DropBytes,
    /// Response times of DNS.
    DnsLatency,
    /// Decisions of network policies.
    PolicyEvents,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// What it is labeled with.
    pub level: Level,
    /// What it counts.
    pub measure: Measure,
}

impl Level {
    /// All of them, coarse to fine.
    pub const ALL: [Self; 3] = [Self::Node, Self::Namespace, Self::Workload];

    /// As in a metric's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Workload => "workload",
        }
    }

    /// Labels of the two ends.
    #[must_use]
    pub fn labels(self) -> &'static [&'static str] {
        const WORKLOAD: [&str; 11] = [
            "SrcK8S_Namespace",
            "DstK8S_Namespace",
            "K8S_FlowLayer",
            "SrcSubnetLabel",
            "DstSubnetLabel",
            "SrcK8S_OwnerName",
            "DstK8S_OwnerName",
            "SrcK8S_OwnerType",
            "DstK8S_OwnerType",
            "SrcK8S_Type",
            "DstK8S_Type",
        ];
        match self {
            Self::Node => &["SrcK8S_HostName", "DstK8S_HostName"],
            Self::Namespace => WORKLOAD.split_at(5).0,
            Self::Workload => &WORKLOAD,
        }
    }
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::EgressBytes,
        Self::IngressBytes,
        Self::EgressPackets,
        Self::IngressPackets,
        Self::Flows,
        Self::Rtt,
        Self::DropPackets,
        Self::DropBytes,
        Self::DnsLatency,
        Self::PolicyEvents,
    ];

    /// As in a metric's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EgressBytes => "egress_bytes_total",
            Self::IngressBytes => "ingress_bytes_total",
            Self::EgressPackets => "egress_packets_total",
            Self::IngressPackets => "ingress_packets_total",
            Self::Flows => "flows_total",
            Self::Rtt => "rtt_seconds",
            Self::DropPackets => "drop_packets_total",
            Self::DropBytes => "drop_bytes_total",
            Self::DnsLatency => "dns_latency_seconds",
            Self::PolicyEvents => "network_policy_events_total",
        }
    }

    /// What the text exposition and the dashboard call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::EgressBytes => "Bytes that left a node",
            Self::IngressBytes => "Bytes that arrived at a node",
            Self::EgressPackets => "Packets that left a node",
            Self::IngressPackets => "Packets that arrived at a node",
            Self::Flows => "Flow records",
            Self::Rtt => "TCP round-trip times",
            Self::DropPackets => "Packets that the kernel dropped",
            Self::DropBytes => "Bytes of packets that the kernel dropped",
            Self::DnsLatency => "DNS response times",
            Self::PolicyEvents => "Network policy events",
        }
    }

    /// Labels besides those of the ends.
    #[must_use]
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::DropPackets | Self::DropBytes => &["PktDropLatestState", "PktDropLatestDropCause"],
            Self::DnsLatency => &["DnsFlagsResponseCode"],
            Self::PolicyEvents => &["type", "namespace", "name", "action", "direction"],
            _ => &[],
        }
    }

    /// It is a distribution, in seconds.
    #[must_use]
    pub fn is_histogram(self) -> bool {
        matches!(self, Self::Rtt | Self::DnsLatency)
    }

    /// Item of the list that a feature adds: all its metrics.
    #[must_use]
    pub fn of_feature(self) -> Option<&'static str> {
        match self {
            Self::Rtt => Some("rtt_seconds"),
            Self::DropPackets | Self::DropBytes => Some("drop_"),
            Self::DnsLatency => Some("dns_latency_seconds"),
            Self::PolicyEvents => Some("network_policy_events_total"),
            _ => None,
        }
    }
}

impl Metric {
    /// All thirty.
    pub fn all() -> impl Iterator<Item = Self> {
        Level::ALL.into_iter().flat_map(|level| Measure::ALL.map(|measure| Self { level, measure }))
    }

    /// Without the prefix, as in `--include_list`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{}_{}", self.level.name(), self.measure.name())
    }

    /// Its labels.
    pub fn labels(self) -> impl Iterator<Item = &'static str> {
        self.level.labels().iter().chain(self.measure.labels()).copied()
    }
}

/// The metrics whose names contain one of the comma-separated items of a list.
///
/// # Errors
///
/// The item that no name contains.
pub fn chosen(list: &str) -> Result<Vec<Metric>, String> {
    let items: Vec<&str> = list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let names: Vec<(Metric, String)> = Metric::all().map(|metric| (metric, metric.name())).collect();
    // A name with its prefix is accepted too.
    let bare = |item: &str| item.strip_prefix(PREFIX).unwrap_or(item).to_owned();
    if let Some(item) = items.iter().find(|item| !names.iter().any(|(_, name)| name.contains(&bare(item)))) {
        return Err((*item).to_owned());
    }
    if items.is_empty() {
        return Err(list.to_owned());
    }
    let wanted = |name: &str| items.iter().any(|item| name.contains(&bare(item)));
    Ok(names.into_iter().filter(|(_, name)| wanted(name)).map(|(metric, _)| metric).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        chosen(list).unwrap().into_iter().map(Metric::name).collect()
    }

    #[test]
    fn a_list_chooses_by_parts_of_names() {
        assert_eq!(Metric::all().count(), 30);
        assert_eq!(
            names(DEFAULT_LIST),
            [
                "node_egress_bytes_total",
                "node_ingress_bytes_total",
                "namespace_flows_total",
                "workload_ingress_bytes_total"
            ]
        );
        assert_eq!(names("rtt"), ["node_rtt_seconds", "namespace_rtt_seconds", "workload_rtt_seconds"]);
        assert_eq!(names("on_demand_netobserv_node_flows_total, "), ["node_flows_total"]);
        assert_eq!(chosen("node_flows,latencies").unwrap_err(), "latencies");
        assert!(chosen("").is_err() && chosen(" , ").is_err());
    }

    #[test]
    fn each_feature_brings_its_metrics_at_every_level() {
        for measure in Measure::ALL {
            let Some(item) = measure.of_feature() else { continue };
            assert!(chosen(item).unwrap().iter().filter(|metric| metric.measure == measure).count() == 3, "{item}");
        }
    }

    #[test]
    fn labels_are_those_of_the_original() {
        let labels = |level, measure| Metric { level, measure }.labels().collect::<Vec<_>>();
        assert_eq!(labels(Level::Node, Measure::Flows), ["SrcK8S_HostName", "DstK8S_HostName"]);
        assert_eq!(labels(Level::Namespace, Measure::DnsLatency).last(), Some(&"DnsFlagsResponseCode"));
        assert_eq!(labels(Level::Workload, Measure::DropBytes).len(), 13);
        let unique = |labels: Vec<&str>| labels.iter().collect::<std::collections::BTreeSet<_>>().len() == labels.len();
        assert!(Metric::all().all(|metric| unique(metric.labels().collect())));
    }
}
