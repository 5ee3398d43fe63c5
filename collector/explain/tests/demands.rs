//! Demands of scripts: what they are met by, what is refused, and the forms of the report.

use netobserv_explain::demand::{Demands, Pair};
use netobserv_explain::observe::{Dns, Drops, Observation, Seen};
use netobserv_explain::report::Report;
use netobserv_explain::traffic::Watch;

fn seen(src: Seen<'static>, dst: Seen<'static>, flags: u32) -> Observation<'static> {
    Observation { src, dst, protocol: Some(6), packets: 2, flags, sampling: 1, ..Observation::default() }
}

fn end(address: &str, port: u16, namespace: &'static str, owner: &'static str) -> Seen<'static> {
    let kind = if namespace.is_empty() { "" } else { "Pod" };
    Seen { address: address.parse().ok(), port: Some(port), kind, namespace, owner, name: "pod-1", process: "" }
}

fn web() -> Seen<'static> {
    end("10.1.0.1", 40_000, "shop", "web")
}

fn db() -> Seen<'static> {
    end("10.1.0.3", 5432, "shop", "db")
}

fn records() -> Vec<Observation<'static>> {
    let outside = end("198.51.100.7", 443, "", "");
    let drops = Drops { packets: 3, cause: "SKB_DROP_REASON_NETFILTER_DROP", ..Drops::default() };
    let dns = |rcode| Dns { answered: true, rcode, name: "a", latency_us: 2_000, errno: 0 };
    let resolver = end("10.0.0.10", 53, "dns", "resolver");
    let udp = |dns| Observation { protocol: Some(17), dns: Some(dns), ..seen(resolver, web(), 0) };
    vec![
        Observation { rtt_ns: 60_000_000, ..seen(web(), db(), 0x1a) },
        seen(db(), web(), 0x11a),
        seen(web(), outside, 0x02),
        Observation { drops: Some(drops), ..seen(web(), end("10.1.0.4", 80, "shop", "api"), 0x02) },
        udp(dns("ServFail")),
        udp(dns("NoError")),
    ]
}

fn report(add: impl Fn(&mut Demands)) -> Report {
    let (mut demands, mut watch) = (Demands::default(), Watch::default());
    add(&mut demands);
    for one in records() {
        demands.add(&one);
        watch.add(&one);
    }
    let findings = watch.findings();
    let demands = demands.outcomes(&watch.measures(), &findings);
    Report { findings, unknown: watch.gaps(), hints: watch.hints(), demands }
}

#[test]
fn limits_compare_what_was_measured() {
    for (text, met, found) in [
        ("drops>0", false, "3"),
        ("drops>3", true, "3"),
        ("drops>=3", false, "3"),
        ("resets>0", true, "0"),
        ("dns-errors>0", false, "1"),
        ("dns-errors>1%", false, "50%"),
        ("dns-errors > 50 %", true, "50%"),
        ("dns-timeouts>0", true, "0"),
        ("rtt-max>50ms", false, "60 ms"),
        ("rtt-p95>1s", true, "60 ms"),
        ("dns-p50>500us", false, "2 ms"),
        ("findings<1", true, "2"),
    ] {
        let report = report(|demands| demands.fail_on(text).unwrap());
        let outcome = &report.demands[0];
        assert_eq!((outcome.met, outcome.found.as_str()), (met, found), "{text}");
        assert_eq!(outcome.demand, format!("--fail-on='{text}'"));
    }
    assert_eq!(report(|demands| demands.fail_on("drops>0, resets>0").unwrap()).demands.len(), 2);
}

