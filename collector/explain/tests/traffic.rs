//! What the records of a capture are taken for: each fault by itself, and what is none.

use std::net::IpAddr;

use netobserv_explain::cluster::Cluster;
use netobserv_explain::explain::{check, explain};
use netobserv_explain::finding::{Certainty, Finding, Kind};
use netobserv_explain::objects::Protocol;
use netobserv_explain::observe::{Dns, Drops, Observation, Seen};
use netobserv_explain::traffic::Watch;
use serde_json::json;

const CLIENT: &str = "10.1.0.1";
const SERVER: &str = "10.1.0.3";
const RESOLVER: &str = "10.0.0.10";
const SYN: u32 = 0x02;
const RST_ACK: u32 = 0x414;
const SYN_ACK: u32 = 0x112;

fn end(address: &str, port: u16) -> Seen<'static> {
    Seen { address: Some(address.parse::<IpAddr>().expect("an address")), port: Some(port), ..Seen::default() }
}

fn tcp(flags: u32, packets: u64) -> Observation<'static> {
    let (src, dst) = (end(CLIENT, 40_000), end(SERVER, 5432));
    Observation {
        start_ms: 1_000,
        end_ms: 1_500,
        src,
        dst,
        protocol: Some(6),
        packets,
        flags,
        sampling: 1,
        ..Observation::default()
    }
}

fn back(flags: u32) -> Observation<'static> {
    let there = tcp(flags, 1);
    Observation { src: there.dst, dst: there.src, ..there }
}

/// A record that shows nothing but that the capture went on.
fn later() -> Observation<'static> {
    Observation { start_ms: 60_000, end_ms: 60_000, src: end("10.9.9.9", 1), dst: end("10.9.9.8", 1), ..tcp(0x10, 1) }
}

#[allow(clippy::large_types_passed_by_value)] // A part of a struct expression.
fn dropped(seen: Observation<'static>, cause: &'static str) -> Observation<'static> {
    Observation { drops: Some(Drops { packets: 3, cause, ..Drops::default() }), ..seen }
}

fn answer(name: &'static str, rcode: &'static str) -> Observation<'static> {
    let dns = Dns { answered: true, rcode, name, latency_us: 900, errno: 0 };
    Observation { src: end(RESOLVER, 53), dst: end(CLIENT, 41_000), protocol: Some(17), dns: Some(dns), ..tcp(0, 1) }
}

