//! The rows of view Top: who talks most, by flow, pod, owner, namespace or node.

use std::collections::HashMap;
use std::net::IpAddr;

use netobserv_wire::flow::Holder;

use super::columns::{ABSENT, protocol};
use super::data::talkers::{End, Key, Sums, Talkers};
use super::views::{Group, Metric};

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TopRow {
    pub(super) who: String,
    /// Bytes from it; of a flow, from the client.
    pub(super) sent: u64,
    /// Bytes to it; of a flow, from the server.
    pub(super) received: u64,
    /// Packets, drops and errors of both directions; `bytes` is not used.
    pub(super) sums: Sums,
    /// The filter that shows its flows.
    pub(super) filter: String,
}

impl TopRow {
    pub(super) fn metric(&self, metric: Metric) -> u64 {
        match metric {
            Metric::Bytes => self.sent.saturating_add(self.received),
            Metric::Packets => self.sums.packets,
            Metric::Drops => self.sums.drops,
            Metric::DnsErrors => self.sums.dns_errors,
        }
    }
}

/// All rows, the largest first; those that have nothing of the metric are left out, unless all are.
pub(super) fn rows(talkers: &Talkers, group: Group, metric: Metric) -> Vec<TopRow> {
    let mut rows = match group {
        Group::Flow => conversations(talkers),
        group => grouped(talkers, group),
    };
    rows.retain(|row| metric == Metric::Bytes || row.metric(metric) > 0);
    rows.sort_by(|a, b| b.metric(metric).cmp(&a.metric(metric)).then_with(|| a.who.cmp(&b.who)));
    rows
}

/// Both directions of each conversation, the client first.
fn conversations(talkers: &Talkers) -> Vec<TopRow> {
    let mut sums: HashMap<Key, (u64, u64, Sums)> = HashMap::new();
    for (key, talk) in talkers.iter() {
        let to_server = talk.from_client.unwrap_or_else(|| key.to_server());
        let (sent, received, all) = sums.entry(if to_server { *key } else { key.reversed() }).or_default();
        let sum = if to_server { sent } else { received };
        *sum = sum.saturating_add(talk.sums.bytes);
        all.add(talk.sums);
    }
    let row = |(key, (sent, received, sums)): (Key, (u64, u64, Sums))| TopRow {
        who: conversation(talkers, &key),
        sent,
        received,
        sums,
        filter: conversation_filter(&key),
    };
    sums.into_iter().map(row).collect()
}

fn conversation(talkers: &Talkers, key: &Key) -> String {
    let end = |address: Option<IpAddr>, port: u16| {
        let name = address.map_or_else(|| ABSENT.into(), |address| name_or_address(talkers, address));
        if port == 0 { name } else { format!("{name}:{port}") }
    };
    let (src, dst) = (end(key.src, key.src_port), end(key.dst, key.dst_port));
    format!("{src} → {dst} {}", protocol(key.proto.into()))
}

/// The client's port and address are enough to find both directions.
fn conversation_filter(key: &Key) -> String {
    match (key.src_port, key.src) {
        (0, Some(address)) => format!("ip:{address}"),
        (port, _) => format!("port:{port}"),
    }
}

/// `namespace/name`, else the address.
pub(super) fn name_or_address(talkers: &Talkers, address: IpAddr) -> String {
    let named = talkers.end_of(address).and_then(|end| end.holder.as_deref()).and_then(pod);
    match (named, address) {
        (Some(name), _) => name,
        (None, IpAddr::V6(address)) => format!("[{address}]"),
        (None, address) => address.to_string(),
    }
}

fn grouped(talkers: &Talkers, group: Group) -> Vec<TopRow> {
    let labels: Vec<String> = (0..talkers.ends() as u32)
        .map(|end| talkers.end(end).map_or_else(String::new, |end| label(end, group)))
        .collect();
    let nobody = ABSENT.to_owned();
    let of = |end: u32| labels.get(end as usize).unwrap_or(&nobody);
    let mut rows: HashMap<&str, TopRow> = HashMap::new();
    for (_, talk) in talkers.iter() {
        let [src, dst] = talk.ends.map(of);
        let row = rows.entry(src).or_default();
        row.sent = row.sent.saturating_add(talk.sums.bytes);
        row.sums.add(talk.sums);
        let row = rows.entry(dst).or_default();
        row.received = row.received.saturating_add(talk.sums.bytes);
        if src != dst {
            row.sums.add(talk.sums);
        }
    }
    let named = |(who, row): (&str, TopRow)| TopRow { filter: group_filter(who, group), who: who.to_owned(), ..row };
    rows.into_iter().map(named).collect()
}

