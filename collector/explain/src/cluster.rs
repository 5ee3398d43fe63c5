//! A snapshot of a cluster: its pods, namespaces, services and policies, and an index of them by address and namespace.

mod read;

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use self::read::{Named, node, pod};
use crate::admin::{ADMIN_KINDS, AdminPolicy};
use crate::document::{ClusterError, documents, read};
use crate::objects::{Labels, Meta, NetworkPolicy, PortRef, Protocol, null_is_empty};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name, namespace and labels.
    pub metadata: Meta,
    /// Its addresses; those of the node for a pod on the host network.
    pub addresses: Vec<IpAddr>,
    /// Whether it uses the network of its node.
    pub host_network: bool,
    /// Its node.
    pub node: String,
    /// The ports that its containers declare.
    pub ports: Vec<ContainerPort>,
    /// Whether it is ready to serve.
    pub ready: bool,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// A port that a container declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Its name, or nothing.
    pub name: String,
    /// Its number.
    #[serde(rename = "containerPort")]
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port of the node that leads to it, or 0.
    pub host_port: u16,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether its kubelet reports it as ready.
    pub ready: bool,
    /// Its labels.
    pub labels: Labels,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Name and namespace.
    pub metadata: Meta,
    /// What it leads to.
    pub spec: ServiceSpec,
}

/// `spec` of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    #[serde(rename = "type")]
    pub kind: String,
    /// The pods behind it; without a selector someone else writes its endpoints.
    #[serde(deserialize_with = "null_is_empty")]
    pub selector: Labels,
    /// Its ports.
    #[serde(deserialize_with = "null_is_empty")]
    pub ports: Vec<ServicePort>,
    /// Its address, or `None` in words.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// Its addresses.
    #[serde(rename = "clusterIPs", deserialize_with = "null_is_empty")]
    pub cluster_ips: Vec<String>,
    /// The name that an ExternalName stands for.
    pub external_name: String,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name, or nothing.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port of the pods; the same number when missing.
    pub target_port: Option<PortRef>,
}

/// An EndpointSlice of `discovery.k8s.io/v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointSlice {
    /// Name, namespace, and the service's name as a label.
    pub metadata: Meta,
    /// The endpoints.
    #[serde(deserialize_with = "null_is_empty")]
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether it serves.
    pub conditions: Conditions,
}

/// State of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// Missing means ready.
    pub ready: Option<bool>,
}

/// The label of a slice that names its service.
pub const SERVICE_OF_SLICE: &str = "kubernetes.io/service-name";
/// The label that the API server gives every namespace: its name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A snapshot of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pods: Vec<Pod>,
    namespaces: HashMap<String, Labels>,
    nodes: Vec<Node>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    policies: Vec<NetworkPolicy>,
    /// In the order in which they hold.
    admin_policies: Vec<AdminPolicy>,
    pods_by_address: HashMap<IpAddr, u32>,
    nodes_by_address: HashMap<IpAddr, u32>,
    services_by_address: HashMap<IpAddr, u32>,
    policies_by_namespace: HashMap<String, Vec<u32>>,
    kinds: Vec<String>,
}

impl Cluster {
    /// Reads objects in JSON or YAML: lists as `oc get -o json` prints them, single objects, several documents.
    ///
    /// # Errors
    /// When the text is neither, or an object has wrong fields.
    pub fn read(text: &str) -> Result<Self, ClusterError> {
        let mut cluster = Self::default();
        cluster.add_text(text)?;
        Ok(cluster)
    }

    /// Adds the objects of another text.
    ///
    /// # Errors
    /// As [`Cluster::read`].
    pub fn add_text(&mut self, text: &str) -> Result<(), ClusterError> {
        documents(text)?.into_iter().try_for_each(|document| self.add(document))
    }

