//! A packet that crosses several interfaces of the machine is counted once, and the interfaces are listed.

use std::collections::BTreeSet;
use std::time::Duration;

use netobserv_testkit::capture::sum;
use netobserv_testkit::link::{bridge, mac_text, neighbours};
use netobserv_testkit::{Blast, LocalCapture, Netns, Pair, Veth, require_privileged};
use serde_json::Value;

/// Traffic of about two and a half seconds, so that windows of the agent end while packets are on their way.
const FLOWS: u32 = 1000;
const ROUNDS: u32 = 100;
const RATE: u32 = 40_000;
/// Time without packets when a flow changes its way.
const OUTAGE: Duration = Duration::from_millis(1300);

/// Source addresses of [`Blast`] with its default `net`.
fn blasted(flow: &Value) -> bool {
    flow["SrcAddr"].as_str().is_some_and(|address| address.starts_with("10.1."))
}

/// Expects that the records of a blast hold each packet once, and returns every set of interfaces named.
#[track_caller]
fn counted_once(records: &[Value]) -> BTreeSet<BTreeSet<String>> {
    let seen = sum(records, blasted);
    assert_eq!(seen.packets, u64::from(FLOWS) * u64::from(ROUNDS), "each packet once");
    assert_eq!(seen.bytes, seen.packets * 90, "each byte once");
    let lists = records.iter().filter(|flow| blasted(flow)).map(|flow| {
        let (names, directions) = (flow["Interfaces"].as_array(), flow["IfDirections"].as_array());
        assert_eq!(names.map(Vec::len), directions.map(Vec::len), "{flow}");
        let names = names.expect("a list of interfaces").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    });
    lists.collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn namespaces() -> [Netns; 3] {
    let all = ["left", "middle", "right"].map(Netns::new);
    all.iter().for_each(Netns::no_ipv6);
    all
}

fn blast() -> Blast {
    Blast { flows: FLOWS, rounds: ROUNDS, rate: Some(RATE), ..Blast::default() }
}

#[test]
fn across_veth_bridge_and_veth() {
    require_privileged!();
    let [left, middle, right] = namespaces();
    let near = Veth::new(&left, &[], &middle, &[]);
    let far = Veth::new(&middle, &[], &right, &[]);
    // The bridge hands frames to the middle's own stack, which routes them on: veth, bridge, veth.
    let bridge = bridge(&middle, &[&near.b.name]);
    let gateway = mac(&middle, &bridge);
    middle.ip(&format!("address add 10.1.255.254/16 dev {bridge}"));
    middle.ip(&format!("address add 10.9.0.1/24 dev {}", far.a.name));
    middle.ip(&format!("route add 10.0.0.2/32 via 10.9.0.2 dev {}", far.a.name));
    neighbours(&middle, &far.a.name, &["10.9.0.2"], far.b.mac);
    middle.sysctl("ipv4/ip_forward", "1");

    let path = [near.b.name.as_str(), &bridge, &far.a.name];
    let mut capture = LocalCapture::start(&[&format!("--interfaces={}", path.join(","))]);
    path.iter().for_each(|name| capture.wait_attached(&middle, name));
    Blast { dst_mac: gateway, ..blast() }.run(&left, &near.a.name);
    let lists = counted_once(&capture.stop().files().flows());
    assert_eq!(lists, BTreeSet::from([set(&path)]));
}

#[test]
fn across_four_ends_in_three_namespaces() {
    require_privileged!();
    let [left, middle, right] = namespaces();
    let near = Veth::new(&left, &[], &middle, &[]);
    let far = Veth::new(&middle, &[], &right, &[]);
    bridge(&middle, &[&near.b.name, &far.a.name]);

    let ends = [(&left, &near.a.name), (&middle, &near.b.name), (&middle, &far.a.name), (&right, &far.b.name)];
    let names: Vec<&str> = ends.iter().map(|(_, name)| name.as_str()).collect();
    let mut capture = LocalCapture::start(&[&format!("--interfaces={}", names.join(","))]);
    ends.iter().for_each(|(ns, name)| capture.wait_attached(ns, name));
    blast().run(&left, &near.a.name);
    let lists = counted_once(&capture.stop().files().flows());
    assert_eq!(lists, BTreeSet::from([set(&names)]));
}

#[test]
fn in_and_out_of_the_same_interface() {
    require_privileged!();
    let pair = Pair::silent();
    let router = pair.captured();
    pair.right.ip(&format!("address add 10.1.255.254/16 dev {router}"));
    pair.right.ip(&format!("address add 10.0.0.254/24 dev {router}"));
    neighbours(&pair.right, router, &["10.0.0.2"], pair.veth.a.mac);
    for setting in ["ipv4/ip_forward=1", "ipv4/conf/all/send_redirects=0", "ipv4/conf/all/rp_filter=0"] {
        let (name, value) = setting.split_once('=').expect("name=value");
        pair.right.sysctl(name, value);
    }
    pair.right.sysctl(&format!("ipv4/conf/{router}/send_redirects"), "0");

    let capture = LocalCapture::of(&pair.right, router, &[]);
    let start = pair.counters();
    Blast { dst_mac: pair.veth.b.mac, ..blast() }.run(&pair.left, &pair.veth.a.name);
    let counted = pair.counters().since(&start);
    assert_eq!(counted.tx_packets, counted.rx_packets, "the router sent all back");
    let lists = counted_once(&capture.stop().files().flows());
    assert_eq!(lists, BTreeSet::from([set(&[router])]));
}

/// A capture without `--interfaces` sees both ends of a wire, in two namespaces.
#[test]
fn both_ends_of_a_wire_are_one_flow() {
    require_privileged!();
    let pair = Pair::addressed();
    let (a, b) = (pair.veth.a.clone(), pair.veth.b.clone());
    let mut capture = LocalCapture::start(&[&format!("--interfaces={},{}", a.name, b.name)]);
    capture.wait_attached(&pair.left, &a.name);
    capture.wait_attached(&pair.right, &b.name);
    pair.ping();
    let flows = capture.stop().files().flows();
    assert_eq!(flows.len(), 2, "request and reply: {flows:#?}");
    for (src, dst, from, to) in [(Pair::LEFT, Pair::RIGHT, &a, &b), (Pair::RIGHT, Pair::LEFT, &b, &a)] {
        let flow = flows.iter().find(|flow| flow["SrcAddr"] == src && flow["DstAddr"] == dst).expect(src);
        assert_eq!(flow["Packets"], 1, "{flow}");
        assert_eq!(flow["Bytes"], 98, "84 bytes of IP behind 14 of Ethernet: {flow}");
        assert_eq!(flow["Interfaces"], serde_json::json!([from.name, to.name]), "in the order of the way");
        assert_eq!(flow["IfDirections"], serde_json::json!([1, 0]), "out of one, into the other");
        assert_eq!(flow["SrcMac"], mac_text(from.mac), "{flow}");
        assert_eq!(flow["DstMac"], mac_text(to.mac), "{flow}");
    }
}

fn mac(ns: &Netns, interface: &str) -> [u8; 6] {
    let links: Value = serde_json::from_str(&ns.ip(&format!("-j link show dev {interface}"))).expect("JSON from ip");
    netobserv_testkit::link::mac(links[0]["address"].as_str().expect("an address"))
}

/// A flow that moves to another way, as after a failure: both ways' packets count.
#[test]
fn a_flow_that_changes_its_way() {
    require_privileged!();
    let [left, _, right] = namespaces();
    let ways = [Veth::new(&left, &[], &right, &[]), Veth::new(&left, &[], &right, &[])];
    let names = ways.each_ref().map(|way| way.b.name.as_str());
    let mut capture = LocalCapture::start(&[&format!("--interfaces={}", names.join(","))]);
    names.iter().for_each(|name| capture.wait_attached(&right, name));
    let half = Blast { flows: 10, rounds: 2000, rate: Some(20_000), ..Blast::default() };
    let first = half.run(&left, &ways[0].a.name);
    // Longer than a window: within one window, ways that follow each other closely cannot be told from one way.
    std::thread::sleep(OUTAGE);
    let second = half.run(&left, &ways[1].a.name);
    let seen = sum(&capture.stop().files().flows(), |_| true);
    assert_eq!(seen.packets, first.packets + second.packets);
}
