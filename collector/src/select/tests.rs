//! Selections against a small cluster.

use std::net::IpAddr;

use chrono::Utc;
use netobserv_contract::selector::{Numbered, Selection};

use super::check::check;
use super::members::Members;
use super::resolve::{Resolved, View};
use super::{Roster, Selections};
use crate::facts::Kind;
use crate::facts::{Endpoints, Fact, Identity, Node, Owner, Pod, Service, Workload};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn identity(namespace: &str, name: &str, owner: Option<(&str, &str)>) -> Identity {
    let owner = owner.map(|(kind, name)| Owner { kind: kind.into(), name: name.into() });
    let uid = format!("{namespace}/{name}");
    Identity { uid, namespace: namespace.into(), name: name.into(), owner, created_ms: 1_000 }
}

fn pod(name: &str, owner: (&str, &str), address: &str, node: u8) -> Pod {
    Pod {
        identity: identity("shop", name, Some(owner)),
        node: format!("n{node}"),
        host_ip: Some(ip(&format!("192.168.0.{node}"))),
        addresses: vec![ip(address)],
        labels: [("app".to_owned(), owner.1.to_owned())].into(),
        ..Pod::default()
    }
}

fn node(number: u8) -> Fact {
    let identity = identity("", &format!("n{number}"), None);
    Fact::Node(Node {
        identity,
        addresses: vec![ip(&format!("192.168.0.{number}"))],
        zone: String::new(),
        ..Node::default()
    })
}

fn service(name: &str, address: Option<&str>) -> Service {
    Service {
        identity: identity("shop", name, None),
        addresses: address.map(ip).into_iter().collect(),
        ..Service::default()
    }
}

/// A Deployment of two pods, a StatefulSet, a Job of a CronJob, services, and a pod on its node's network.
fn shop(selections: &Selections) -> Roster {
    let roster = Roster::new(selections);
    let workload =
        |kind, name: &str, owner| Fact::Workload(Workload { kind, identity: identity("shop", name, Some(owner)) });
    let exporter = Pod {
        addresses: vec![],
        host_network: true,
        host_ports: vec![(6, 9100)],
        ..pod("exporter-x", ("DaemonSet", "exporter"), "192.168.0.1", 1)
    };
    let raw = Pod { host_ports: vec![], ..Pod { identity: identity("shop", "raw-y", None), ..exporter.clone() } };
    let front = Service { node_ports: vec![(6, 30080)], ..service("front", Some("172.30.0.9")) };
    let outside = Service { external_name: Some("db.example.com".into()), ..service("outside", None) };
    let slice = Endpoints {
        identity: identity("shop", "front-abc", None),
        service: "front".into(),
        pods: vec!["web-5d8f-1".into()],
        addresses: vec![ip("203.0.113.7")],
        endpoints: Vec::new(),
    };
    for fact in [
        node(1),
        node(2),
        workload("ReplicaSet", "web-5d8f", ("Deployment", "web")),
        workload("Job", "nightly-1", ("CronJob", "nightly")),
        workload("ReplicaSet", "idle-1", ("Deployment", "idle")),
        Fact::Pod(pod("web-5d8f-1", ("ReplicaSet", "web-5d8f"), "10.1.0.1", 1)),
        Fact::Pod(pod("web-5d8f-2", ("ReplicaSet", "web-5d8f"), "10.1.0.2", 2)),
        Fact::Pod(pod("db-0", ("StatefulSet", "db"), "10.1.0.3", 2)),
        Fact::Pod(pod("nightly-1-z", ("Job", "nightly-1"), "10.1.0.4", 2)),
        Fact::Pod(exporter),
        Fact::Pod(raw),
        Fact::Service(front),
        Fact::Service(service("headless", None)),
        Fact::Service(outside),
        Fact::Endpoints(slice),
    ] {
        roster.learn(&fact);
    }
    roster
}

fn selections(terms: &[&str]) -> Selections {
    let terms = terms.iter().map(|term| format!("1:{term}").parse::<Numbered>().unwrap()).collect();
    Selections::of(terms, false)
}

fn resolved(roster: &Roster, selection: &Selection) -> Resolved {
    View::of(&roster.objects()).resolve(selection)
}

fn texts(resolved: &Resolved) -> Vec<String> {
    let text = |(address, port): &(IpAddr, Option<(u8, u16)>)| match port {
        Some((protocol, port)) => format!("{address}:{protocol}:{port}"),
        None => address.to_string(),
    };
    resolved.keys().map(text).collect()
}

#[track_caller]
fn assert_means(terms: &[&str], wanted: &[&str]) {
    let selections = selections(terms);
    let roster = shop(&selections);
    assert_eq!(texts(&resolved(&roster, &selections.by_number[&1])), wanted, "{terms:?}");
}

#[test]
fn pods_and_their_workloads() {
    assert_means(&["pod=shop/web"], &["10.1.0.1", "10.1.0.2"]);
    assert_means(&["pod=web-5d8f-2"], &["10.1.0.2"]);
    assert_means(&["pod=*-0"], &["10.1.0.3"]);
    assert_means(&["pod=bank/web"], &[]);
    assert_means(&["pod=db", "pod=web-*-1"], &["10.1.0.1", "10.1.0.3"]);
    assert_means(&["deploy=web"], &["10.1.0.1", "10.1.0.2"]);
    assert_means(&["deploy=db"], &[]);
    assert_means(&["statefulset=db"], &["10.1.0.3"]);
    assert_means(&["job=nightly-1"], &["10.1.0.4"]);
    assert_means(&["job=nightly"], &["10.1.0.4"]);
    assert_means(&["deploy=web", "node=n2"], &["10.1.0.2"]);
    assert_means(&["label=app in (db,web-5d8f)", "node=n2"], &["10.1.0.2", "10.1.0.3"]);
}

