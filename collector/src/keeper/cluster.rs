//! Removes the session's objects, each by its name, and only if it bears the session's label.

use kube::api::{ApiResource, DeleteParams, DynamicObject, Preconditions};
use kube::{Api, Client, Config, Error};
use tracing::{debug, info};

use super::Pod;

/// Where the API server of a test is.
const URL: &str = "NETOBSERV_KUBE_URL";
/// The label that every object of a session has.
const LABEL: &str = "netobserv.io/session";
/// Name of most objects.
pub(super) const NAME: &str = "netobserv-cli";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Why something could not be removed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may work later.
    Passing(String),
    /// It will not.
    Forbidden(String),
}

/// The API server.
pub(crate) struct Cluster(Client);

/// A kind of object: group, version, kind, plural.
type Kind = (&'static str, &'static str, &'static str, &'static str);

const DAEMON_SET: Kind = ("apps", "v1", "DaemonSet", "daemonsets");
const SERVICE: Kind = ("", "v1", "Service", "services");
const SECRET: Kind = ("", "v1", "Secret", "secrets");
const POD: Kind = ("", "v1", "Pod", "pods");
const ACCOUNT: Kind = ("", "v1", "ServiceAccount", "serviceaccounts");
const ROLE: Kind = (RBAC, "v1", "Role", "roles");
const ROLE_BINDING: Kind = (RBAC, "v1", "RoleBinding", "rolebindings");
const CLUSTER_ROLE: Kind = (RBAC, "v1", "ClusterRole", "clusterroles");
const CLUSTER_ROLE_BINDING: Kind = (RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings");
const CONSTRAINTS: Kind = ("security.openshift.io", "v1", "SecurityContextConstraints", "securitycontextconstraints");
const NAMESPACE: Kind = ("", "v1", "Namespace", "namespaces");

/// An object by name; in the session's namespace, or of the whole cluster.
#[derive(Clone, Debug)]
struct Thing {
    kind: Kind,
    name: String,
    namespaced: bool,
}

fn here(kind: Kind, name: &str) -> Thing {
    Thing { kind, name: name.into(), namespaced: true }
}

fn everywhere(kind: Kind, name: &str) -> Thing {
    Thing { kind, name: name.into(), namespaced: false }
}

/// Connects to the API server when first used.
pub(super) fn open() -> Result<Cluster, Trouble> {
    let passing = |error: String| Trouble::Passing(error);
    let config = match std::env::var(URL).ok().filter(|url| !url.is_empty()) {
        Some(url) => Config::new(url.parse().map_err(|error| passing(format!("{URL}={url}: {error}")))?),
        None => Config::incluster().map_err(|error| passing(format!("the pod has no service account: {error}")))?,
    };
    Client::try_from(config).map(Cluster).map_err(|error| passing(error.to_string()))
}

impl Cluster {
    /// Removes the agents.
    pub(super) async fn remove_agents(&self, pod: &Pod) -> Result<(), Trouble> {
        self.remove_all(pod, &[here(DAEMON_SET, NAME)]).await
    }

    /// Removes everything else. What gives the right to remove goes last, and at the same time: what goes first would take the
    /// right to the others away.
    pub(super) async fn remove_rest(&self, pod: &Pod) -> Result<(), Trouble> {
        let in_cluster = match pod.namespace.as_str() {
            NAME => NAME.to_owned(),
            other => format!("{NAME}-{other}"),
        };
        self.remove_all(
            pod,
            &[
                here(SERVICE, "collector"),
                here(SECRET, "netobserv-cli-collector-tls"),
                here(SECRET, "netobserv-cli-agent-tls"),
                here(SECRET, "netobserv-cli-pull"),
                here(ROLE_BINDING, "netobserv-cli-agent"),
                here(ROLE, "netobserv-cli-agent"),
                here(ACCOUNT, "netobserv-cli-agent"),
                everywhere(CONSTRAINTS, &in_cluster),
            ],
        )
        .await?;
        let mut last = vec![everywhere(CLUSTER_ROLE_BINDING, &in_cluster), everywhere(CLUSTER_ROLE, &in_cluster)];
        // A namespace of ours takes with it what is in it.
        let namespace = everywhere(NAMESPACE, &pod.namespace);
        if self.find(pod, &namespace).await?.is_some() {
            last.push(namespace);
        } else {
            last.extend([here(ROLE_BINDING, NAME), here(ROLE, NAME), here(ACCOUNT, NAME), here(POD, "collector")]);
        }
        self.remove_all(pod, &last).await
    }

    /// Looks at all of them, then removes those that are the session's, all at once.
    async fn remove_all(&self, pod: &Pod, things: &[Thing]) -> Result<(), Trouble> {
        let looks = futures_util::future::join_all(things.iter().map(|thing| self.find(pod, thing))).await;
        let found: Vec<_> =
            things.iter().zip(looks).map(|(thing, look)| Ok((thing, look?))).collect::<Result<_, _>>()?;
        let removals = found.into_iter().filter_map(|(thing, found)| found.map(|found| self.delete(pod, thing, found)));
        futures_util::future::join_all(removals).await.into_iter().collect()
    }

    /// What an object must still be to be removed; `None` if there is none, or if it is not this session's.
    async fn find(&self, pod: &Pod, thing: &Thing) -> Result<Option<Preconditions>, Trouble> {
        let object = match self.api(pod, thing).get_opt(&thing.name).await {
            Ok(Some(object)) => object,
            Ok(None) => return Ok(None),
            // Where there are no constraints, no right was granted to read them.
            Err(error) if status(&error) == Some(403) && thing.kind == CONSTRAINTS => return Ok(None),
            Err(error) => return Err(trouble(thing, &error)),
        };
        if object.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL)) != Some(&pod.session) {
            debug!("{} {} is not of this session: it stays", thing.kind.2, thing.name);
            return Ok(None);
        }
        let (resource_version, uid) = (object.metadata.resource_version, object.metadata.uid);
        // A namespace, a pod or a DaemonSet changes all the time, and is the same one anyway.
        let changing = [NAMESPACE, POD, DAEMON_SET].contains(&thing.kind);
        Ok(Some(Preconditions { resource_version: resource_version.filter(|_| !changing), uid }))
    }

    async fn delete(&self, pod: &Pod, thing: &Thing, found: Preconditions) -> Result<(), Trouble> {
        let params = DeleteParams { preconditions: Some(found), ..DeleteParams::background() };
        match self.api(pod, thing).delete(&thing.name, &params).await {
            Ok(_) => info!("removed {} {}", thing.kind.2, thing.name),
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(trouble(thing, &error)),
        }
        Ok(())
    }

    /// The DaemonSets of a namespace.
    pub(super) fn agents(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.0.clone(), namespace, &resource(DAEMON_SET))
    }

    fn api(&self, pod: &Pod, thing: &Thing) -> Api<DynamicObject> {
        let resource = resource(thing.kind);
        match thing.namespaced {
            true => Api::namespaced_with(self.0.clone(), &pod.namespace, &resource),
            false => Api::all_with(self.0.clone(), &resource),
        }
    }
}

fn resource((group, version, kind, plural): Kind) -> ApiResource {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource { group: group.into(), version: version.into(), api_version, kind: kind.into(), plural: plural.into() }
}

/// Why the agents cannot be changed.
pub(super) fn agents_trouble(error: &Error) -> Trouble {
    trouble(&here(DAEMON_SET, NAME), error)
}

fn status(error: &Error) -> Option<u16> {
    if let Error::Api(status) = error { Some(status.code) } else { None }
}

fn trouble(thing: &Thing, error: &Error) -> Trouble {
    let why = format!("{} {}: {error}", thing.kind.2, thing.name);
    match status(error) {
        // Our own rights have gone with what we removed, or were never there.
        Some(401 | 403) => Trouble::Forbidden(why),
        _ => Trouble::Passing(why),
    }
}
