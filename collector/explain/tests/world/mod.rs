//! The cluster of the cases, and connections in it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::IpAddr;

use netobserv_explain::cluster::{Cluster, ContainerPort, Node, Pod};
use netobserv_explain::objects::{Labels, Meta, Protocol};
use netobserv_explain::policy::{End, Probe};
use serde_json::Value;

pub(crate) struct World(Value);

impl World {
    pub(crate) fn read() -> Self {
        Self(serde_saphyr::from_str(include_str!("../cases/world.yaml")).expect("YAML"))
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::default();
        for (name, labels) in self.0["namespaces"].as_object().expect("namespaces") {
            cluster.add_namespace(name.clone(), serde_json::from_value(labels.clone()).expect("labels"));
        }
        for (name, address) in self.0["nodes"].as_object().expect("nodes") {
            cluster.add_node(node(name, address.as_str().expect("an address")));
        }
        for (name, of) in self.0["pods"].as_object().expect("pods") {
            cluster.add_pod(pod(name, of));
        }
        cluster
    }
}

pub(crate) fn node(name: &str, address: &str) -> Node {
    Node {
        name: name.into(),
        addresses: vec![address.parse().expect("an address")],
        ready: true,
        labels: Labels::new(),
    }
}

pub(crate) fn pod(name: &str, of: &Value) -> Pod {
    let (namespace, name) = name.split_once('/').expect("NAMESPACE/NAME");
    let list = |field: &str| of[field].as_array().into_iter().flatten().map(|one| one.as_str().expect("a text"));
    let port = |text: &str| {
        let [name, protocol, number] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        let (name, number) = (name.into(), number.parse().expect("a port"));
        ContainerPort { name, number, protocol: self::protocol(protocol).expect("a protocol"), host_port: 0 }
    };
    Pod {
        metadata: Meta {
            name: name.into(),
            namespace: namespace.into(),
            labels: serde_json::from_value(of["labels"].clone()).expect("labels"),
        },
        addresses: list("ips").map(|address| address.parse().expect("an address")).collect(),
        host_network: of["host"] == true,
        node: of["node"].as_str().expect("a node").into(),
        ports: list("ports").map(port).collect(),
        ready: true,
        deleted: false,
    }
}

fn protocol(name: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| protocol.name() == name)
}

/// `CLIENT -> SERVER PROTOCOL PORT`.
pub(crate) fn probe<'a>(cluster: &'a Cluster, words: &str) -> Probe<'a> {
    let [client, "->", server, protocol, port] = words.split(' ').collect::<Vec<_>>()[..] else { panic!("{words}") };
    let end = |word: &str| match word.split_once('/') {
        Some((namespace, name)) => End::Pod(cluster.pod(namespace, name).unwrap_or_else(|| panic!("{word}"))),
        None => End::Address(word.parse::<IpAddr>().unwrap_or_else(|_| panic!("{word}"))),
    };
    let (protocol, port) = (self::protocol(protocol), port.parse().expect("a port"));
    Probe { client: end(client), server: end(server), protocol, port }
}
