//! Addresses are translated on the way: what is seen before and after is one conversation, and its packets count once.
#![cfg(target_os = "linux")]

mod translation_world;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use netobserv_testkit::capture::sum;
use netobserv_testkit::proc::binaries;
use netobserv_testkit::session::command;
use netobserv_testkit::{Blast, Dice, LocalCapture, require_privileged, wait_for};
use serde_json::Value;
use translation_world::*;

/// Refuses this program and its children the sockets of netfilter, as a security policy may, and becomes the agent.
const WITHOUT_NETFILTER: &str = r#"
import ctypes, os, struct, sys
AF_NETLINK, NETLINK_NETFILTER, EACCES = 16, 12, 13
socket = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
steps = [
    (0x20, 0, 0, 0), (0x15, 0, 5, socket),
    (0x20, 0, 0, 16), (0x15, 0, 3, AF_NETLINK),
    (0x20, 0, 0, 32), (0x15, 0, 1, NETLINK_NETFILTER),
    (0x06, 0, 0, 0x50000 | EACCES), (0x06, 0, 0, 0x7fff0000),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"#;

const FULL: &str = "the kernel's table of connections was full";

#[test]
fn a_service_is_its_server_and_counts_once() {
    require_privileged!();
    let way = service();
    let flows = way.account(|| talk(&way));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [CLIENT, SERVER]);
    let request = flows.iter().find(|flow| flow["DstAddr"] == SERVICE).unwrap();
    let [_, src_port, _, dst_port] = other(request, "Xlat");
    assert_eq!((src_port, dst_port), (request["SrcPort"].clone(), 8_080.into()), "{request}");
}

#[test]
fn a_masqueraded_connection_counts_once() {
    require_privileged!();
    let way = Way::new(&format!("out: ip daddr {SERVER} masquerade"));
    let flows = way.account(|| way.talk(&format!("{SERVER}:8080"), (&way.server, "0.0.0.0:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVER], [ROUTER, SERVER]);
}

#[test]
fn both_ends_are_translated_at_once() {
    require_privileged!();
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080\nout: ip daddr {SERVER} masquerade random"
    ));
    let flows = way.account(|| way.talk(&format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [ROUTER, SERVER]);
}

#[test]
fn a_service_of_ipv6_counts_once() {
    require_privileged!();
    let server = SERVER6[1];
    let way = Way::with(&format!("in: ip6 daddr {SERVICE6} tcp dport 80 dnat ip6 to [{server}]:8080"), true);
    let flows = way.account(|| way.talk(&format!("[{SERVICE6}]:80"), (&way.server, "[::]:8080"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT6[0], SERVICE6], [CLIENT6[0], server]);
}

#[test]
fn a_connection_that_began_before_the_capture_counts_once() {
    require_privileged!();
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080\nout: ip daddr {SERVER} masquerade"
    ));
    let connection = Connection::open(&way, &format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"));
    let flows = way.account(|| connection.talk(A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [ROUTER, SERVER]);
}

/// A socket of its own for each datagram, which is answered.
fn ask(way: &Way, to: &str, time: Duration) -> u64 {
    let server = way.server.enter(|| UdpSocket::bind("0.0.0.0:5353").unwrap());
    server.set_read_timeout(Some(SOON)).unwrap();
    let (end, mut asked) = (Instant::now() + time, 0);
    let mut room = [0; 2_000];
    while Instant::now() < end {
        let client = way.client.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        client.set_read_timeout(Some(SOON)).unwrap();
        client.send_to(b"a question", to).unwrap();
        let (_, from) = server.recv_from(&mut room).unwrap();
        server.send_to(&[1; 700], from).unwrap();
        client.recv_from(&mut room).unwrap();
        asked += 1;
    }
    asked
}

#[test]
fn each_of_many_short_exchanges_counts_once() {
    require_privileged!();
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} udp dport 53 dnat ip to {SERVER}:5353\nout: ip daddr {SERVER} masquerade random"
    ));
    let mut asked = 0;
    let flows = way.account(|| asked = ask(&way, &format!("{SERVICE}:53"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [ROUTER, SERVER]);
    let questions = sum(&flows, |flow| counts(flow) && flow["DstAddr"] == SERVICE);
    assert_eq!(questions.packets, asked, "none is missing and none is there twice");
}

#[test]
fn echoes_of_a_masqueraded_host_count_once() {
    require_privileged!();
    let way = Way::new(&format!("out: ip daddr {SERVER} masquerade"));
    let flows = way.account(|| {
        let pinged = way.client.run("ping").args(["-c", "40", "-i", "0.05", "-e", "77", SERVER]).finish();
        assert!(pinged.success(), "{pinged}");
    });
    assert_one_conversation(&flows, [CLIENT, SERVER], [ROUTER, SERVER]);
    let identifier = |flow: &&Value| flow["XlatIcmpId"].as_u64().is_some_and(|id| id > 0);
    assert!(between(&flows, CLIENT, SERVER).iter().all(identifier), "{flows:?}");
}

#[test]
fn a_client_that_reaches_itself_through_a_service_counts_once() {
    require_privileged!();
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {CLIENT}:8080\nout: ip saddr {CLIENT} ip daddr {CLIENT} masquerade"
    ));
    let to = format!("{SERVICE}:80");
    let (flows, counted, ended) =
        way.record(way.capture(&[]), || way.talk(&to, (&way.client, "0.0.0.0:8080"), A_WHILE));
    // Each packet crosses the client's interface twice.
    let (once, again) = (sum(&flows, counts), sum(&flows, |flow| !counts(flow)));
    assert_eq!((once, once + again), (again, counted), "{}", table(&flows, &ended));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [GATEWAY, CLIENT]);
}

