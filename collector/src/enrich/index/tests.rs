use super::*;
use crate::facts::Secondary;

const NOW: u64 = 1_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn identity(namespace: &str, name: &str, owner: Option<(&str, &str)>) -> Identity {
    let owner = owner.map(|(kind, name)| Owner { kind: kind.into(), name: name.into() });
    Identity {
        uid: format!("{namespace}/{name}"),
        namespace: namespace.into(),
        name: name.into(),
        owner,
        created_ms: 10,
    }
}

fn pod(name: &str, address: &str, owner: Option<(&str, &str)>) -> Pod {
    Pod {
        identity: identity("shop", name, owner),
        node: "n1".into(),
        host_ip: Some(ip("10.0.0.1")),
        addresses: vec![ip(address)],
        started_ms: Some(500_000),
        ..Pod::default()
    }
}

fn node(zone: &str) -> Node {
    Node { identity: identity("", "n1", None), addresses: vec![ip("10.0.0.1")], zone: zone.into(), ..Node::default() }
}

fn replica_set(name: &str, owner: Option<(&str, &str)>) -> Workload {
    Workload { kind: "ReplicaSet", identity: identity("shop", name, owner) }
}

fn at(address: &str, at_ms: u64) -> Question {
    Question { address: ip(address), mac: None, port: None, at_ms }
}

#[track_caller]
fn name(index: &Index, address: &str, at_ms: u64) -> String {
    index.find(&at(address, at_ms)).map_or_else(String::new, |holder| holder.name.to_string())
}

#[test]
fn a_pod_has_the_owner_of_its_owner_whichever_comes_first() {
    for pod_first in [true, false] {
        let mut index = Index::default();
        let facts = [
            Fact::Pod(pod("web-1-a", "10.1.0.5", Some(("ReplicaSet", "web-1")))),
            Fact::Workload(replica_set("web-1", Some(("Deployment", "web")))),
            Fact::Node(node("east")),
        ];
        let mut facts = Vec::from(facts);
        if !pod_first {
            facts.reverse();
        }
        let changes: Vec<_> = facts.into_iter().map(|fact| index.apply(fact, NOW)).collect();
        assert_eq!(changes.iter().filter(|change| change.better).count(), if pod_first { 2 } else { 0 });
        let holder = index.find(&at("10.1.0.5", NOW)).unwrap();
        assert_eq!((holder.owner_kind.as_str(), holder.owner_name.as_str()), ("Deployment", "web"));
        assert_eq!((holder.zone.as_str(), holder.host_name.as_str()), ("east", "n1"));
        assert!(index.waiting.is_empty());
    }
}

#[test]
fn what_nothing_owns_is_its_own_owner() {
    let mut index = Index::default();
    index.apply(Fact::Pod(pod("lone", "10.1.0.5", None)), NOW);
    index.apply(Fact::Pod(pod("set", "10.1.0.6", Some(("ReplicaSet", "bare")))), NOW);
    index.apply(Fact::Workload(replica_set("bare", None)), NOW);
    index.apply(Fact::Node(node("")), NOW);
    let owner = |address| {
        let holder = index.find(&at(address, NOW)).unwrap();
        format!("{} {}", holder.owner_kind, holder.owner_name)
    };
    assert_eq!([owner("10.1.0.5"), owner("10.1.0.6"), owner("10.0.0.1")], ["Pod lone", "ReplicaSet bare", "Node n1"]);
}

#[test]
fn an_address_that_is_used_again_has_the_name_of_its_time() {
    let mut index = Index::default();
    index.apply(Fact::Pod(pod("old", "10.1.0.5", None)), NOW);
    index.delete(Kind::Pods, "shop/old", NOW + 5_000);
    assert_eq!((name(&index, "10.1.0.5", NOW), name(&index, "10.1.0.5", NOW + 9_000)), ("old".into(), String::new()));
    let mut new = pod("new", "10.1.0.5", None);
    new.started_ms = Some(NOW + 6_000);
    let change = index.apply(Fact::Pod(new), NOW + 7_000);
    assert_eq!(change.addresses, [ip("10.1.0.5")]);
    assert_eq!((name(&index, "10.1.0.5", NOW), name(&index, "10.1.0.5", NOW + 9_000)), ("old".into(), "new".into()));
}

#[test]
fn what_is_gone_at_a_relist_makes_room_for_who_came() {
    let mut index = Index::default();
    index.apply(Fact::Pod(pod("old", "10.1.0.5", None)), NOW);
    let mut new = pod("new", "10.1.0.5", None);
    new.started_ms = Some(NOW + 6_000);
    index.apply(Fact::Pod(new), NOW + 60_000);
    index.retain(Kind::Pods, &HashSet::from(["shop/new".to_owned()]), NOW + 60_000);
    assert_eq!((name(&index, "10.1.0.5", NOW), name(&index, "10.1.0.5", NOW + 9_000)), ("old".into(), "new".into()));
    assert_eq!(index.count(Kind::Pods), 1);
}

