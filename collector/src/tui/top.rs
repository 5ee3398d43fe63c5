//! The rows of view Top: what has most, by client and server, conversation, process, service, port, address, pod, owner, namespace,
//! node or zone.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use super::connections::title;
use super::data::connections::{Connection, Connections, End, Sums};
use super::names;
use super::views::{Group, Metric};

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TopRow {
    pub(super) who: String,
    pub(super) member: Member,
    /// Bytes from it; of client and server, from the client.
    pub(super) sent: u64,
    /// Bytes to it; of client and server, from the server.
    pub(super) received: u64,
    /// Bytes a second, both directions.
    pub(super) rate: u64,
    /// Packets and errors of both directions, drops of what it sent; `bytes` is not used.
    pub(super) sums: Sums,
}

/// What a row stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Member {
    Conversation(u64),
    /// Numbers and addresses of both ends, port and protocol.
    Server([u32; 2], [Option<IpAddr>; 2], u16, u8),
    Port(u16, u8),
    Named(String),
}

/// What an end is called that has no name in a group.
const OUTSIDE: &str = "(outside the cluster)";
const OTHERS: &str = "(no process of this machine)";

impl TopRow {
    pub(super) fn metric(&self, metric: Metric) -> u64 {
        match metric {
            Metric::Bytes => self.sent.saturating_add(self.received),
            Metric::Rate => self.rate,
            Metric::Packets => self.sums.packets,
            Metric::Drops => self.sums.drops,
            Metric::DnsErrors => self.sums.dns_errors,
        }
    }
}

/// All rows, the largest first; those that have nothing of the metric are left out.
pub(super) fn rows(connections: &Connections, group: Group, metric: Metric, now: Duration) -> Vec<TopRow> {
    rows_of(connections, group, metric, now, |_| true)
}

/// The same of the conversations that `passes` wants.
pub(super) fn rows_of(
    connections: &Connections,
    group: Group,
    metric: Metric,
    now: Duration,
    passes: impl Fn(&Connection) -> bool,
) -> Vec<TopRow> {
    let labels = Labels::of(connections, group);
    let mut rows: HashMap<Member, TopRow> = HashMap::new();
    for one in connections.iter().filter(|one| passes(one)) {
        let members = labels.members(connections, one);
        let is_pair = members[1].is_none();
        let same = members[0] == members[1];
        for (side, member) in members.into_iter().enumerate() {
            let Some(member) = member else { continue };
            let row = rows.entry(member.clone()).or_insert_with(|| empty(connections, one, member));
            row.add(one, side, is_pair, same, now);
        }
    }
    let mut rows: Vec<TopRow> = rows.into_values().collect();
    rows.retain(|row| metric == Metric::Bytes || row.metric(metric) > 0);
    rows.sort_by(|a, b| b.metric(metric).cmp(&a.metric(metric)).then_with(|| a.who.cmp(&b.who)));
    rows
}

/// The groups that there is something for: an end with such a name, or a conversation.
pub(super) fn offered(connections: &Connections) -> Vec<Group> {
    let is_named = |group: Group| connections.ends.iter().any(|end| name(end, group).is_some());
    let is_offered = |group: &Group| match group {
        Group::Server | Group::Conversation | Group::Port | Group::Service | Group::Address => true,
        _ => is_named(*group),
    };
    Group::ALL.iter().copied().filter(is_offered).collect()
}

/// The conversations that a row counts.
pub(super) fn numbers(connections: &Connections, group: Group, member: &Member) -> HashSet<u64> {
    let labels = Labels::of(connections, group);
    let has = |one: &&Connection| labels.members(connections, one).iter().flatten().any(|its| its == member);
    connections.iter().filter(has).map(|one| one.id).collect()
}

impl TopRow {
    /// Adds a conversation of which the row is the client (0) or the server (1); of both, `same`, what is counted for both counts once.
    fn add(&mut self, one: &Connection, side: usize, is_pair: bool, same: bool, now: Duration) {
        let [to, from] = [one.sums[side], one.sums[1 - side]];
        self.sent = self.sent.saturating_add(to.bytes);
        self.received = self.received.saturating_add(from.bytes);
        let drops = if is_pair { one.total().drops } else { to.drops };
        let total = if same && side == 1 { Sums::default() } else { one.total() };
        self.sums.add(Sums { drops, ..total });
        if !(same && side == 1) {
            self.rate = self.rate.saturating_add(one.pace.rates(now).iter().sum());
        }
    }
}

fn empty(connections: &Connections, one: &Connection, member: Member) -> TopRow {
    let who = match &member {
        Member::Conversation(_) => {
            let port = one.key.src_port;
            let client = names::client(connections, one);
            let client = if port == 0 { client } else { format!("{client}:{port}") };
            format!("{client} → {} {}", names::server(connections, one), names::protocol(one.key.proto))
        }
        Member::Server(..) => format!("{} {}", title(connections, one), names::protocol(one.key.proto)),
        Member::Port(port, proto) => {
            let name = names::by_port(*port);
            let port = if *port == 0 { String::new() } else { format!(" {port}") };
            format!("{}{port} {name}", names::protocol(*proto)).trim_end().to_owned()
        }
        Member::Named(name) => name.clone(),
    };
    TopRow { who, member, sent: 0, received: 0, rate: 0, sums: Sums::default() }
}

/// What each end is called in a group.
struct Labels {
    group: Group,
    names: Vec<String>,
}

impl Labels {
    fn of(connections: &Connections, group: Group) -> Self {
        let is_named = !matches!(group, Group::Server | Group::Conversation | Group::Port | Group::Service);
        let names = if is_named { connections.ends.iter().map(|end| label(end, group)).collect() } else { Vec::new() };
        Self { group, names }
    }

