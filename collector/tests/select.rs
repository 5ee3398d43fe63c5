//! What agents are sent for the names that a user gives: the addresses of now, and those of a moment later.

mod support;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use chrono::Utc;
use netobserv_test_apiserver::Server;
use netobserv_testkit::Signal;
use netobserv_wire::pbflow::ip::IpFamily;
use netobserv_wire::pbflow::{AddressSet, AgentStatus, Ip, KernelFilter, Network, Records, Transport};
use prost_types::Timestamp;
use serde_json::json;
use support::cluster::{node, pod, pod_since, replica_set, service, small};
use support::{Client, Collector, SOON, get_flows, records};

#[track_caller]
fn collector(server: &Server, words: &[&str]) -> Collector {
    Collector::start_with(words, |run| run.env("NETOBSERV_KUBE_URL", server.url()))
}

/// What an agent gets with the answer to its first message.
#[track_caller]
fn first(agent: &Client) -> KernelFilter {
    let status = AgentStatus { node: "n1".into(), ..AgentStatus::default() };
    let reply = agent.send_records(Records { agent: Some(status), ..Records::default() }).expect("an answer");
    reply.filter.expect("a filter")
}

fn addresses(set: &AddressSet) -> BTreeSet<String> {
    let (v4, _) = set.ipv4.as_chunks::<4>();
    v4.iter().map(|octets| Ipv4Addr::from(*octets).to_string()).collect()
}

/// Waits until the first set has these addresses, and returns the filter. Each change that an agent hears of is another number.
#[track_caller]
fn until(agent: &Client, mut filter: KernelFilter, wanted: &[&str]) -> KernelFilter {
    let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
    let start = Instant::now();
    while addresses(&filter.sets[0]) != wanted {
        assert!(start.elapsed() < SOON, "{:?}, wanted {wanted:?}", addresses(&filter.sets[0]));
        let news = agent.wait("n1", filter.number).expect("news").filter.expect("a filter");
        if news.number != filter.number {
            assert!(news.number > filter.number);
            filter = news;
        }
    }
    filter
}

#[test]
fn agents_follow_a_deployment() {
    let server = small();
    let collector = collector(&server, &["--select=1:deploy=shop/web", "--select=2:svc=front"]);
    let agent = collector.client();
    let filter = first(&agent);
    assert_eq!(addresses(&filter.sets[0]), ["10.1.0.1".to_owned()].into());
    assert_eq!((filter.sets[1].number, addresses(&filter.sets[1])), (2, ["172.30.0.9".to_owned()].into()));
    // Of the sets that it has, an agent hears nothing more.
    let status = AgentStatus { node: "n1".into(), filter: filter.number, ..AgentStatus::default() };
    let again = agent.send_records(Records { agent: Some(status), ..Records::default() }).unwrap().filter.unwrap();
    assert_eq!((again.number, again.sets.len()), (filter.number, 0));

    let second = |name: &str, address: &str| {
        let mut pod = pod_since(name, address, 2, Utc::now());
        pod["metadata"]["ownerReferences"][0]["name"] = "web-rs".into();
        pod
    };
    let start = Instant::now();
    server.put(second("web-2", "10.1.0.9"));
    let filter = until(&agent, filter, &["10.1.0.1", "10.1.0.9"]);
    println!("a new pod is with the agents after {:?}", start.elapsed());
    server.delete("/api/v1/namespaces/shop/pods/web");
    let filter = until(&agent, filter, &["10.1.0.9"]);
    // The address goes to a pod of something else before the end of the pod is known.
    server.put(pod_since("heir", "10.1.0.9", 1, Utc::now() + chrono::Duration::seconds(2)));
    let filter = until(&agent, filter, &[]);
    server.delete("/api/v1/namespaces/shop/pods/web-2");
    server.put_all([second("web-3", "10.1.0.10"), second("web-4", "10.1.0.11")]);
    until(&agent, filter, &["10.1.0.10", "10.1.0.11"]);

    let refusal =
        AgentStatus { node: "n2".into(), filter_error: "no room".into(), last: true, ..AgentStatus::default() };
    agent.send_records(Records { agent: Some(refusal), ..Records::default() }).unwrap();
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    assert!(ended.finished.stdout.contains("n2 did not apply the latest filter: no room"), "{}", ended.finished);
    let text = "captured deployment shop/web: 2 addresses on 1 node at the end, 4 in all";
    assert!(ended.finished.stdout.contains(text), "{}", ended.finished);
    assert!(ended.said("selected").contains(text));
    let files = ended.files();
    let times =
        "SELECT count(*) FROM member WHERE kind = 'Pod' AND namespace = 'shop' AND selection = 'deployment shop/web'";
    assert_eq!(files.number(&format!("{times} AND until IS NOT NULL AND since <= until")), 2);
    assert_eq!(files.number(&format!("{times} AND until IS NULL AND name IN ('web-3', 'web-4')")), 2);
}