#[test]
fn pods_on_the_network_of_their_node() {
    assert_means(&["daemonset=exporter"], &["192.168.0.1:6:9100"]);
    // It declares no port, so that nothing distinguishes it from its node.
    assert_means(&["pod=raw-y"], &["192.168.0.1"]);
}

#[test]
fn services_have_addresses_ports_of_nodes_and_what_is_behind_them() {
    let front = ["10.1.0.1", "172.30.0.9", "192.168.0.1:6:30080", "192.168.0.2:6:30080", "203.0.113.7"];
    assert_means(&["svc=shop/front"], &front);
    assert_means(&["svc=front", "node=n1"], &["10.1.0.1"]);
    assert_means(&["svc=headless"], &[]);
}

#[test]
fn namespaces_and_nodes() {
    assert_means(&["ns=bank"], &[]);
    assert_means(&["node=n2"], &["10.1.0.2", "10.1.0.3", "10.1.0.4", "192.168.0.2"]);
    assert_means(&["ns=shop", "node=n1"], &["10.1.0.1", "192.168.0.1", "192.168.0.1:6:9100"]);
}

#[test]
fn an_address_belongs_to_the_pod_that_got_it_last() {
    let selections = selections(&["deploy=web"]);
    let roster = shop(&selections);
    let selection = &selections.by_number[&1];
    // Before the news of the end of the first.
    let heir = Pod { started_ms: Some(2_000), ..pod("db-1", ("StatefulSet", "db"), "10.1.0.2", 2) };
    roster.learn(&Fact::Pod(heir));
    assert_eq!(texts(&resolved(&roster, selection)), ["10.1.0.1"]);
    roster.unlearn(Kind::Pods, "shop/db-1");
    roster.unlearn(Kind::Pods, "shop/web-5d8f-1");
    assert_eq!(texts(&resolved(&roster, selection)), ["10.1.0.2"]);
    let ended = Pod { finished_ms: Some(1), ..pod("web-5d8f-2", ("ReplicaSet", "web-5d8f"), "10.1.0.2", 2) };
    roster.learn(&Fact::Pod(ended));
    assert!(resolved(&roster, selection).is_empty(), "a pod that has ended gives its address back");
}

#[test]
fn what_is_not_there_is_an_error_with_what_is_near() {
    for (terms, wanted) in [
        (&["pod=shop/web"][..], Ok(())),
        (&["deploy=idle"], Ok(())),
        (&["label=app=web-5d8f"], Ok(())),
        (&["svc=headless"], Ok(())),
        (&["pod=shop/wed"], Err("there is no pod shop/wed; there is shop/web")),
        (&["pod=bank/web"], Err("there is no pod bank/web; there is shop/web")),
        (&["svc=frnt"], Err("there is no service frnt; there is shop/front")),
        (&["node=m1"], Err("there is no node m1; there is n1")),
        (&["ns=shpo"], Err("there is no namespace shpo; there is shop")),
        (&["statefulset=web"], Err("there is no statefulset web")),
        (&["label=app=nothing"], Err("there are no pods with label app=nothing")),
        (&["statefulset=db", "node=n1"], Err("nothing is all of statefulset db and node n1 now")),
        (
            &["svc=outside"],
            Err(
                "service outside is of type ExternalName and has no address: it is an alias of db.example.com; use --cidr with the addresses of that",
            ),
        ),
    ] {
        let selections = selections(terms);
        let roster = shop(&selections);
        let checked = check(&View::of(&roster.objects()), &selections.by_number[&1]);
        match wanted {
            Ok(()) => assert_eq!(checked, Ok(()), "{terms:?}"),
            Err(why) => assert!(checked.as_ref().is_err_and(|error| error.starts_with(why)), "{terms:?}: {checked:?}"),
        }
    }
}

#[test]
fn the_times_of_addresses_are_remembered() {
    let selections = selections(&["deploy=web"]);
    let (roster, selection, members) = (shop(&selections), &selections.by_number[&1], Members::default());
    let put = || members.put(1, &selection.to_string(), &resolved(&roster, selection), Utc::now());
    assert!(put() && !put());
    assert_eq!(members.now(), ["deployment web: 2 addresses on 2 nodes"]);
    assert_eq!(members.news().len(), 2);
    assert_eq!(members.nodes(&[1]), ["n1", "n2"].map(str::to_owned).into());
    assert!(members.nodes(&[2]).is_empty());
    roster.unlearn(Kind::Pods, "shop/web-5d8f-1");
    assert!(put());
    let news = members.news();
    assert_eq!(news.len(), 1);
    assert_eq!((news[0].1.object.name.as_str(), news[0].1.to.is_some()), ("web-5d8f-1", true));
    assert_eq!(members.summary(), ["captured deployment web: 1 address on 1 node at the end, 2 in all"]);
    // The address goes to another pod of the Deployment: agents need not hear of that.
    roster.unlearn(Kind::Pods, "shop/web-5d8f-2");
    roster.learn(&Fact::Pod(pod("web-5d8f-3", ("ReplicaSet", "web-5d8f"), "10.1.0.2", 2)));
    assert!(!put());
    assert_eq!(members.news().len(), 2);
}