#[test]
fn a_redirected_connection_has_the_tuple_that_no_interface_shows() {
    require_privileged!();
    let way = Way::new(&format!("in: ip daddr {SERVICE} tcp dport 80 redirect to :8080"));
    let flows = way.account(|| way.talk(&format!("{SERVICE}:80"), (&way.router, "0.0.0.0:8080"), A_WHILE));
    for flow in between(&flows, CLIENT, SERVICE) {
        let (forward, tuple) = (flow["FromClient"] == 1, other(flow, "Xlat"));
        let [client, server] = [flow["SrcPort"].clone(), flow["DstPort"].clone()];
        let wanted = if forward {
            [CLIENT.into(), client, GATEWAY.into(), 8_080.into()]
        } else {
            [GATEWAY.into(), 8_080.into(), CLIENT.into(), server]
        };
        assert_eq!(tuple, wanted, "{flow}");
    }
}

#[test]
fn what_is_translated_before_any_interface_counts_after_it() {
    require_privileged!();
    let way = Way::new("");
    translate(&way.client, &format!("local: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080"));
    let flows = way.account(|| way.talk(&format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"), A_WHILE));
    for flow in between(&flows, CLIENT, SERVER) {
        let [src, _, dst, _] = other(flow, "Orig");
        assert!([&src, &dst].into_iter().any(|address| address == SERVICE) && counts(flow), "{flow}");
    }
}

#[test]
fn where_only_the_server_side_is_captured_its_packets_count() {
    require_privileged!();
    let way = service();
    let capture = way.capture_at(&way.ends()[2..], &[]);
    let flows = way.account_with(capture, || talk(&way));
    assert!(between(&flows, CLIENT, SERVER).iter().all(|flow| counts(flow) && !flow["OrigDstAddr"].is_null()));
}

#[test]
fn translations_in_two_namespaces_are_one_way() {
    require_privileged!();
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080\nout: ip daddr {SERVER} masquerade"
    ));
    translate(&way.server, "in: tcp dport 8080 redirect to :9090");
    let flows = way.account(|| way.talk(&format!("{SERVICE}:80"), (&way.server, "0.0.0.0:9090"), A_WHILE));
    assert_one_conversation(&flows, [CLIENT, SERVICE], [ROUTER, SERVER]);
    let request = flows.iter().find(|flow| flow["DstAddr"] == SERVICE).unwrap();
    assert_eq!(other(request, "Xlat")[3], 9_090, "the port of the last translation: {request}");
}

#[test]
fn a_port_that_is_used_again_has_its_new_target() {
    require_privileged!();
    let rules = |port: u16| format!("in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:{port}");
    let way = Way::new(&rules(8_080));
    let flows = way.account(|| {
        for port in [8_080, 9_090] {
            way.nft(&rules(port));
            let connection = Connection::from_port(&way, 4_444, &format!("{SERVICE}:80"), &format!("0.0.0.0:{port}"));
            connection.talk(A_WHILE);
        }
    });
    assert_one_conversation(&flows, [CLIENT, SERVICE], [CLIENT, SERVER]);
    let ports: Vec<_> =
        flows.iter().filter(|flow| flow["DstAddr"] == SERVICE).map(|f| other(f, "Xlat")[3].clone()).collect();
    assert!(ports.contains(&8_080.into()) && ports.last() == Some(&9_090.into()), "{ports:?}");
}

fn service() -> Way {
    Way::new(&format!("in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080"))
}

fn talk(way: &Way) {
    way.talk(&format!("{SERVICE}:80"), (&way.server, "0.0.0.0:8080"), A_WHILE);
}

