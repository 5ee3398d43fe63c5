use netobserv_contract::metrics::chosen;
use netobserv_wire::flow::{Conversation, Dns, Drops, Duplicate, Holder, HolderRef, Side};

use super::*;
use crate::metrics::text::{Form, render};

/// A flow between two of `ends` workloads, on one of three nodes each, with everything that is counted.
fn flow(number: u64, ends: u64) -> Flow {
    let holder = |number: u64| Holder {
        name: format!("pod-{number}").into(),
        namespace: format!("ns-{}", number % 4).into(),
        kind: "Pod".into(),
        owner_name: format!("app-{number}").into(),
        owner_kind: "Deployment".into(),
        host_name: format!("node-{}", number % 3).into(),
        ..Holder::default()
    };
    let mut flow = Flow { bytes: 100 + number, packets: 1 + number % 7, end_ms: 1_700_000_000_000, ..Flow::default() };
    flow.set_holder(Side::Src, HolderRef::from(holder(number % ends)));
    flow.set_holder(Side::Dst, HolderRef::from(holder((number * 7 + 1) % ends)));
    flow.conversation = Some(Conversation { id: number + 1, from_client: None });
    flow.rtt_ns = (number % 3) * 1_000_001;
    if number.is_multiple_of(5) {
        let (state, cause) = ("TCP_ESTABLISHED".into(), "SKB_DROP_REASON_NO_SOCKET".into());
        flow.drops = Some(Box::new(Drops { bytes: number, packets: 2, state, cause, ..Drops::default() }));
    }
    if number.is_multiple_of(11) {
        let dns = Dns { rcode: "NXDomain".into(), latency_ms: Some(7), latency_us: Some(7_300), ..Dns::default() };
        flow.dns = Some(Box::new(dns));
    }
    flow
}

fn flows(number: u64, ends: u64) -> Vec<Flow> {
    (0..number).map(|index| flow(index, ends)).collect()
}

fn all() -> Vec<Metric> {
    Metric::all().collect()
}

/// What the flows themselves sum up to.
fn truth(flows: &[Flow], measure: Measure) -> u64 {
    let once = flows.iter().filter(|flow| flow.duplicate.is_none());
    let drops = flows.iter().filter_map(|flow| flow.drops.as_deref());
    match measure {
        Measure::EgressBytes | Measure::IngressBytes => once.map(|flow| flow.bytes).sum(),
        Measure::EgressPackets | Measure::IngressPackets => once.map(|flow| flow.packets).sum(),
        Measure::Flows => once.count() as u64,
        Measure::DropPackets => drops.map(|drops| drops.packets).sum(),
        Measure::DropBytes => drops.map(|drops| drops.bytes).sum(),
        Measure::Rtt | Measure::DnsLatency | Measure::PolicyEvents => 0,
    }
}

