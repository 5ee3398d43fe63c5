//! Why a service leads nowhere, as far as the objects of the cluster show it.

use crate::cluster::{Cluster, Pod, Service, ServicePort};
use crate::objects::{PortRef, Protocol};

/// Why connections to a port of a service cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceFault {
    /// The service is another name for something outside the cluster.
    ExternalName(String),
    /// The service has no such port; it has these.
    NoPort(Vec<(Protocol, u16)>),
    /// The service has the port for another protocol.
    OtherProtocol(Protocol),
    /// Its selector selects no pod; the pods that lack only one of its labels are named.
    SelectsNothing(Vec<String>),
    /// It has no selector, and no endpoints were written for it.
    NoEndpoints,
    /// Its pods are not ready.
    NotReady(Vec<String>),
    /// Its pods declare no port of that name, or declare it for another protocol.
    NoTargetName(String),
    /// Its pods declare ports, and the target is none of them.
    UndeclaredTarget(u16, Vec<(Protocol, u16)>),
}

impl ServiceFault {
    /// Whether it follows from the objects: a container may listen on a port that it does not declare.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::UndeclaredTarget(..))
    }
}

/// What is wrong with a port of a service.
pub fn service_fault(cluster: &Cluster, service: &Service, protocol: Protocol, port: u16) -> Option<ServiceFault> {
    let spec = &service.spec;
    if spec.kind == "ExternalName" {
        return Some(ServiceFault::ExternalName(spec.external_name.clone()));
    }
    let of_number: Vec<_> = spec.ports.iter().filter(|one| one.port == port).collect();
    let Some(found) = of_number.iter().find(|one| one.protocol == protocol) else {
        return Some(match of_number.first() {
            Some(other) => ServiceFault::OtherProtocol(other.protocol),
            None => ServiceFault::NoPort(spec.ports.iter().map(|one| (one.protocol, one.port)).collect()),
        });
    };
    if spec.selector.is_empty() {
        let mut endpoints = cluster.slices_of(service).flat_map(|slice| &slice.endpoints);
        let missing = cluster.knows("EndpointSlice") && endpoints.next().is_none();
        return missing.then_some(ServiceFault::NoEndpoints);
    }
    let pods: Vec<_> = cluster.pods_behind(service).collect();
    if pods.is_empty() {
        return Some(ServiceFault::SelectsNothing(nearly_selected(cluster, service)));
    }
    let (ready, waiting): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| serves(cluster, service, pod));
    if ready.is_empty() {
        return Some(ServiceFault::NotReady(waiting.iter().map(|pod| pod.metadata.name.clone()).collect()));
    }
    wrong_target(found, &ready)
}

/// Whether a service sends connections to a pod: its endpoint says so, or, where none was read, the pod.
fn serves(cluster: &Cluster, service: &Service, pod: &Pod) -> bool {
    let mut endpoints = cluster.slices_of(service).flat_map(|slice| &slice.endpoints).filter(|endpoint| {
        endpoint.addresses.iter().any(|text| text.parse().is_ok_and(|address| pod.addresses.contains(&address)))
    });
    endpoints.next().map_or(pod.ready, |endpoint| endpoint.conditions.ready != Some(false))
}

/// Pods of the namespace that have all labels of the selector but one.
fn nearly_selected(cluster: &Cluster, service: &Service) -> Vec<String> {
    let selector = &service.spec.selector;
    let missing = |pod: &&Pod| {
        let has = |(key, value): &(&String, &String)| pod.metadata.labels.get(*key) == Some(*value);
        selector.len() > 1 && selector.iter().filter(has).count() + 1 == selector.len()
    };
    let pods = cluster.pods().iter().filter(|pod| !pod.deleted && pod.metadata.namespace == service.metadata.namespace);
    pods.filter(missing).map(|pod| pod.metadata.name.clone()).take(3).collect()
}

fn wrong_target(port: &ServicePort, pods: &[&Pod]) -> Option<ServiceFault> {
    match port.target_port.clone().unwrap_or(PortRef::Number(port.port)) {
        PortRef::Name(name) => {
            let mut declared = pods.iter().flat_map(|pod| &pod.ports);
            let is_there = declared.any(|one| one.name == name && one.protocol == port.protocol);
            (!is_there).then_some(ServiceFault::NoTargetName(name))
        }
        PortRef::Number(number) => {
            let mut declared: Vec<_> =
                pods.iter().flat_map(|pod| &pod.ports).map(|one| (one.protocol, one.number)).collect();
            declared.sort_unstable();
            declared.dedup();
            let is_there = declared.is_empty() || declared.contains(&(port.protocol, number));
            (!is_there).then_some(ServiceFault::UndeclaredTarget(number, declared))
        }
    }
}