/// Connections of random kinds, and from which port of the client to what each went. UDP and TCP have ports of their own.
fn mixed(way: &Way, number: u32) -> BTreeSet<(String, u64, u64)> {
    let targets = [
        ("TCP", format!("{SERVICE}:80")),
        ("TCP", format!("{SERVICE}:81")),
        ("TCP", format!("{SERVER}:8082")),
        ("TCP", format!("{SERVER}:8083")),
        ("UDP", format!("{SERVICE}:53")),
        ("UDP", format!("{SERVER}:5354")),
    ];
    let listeners =
        way.server.enter(|| [8_080, 8_081, 8_082, 8_083].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap()));
    let udp = way.server.enter(|| [5_353, 5_354].map(|port| UdpSocket::bind(("0.0.0.0", port)).unwrap()));
    let (mut dice, mut made, mut room) = (Dice::of("mixed"), BTreeSet::new(), [0; 2_000]);
    way.client.enter(|| {
        for _ in 0..number {
            let kind = dice.number(0..=5) as usize;
            let (proto, to) = &targets[kind];
            let to: SocketAddr = to.parse().unwrap();
            let size = dice.number(1..=1_400) as usize;
            let from = if *proto == "TCP" {
                let mut client = TcpStream::connect_timeout(&to, SOON).unwrap();
                let mut server = listeners[kind].accept().unwrap().0;
                client.write_all(&room[..size]).unwrap();
                server.read_exact(&mut room[..size]).unwrap();
                client.local_addr().unwrap()
            } else {
                let client = UdpSocket::bind((CLIENT, 0)).unwrap();
                client.send_to(&room[..size], to).unwrap();
                let (size, from) = udp[kind - 4].recv_from(&mut room).unwrap();
                udp[kind - 4].send_to(&room[..size], from).unwrap();
                client.recv_from(&mut room).unwrap();
                client.local_addr().unwrap()
            };
            made.insert((to.ip().to_string(), from.port().into(), to.port().into()));
        }
    });
    made
}

#[test]
fn a_thousand_connections_of_random_kinds_are_there_once() {
    require_privileged!();
    let way = Way::new(&format!(
        "in: ip daddr {SERVICE} tcp dport 80 dnat ip to {SERVER}:8080
         in: ip daddr {SERVICE} tcp dport 81 dnat ip to {SERVER}:8081
         in: ip daddr {SERVICE} udp dport 53 dnat ip to {SERVER}:5353
         out: ip daddr {SERVER} tcp dport {{ 8081, 8082 }} masquerade random"
    ));
    let mut made = BTreeSet::new();
    let flows = way.account(|| made = mixed(&way, 1_000));
    let counted = flows.iter().filter(|flow| counts(flow) && flow["SrcAddr"] == CLIENT);
    let number = |flow: &Value, field: &str| flow[field].as_u64().unwrap();
    let end = |flow: &Value| flow["DstAddr"].as_str().unwrap().to_owned();
    let found = counted.map(|flow| (end(flow), number(flow, "SrcPort"), number(flow, "DstPort"))).collect();
    assert_eq!(made, found, "no connection is missing, and none is there under another address");
}

#[test]
fn without_permission_both_sides_count_and_that_is_reported() {
    require_privileged!();
    let (way, dir) = (service(), tempfile::tempdir().unwrap());
    let wrapper = dir.path().join("agent");
    let script = format!("#!/bin/sh\nexec python3 -c '{WITHOUT_NETFILTER}' {} \"$@\"\n", binaries().agent.display());
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    let names: Vec<&str> = way.ends().iter().map(|(_, name)| *name).collect();
    let named = format!("--interfaces={}", names.join(","));
    let run = command(dir.path(), &[&named]).env("NETOBSERV_AGENT_BIN", &wrapper);
    let mut capture = LocalCapture::start_run(dir, run);
    way.ends().iter().for_each(|(ns, name)| capture.wait_attached(ns, name));
    let (flows, counted, ended) = way.record(capture, || talk(&way));
    let twice = sum(&flows, |flow| counts(flow) && flow["XlatDstAddr"].is_null() && flow["OrigDstAddr"].is_null());
    assert_eq!(twice, counted + counted, "{}", table(&flows, &ended));
    let said = &ended.finished.stdout;
    assert!(said.contains("translated packets may count twice"), "{}", ended.finished);
    assert!(said.contains("the connection tracking may not be read (CAP_NET_ADMIN)"), "{}", ended.finished);
}

#[test]
fn switched_off_both_sides_count() {
    require_privileged!();
    let way = service();
    let capture = way.capture(&["--enable_pkt_translation=false"]);
    let (flows, counted, ended) = way.record(capture, || talk(&way));
    assert_eq!(sum(&flows, counts), counted + counted, "{}", table(&flows, &ended));
    assert!(!ended.finished.stdout.contains("translated"), "{}", ended.finished);
}

#[test]
fn a_full_table_of_the_kernel_is_reported() {
    require_privileged!();
    let way = service();
    let most: u32 =
        std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap().trim().parse().unwrap();
    // Connections that lead nowhere take all the room of this namespace.
    way.router.ip(&format!("route add default via {SERVER}"));
    let blast = Blast { flows: most + most / 50, dst_mac: way.near.b.mac, src_mac: way.near.a.mac, ..Blast::default() };
    let capture = way.capture_at(&way.ends()[3..], &["-v", "--protocol=TCP"]);
    blast.run(&way.client, &way.near.a.name);
    let count = || -> u32 {
        let path = "/proc/sys/net/netfilter/nf_conntrack_count";
        way.router.enter(|| std::fs::read_to_string(path)).unwrap().trim().parse().unwrap()
    };
    assert!(wait_for(SOON, || count() > most / 100 * 96), "{} of {most}", count());
    let reported = || capture.stderr().contains(FULL);
    assert!(wait_for(SOON, reported), "{}", capture.stderr());
    let ended = capture.stop();
    assert!(ended.finished.stdout.contains(FULL), "{}", ended.finished);
}