fn label(end: &End, group: Group) -> String {
    let names = end.holder.as_deref();
    let text = match group {
        Group::Flow | Group::Pod => names.and_then(pod).or_else(|| Some(end.address.to_string())),
        Group::Owner => names.and_then(owner).or_else(|| Some(end.address.to_string())),
        Group::Namespace => names.map(|names| names.namespace.to_string()),
        Group::Node => names.map(|it| if it.kind == "Node" { it.name.to_string() } else { it.host_name.to_string() }),
    };
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "(outside the cluster)".into())
}

fn pod(names: &Holder) -> Option<String> {
    scoped(&names.namespace, &names.name)
}

fn owner(names: &Holder) -> Option<String> {
    scoped(&names.namespace, &names.owner_name)
}

fn scoped(namespace: &str, name: &str) -> Option<String> {
    match (namespace, name) {
        (_, "") => None,
        ("", name) => Some(name.to_owned()),
        (namespace, name) => Some(format!("{namespace}/{name}")),
    }
}

fn group_filter(who: &str, group: Group) -> String {
    let name = who.rsplit('/').next().unwrap_or(who);
    let address = name.parse::<IpAddr>().is_ok();
    match group {
        _ if address => format!("ip:{name}"),
        Group::Owner => format!("owner:{name}"),
        Group::Namespace => format!("ns:{name}"),
        Group::Node => format!("node:{name}"),
        Group::Flow | Group::Pod => format!("name:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::Flow;
    use netobserv_wire::flow::{Conversation, Endpoint, Enrichment};
    use std::time::Duration;

    fn flow(src: &str, dst: &str, ports: (u16, u16), bytes: u64) -> Flow {
        let end = |address: &str| {
            let holder = Holder {
                name: format!("pod-{}", address.rsplit('.').next().unwrap_or_default()).into(),
                namespace: "shop".into(),
                host_name: if address.ends_with('1') { "n1".into() } else { "n2".into() },
                ..Holder::default()
            };
            Endpoint { holder: Some(holder.into()), ..Endpoint::default() }
        };
        Flow {
            src_addr: src.parse().ok(),
            dst_addr: dst.parse().ok(),
            src_port: Some(ports.0),
            dst_port: Some(ports.1),
            proto: Some(6),
            bytes,
            packets: 1,
            k8s: Some(Enrichment { src: end(src), dst: end(dst), ..Enrichment::default() }),
            ..Flow::default()
        }
    }

    fn talkers() -> Talkers {
        let mut talkers = Talkers::default();
        for flow in [
            flow("10.0.0.1", "10.0.0.2", (40_000, 80), 100),
            flow("10.0.0.2", "10.0.0.1", (80, 40_000), 900),
            flow("10.0.0.3", "10.0.0.2", (40_000, 80), 50),
        ] {
            talkers.add(&flow, Duration::ZERO);
        }
        talkers
    }

    #[test]
    fn both_directions_of_a_flow_are_one_row() {
        let rows = rows(&talkers(), Group::Flow, Metric::Bytes);
        let seen: Vec<_> = rows.iter().map(|row| (row.who.as_str(), row.sent, row.received)).collect();
        assert_eq!(
            seen,
            [("shop/pod-1:40000 → shop/pod-2:80 TCP", 100, 900), ("shop/pod-3:40000 → shop/pod-2:80 TCP", 50, 0)]
        );
        assert_eq!((rows[0].filter.as_str(), rows[0].sums.packets), ("port:40000", 2));
    }

    #[test]
    fn the_client_is_the_end_that_opened_the_connection_also_with_the_lower_port() {
        let mut talkers = Talkers::default();
        let from_client = |from_client| Some(Conversation { id: 1, from_client: Some(from_client) });
        let there = flow("10.0.0.1", "10.0.0.2", (40_000, 50_051), 100);
        let back = flow("10.0.0.2", "10.0.0.1", (50_051, 40_000), 900);
        talkers.add(&Flow { conversation: from_client(true), ..there }, Duration::ZERO);
        talkers.add(&Flow { conversation: from_client(false), ..back }, Duration::ZERO);
        let rows = rows(&talkers, Group::Flow, Metric::Bytes);
        assert_eq!(rows.len(), 1);
        let top = (rows[0].who.as_str(), rows[0].sent, rows[0].received);
        assert_eq!(top, ("shop/pod-1:40000 → shop/pod-2:50051 TCP", 100, 900));
    }

    #[test]
    fn groups_add_up() {
        let rows_of = |group| {
            let rows = rows(&talkers(), group, Metric::Bytes);
            rows.into_iter().map(|row| (row.who, row.sent, row.received, row.sums.packets)).collect::<Vec<_>>()
        };
        assert_eq!(rows_of(Group::Namespace), [("shop".into(), 1_050, 1_050, 3)]);
        assert_eq!(rows_of(Group::Node), [("n2".into(), 950, 150, 3), ("n1".into(), 100, 900, 2)]);
        assert_eq!(rows_of(Group::Pod)[0], ("shop/pod-2".into(), 900, 150, 3));
        assert!(rows(&talkers(), Group::Pod, Metric::Drops).is_empty());
    }
}