fn timeout(name: &'static str) -> Observation<'static> {
    let dns = Dns { errno: 110, name, ..Dns::default() };
    Observation { src: end(CLIENT, 41_000), dst: end(RESOLVER, 53), protocol: Some(17), dns: Some(dns), ..tcp(0, 1) }
}

fn findings(seen: &[Observation<'_>]) -> Vec<Finding> {
    let mut watch = Watch::default();
    seen.iter().for_each(|one| watch.add(one));
    watch.add(&later());
    watch.findings()
}

#[track_caller]
fn only(seen: &[Observation<'_>]) -> Finding {
    let mut all = findings(seen);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn each_fault_has_its_sentence() {
    let udp = |seen: Observation<'static>| Observation { protocol: Some(17), flags: 0, ..seen };
    for (seen, kind, sentence) in [
        (
            vec![tcp(SYN, 4)],
            Kind::Unanswered,
            "10.1.0.1 asked 10.1.0.3 on TCP port 5432 for a connection and got no answer.",
        ),
        (
            vec![tcp(SYN, 1), back(RST_ACK)],
            Kind::Refused,
            "10.1.0.3 on TCP port 5432 refused 1 connection from 10.1.0.1: nothing listens there, or a filter rejects.",
        ),
        (vec![back(RST_ACK)], Kind::Reset, "10.1.0.3 on TCP port 5432 broke off 1 connection from 10.1.0.1."),
        (vec![tcp(0x14, 1)], Kind::Reset, "10.1.0.1 broke off 1 connection to 10.1.0.3 on TCP port 5432."),
        (
            vec![dropped(tcp(SYN, 3), "SKB_DROP_REASON_NETFILTER_DROP")],
            Kind::DroppedByFilter,
            "A packet filter dropped 3 packets from 10.1.0.1 to 10.1.0.3 (TCP port 5432).",
        ),
        (
            vec![dropped(udp(tcp(0, 3)), "SKB_DROP_REASON_IP_OUTNOROUTES")],
            Kind::NoRoute,
            "There was no way to the destination for 3 packets from 10.1.0.1 to 10.1.0.3 (UDP port 5432).",
        ),
        (
            vec![dropped(udp(tcp(0, 3)), "SKB_DROP_REASON_NO_SOCKET")],
            Kind::NoListener,
            "Nothing listens on UDP port 5432 of 10.1.0.3: 3 packets from 10.1.0.1 were dropped.",
        ),
        (
            vec![dropped(tcp(0x10, 3), "SKB_DROP_REASON_TCP_CSUM")],
            Kind::Damaged,
            "3 packets from 10.1.0.1 to 10.1.0.3 (TCP port 5432) arrived damaged: the checksum was wrong.",
        ),
        (
            vec![dropped(udp(tcp(0, 3)), "SKB_DROP_REASON_SOCKET_RCVBUFF")],
            Kind::NoRoom,
            "3 packets from 10.1.0.1 to 10.1.0.3 (UDP port 5432) were dropped because a buffer or queue was full.",
        ),
        (
            vec![dropped(tcp(0x10, 3), "SKB_DROP_REASON_PKT_TOO_BIG")],
            Kind::TooBig,
            "3 packets from 10.1.0.1 to 10.1.0.3 (TCP port 5432) were larger than the way lets through.",
        ),
        (
            vec![dropped(tcp(0x10, 3), "OVS_DROP_EXPLICIT")],
            Kind::Dropped,
            "Open vSwitch dropped 3 packets from 10.1.0.1 to 10.1.0.3 (TCP port 5432).",
        ),
        (vec![timeout("db")], Kind::DnsTimeout, "10.1.0.1 asked 10.0.0.10 for db and got no answer."),
        (
            vec![answer("db", "ServFail")],
            Kind::DnsFailed,
            "10.1.0.1 asked 10.0.0.10 for db, and the server answered ServFail.",
        ),
        (vec![answer("db", "NXDomain")], Kind::DnsNoName, "10.1.0.1 asked 10.0.0.10 for db, which does not exist."),
    ] {
        let finding = only(&seen);
        assert_eq!((finding.kind, finding.sentence.as_str()), (kind, sentence));
        assert!(finding.certainty == Certainty::Seen && !finding.remedy.is_empty() && !finding.records.is_empty());
    }
}

#[test]
fn what_is_healthy_or_harmless_has_no_finding() {
    let icmp =
        |seen: Observation<'static>, kind| Observation { protocol: Some(1), icmp: Some((kind, 0)), flags: 0, ..seen };
    let late_answer = |seen: Observation<'static>| Observation { protocol: Some(17), flags: 0, ..seen };
    let group = Observation { dst: end("224.0.0.251", 5353), protocol: Some(17), ..tcp(0, 1) };
    let now = Observation { start_ms: 59_500, end_ms: 60_000, ..tcp(SYN, 1) };
    for (what, seen) in [
        ("a connection within one record", vec![tcp(0x1b, 9), back(0x11b | SYN_ACK)]),
        ("an answer before the record of the request", vec![back(SYN_ACK), tcp(SYN, 1), tcp(0x10, 5)]),
        ("an answer after it", vec![tcp(SYN, 1), back(SYN_ACK)]),
        ("a request of this second", vec![now]),
        (
            "an echo reply that the kernel drops its copy of",
            vec![dropped(icmp(back(0), 0), "SKB_DROP_REASON_NO_SOCKET")],
        ),
        ("repeated data", vec![dropped(tcp(0x10, 1), "SKB_DROP_REASON_TCP_OLD_DATA")]),
        ("a segment after the end of its connection", vec![dropped(tcp(0x10, 1), "SKB_DROP_REASON_NO_SOCKET")]),
        ("an answer that no program waits for", vec![dropped(late_answer(back(0)), "SKB_DROP_REASON_NO_SOCKET")]),
        ("an announcement to a group", vec![dropped(group, "SKB_DROP_REASON_NO_SOCKET")]),
        ("a reset after the end", vec![tcp(0x11, 2), back(0x414)]),
        ("a look whether a port is open", vec![tcp(0x16, 3), back(SYN_ACK)]),
        ("an answer without records", vec![answer("db", "NoError")]),
        (
            "a query that was not seen",
            vec![Observation { dns: Some(Dns { errno: 2, name: "db", ..Dns::default() }), ..tcp(0, 1) }],
        ),
    ] {
        assert_eq!(findings(&seen), [], "{what}");
    }
}

#[test]
fn the_steps_of_a_search_path_are_no_fault() {
    let no = |name| answer(name, "NXDomain");
    let yes = |name| answer(name, "NoError");
    for seen in [
        // A name of another namespace; one outside; a name with a domain that is appended last.
        vec![no("db.store.shop.svc.cluster.local"), yes("db.store.svc.cluster.local")],
        vec![
            no("example.com.shop.svc.cluster.local"),
            no("example.com.svc.cluster.local"),
            no("example.com.cluster.local"),
            yes("example.com"),
        ],
        vec![no("db.store"), yes("db.store.svc.cluster.local")],
        // The answer may come in an earlier record.
        vec![yes("db.store.svc.cluster.local"), no("db.store.shop.svc.cluster.local")],
    ] {
        assert_eq!(findings(&seen), []);
    }
}

#[test]
fn a_long_search_path_is_a_hint() {
    let hints = |seen: &[Observation<'_>]| {
        let mut watch = Watch::default();
        seen.iter().for_each(|one| watch.add(one));
        watch.hints()
    };
    let steps = ["example.com.shop.svc.cluster.local", "example.com.svc.cluster.local", "example.com.cluster.local"];
    let mut seen: Vec<_> = steps.iter().map(|name| answer(name, "NXDomain")).collect();
    assert!(hints(&seen).is_empty(), "no answer, no path");
    seen.push(answer("example.com", "NoError"));
    let [hint] = &hints(&seen)[..] else { panic!("one hint") };
    assert!(hint.starts_with("search path: 4 names asked for each answer ("), "{hint}");
    assert!(hint.ends_with(" for example.com); a dot at the end of the name avoids that"), "{hint}");
    let short =
        [answer("db.store.shop.svc.cluster.local", "NXDomain"), answer("db.store.svc.cluster.local", "NoError")];
    assert!(hints(&short).is_empty(), "one step is usual");
}

#[test]
fn a_name_that_no_step_finds_is_one_finding_with_the_name_that_was_typed() {
    let names = ["nope.shop.svc.cluster.local", "nope.svc.cluster.local", "nope.cluster.local", "nope"];
    let finding = only(&names.map(|name| answer(name, "NXDomain")));
    assert_eq!((finding.kind, finding.count), (Kind::DnsNoName, 4));
    assert!(finding.sentence.contains(" for nope, which does not exist"), "{}", finding.sentence);
    let other_client = Observation { dst: end("10.1.0.9", 41_000), ..answer("db.store.svc.cluster.local", "NoError") };
    let finding = only(&[answer("db.shop.svc.cluster.local", "NXDomain"), other_client]);
    assert!(finding.remedy.starts_with("db.store.svc.cluster.local exists: "), "{}", finding.remedy);
}

#[test]
fn a_service_of_another_namespace_is_named_though_nothing_asked_for_it() {
    let service =
        |namespace: &str| json!({"kind": "Service", "metadata": {"name": "db", "namespace": namespace}, "spec": {}});
    let objects = json!({"kind": "List", "items": [service("store"), service("shop"), service("test")]});
    let cluster = Cluster::read(&objects.to_string()).expect("objects");
    for (asked, named) in [
        ("db.store2.svc.cluster.local", Some("db.store, db.shop, db.test")),
        ("db.shop", Some("db.store, db.test")),
        ("db.example", None),
        ("web.shop.svc.cluster.local", None),
    ] {
        let mut findings = findings(&[answer(asked, "NXDomain")]);
        explain(&mut findings, &cluster);
        let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
        let evidence = named.map(|named| format!("there is a service of this name in another namespace: {named}"));
        assert_eq!(finding.evidence.get(1), evidence.as_ref(), "{asked}");
        let first = named.map(|named| format!("Ask for {}:", named.split(',').next().unwrap_or_default()));
        assert_eq!(
            first.is_some_and(|first| finding.remedy.starts_with(&first)),
            named.is_some(),
            "{}",
            finding.remedy
        );
    }
}

#[test]
fn a_dropped_request_is_one_finding_with_both_proofs() {
    let finding = only(&[dropped(tcp(SYN, 3), "SKB_DROP_REASON_NETFILTER_DROP")]);
    assert!(finding.evidence.iter().any(|one| one == "3 requests (SYN) and no packet back"), "{:?}", finding.evidence);
    let finding = only(&[dropped(tcp(SYN, 1), "SKB_DROP_REASON_NO_SOCKET"), back(RST_ACK)]);
    assert_eq!(finding.kind, Kind::Refused);
    assert!(finding.evidence.iter().any(|one| one.contains("for the cause NO_SOCKET")), "{:?}", finding.evidence);
}

#[test]
fn many_refused_connections_are_refused_though_one_answer_was_missed() {
    let from = |port: u16, seen: Observation<'static>| Observation { src: end(CLIENT, port), ..seen };
    let to = |port: u16, seen: Observation<'static>| Observation { dst: end(CLIENT, port), ..seen };
    let mut seen = vec![from(41_000, tcp(SYN, 1))];
    for port in 41_001..41_004 {
        seen.extend([from(port, tcp(SYN, 1)), to(port, back(RST_ACK))]);
    }
    let finding = only(&seen);
    assert_eq!((finding.kind, finding.count), (Kind::Refused, 3));
    assert!(finding.evidence.iter().any(|one| one == "1 request (SYN) and no packet back"), "{:?}", finding.evidence);
}

#[test]
fn several_causes_of_one_record_are_told_apart() {
    let causes = r#"[{"Cause":"SKB_DROP_REASON_NETFILTER_DROP","Packets":2,"Bytes":9},{"Cause":"SKB_DROP_REASON_TCP_OLD_DATA","Packets":5,"Bytes":9}]"#;
    let drops = Drops { packets: 7, cause: "SKB_DROP_REASON_TCP_OLD_DATA", causes, ..Drops::default() };
    let finding = only(&[Observation { drops: Some(drops), ..tcp(0x10, 9) }]);
    assert_eq!((finding.kind, finding.count), (Kind::DroppedByFilter, 2));
}

#[test]
fn slow_is_what_was_faster_before() {
    let trips =
        |ms: &[u64]| -> Vec<_> { ms.iter().map(|ms| Observation { rtt_ns: ms * 1_000_000, ..tcp(0x10, 1) }).collect() };
    let far_away = trips(&[150; 50]);
    assert_eq!(findings(&far_away), []);
    let one_hiccup = trips(&[&[2; 50][..], &[300]].concat());
    assert_eq!(findings(&one_hiccup), []);
    let finding = only(&trips(&[&[2; 20][..], &[120; 40]].concat()));
    assert_eq!((finding.kind, finding.count), (Kind::Slow, 40));
    assert!(finding.sentence.contains("took up to 120 ms"), "{}", finding.sentence);
}

#[test]
fn sampling_hides_answers_so_that_nothing_is_said_of_them() {
    let mut watch = Watch::default();
    watch.add(&Observation { sampling: 50, ..tcp(SYN, 1) });
    watch.add(&later());
    assert_eq!(watch.findings(), []);
    assert!(watch.gaps().iter().any(|gap| gap.contains("sampled")), "{:?}", watch.gaps());
}

#[test]
fn a_flood_stays_in_its_memory_and_is_counted() {
    let mut watch = Watch::default();
    for number in 0..200_000_u32 {
        let src = Seen { address: Some(IpAddr::from(number.to_be_bytes())), port: Some(9), ..Seen::default() };
        let drops = Drops { packets: 1, cause: "SKB_DROP_REASON_NETFILTER_DROP", ..Drops::default() };
        let start_ms = u64::from(number);
        watch.add(&Observation { src, start_ms, end_ms: start_ms, drops: Some(drops), ..tcp(SYN, 1) });
    }
    assert!(watch.findings().len() <= 10_000, "{}", watch.findings().len());
    assert!(watch.gaps().iter().any(|gap| gap.contains("beyond")), "{:?}", watch.gaps());
    assert_eq!(watch.measures().drops, 200_000);
}

/// Two pods, a service before one of them, and a policy that isolates it.
fn cluster(policy: bool) -> Cluster {
    let pod = |name: &str, address: &str, node: &str| {
        json!({"kind": "Pod", "metadata": {"name": format!("{name}-1"), "namespace": "shop", "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": [{"ports": [{"name": "sql", "containerPort": 5432}]}]},
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let node = |name: &str, ready: &str| json!({"kind": "Node", "metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}});
    let mut items = vec![
        pod("web", CLIENT, "n1"),
        pod("db", SERVER, "n2"),
        node("n1", "True"),
        node("n2", "False"),
        json!({"kind": "Service", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"clusterIP": "172.30.0.9", "selector": {"app": "db"}, "ports": [{"port": 5432, "targetPort": "sql"}]}}),
        json!({"kind": "NetworkPolicyList", "items": []}),
    ];
    if policy {
        items.push(json!({"kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}));
    }
    Cluster::read(&json!({"kind": "List", "items": items}).to_string()).expect("objects")
}

#[test]
fn the_objects_name_the_policy_and_the_change() {
    for (seen, certainty) in [
        (dropped(tcp(SYN, 3), "SKB_DROP_REASON_NETFILTER_DROP"), Certainty::FollowsFromObjects),
        (tcp(SYN, 3), Certainty::Likely),
        (Observation { dst: end("172.30.0.9", 5432), ..tcp(SYN, 3) }, Certainty::Likely),
    ] {
        let mut all = findings(&[seen]);
        explain(&mut all, &cluster(true));
        assert_eq!((all[0].kind, all[0].certainty), (Kind::Policy, certainty));
        let sentence = &all[0].sentence;
        assert!(
            sentence
                .starts_with("NetworkPolicy shop/deny (ingress) denies TCP port 5432 from shop/web-1 (10.1.0.1) to "),
            "{sentence}"
        );
        let change = Cluster::read(&all[0].change).expect("YAML");
        assert_eq!(change.policies()[0].metadata.name, "allow-from-web-tcp-5432");
    }
}

#[test]
fn without_a_policy_the_filter_is_another_one_and_a_node_may_be_down() {
    let mut all = findings(&[dropped(tcp(SYN, 3), "SKB_DROP_REASON_NETFILTER_DROP")]);
    explain(&mut all, &cluster(false));
    assert_eq!(all[0].kind, Kind::DroppedByFilter);
    let evidence = all[0].evidence.join("; ");
    assert!(
        evidence.contains("the NetworkPolicies allow it") && evidence.contains("node n2 of the server is not ready"),
        "{evidence}"
    );
}

#[test]
fn the_objects_alone_decide_too() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let check = |policy, server, port| {
        check(&cluster(policy), address(CLIENT), address(server), Protocol::Tcp, port)
            .map(|one| (one.kind, one.certainty))
    };
    assert_eq!(check(true, SERVER, 5432), Some((Kind::Policy, Certainty::FollowsFromObjects)));
    assert_eq!(check(false, SERVER, 5432), Some((Kind::NodeNotReady, Certainty::Likely)));
    assert_eq!(check(false, "172.30.0.9", 81), Some((Kind::Service, Certainty::FollowsFromObjects)));
}

#[test]
#[ignore = "prints times: cargo test -p netobserv-explain --release --test traffic -- --ignored --nocapture"]
fn a_record_costs_little() {
    let one = Observation { rtt_ns: 400_000, ..tcp(0x1a, 9) };
    let healthy = |number: u32| {
        let src = Seen { port: Some(1_024 + (number % 60_000) as u16), ..one.src };
        Observation { src, ..one }
    };
    let ends = |number: u32| Observation { flags: 0x11, ..healthy(number) };
    let names = ["a.shop.svc.cluster.local", "b.shop.svc.cluster.local", "c.shop.svc.cluster.local"];
    let answers = names.map(|name| answer(name, "NoError"));
    let named = |number: u32| answers[number as usize % answers.len()];
    let kinds: [(&str, &dyn Fn(u32) -> Observation<'static>); 3] =
        [("in a connection", &healthy), ("at the end of one", &ends), ("of DNS", &named)];
    for (what, record) in kinds {
        let (mut watch, start) = (Watch::default(), std::time::Instant::now());
        let number = 500_000;
        (0..number).for_each(|number| {
            let at = u64::from(number) / 100;
            watch.add(&Observation { start_ms: at, end_ms: at, ..record(number) });
        });
        println!("a record {what}: {} ns", start.elapsed().as_nanos() / u128::from(number));
    }
}