#[test]
fn a_filter_knows_what_names_mean_and_meant() {
    let server = small();
    let words =
        ["--select=1:deploy=shop/web", "--select=2:svc=front", "--filter=src deploy:shop/web and not dst svc:front"];
    let collector = collector(&server, &words);
    let agent = collector.client();
    let filter = first(&agent);
    // From and to such addresses, now; the port is the number of the line.
    let flow = |line: u32, src: [u8; 4], dst: [u8; 4]| {
        let ip = |octets: [u8; 4]| Some(Ip { ip_family: Some(IpFamily::Ipv4(u32::from_be_bytes(octets))) });
        let now = Some(Timestamp { seconds: Utc::now().timestamp(), nanos: 0 });
        let mut record = records::record(1);
        record.network = Some(Network { src_addr: ip(src), dst_addr: ip(dst), dscp: 0 });
        record.transport = Some(Transport { src_port: line, dst_port: 80, protocol: 6 });
        (record.time_flow_start, record.time_flow_end) = (now, now);
        record
    };
    let (web, db, front) = ([10, 1, 0, 1], [10, 1, 0, 2], [172, 30, 0, 9]);
    agent.send("n1", vec![flow(1, web, db), flow(2, db, web), flow(3, web, front), flow(4, db, front)], false).unwrap();
    // A flow of a pod that is gone by the time it comes, and one of the heir of its address.
    server.delete("/api/v1/namespaces/shop/pods/web");
    let filter = until(&agent, filter, &[]);
    agent.send("n1", vec![flow(5, web, db)], false).unwrap();
    let mut later = flow(6, web, db);
    let an_hour_later = Some(Timestamp { seconds: Utc::now().timestamp() + 3_600, nanos: 0 });
    (later.time_flow_start, later.time_flow_end) = (an_hour_later, an_hour_later);
    agent.send("n1", vec![later], true).unwrap();
    assert!(filter.number > 0);
    let ended = collector.stop(Signal::SIGINT);
    let lines: BTreeSet<u64> = ended.files().flows().iter().map(|flow| flow["SrcPort"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 5].into(), "{}", ended.finished);
}

#[test]
fn services_are_followed_with_what_is_behind_them() {
    let server = small();
    let mut front = service("front", "172.30.0.9");
    front["spec"]["type"] = "NodePort".into();
    front["spec"]["ports"] = json!([{"port": 80, "protocol": "TCP", "nodePort": 30_080}]);
    front["spec"]["externalIPs"] = json!(["192.0.2.80"]);
    let slice = |pods: &[&str]| {
        let endpoint = |pod: &&str| json!({"addresses": ["10.1.9.9"], "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}});
        let outside = json!({"addresses": ["203.0.113.7"]});
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": "front-abc", "labels": {"kubernetes.io/service-name": "front"}},
            "endpoints": pods.iter().map(endpoint).chain([outside]).collect::<Vec<_>>()})
    };
    server.put_all([front, slice(&["web"])]);
    let collector = collector(&server, &["--select=1:svc=shop/front"]);
    let agent = collector.client();
    let own = ["172.30.0.9", "192.0.2.80", "203.0.113.7"];
    let filter = until(&agent, first(&agent), &[&own[..], &["10.1.0.1"]].concat());
    let ports: Vec<_> = filter.sets[0].ports.iter().map(|port| (port.protocol, port.port)).collect();
    assert_eq!(ports, [(6, 30_080), (6, 30_080)], "of both nodes");
    server.put(slice(&["web", "db"]));
    let filter = until(&agent, filter, &[&own[..], &["10.1.0.1", "10.1.0.2"]].concat());
    server.put(node(3));
    let news = agent.wait("n1", filter.number).unwrap().filter.unwrap();
    assert_eq!(news.sets[0].ports.len(), 3, "a node that comes later");
    server.put(slice(&[]));
    until(&agent, news, &own);
    drop(agent);
    collector.stop(Signal::SIGINT);
}

