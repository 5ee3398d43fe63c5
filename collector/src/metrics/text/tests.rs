use netobserv_contract::metrics::{Level, chosen};
use netobserv_wire::Flow;
use netobserv_wire::flow::{Conversation, Holder, HolderRef, Side};

use super::*;

fn registry(name: &str) -> Registry {
    let registry = Registry::new(&chosen("node_flows_total,node_rtt_seconds").unwrap(), 1_000);
    let mut flow = Flow { rtt_ns: 20_500_000, end_ms: 1_700_000_000_123, ..Flow::default() };
    flow.conversation = Some(Conversation { id: 42, from_client: None });
    flow.set_holder(Side::Src, HolderRef::from(Holder { host_name: name.into(), ..Holder::default() }));
    registry.add(&[flow]);
    registry
}

#[test]
fn both_forms_have_the_same_numbers_in_their_own_words() {
    let (prometheus, open) =
        [Form::Prometheus, Form::OpenMetrics].map(|form| render(&registry("a"), &Totals::default(), form)).into();
    for line in [
        "# TYPE on_demand_netobserv_node_flows_total counter",
        "# TYPE on_demand_netobserv_node_rtt_seconds histogram",
        "on_demand_netobserv_node_flows_total{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\"} 1",
        "on_demand_netobserv_node_rtt_seconds_bucket{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\",le=\"1\"} 1",
        "on_demand_netobserv_node_rtt_seconds_bucket{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\",le=\"0.02\"} 0",
        "on_demand_netobserv_node_rtt_seconds_sum{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\"} 0.020500000",
        "on_demand_netobserv_lost_total{stage=\"kernel\",unit=\"packets\"} 0",
        "on_demand_netobserv_series 14",
    ] {
        assert!(prometheus.lines().any(|shown| shown == line), "{line} in\n{prometheus}");
    }
    for line in [
        "# TYPE on_demand_netobserv_node_flows counter",
        "on_demand_netobserv_node_flows_total{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\"} 1",
        "on_demand_netobserv_node_rtt_seconds_bucket{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\",le=\"1.0\"} 1",
        "on_demand_netobserv_node_rtt_seconds_bucket{SrcK8S_HostName=\"a\",DstK8S_HostName=\"\",le=\"0.03\"} 1 # {conversation=\"42\"} 0.020500000 1700000000.123",
    ] {
        assert!(open.lines().any(|shown| shown == line), "{line} in\n{open}");
    }
    assert!(open.ends_with("\n# EOF\n") && !prometheus.contains("# EOF") && !prometheus.contains(" # {"));
}

/// Names come from the cluster.
#[test]
fn hostile_names_stay_in_their_quotes() {
    let text = render(&registry("a\"} 9\nevil_total{x=\"\\"), &Totals::default(), Form::Prometheus);
    assert!(text.contains(r#"{SrcK8S_HostName="a\"} 9\nevil_total{x=\"\\",DstK8S_HostName=""} 1"#), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("evil")));
}

#[test]
fn losses_are_in_the_text() {
    let mut totals = Totals { malformed_flows: 3, without_agent_ms: 1_500, ..Totals::default() };
    totals.losses.kernel_packets = 7;
    let text = render(&registry("a"), &totals, Form::Prometheus);
    for line in [
        "lost_total{stage=\"kernel\",unit=\"packets\"} 7",
        "lost_total{stage=\"unreadable\",unit=\"flows\"} 3",
        "without_agent_seconds_total 1.500000000",
    ] {
        assert!(text.lines().any(|shown| shown == format!("{PREFIX}{line}")), "{line} in\n{text}");
    }
}

#[test]
fn the_form_is_the_one_that_is_asked_for() {
    for accept in [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5",
        "text/plain, application/openmetrics-text; q=0.5",
    ] {
        assert_eq!(Form::accepted(accept), Form::OpenMetrics, "{accept}");
    }
    for accept in ["", "*/*", "text/plain;version=0.0.4", "application/openmetrics-text;q=0, text/plain"] {
        assert_eq!(Form::accepted(accept), Form::Prometheus, "{accept}");
    }
    assert_ne!(Form::Prometheus.content_type(), Form::OpenMetrics.content_type());
}

#[test]
fn no_sample_comes_twice() {
    let registry = Registry::new(&Metric::all().collect::<Vec<_>>(), 10_000);
    registry.add(&vec![Flow::default(); 3]);
    let text = render(&registry, &Totals::default(), Form::OpenMetrics);
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "{line}");
    }
    assert!(Level::ALL.iter().all(|level| text.contains(&format!("# TYPE {PREFIX}{}_flows counter", level.name()))));
}