    /// The rows that a conversation counts in: one, or one for each end.
    fn members(&self, connections: &Connections, one: &Connection) -> [Option<Member>; 2] {
        let key = one.key;
        match self.group {
            Group::Conversation => [Some(Member::Conversation(one.id)), None],
            Group::Server => {
                let member = Member::Server(one.ends, [key.src, key.dst], key.dst_port, key.proto);
                [Some(member), None]
            }
            Group::Port => [Some(Member::Port(key.dst_port, key.proto)), None],
            Group::Service => {
                let name = names::service(connections, one);
                let port = Member::Port(key.dst_port, key.proto);
                [Some(if name.is_empty() { port } else { Member::Named(name) }), None]
            }
            _ => one.ends.map(|end| {
                let name = self.names.get(end as usize).map_or(super::columns::ABSENT, String::as_str);
                Some(Member::Named(name.to_owned()))
            }),
        }
    }
}

fn label(end: &End, group: Group) -> String {
    name(end, group).unwrap_or_else(|| match group {
        Group::Process => OTHERS.into(),
        Group::Pod | Group::Owner | Group::Address => end.address.to_string(),
        _ => OUTSIDE.into(),
    })
}

/// What an end is called in a group, if it has a name there.
fn name(end: &End, group: Group) -> Option<String> {
    let holder = end.holder();
    let text = match group {
        Group::Process => Some(end.process.to_string()),
        Group::Pod => names::object(end),
        Group::Owner => holder.and_then(names::owner),
        Group::Namespace => holder.map(|holder| holder.namespace.to_string()),
        Group::Node => holder.map(|it| if it.kind == "Node" { it.name.to_string() } else { it.host_name.to_string() }),
        Group::Zone => holder.map(|holder| holder.zone.to_string()),
        _ => None,
    };
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::Flow;
    use netobserv_wire::flow::{Conversation, Drops, Endpoint, Enrichment, Holder};

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

    fn connections() -> Connections {
        let mut connections = Connections::default();
        let lost = Drops { packets: 7, ..Drops::default() };
        for flow in [
            flow("10.0.0.1", "10.0.0.2", (40_000, 80), 100),
            flow("10.0.0.2", "10.0.0.1", (80, 40_000), 900),
            flow("10.0.0.1", "10.0.0.2", (40_001, 80), 1),
            Flow { drops: Some(Box::new(lost)), ..flow("10.0.0.3", "10.0.0.2", (40_000, 80), 50) },
        ] {
            connections.add(&flow, Duration::ZERO);
        }
        connections
    }

    fn seen(group: Group) -> Vec<(String, u64, u64, u64)> {
        let rows = rows(&connections(), group, Metric::Bytes, Duration::ZERO);
        rows.into_iter().map(|row| (row.who, row.sent, row.received, row.sums.packets)).collect()
    }

    #[test]
    fn conversations_of_a_client_with_a_server_are_one_row() {
        assert_eq!(
            seen(Group::Server),
            [
                ("shop/pod-1 → shop/pod-2:80 TCP".into(), 101, 900, 3),
                ("shop/pod-3 → shop/pod-2:80 TCP".into(), 50, 0, 1)
            ]
        );
        assert_eq!(seen(Group::Conversation)[0], ("shop/pod-1:40000 → shop/pod-2:80 TCP".into(), 100, 900, 2));
    }

    #[test]
    fn the_client_is_the_end_that_opened_the_connection_also_with_the_lower_port() {
        let mut connections = Connections::default();
        let from_client = |from_client| Some(Conversation { id: 1, from_client: Some(from_client) });
        let there = flow("10.0.0.1", "10.0.0.2", (40_000, 50_051), 100);
        let back = flow("10.0.0.2", "10.0.0.1", (50_051, 40_000), 900);
        connections.add(&Flow { conversation: from_client(true), ..there }, Duration::ZERO);
        connections.add(&Flow { conversation: from_client(false), ..back }, Duration::ZERO);
        let rows = rows(&connections, Group::Server, Metric::Bytes, Duration::ZERO);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].who.as_str(), rows[0].sent, rows[0].received),
            ("shop/pod-1 → shop/pod-2:50051 TCP", 100, 900)
        );
    }

    #[test]
    fn groups_add_up() {
        assert_eq!(seen(Group::Namespace), [("shop".into(), 1_051, 1_051, 4)]);
        assert_eq!(seen(Group::Node), [("n2".into(), 950, 151, 4), ("n1".into(), 101, 900, 3)]);
        assert_eq!(seen(Group::Pod)[0], ("shop/pod-2".into(), 900, 151, 4));
        assert_eq!(seen(Group::Port), [("TCP 80 http".into(), 151, 900, 4)]);
        assert_eq!(seen(Group::Service), [("http".into(), 151, 900, 4)]);
        assert_eq!(seen(Group::Zone), [(OUTSIDE.into(), 1_051, 1_051, 4)]);
    }

    #[test]
    fn groups_without_a_name_are_not_offered() {
        let offered = offered(&connections());
        assert!(offered.contains(&Group::Pod) && offered.contains(&Group::Node) && offered.contains(&Group::Address));
        assert!(
            ![Group::Zone, Group::Owner, Group::Process].iter().any(|group| offered.contains(group)),
            "{offered:?}"
        );
    }

    #[test]
    fn drops_count_for_the_end_whose_packets_were_lost() {
        let rows = rows(&connections(), Group::Pod, Metric::Drops, Duration::ZERO);
        let drops: Vec<_> = rows.iter().map(|row| (row.who.as_str(), row.sums.drops)).collect();
        assert_eq!(drops, [("shop/pod-3", 7)]);
    }
}