#[test]
fn many_pods_come_and_go_and_no_change_is_missed() {
    const PODS: u8 = 200;
    let server = small();
    let labelled = |number: u8, member: bool| {
        let mut pod = pod(&format!("many-{number}"), &format!("10.2.0.{number}"), 1);
        pod["metadata"]["labels"] = json!({"app": "many", "tier": if member { "front" } else { "back" }});
        pod
    };
    server.put_all((0..PODS).map(|number| labelled(number, number % 2 == 0)));
    let collector = collector(&server, &["--select=1:label=app=many,tier in (front)"]);
    let agent = collector.client();
    let mut filter = first(&agent);
    let mut members: BTreeSet<u8> = (0..PODS).filter(|number| number % 2 == 0).collect();
    for turn in 0..20_u8 {
        // Twenty of them, others each time.
        for step in 0..20_u8 {
            let number = (turn.wrapping_mul(37).wrapping_add(step.wrapping_mul(11))) % PODS;
            let member = if members.remove(&number) { false } else { members.insert(number) };
            server.put(labelled(number, member));
        }
        let wanted: Vec<String> = members.iter().map(|number| format!("10.2.0.{number}")).collect();
        filter = until(&agent, filter, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    }
    drop(agent);
    collector.stop(Signal::SIGINT);
}

#[test]
fn what_is_not_there_is_an_error_unless_it_is_waited_for() {
    let server = small();
    let dir = tempfile::tempdir().unwrap();
    let refused = |words: &[&str], why: &str| {
        let ended = get_flows(dir.path(), words).env("NETOBSERV_KUBE_URL", server.url()).finish();
        assert_eq!(ended.status.code(), Some(1), "{ended}");
        assert!(ended.stderr.contains(why), "{ended}");
    };
    refused(&["--select=1:pod=shop/wed"], "there is no pod shop/wed; there is shop/web; --wait waits until it exists");
    let outside = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "outside"},
        "spec": {"type": "ExternalName", "externalName": "db.example.com"}});
    server.put(outside);
    refused(&["--select=1:svc=outside"], "service outside is of type ExternalName and has no address");
    refused(&["--select=1:pod=web", "--kube=off"], "names are of a cluster, and there is none here");
    server.faults(|faults| {
        faults.forbidden.insert("endpointslices".into());
    });
    refused(&["--select=1:svc=front"], "the collector may not list endpointslices.discovery.k8s.io");

    let collector = collector(&server, &["--select=1:deploy=shop/later", "--wait"]);
    let agent = collector.client();
    let filter = first(&agent);
    assert_eq!((filter.sets.len(), addresses(&filter.sets[0]).len()), (1, 0), "an empty set, and not none");
    server.put_all([replica_set("later"), pod("later", "10.1.0.77", 2)]);
    until(&agent, filter, &["10.1.0.77"]);
    drop(agent);
    collector.stop(Signal::SIGINT);
}

#[test]
fn one_that_waits_for_news_is_no_reason_to_stay() {
    let server = small();
    let collector = collector(&server, &["--select=1:pod=shop/web"]);
    let (agent, waiting) = (collector.client(), collector.client());
    let number = first(&agent).number;
    // Connected before the end.
    first(&waiting);
    let waits = std::thread::spawn(move || waiting.wait("n1", number));
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let reply = waits.join().unwrap().expect("an answer");
    assert!(reply.stop, "{}", ended.finished);
}
