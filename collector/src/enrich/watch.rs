//! Follows the objects of the cluster. The only file that knows a client of the API.
//!
//! Each kind has a watch of its own: what is forbidden or late for one is no reason to wait for another. Lists come in
//! pages, watches continue from bookmarks, and what an API server forgets (`410 Gone`) is listed again.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Object};
use kube::core::PartialObjectMeta;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, Resource};
use netobserv_explain::admin::AdminPolicy;
use serde::de::DeserializeOwned;

use super::Names;
use super::objects::{
    self, NETWORKS, NodeSpec, NodeStatus, OVN_NETWORKS, PodSpec, PodStatus, SUBNETS, ServiceSpec, ServiceStatus, ZONE,
};
use super::state::Trouble;
use crate::facts::Kind;
use crate::facts::{self, Fact, Identity, Node, Owner, Pod, Policy, Rules, Workload};
use crate::select::Roster;

/// Objects of a page.
const PAGE: u32 = 500;
/// A watch that was silent for this many seconds is begun again.
const WATCH: u32 = 60;
/// Between attempts: at first, and at most.
const SOON: Duration = Duration::from_millis(200);
const LATER: Duration = Duration::from_secs(5);
/// The label of an endpoint slice with the name of its service.
const SERVICE: &str = "kubernetes.io/service-name";
/// The group of the policies of a whole cluster.
const ADMIN_GROUP: &str = "policy.networking.k8s.io";
/// Where the API server of a test is.
const URL: &str = "NETOBSERV_KUBE_URL";

type Pods = Object<PodSpec, PodStatus>;
type Nodes = Object<NodeSpec, NodeStatus>;
type Services = Object<ServiceSpec, ServiceStatus>;

/// Whether this program runs in a cluster, or has the address of an API server.
pub fn in_cluster() -> bool {
    ["KUBERNETES_SERVICE_HOST", URL].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Starts to follow the cluster, for as long as the runtime lives.
pub fn start(names: &Arc<Names>) {
    match client() {
        Ok(client) => follow_all(&client, names),
        Err(why) => names.state.nothing(why),
    }
}

fn client() -> Result<Client, String> {
    let config = match std::env::var(URL).ok().filter(|url| !url.is_empty()) {
        Some(url) => Config::new(url.parse().map_err(|error| format!("{URL}={url}: {error}"))?),
        None => Config::incluster().map_err(|error| format!("the pod has no service account: {error}"))?,
    };
    Client::try_from(config).map_err(|error| format!("cannot talk to the API server: {error}"))
}

fn follow_all(client: &Client, names: &Arc<Names>) {
    let config = || watcher::Config::default().page_size(PAGE).timeout(WATCH);
    follow(names, Kind::Pods, watcher(stripped::<core::Pod, Pods>(client), config()), pod);
    follow(names, Kind::Nodes, watcher(stripped::<core::Node, Nodes>(client), config()), node);
    follow(names, Kind::Services, watcher(stripped::<core::Service, Services>(client), config()), service);
    follow(
        names,
        Kind::ReplicaSets,
        watcher(Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()), config()),
        replica_set,
    );
    follow(names, Kind::Jobs, watcher(Api::<PartialObjectMeta<Job>>::all(client.clone()), config()), job);
    if names.objects().is_some() {
        follow_deciding(client, names);
    }
    if names.objects().is_some() || names.roster().is_some_and(Roster::needs_endpoints) {
        let slices = Api::<EndpointSlice>::all(client.clone());
        follow(names, Kind::EndpointSlices, watcher(slices, config()), endpoint_slice);
    } else {
        // Where the API server is.
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), "default");
        let config = config().labels(&format!("{SERVICE}=kubernetes"));
        follow(names, Kind::EndpointSlices, watcher(slices, config), endpoint_slice);
    }
}

