//! The testkit's own promises: quiet interfaces, exact traffic, and nothing left.

use std::time::{Duration, Instant};

use netobserv_testkit::link::Counters;
use netobserv_testkit::netns::names;
use netobserv_testkit::proc::alive;
use netobserv_testkit::{Blast, Frame, Netns, Run, Sender, Veth, bpf, link_counters, require_privileged, wait_for};

#[test]
fn blasted_packets_are_those_that_the_interface_counts() {
    require_privileged!();
    for ipv6 in [false, true] {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        left.no_ipv6();
        right.no_ipv6();
        let veth = Veth::new(&left, &[], &right, &[]);
        let start = link_counters(&right, &veth.b.name);
        assert_eq!(start, Counters::default(), "an interface that nobody uses is quiet");
        let clock = Instant::now();
        let sent = Blast { flows: 3000, rounds: 50, ipv6, ..Blast::default() }.run(&left, &veth.a.name);
        let rate = sent.packets as f64 / clock.elapsed().as_secs_f64();
        println!("{rate:.0} packets/s, {sent:?}");
        let counted = link_counters(&right, &veth.b.name);
        assert_eq!(sent.packets + sent.refused, 150_000);
        assert_eq!((counted.rx_packets, counted.rx_bytes), (sent.packets, sent.bytes));
    }
}

#[test]
fn ping_works_with_fixed_neighbours_and_nothing_else_is_sent() {
    require_privileged!();
    let (left, right) = (Netns::new("left"), Netns::new("right"));
    left.no_ipv6();
    right.no_ipv6();
    let veth = Veth::with_neighbours(&left, &["10.0.0.1/24"], &right, &["10.0.0.2/24"]);
    left.run("ping").args(["-c", "3", "-i", "0.05", "10.0.0.2"]).output();
    let counted = link_counters(&left, &veth.a.name);
    assert_eq!((counted.tx_packets, counted.rx_packets), (3, 3));
}

#[test]
fn a_dropped_namespace_is_gone() {
    require_privileged!();
    let ns = Netns::new("gone");
    let name = ns.name().to_owned();
    assert!(names().contains(&name));
    drop(ns);
    assert!(!names().contains(&name));
}

/// Also those that others have started in it, which are no children of this test.
#[test]
fn a_dropped_namespace_takes_its_programs_along() {
    require_privileged!();
    let ns = Netns::new("busy");
    let line = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo $!";
    let pid: i32 = ns.run("sh").args(["-c", line]).output().trim().parse().expect("a process");
    assert!(alive(pid));
    drop(ns);
    assert!(wait_for(Duration::from_secs(20), || !alive(pid)), "it outlives its namespace");
}

#[test]
fn frames_arrive_as_built() {
    require_privileged!();
    let (left, right) = (Netns::new("left"), Netns::new("right"));
    let veth = Veth::with_neighbours(&left, &["10.0.0.1/24"], &right, &["10.0.0.2/24"]);
    let frame = Frame::new(veth.a.mac, veth.b.mac).ipv4("10.0.0.1", "10.0.0.2").icmp(8, 0).payload(32).build();
    Sender::new(&left, &veth.a.name).send(&[frame]);
    // The stack answers only what it found right, checksums included.
    let icmp = right.run("cat").arg("/proc/net/snmp").output();
    let values = icmp.lines().filter(|line| line.starts_with("IcmpMsg:")).nth(1).unwrap_or_default();
    assert!(icmp.contains("InType8") && values.ends_with(" 1"), "{icmp}");
}

#[test]
fn nothing_is_attached_to_a_fresh_interface() {
    require_privileged!();
    let (left, right) = (Netns::new("left"), Netns::new("right"));
    let veth = Veth::new(&left, &[], &right, &[]);
    assert_eq!(bpf::attached(&left, &veth.a.name), []);
    assert_eq!(bpf::attached(&left, "absent"), []);
}

#[test]
fn a_dropped_process_is_killed_with_its_group() {
    let shell = Run::new("sh").args(["-c", "sleep 60 & echo started; wait"]).own_group().start();
    assert!(netobserv_testkit::wait_for(Duration::from_secs(5), || shell.stdout().contains("started")));
    let sleepers = shell.children("sleep");
    assert_eq!(sleepers.len(), 1);
    drop(shell);
    let gone = || !netobserv_testkit::proc::alive(sleepers[0]);
    assert!(netobserv_testkit::wait_for(Duration::from_secs(5), gone));
}