/// Sum and count of a histogram over all labels, from the text.
fn histogram(text: &str, metric: &str) -> (f64, u64) {
    let lines = |ending: &str| {
        let begin = format!("on_demand_netobserv_{metric}_{ending}{{");
        text.lines()
            .filter(move |line| line.starts_with(&begin))
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    (lines("sum").map(|v| v.parse::<f64>().unwrap()).sum(), lines("count").map(|v| v.parse::<u64>().unwrap()).sum())
}

#[test]
fn every_counter_is_exactly_the_sum_of_the_flows() {
    let flows = flows(5_000, 40);
    let registry = Registry::new(&all(), 1_000_000);
    flows.chunks(333).for_each(|flows| registry.add(flows));
    for metric in all().into_iter().filter(|metric| !metric.measure.is_histogram()) {
        assert_eq!(registry.sum(metric), Some(truth(&flows, metric.measure)), "{}", metric.name());
    }
    let text = render(&registry, &crate::counts::Totals::default(), Form::Prometheus);
    let with_rtt = flows.iter().filter(|flow| flow.rtt_ns > 0);
    let (sum, count) = with_rtt.fold((0, 0), |(sum, count), flow| (sum + flow.rtt_ns, count + 1));
    for level in ["node", "namespace", "workload"] {
        let (shown, number) = histogram(&text, &format!("{level}_rtt_seconds"));
        assert_eq!(number, count, "{level}");
        assert!((shown - sum as f64 / 1e9).abs() < 1e-6, "{level}: {shown}");
        assert_eq!(histogram(&text, &format!("{level}_dns_latency_seconds")).1, 5_000_u64.div_ceil(11), "{level}");
    }
    assert_eq!(registry.series().1, 0, "nothing went to other");
}

#[test]
fn a_conversation_counts_once_and_its_drops_where_they_were() {
    let mut flows = flows(100, 5);
    flows.iter_mut().step_by(3).for_each(|flow| flow.duplicate = Some(Duplicate::Server));
    let registry = Registry::new(&all(), 1_000_000);
    registry.add(&flows);
    for measure in [Measure::Flows, Measure::EgressBytes, Measure::DropPackets, Measure::DropBytes] {
        let metric = Metric { level: Level::Workload, measure };
        assert_eq!(registry.sum(metric), Some(truth(&flows, measure)), "{}", metric.name());
    }
}

#[test]
fn what_is_above_the_limit_is_labeled_other_and_counted() {
    let flows = flows(2_000, 200);
    let metrics = chosen("workload_flows_total,workload_egress_bytes_total,workload_rtt_seconds").unwrap();
    let registry = Registry::new(&metrics, 100);
    registry.add(&flows);
    let (used, over) = registry.series();
    assert!((88..=100).contains(&used), "{used} series");
    assert!(over > 0);
    for measure in [Measure::Flows, Measure::EgressBytes] {
        let metric = Metric { level: Level::Workload, measure };
        assert_eq!(registry.sum(metric), Some(truth(&flows, measure)), "the sums are whole: {}", metric.name());
    }
    let text = render(&registry, &crate::counts::Totals::default(), Form::Prometheus);
    let others: Vec<&str> = text.lines().filter(|line| line.contains("DstK8S_Type=\"other\"} ")).collect();
    assert!(others.iter().any(|line| line.starts_with("on_demand_netobserv_workload_flows_total{")), "{others:?}");
    let of = |metric: &str| {
        let begin = format!("on_demand_netobserv_other_observations_total{{metric=\"on_demand_netobserv_{metric}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(of("workload_flows_total") + of("workload_egress_bytes_total") + of("workload_rtt_seconds"), over);
    let series =
        text.lines().filter(|line| line.starts_with("on_demand_netobserv_workload_") && !line.contains("\"other\""));
    assert_eq!(series.count() as u64, used, "a series is a line");
}

#[test]
fn series_that_exist_go_on_at_the_limit() {
    let registry = Registry::new(&chosen("workload_flows_total").unwrap(), 1);
    registry.add(&[flow(1, 9), flow(2, 9), flow(1, 9), flow(1, 9)]);
    assert_eq!((registry.series(), registry.sum(chosen("workload_flows").unwrap()[0])), ((1, 1), Some(4)));
}

#[test]
fn policy_events_have_the_labels_of_their_policy() {
    let event = r#"[{"Feature":"acl","Type":"NetworkPolicy","Namespace":"shop","Name":"deny","Action":"drop","Direction":"Ingress"},
        {"Message":"free text"}]"#;
    let registry = Registry::new(&chosen("namespace_network_policy").unwrap(), 9);
    registry.add(&[Flow { network_events: Some(event.into()), ..flow(1, 2) }]);
    let text = render(&registry, &crate::counts::Totals::default(), Form::Prometheus);
    let line = text.lines().find(|line| line.contains("policy_events_total{Src")).unwrap();
    assert!(
        line.ends_with(r#",type="NetworkPolicy",namespace="shop",name="deny",action="drop",direction="Ingress"} 1"#),
        "{line}"
    );
}

#[test]
fn only_what_is_wanted_is_counted() {
    let registry = Registry::new(&chosen("node_egress_bytes_total").unwrap(), 1_000);
    registry.add(&flows(100, 9));
    assert_eq!(registry.sum(Metric { level: Level::Node, measure: Measure::Flows }), None);
    let text = render(&registry, &crate::counts::Totals::default(), Form::Prometheus);
    assert!(!text.contains("node_flows_total") && !text.contains("namespace_"), "{text}");
}

/// A peer's numbers may be anything.
#[test]
fn sums_stop_at_the_largest_number() {
    let registry = Registry::new(&all(), 1_000);
    let huge = Flow { bytes: u64::MAX, packets: u64::MAX, rtt_ns: u64::MAX, ..flow(0, 3) };
    registry.add(&[huge.clone(), huge]);
    assert_eq!(registry.sum(Metric { level: Level::Node, measure: Measure::EgressBytes }), Some(u64::MAX));
}