/// Follows what decides on connections: policies, and the labels of namespaces that they select.
fn follow_deciding(client: &Client, names: &Arc<Names>) {
    let config = || watcher::Config::default().page_size(PAGE).timeout(WATCH);
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    follow(names, Kind::Namespaces, watcher(namespaces, config()), namespace);
    let policies = |group: &str, version: &str, kind: &str, plural: &str| {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let api = Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural));
        watcher(api, config())
    };
    let of_namespaces = policies("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies");
    follow(names, Kind::NetworkPolicies, of_namespaces, network_policy);
    let of_cluster = |version, kind, plural| policies(ADMIN_GROUP, version, kind, plural);
    let admin = of_cluster("v1alpha1", "AdminNetworkPolicy", "adminnetworkpolicies");
    follow(names, Kind::AdminPolicies, admin, admin_policy);
    let baseline = of_cluster("v1alpha1", "BaselineAdminNetworkPolicy", "baselineadminnetworkpolicies");
    follow(names, Kind::BaselinePolicies, baseline, baseline_policy);
    let newer = |version| of_cluster(version, "ClusterNetworkPolicy", "clusternetworkpolicies");
    follow(names, Kind::ClusterPolicies, newer("v1alpha2"), cluster_policy);
    follow(names, Kind::LaterClusterPolicies, newer("v1beta1"), later_cluster_policy);
}

/// From [`SOON`] to [`LATER`], twice as long every time.
#[derive(Debug, Default)]
struct Pause(Option<Duration>);

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0 = Some(self.0.map_or(SOON, |last| (last * 2).min(LATER)));
        self.0
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.0 = None;
    }
}

/// The objects of a kind in all namespaces, read into a type with only what names need.
fn stripped<K, T>(client: &Client) -> Api<T>
where
    K: Resource<DynamicType = ()>,
    T: Resource<DynamicType = ApiResource>,
{
    Api::all_with(client.clone(), &ApiResource::erase::<K>(&()))
}

/// Reports to `names` what happens to the objects of a kind.
fn follow<T, S>(names: &Arc<Names>, kind: Kind, events: S, fact: fn(T) -> Fact)
where
    T: Clone + Debug + DeserializeOwned + Send + 'static,
    S: Stream<Item = watcher::Result<Event<T>>> + Send + 'static,
{
    names.state.expect(kind);
    let names = names.clone();
    let events = events.backoff(Pause::default());
    tokio::spawn(async move {
        let (mut events, mut listed) = (std::pin::pin!(events), HashSet::new());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => take(&names, kind, event, fact, &mut listed),
                // Most clusters do not have all kinds of policies.
                Err(error) if !kind.is_named() && is_absent(&error) => return names.absent(kind),
                Err(error) => names.trouble(kind, trouble(&error)),
            }
        }
    });
}

fn take<T>(names: &Names, kind: Kind, event: Event<T>, fact: fn(T) -> Fact, listed: &mut HashSet<String>) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            let fact = fact(object);
            listed.insert(fact.identity().uid.clone());
            names.learn(fact);
        }
        Event::InitDone => names.synced(kind, &std::mem::take(listed)),
        Event::Apply(object) => {
            names.learn(fact(object));
            names.state.well(kind);
        }
        Event::Delete(object) => {
            names.unlearn(kind, &fact(object).identity().uid);
            names.state.well(kind);
        }
    }
}

/// The API server's code for an error.
fn code(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

fn is_absent(error: &watcher::Error) -> bool {
    code(error) == Some(404)
}

fn trouble(error: &watcher::Error) -> Trouble {
    match code(error) {
        Some(401 | 403) => Trouble::Forbidden,
        _ => Trouble::Unreachable(chain(error)),
    }
}

/// An error with all its reasons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        source = error.source();
    }
    text
}

/// The facts of an object that is read as one of each kind of which names are made; nothing of one that is none.
pub(crate) fn facts(json: &[u8]) -> Vec<Fact> {
    fn read<T: DeserializeOwned>(json: &[u8], fact: fn(T) -> Fact) -> Option<Fact> {
        serde_json::from_slice(json).ok().map(fact)
    }
    let facts = [read(json, pod), read(json, node), read(json, service), read(json, replica_set), read(json, job)];
    facts.into_iter().flatten().collect()
}