#[test]
fn a_pod_that_changes_its_address_had_the_other_before() {
    let mut index = Index::default();
    index.apply(Fact::Pod(pod("a", "10.1.0.5", None)), NOW);
    index.apply(Fact::Pod(pod("a", "10.1.0.6", None)), NOW + 10_000);
    let names = ["10.1.0.5", "10.1.0.6"].map(|address| [NOW, NOW + 20_000].map(|at| name(&index, address, at)));
    assert_eq!(names, [["a".to_owned(), String::new()], [String::new(), "a".into()]]);
}

#[test]
fn a_pod_on_the_host_is_found_by_a_port_that_is_its_alone() {
    let mut index = Index::default();
    index.apply(Fact::Node(node("")), NOW);
    let host_pod = |name: &str, ports: &[(u8, u16)]| {
        Fact::Pod(Pod { addresses: vec![], host_ports: ports.to_vec(), ..pod(name, "10.0.0.1", None) })
    };
    index.apply(host_pod("exporter", &[(6, 9100), (6, 7000)]), NOW);
    index.apply(host_pod("other", &[(6, 7000)]), NOW);
    let by_port = |port| {
        let question = Question { port, ..at("10.0.0.1", NOW) };
        index.find(&question).unwrap().name.to_string()
    };
    assert_eq!(by_port(Some((6, 9100))), "exporter");
    for port in [None, Some((6, 7000)), Some((17, 9100)), Some((6, 22))] {
        assert_eq!(by_port(port), "n1", "{port:?}");
    }
    assert_eq!(index.node(ip("10.0.0.1"), NOW).unwrap().holder.name, "n1");
}

#[test]
fn other_networks_are_told_apart_by_mac() {
    let mut index = Index::default();
    for (name, mac) in [("a", 1), ("b", 2)] {
        let secondary = Secondary { address: ip("192.168.7.5"), mac: [mac; 6], network: format!("net-{name}") };
        let address = format!("10.1.0.{mac}");
        index.apply(Fact::Pod(Pod { secondary: vec![secondary], ..pod(name, &address, None) }), NOW);
    }
    let by_mac = |mac| index.find(&Question { mac: Some([mac; 6]), ..at("192.168.7.5", NOW) });
    assert_eq!(by_mac(2).map(|holder| holder.network.as_str()), Some("net-b"));
    assert!(by_mac(3).is_none());
    assert_eq!(index.find(&at("10.1.0.2", NOW)).unwrap().network, "primary");
}

#[test]
fn services_have_their_addresses_as_long_as_they_live() {
    let mut index = Index::default();
    let service = Service {
        identity: identity("shop", "web", None),
        addresses: vec![ip("172.30.0.9"), ip("fd02::9")],
        ..Service::default()
    };
    index.apply(Fact::Service(service.clone()), NOW);
    let holder = index.find(&at("fd02::9", NOW)).unwrap();
    assert_eq!((holder.kind.as_str(), holder.owner_kind.as_str(), holder.zone.as_str()), ("Service", "Service", ""));
    index.apply(Fact::Service(Service { addresses: vec![ip("172.30.0.9")], ..service }), NOW + 10_000);
    assert_eq!(name(&index, "fd02::9", NOW + 20_000), "");
    assert_eq!(name(&index, "172.30.0.9", NOW + 20_000), "web");
}

#[test]
fn the_past_is_bounded() {
    let mut index = Index::default();
    for number in 0..PAST as u64 + 1_000 {
        let address = IpAddr::from((0x0a00_0000 + (number as u32 % 60_000)).to_be_bytes());
        let uid = format!("p{number}");
        let mut pod = pod(&uid, "10.1.0.1", None);
        (pod.addresses, pod.identity.uid) = (vec![address], uid.clone());
        index.apply(Fact::Pod(pod), NOW);
        index.delete(Kind::Pods, &uid, NOW + number);
    }
    assert_eq!((index.past.len(), index.objects.len()), (PAST, 0));
    assert!(index.places.len() <= PAST);
}

#[test]
fn an_object_is_one_holder_at_all_its_addresses() {
    let mut index = Index::default();
    let mut both = pod("web", "10.1.0.1", None);
    both.addresses.push(ip("fd01::1"));
    let same = |index: &Index| {
        let [four, six] = ["10.1.0.1", "fd01::1"].map(|address| index.find(&at(address, NOW)).unwrap().clone());
        assert!(four.is(&six));
        four
    };
    index.apply(Fact::Pod(both.clone()), NOW);
    let first = same(&index);
    index.apply(Fact::Pod(both), NOW);
    assert!(same(&index).is(&first), "sent again, it is the same");
}
