//! The kinds that the command line knows, and where they are in the API.

/// One kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// As in `get pods`.
    plural: &'static str,
    /// As in `pod/collector`.
    pub(crate) singular: &'static str,
    /// `api/v1`, `apis/apps/v1`.
    base: &'static str,
    /// Whether it lives in namespaces.
    pub(crate) namespaced: bool,
}

const RBAC: &str = "apis/rbac.authorization.k8s.io/v1";

const KINDS: [Kind; 16] = [
    kind("namespaces", "namespace", "api/v1", false),
    kind("nodes", "node", "api/v1", false),
    kind("pods", "pod", "api/v1", true),
    kind("services", "service", "api/v1", true),
    kind("secrets", "secret", "api/v1", true),
    kind("configmaps", "configmap", "api/v1", true),
    kind("events", "event", "api/v1", true),
    kind("serviceaccounts", "serviceaccount", "api/v1", true),
    kind("daemonsets", "daemonset", "apis/apps/v1", true),
    kind("deployments", "deployment", "apis/apps/v1", true),
    kind("replicasets", "replicaset", "apis/apps/v1", true),
    kind("servicemonitors", "servicemonitor", "apis/monitoring.coreos.com/v1", true),
    kind("roles", "role", RBAC, true),
    kind("rolebindings", "rolebinding", RBAC, true),
    kind("clusterroles", "clusterrole", RBAC, false),
    kind("clusterrolebindings", "clusterrolebinding", RBAC, false),
];

const fn kind(plural: &'static str, singular: &'static str, base: &'static str, namespaced: bool) -> Kind {
    Kind { plural, singular, base, namespaced }
}

impl Kind {
    /// The kind of a word, group suffixes allowed.
    pub(crate) fn find(word: &str) -> Result<Self, String> {
        let lower = word.to_lowercase();
        let plain = lower.split('.').next().unwrap_or_default();
        let found = KINDS.into_iter().find(|kind| [kind.plural, kind.singular].contains(&plain));
        found.ok_or_else(|| format!("error: the server doesn't have a resource type \"{word}\""))
    }

    /// Kinds with commas between them.
    pub(crate) fn list(words: &str) -> Result<Vec<Self>, String> {
        words.split(',').map(Self::find).collect()
    }

    /// Path of the collection.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("/{}/namespaces/{namespace}/{}", self.base, self.plural),
            None => format!("/{}/{}", self.base, self.plural),
        }
    }

    /// `pods "x" not found`.
    pub(crate) fn not_found(&self, name: &str) -> String {
        let group = self.base.strip_prefix("apis/").and_then(|base| base.split('/').next());
        let plural = group.map_or_else(|| self.plural.to_owned(), |group| format!("{}.{group}", self.plural));
        format!("Error from server (NotFound): {plural} \"{name}\" not found")
    }
}
