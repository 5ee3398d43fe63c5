//! Interfaces that come and go while a capture runs, and which of them are captured.

use std::os::unix::fs::MetadataExt as _;

use netobserv_testkit::capture::sum;
use netobserv_testkit::netns::unique_interface;
use netobserv_testkit::session::ours;
use netobserv_testkit::{Blast, LocalCapture, Netns, Veth, require_privileged};
use serde_json::Value;

fn two_namespaces() -> (Netns, Netns) {
    let (left, right) = (Netns::new("left"), Netns::new("right"));
    left.no_ipv6();
    right.no_ipv6();
    (left, right)
}

/// Gives an interface a name that starts with `prefix`.
fn rename(ns: &Netns, old: &str, prefix: &str, rest: &str) -> String {
    let name = format!("{prefix}{rest}");
    ns.ip(&format!("link set {old} down"));
    ns.ip(&format!("link set {old} name {name}"));
    ns.ip(&format!("link set {name} up"));
    name
}

/// Packets that were captured on an interface.
fn packets_on(flows: &[Value], interface: &str) -> u64 {
    sum(flows, |flow| flow["Interfaces"][0] == interface).packets
}

#[test]
fn what_comes_later_is_captured_and_what_goes_does_no_harm() {
    require_privileged!();
    let (left, right) = two_namespaces();
    let prefix = unique_interface("c");
    let first = Veth::new(&left, &[], &right, &[]);
    let first_name = rename(&right, &first.b.name, &prefix, "0");
    let mut capture = LocalCapture::start(&[&format!("--interfaces=/^{prefix}/")]);
    capture.wait_attached(&right, &first_name);

    let second = Veth::new(&left, &[], &right, &[]);
    let second_name = rename(&right, &second.b.name, &prefix, "1");
    capture.wait_attached(&right, &second_name);
    Blast { flows: 10, rounds: 10, ..Blast::default() }.run(&left, &first.a.name);
    Blast { flows: 10, rounds: 20, net: 2, ..Blast::default() }.run(&left, &second.a.name);
    right.ip(&format!("link del {first_name}"));
    Blast { flows: 10, rounds: 30, net: 3, ..Blast::default() }.run(&left, &second.a.name);

    let flows = capture.stop().files().flows();
    assert_eq!(packets_on(&flows, &first_name), 100, "before it was deleted");
    assert_eq!(packets_on(&flows, &second_name), 500, "since it was attached");
}

#[test]
fn a_namespace_made_later_is_captured() {
    require_privileged!();
    let (left, right) = two_namespaces();
    let prefix = unique_interface("n");
    let first = Veth::new(&left, &[], &right, &[]);
    let first_name = rename(&right, &first.b.name, &prefix, "0");
    let mut capture = LocalCapture::start(&[&format!("--interfaces=/^{prefix}/")]);
    capture.wait_attached(&right, &first_name);

    let late = Netns::new("late");
    late.no_ipv6();
    let veth = Veth::new(&left, &[], &late, &[]);
    let late_name = rename(&late, &veth.b.name, &prefix, "1");
    capture.wait_attached(&late, &late_name);
    Blast { flows: 10, rounds: 10, ..Blast::default() }.run(&left, &veth.a.name);
    drop(late);
    Blast { flows: 10, rounds: 10, net: 2, ..Blast::default() }.run(&left, &first.a.name);

    let flows = capture.stop().files().flows();
    assert_eq!(packets_on(&flows, &late_name), 100, "in the namespace that is gone");
    assert_eq!(packets_on(&flows, &first_name), 100, "after it was gone");
}

#[test]
fn excluded_interfaces_are_left_alone() {
    require_privileged!();
    let (left, right) = two_namespaces();
    let prefix = unique_interface("x");
    let (one, two) = (Veth::new(&left, &[], &right, &[]), Veth::new(&left, &[], &right, &[]));
    let wanted = rename(&right, &one.b.name, &prefix, "0");
    let excluded = rename(&right, &two.b.name, &prefix, "1");
    let options = [&format!("--interfaces=/^{prefix}/"), &format!("--exclude_interfaces={excluded},lo")];
    let mut capture = LocalCapture::start(&options.map(std::string::String::as_str));
    capture.wait_attached(&right, &wanted);
    Blast { flows: 5, rounds: 10, ..Blast::default() }.run(&left, &one.a.name);
    Blast { flows: 5, rounds: 10, net: 2, ..Blast::default() }.run(&left, &two.a.name);
    assert_eq!(ours(&right, &excluded), 0);
    assert_eq!(ours(&left, &one.a.name), 0, "not named");

    let flows = capture.stop().files().flows();
    assert_eq!(packets_on(&flows, &wanted), 50);
    assert_eq!(sum(&flows, |_| true).packets, 50, "nothing else");
}

/// The same interface name and index in two namespaces are two interfaces.
#[test]
fn equal_indexes_in_two_namespaces_do_not_mix() {
    require_privileged!();
    let sender = Netns::new("sender");
    let (one, two) = two_namespaces();
    sender.no_ipv6();
    let (to_one, to_two) = (Veth::new(&sender, &[], &one, &[]), Veth::new(&sender, &[], &two, &[]));
    let same = unique_interface("s");
    rename(&one, &to_one.b.name, &same, "");
    rename(&two, &to_two.b.name, &same, "");
    assert_eq!(to_one.b.index, to_two.b.index, "both are the second interface of their namespace");
    let mut capture = LocalCapture::start(&[&format!("--interfaces={same}")]);
    capture.wait_attached(&one, &same);
    capture.wait_attached(&two, &same);
    Blast { flows: 5, rounds: 10, ..Blast::default() }.run(&sender, &to_one.a.name);
    Blast { flows: 5, rounds: 20, net: 2, ..Blast::default() }.run(&sender, &to_two.a.name);
    let flows = capture.stop().files().flows();
    let from = |net: &str| sum(&flows, |flow| flow["SrcAddr"].as_str().is_some_and(|src| src.starts_with(net)));
    assert_eq!((from("10.1.").packets, from("10.2.").packets), (50, 100));
    assert_eq!(sum(&flows, |_| true).packets, 150);
    let inode = |ns: &Netns| std::fs::metadata(ns.path()).expect("a namespace").ino();
    let on = |ns: &Netns| packets_on(&flows, &format!("{same}@{}", inode(ns)));
    assert_eq!((on(&one), on(&two)), (50, 100), "each row says in which namespace");
}
