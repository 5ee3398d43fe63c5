use super::*;
use crate::facts::{Identity, Node, Pod};

const NOW: u64 = 1_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(namespace: &str, name: &str, address: &str, node: u8) -> Fact {
    Fact::Pod(Pod {
        identity: Identity { uid: name.into(), namespace: namespace.into(), name: name.into(), ..Identity::default() },
        node: format!("n{node}"),
        host_ip: Some(ip(&format!("10.0.0.{node}"))),
        addresses: vec![ip(address)],
        ..Pod::default()
    })
}

fn names() -> Names {
    let mut subnets = Subnets::default();
    subnets.add("Pods=10.1.0.0/16").unwrap();
    let names = Names::new(subnets);
    names.learn(pod("shop", "web", "10.1.0.1", 1));
    names.learn(pod("shop", "db", "10.1.0.2", 2));
    names.learn(pod("kube-system", "dns", "10.1.0.3", 1));
    let identity = Identity { uid: "n1".into(), name: "n1".into(), ..Identity::default() };
    names.learn(Fact::Node(Node {
        identity,
        addresses: vec![ip("10.0.0.1"), ip("1.2.3.4")],
        zone: "east".into(),
        ..Node::default()
    }));
    names
}

fn flow(src: &str, dst: &str, agent: &str) -> Flow {
    let ends = (Some(ip(src)), Some(ip(dst)));
    Flow { start_ms: NOW, src_addr: ends.0, dst_addr: ends.1, agent_ip: Some(ip(agent)), ..Flow::default() }
}

fn named(names: &Names, src: &str, dst: &str, agent: &str) -> Option<Enrichment> {
    let mut flows = [flow(src, dst, agent)];
    names.name(&mut flows);
    let [flow] = flows;
    flow.k8s
}

#[test]
fn direction_is_seen_from_the_agent_and_within_a_node_from_nobody() {
    let names = names();
    let direction = |src, dst, agent| named(&names, src, dst, agent).and_then(|k8s| k8s.flow_direction);
    assert_eq!(direction("10.1.0.1", "10.1.0.2", "10.0.0.1"), Some(1));
    assert_eq!(direction("10.1.0.1", "10.1.0.2", "10.0.0.2"), Some(0));
    assert_eq!(direction("10.1.0.1", "10.1.0.3", "10.0.0.1"), Some(2));
    assert_eq!(direction("10.1.0.1", "10.1.0.2", "1.2.3.4"), Some(1), "another address of the node");
    assert_eq!(direction("10.1.0.1", "8.8.8.8", "10.0.0.9"), None);
    assert_eq!(direction("8.8.8.8", "10.1.0.1", "10.0.0.1"), Some(0));
}

#[test]
fn the_layer_is_that_of_the_user_when_one_end_is() {
    let names = names();
    let layer = |src, dst| named(&names, src, dst, "10.0.0.1").map(|k8s| k8s.layer);
    assert_eq!(layer("10.1.0.3", "10.1.0.1"), Some(Some(Layer::App)));
    assert_eq!(layer("10.1.0.3", "8.8.8.8"), Some(Some(Layer::Infra)));
    assert_eq!(layer("8.8.8.8", "9.9.9.9"), None, "nothing is known of it");
    assert_eq!(layer("10.1.9.9", "8.8.8.8"), Some(None), "a subnet has no layer");
}

#[test]
fn what_a_pipeline_named_stays() {
    let names = names();
    let mut flows = [flow("10.1.0.1", "10.1.0.2", "10.0.0.1")];
    flows[0].k8s = Some(Enrichment { flow_direction: Some(2), ..Enrichment::default() });
    names.name(&mut flows);
    assert_eq!(flows[0].k8s.as_ref().map(|k8s| (k8s.flow_direction, k8s.layer)), Some((Some(2), None)));
}

#[test]
fn a_name_that_comes_late_is_filled_in() {
    let names = names();
    let mut flows = [flow("10.1.0.1", "10.1.0.9", "10.0.0.1")];
    names.name(&mut flows);
    assert!(!names.late());
    names.learn(pod("shop", "elsewhere", "10.1.0.77", 1));
    assert!(!names.late(), "no flow lacked it");
    names.learn(pod("shop", "cache", "10.1.0.9", 2));
    assert!(names.late());
    let [mut flow] = flows;
    assert!(names.name_late(&mut flow));
    let k8s = flow.k8s.as_ref().unwrap();
    assert_eq!((k8s.dst.holder.as_ref().unwrap().name.as_str(), k8s.flow_direction), ("cache", Some(1)));
    assert!(!names.name_late(&mut flow), "nothing new the second time");
}

#[test]
fn a_name_is_never_taken_away() {
    let names = names();
    let mut flows = [flow("10.1.0.1", "10.1.0.2", "10.0.0.1")];
    names.name(&mut flows);
    let other = Names::new(Subnets::default());
    assert!(!other.name_late(&mut flows[0]));
    other.learn(pod("shop", "another", "10.1.0.1", 7));
    assert!(!other.name_late(&mut flows[0]));
    assert_eq!(flows[0].k8s.as_ref().unwrap().src.holder.as_ref().unwrap().name, "web");
}