fn pod(pod: Pods) -> Fact {
    let note = |name| annotation(&pod.metadata, name);
    let secondary = objects::secondary(note(NETWORKS), note(OVN_NETWORKS));
    let identity = identity(&pod.metadata);
    let labels = pod.metadata.labels.unwrap_or_default();
    Fact::Pod(Pod { labels, ..objects::pod(identity, secondary, pod.spec, pod.status.unwrap_or_default()) })
}

fn node(node: Nodes) -> Fact {
    let metadata = &node.metadata;
    let zone = metadata.labels.as_ref().and_then(|labels| labels.get(ZONE)).map(String::as_str);
    let subnets = annotation(metadata, SUBNETS);
    let labels = metadata.labels.clone().unwrap_or_default();
    let node = objects::node(identity(metadata), zone, subnets, &node.status.clone().unwrap_or_default());
    Fact::Node(Node { labels, ..node })
}

fn service(service: Services) -> Fact {
    Fact::Service(objects::service(identity(&service.metadata), &service.spec, &service.status.unwrap_or_default()))
}

fn replica_set(set: PartialObjectMeta<ReplicaSet>) -> Fact {
    Fact::Workload(Workload { kind: "ReplicaSet", identity: identity(&set.metadata) })
}

fn job(job: PartialObjectMeta<Job>) -> Fact {
    Fact::Workload(Workload { kind: "Job", identity: identity(&job.metadata) })
}

fn endpoint_slice(slice: EndpointSlice) -> Fact {
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE)).map(String::as_str).unwrap_or_default();
    Fact::Endpoints(objects::endpoints(identity(&slice.metadata), service, &slice.endpoints))
}

fn namespace(namespace: PartialObjectMeta<Namespace>) -> Fact {
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    Fact::Namespace(facts::Namespace { identity: identity(&namespace.metadata), labels })
}

fn network_policy(object: DynamicObject) -> Fact {
    policy(object, Kind::NetworkPolicies, "NetworkPolicy")
}

fn admin_policy(object: DynamicObject) -> Fact {
    policy(object, Kind::AdminPolicies, "AdminNetworkPolicy")
}

fn baseline_policy(object: DynamicObject) -> Fact {
    policy(object, Kind::BaselinePolicies, "BaselineAdminNetworkPolicy")
}

fn cluster_policy(object: DynamicObject) -> Fact {
    policy(object, Kind::ClusterPolicies, "ClusterNetworkPolicy")
}

fn later_cluster_policy(object: DynamicObject) -> Fact {
    policy(object, Kind::LaterClusterPolicies, "ClusterNetworkPolicy")
}

/// A policy, of which the lists of the API server do not repeat the kind.
fn policy(mut object: DynamicObject, kind: Kind, word: &str) -> Fact {
    let identity = identity(&object.metadata);
    object.data["kind"] = word.into();
    object.data["metadata"] = serde_json::json!({"name": identity.name, "namespace": identity.namespace});
    let rules = if kind == Kind::NetworkPolicies {
        serde_json::from_value(object.data).map(|policy| Rules::Network(Box::new(policy))).map_err(|e| e.to_string())
    } else {
        AdminPolicy::read(object.data).map(|policy| Rules::Admin(Box::new(policy))).map_err(|e| e.to_string())
    };
    Fact::Policy(Policy { identity, kind, rules })
}

fn identity(metadata: &ObjectMeta) -> Identity {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true)).or(owners.first());
    let created = metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond());
    Identity {
        uid: metadata.uid.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        owner: owner.map(|owner| Owner { kind: owner.kind.clone(), name: owner.name.clone() }),
        created_ms: u64::try_from(created).unwrap_or(0),
    }
}

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}
