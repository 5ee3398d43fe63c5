//! Which objects a path of the API means.

use serde_json::Value;

/// A kind of objects, as paths name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Collection {
    /// `v1`, or `apps/v1`.
    pub(crate) version: String,
    /// `pods`.
    pub(crate) plural: String,
}

/// The place of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) collection: Collection,
    /// Empty for objects of the cluster.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) collection: Collection,
    /// Of one namespace only.
    pub(crate) namespace: Option<String>,
    /// One object only.
    pub(crate) name: Option<String>,
}

impl Target {
    /// Reads a path; `None` when it is not one of objects. A subresource means its object.
    pub(crate) fn read(path: &str) -> Option<Self> {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, plural, name) = match rest {
            [plural] => (None, plural, None),
            ["namespaces", namespace, plural] => (Some(namespace), plural, None),
            ["namespaces", namespace, plural, name, ..] => (Some(namespace), plural, Some(name)),
            [plural, name, ..] => (None, plural, Some(name)),
            [] => return None,
        };
        let collection = Collection { version, plural: (*plural).to_owned() };
        Some(Self { collection, namespace: namespace.map(|it| (*it).into()), name: name.map(|it| (*it).into()) })
    }

    /// Whether the object of this key is meant.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        self.collection == key.collection && same(&self.namespace, &key.namespace) && same(&self.name, &key.name)
    }

    /// The place of the one object that is meant.
    pub(crate) fn key(&self) -> Option<Key> {
        let (collection, namespace) = (self.collection.clone(), self.namespace.clone().unwrap_or_default());
        self.name.clone().map(|name| Key { collection, namespace, name })
    }
}

impl Key {
    /// Where an object belongs, by its own words.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let metadata = &object["metadata"];
        let collection = Collection { version: text(&object["apiVersion"])?, plural: plural(object["kind"].as_str()?) };
        let namespace = text(&metadata["namespace"]).unwrap_or_default();
        Some(Self { collection, namespace, name: text(&metadata["name"])? })
    }
}

/// `Pod` to `pods`, `NetworkPolicy` to `networkpolicies`, `Ingress` to `ingresses`.
pub(crate) fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.as_bytes() {
        _ if matches!(kind.as_str(), "endpoints" | "securitycontextconstraints") => kind,
        [.., b's' | b'x'] => format!("{kind}es"),
        [stem @ .., last, b'y'] if !b"aeiou".contains(last) => {
            format!("{}{}ies", String::from_utf8_lossy(stem), char::from(*last))
        }
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(path: &str, version: &str, plural: &str, namespace: Option<&str>, name: Option<&str>) {
        let collection = Collection { version: version.into(), plural: plural.into() };
        let wanted = Target { collection, namespace: namespace.map(Into::into), name: name.map(Into::into) };
        assert_eq!(Target::read(path), Some(wanted), "{path}");
    }

    #[test]
    fn paths_are_those_of_kubernetes() {
        reads("/api/v1/pods", "v1", "pods", None, None);
        reads("/api/v1/nodes/n1", "v1", "nodes", None, Some("n1"));
        reads("/api/v1/namespaces", "v1", "namespaces", None, None);
        reads("/api/v1/namespaces/shop", "v1", "namespaces", None, Some("shop"));
        reads("/api/v1/namespaces/shop/pods", "v1", "pods", Some("shop"), None);
        reads("/api/v1/namespaces/shop/pods/a/status", "v1", "pods", Some("shop"), Some("a"));
        reads("/apis/apps/v1/replicasets", "apps/v1", "replicasets", None, None);
        reads("/apis/apps/v1/namespaces/shop/daemonsets/d", "apps/v1", "daemonsets", Some("shop"), Some("d"));
        assert_eq!(Target::read("/version"), None);
    }

    #[test]
    fn kinds_have_a_plural() {
        for (kind, many) in [
            ("Pod", "pods"),
            ("NetworkPolicy", "networkpolicies"),
            ("Ingress", "ingresses"),
            ("Gateway", "gateways"),
            ("EndpointSlice", "endpointslices"),
            ("SecurityContextConstraints", "securitycontextconstraints"),
        ] {
            assert_eq!(plural(kind), many);
        }
    }
}