    /// Adds an object or a list. Kinds that decide on no connection are left out.
    fn add(&mut self, object: Value) -> Result<(), ClusterError> {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if let (true, Some(items)) = (kind.ends_with("List"), object["items"].as_array()) {
            let of_kind = kind.trim_end_matches("List").to_owned();
            self.note_kind(&of_kind);
            for item in items {
                let mut item = item.clone();
                // Lists of one kind do not repeat it in each item.
                if item["kind"].is_null() {
                    item["kind"] = Value::String(of_kind.clone());
                }
                self.add(item)?;
            }
            return Ok(());
        }
        self.note_kind(&kind);
        match kind.as_str() {
            "Pod" => self.add_pod(pod(read(object)?)),
            "Namespace" => {
                let namespace: Named = read(object)?;
                self.add_namespace(namespace.metadata.name, namespace.metadata.labels);
            }
            "Node" => self.add_node(node(read(object)?)),
            "Service" => self.add_service(read(object)?),
            "EndpointSlice" => self.slices.push(read(object)?),
            "NetworkPolicy" => self.add_policy(read(object)?),
            // Other groups have kinds of the same name.
            kind if ADMIN_KINDS.contains(&kind) && is_of_the_api(&object) => {
                self.add_admin_policy(AdminPolicy::read(object)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes that all objects of a kind were read, be it none.
    pub fn note_kind(&mut self, kind: &str) {
        if !kind.is_empty() && !self.kinds.iter().any(|known| known == kind) {
            self.kinds.push(kind.to_owned());
        }
    }

    /// Whether objects of this kind, or an empty list of them, were read.
    pub fn knows(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
    }

    /// Adds a pod.
    pub fn add_pod(&mut self, pod: Pod) {
        let number = self.pods.len() as u32;
        if !pod.host_network {
            self.pods_by_address.extend(pod.addresses.iter().map(|address| (*address, number)));
        }
        self.pods.push(pod);
    }

    /// Adds a namespace. It has the label with its name whether the object shows it or not.
    pub fn add_namespace(&mut self, name: String, mut labels: Labels) {
        labels.entry(NAMESPACE_NAME.to_owned()).or_insert_with(|| name.clone());
        self.namespaces.insert(name, labels);
    }

    /// Adds a node.
    pub fn add_node(&mut self, node: Node) {
        let number = self.nodes.len() as u32;
        self.nodes_by_address.extend(node.addresses.iter().map(|address| (*address, number)));
        self.nodes.push(node);
    }

    /// Adds a service.
    pub fn add_service(&mut self, service: Service) {
        let number = self.services.len() as u32;
        let addresses = service.spec.cluster_ips.iter().chain([&service.spec.cluster_ip]);
        let addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok());
        self.services_by_address.extend(addresses.map(|address| (address, number)));
        self.services.push(service);
    }

    /// Adds a slice of endpoints.
    pub fn add_slice(&mut self, slice: EndpointSlice) {
        self.slices.push(slice);
    }

    /// Adds a policy.
    pub fn add_policy(&mut self, policy: NetworkPolicy) {
        let number = self.policies.len() as u32;
        self.policies_by_namespace.entry(policy.metadata.namespace.clone()).or_default().push(number);
        self.policies.push(policy);
    }

    /// Adds a policy of the whole cluster.
    pub fn add_admin_policy(&mut self, policy: AdminPolicy) {
        let order = |one: &AdminPolicy| (one.tier, one.priority, one.metadata.name.clone());
        let at = self.admin_policies.partition_point(|known| order(known) <= order(&policy));
        self.admin_policies.insert(at, policy);
    }

    /// Adds a pod that was deleted: it had its addresses until another one gets them. No service leads to it.
    pub fn add_deleted_pod(&mut self, pod: Pod) {
        self.add_pod(Pod { ready: false, deleted: true, ..pod });
    }

    /// The same without its policies: what others would decide on it.
    #[must_use]
    pub fn without_policies(mut self) -> Self {
        self.policies.clear();
        self.admin_policies.clear();
        self.policies_by_namespace.clear();
        self
    }

    /// The pods.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The policies.
    pub fn policies(&self) -> &[NetworkPolicy] {
        &self.policies
    }

    /// The policies of the whole cluster, in the order in which they hold.
    pub fn admin_policies(&self) -> &[AdminPolicy] {
        &self.admin_policies
    }

    /// The services.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The policies of a namespace.
    pub fn policies_of<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a NetworkPolicy> + use<'a> {
        let numbers = self.policies_by_namespace.get(namespace).into_iter().flatten();
        numbers.map(|number| &self.policies[*number as usize])
    }

    /// The slices of a service.
    pub fn slices_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a EndpointSlice> {
        let of = &service.metadata;
        self.slices.iter().filter(move |slice| {
            slice.metadata.namespace == of.namespace && slice.metadata.labels.get(SERVICE_OF_SLICE) == Some(&of.name)
        })
    }

    /// Labels of a namespace; one that was not read has its name only.
    pub fn namespace_labels(&self, name: &str) -> std::borrow::Cow<'_, Labels> {
        match self.namespaces.get(name) {
            Some(labels) => std::borrow::Cow::Borrowed(labels),
            None => std::borrow::Cow::Owned(Labels::from([(NAMESPACE_NAME.to_owned(), name.to_owned())])),
        }
    }

    /// The pod with an address; a pod on the host network has none of its own.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Pod> {
        self.pods_by_address.get(&address).map(|number| &self.pods[*number as usize])
    }

    /// A pod by its name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.metadata.namespace == namespace && pod.metadata.name == name)
    }

    /// The node with an address.
    pub fn node_at(&self, address: IpAddr) -> Option<&Node> {
        self.nodes_by_address.get(&address).map(|number| &self.nodes[*number as usize])
    }

    /// The service with an address.
    pub fn service_at(&self, address: IpAddr) -> Option<&Service> {
        self.services_by_address.get(&address).map(|number| &self.services[*number as usize])
    }

    /// A service by its name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.iter().find(|one| one.metadata.namespace == namespace && one.metadata.name == name)
    }

    /// The pods that a service selects.
    pub fn pods_behind<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
        let selector = &service.spec.selector;
        self.pods.iter().filter(move |pod| {
            pod.metadata.namespace == service.metadata.namespace
                && !pod.deleted
                && !selector.is_empty()
                && selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
        })
    }
}

fn is_of_the_api(object: &Value) -> bool {
    object["apiVersion"].as_str().is_none_or(|version| version.starts_with("policy.networking.k8s.io/"))
}