#[test]
fn connections_are_expected_and_forbidden() {
    for (text, seen, answered) in [
        ("shop/web -> shop/db:5432", true, true),
        ("shop/web->shop/db", true, true),
        ("ns:shop -> ns:shop:5432", true, true),
        ("10.1.0.0/24 -> 10.1.0.3:5432/tcp", true, true),
        ("any -> shop/db:5432", true, true),
        ("shop/web -> shop/db:5432/UDP", false, false),
        ("shop/web -> shop/db:80", false, false),
        ("shop/db -> shop/web", false, false),
        ("ns:shop -> outside", true, false),
        ("ns:store -> outside", false, false),
        ("shop/web -> [198.51.100.7]:443", true, false),
    ] {
        assert_eq!(report(|demands| demands.expect(text).unwrap()).is_met(), answered, "--expect {text}");
        assert_eq!(report(|demands| demands.forbid(text).unwrap()).is_met(), !seen, "--forbid {text}");
    }
}

#[test]
fn wrong_demands_are_refused_with_what_is_right() {
    let limit = |text: &str| Demands::default().fail_on(text).expect_err("wrong").to_string();
    for text in [
        "",
        "drops",
        "drips>0",
        "drops>",
        "drops>x",
        "drops>1%",
        "drops>1ms",
        "rtt-p95>50",
        "drops=0",
        "drops>-1",
        "drops>0,,",
    ] {
        assert!(limit(text).contains('\''), "{text}: {}", limit(text));
    }
    assert!(
        limit("rtt-p95>50").ends_with("rtt-p95 is compared with a time such as 50ms or 1s"),
        "{}",
        limit("rtt-p95>50")
    );
    let pair = |text: &str| Demands::default().expect(text).expect_err("wrong").to_string();
    for text in
        ["shop/web", "shop/web -> ", " -> shop/db", "a b -> c", "a/b/c -> d", "a -> b:x", "a -> b:70000", "ns: -> a"]
    {
        assert!(pair(text).contains("use CLIENT -> SERVER[:PORT]"), "{text}: {}", pair(text));
    }
}

#[test]
fn reports_have_their_forms() {
    let report = report(|demands| {
        demands.fail_on("drops>0, resets>0").unwrap();
    });
    assert!(!report.is_met());
    let junit = report.junit();
    assert!(
        junit.contains("tests=\"2\" failures=\"1\"") && junit.contains("name=\"--fail-on='drops&gt;0'\""),
        "{junit}"
    );
    let github = report.github();
    assert!(github.starts_with("::error title=netobserv::--fail-on='drops>0': 3\n::warning "), "{github}");
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!((json["findings"].as_array().unwrap().len(), &json["demands"][0]["met"]), (2, &false.into()));
    assert_eq!(report.summary()[0], "What went wrong:");
    let text = report.text();
    assert!(text.contains("NOT MET: --fail-on='drops>0' (3)\nmet: --fail-on='resets>0' (0)"), "{text}");
}

#[test]
fn two_ends_have_the_records_of_their_conversations_and_what_routers_answer() {
    let service = Seen { kind: "Service", name: "db", owner: "db", ..end("172.30.0.9", 5432, "shop", "db") };
    let pod = end("10.1.0.9", 15_432, "shop", "postgres");
    let of = |number, src, dst| Observation { conversation: number, ..seen(src, dst, 0x02) };
    let mut pair = Pair::read("pod:shop/web", "svc:shop/db:5432").expect("two ends");
    let behind = of(7, web(), pod);
    assert!(!pair.concerns(&behind));
    pair.note(&of(7, web(), service));
    assert!(pair.concerns(&of(7, service, web())) && pair.concerns(&behind) && !pair.concerns(&of(8, web(), pod)));
    let router = end("10.1.0.254", 0, "", "");
    let message = |dst| Observation { protocol: Some(1), icmp: Some((3, 4)), ..seen(router, dst, 0) };
    assert!(pair.concerns(&message(web())) && !pair.concerns(&message(pod)));
    let looks_up = |src| Observation { dns: Some(Dns { name: "db.shop", ..Dns::default() }), ..seen(src, router, 0) };
    assert!(pair.concerns(&looks_up(web())) && !pair.concerns(&looks_up(pod)));
}
