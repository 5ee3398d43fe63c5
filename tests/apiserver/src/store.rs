//! The objects, and what happened to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::path::{Key, Target};

/// Events that are remembered at most.
const LOG: usize = 100_000;

/// The objects by place, and their history.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Event>,
    version: u64,
    /// Nothing is known of what happened up to this version.
    forgotten: u64,
    made: u64,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) version: u64,
    /// ADDED, MODIFIED or DELETED.
    pub(crate) kind: &'static str,
    pub(crate) key: Key,
    pub(crate) object: Arc<Value>,
}

impl Default for Store {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), log: VecDeque::new(), version: 1_000, forgotten: 0, made: 0 }
    }
}

impl Store {
    /// The latest version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Number of objects of all kinds.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// The objects that a path means, in the order of their names.
    pub(crate) fn list(&self, target: &Target) -> Vec<(&Key, &Arc<Value>)> {
        let start = Key { collection: target.collection.clone(), ..Key::default() };
        let of_kind = self.objects.range(start..).take_while(|(key, _)| key.collection == target.collection);
        of_kind.filter(|(key, _)| target.contains(key)).collect()
    }

    /// Puts an object in its place, with a version, and on its first day a uid and a time of creation.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        let before = self.objects.get(&key).cloned();
        let metadata = &mut object["metadata"];
        metadata["name"] = key.name.clone().into();
        if !key.namespace.is_empty() {
            metadata["namespace"] = key.namespace.clone().into();
        }
        for (name, made) in [("uid", self.uid()), ("creationTimestamp", now())] {
            let old = before.as_ref().map(|before| before["metadata"][name].clone());
            if let Some(value) = old.or_else(|| metadata[name].is_null().then(|| made.into())) {
                metadata[name] = value;
            }
        }
        metadata["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        self.objects.insert(key.clone(), object.clone());
        self.note(if before.is_some() { "MODIFIED" } else { "ADDED" }, key, object.clone());
        object
    }

    /// Takes an object away, and with a namespace what is in it. One that has finalizers, and the namespace that it is in, stay until
    /// those are gone.
    pub(crate) fn delete(&mut self, key: &Key) -> Option<Arc<Value>> {
        let object = self.objects.get(key)?.clone();
        if key.collection.plural == "namespaces" {
            self.inside(&key.name).iter().for_each(|key| drop(self.delete(key)));
        }
        let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        let has_content = key.collection.plural == "namespaces" && !self.inside(&key.name).is_empty();
        if !finalizers && !has_content {
            return self.remove(key);
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            let mut ending = Value::clone(&object);
            ending["metadata"]["deletionTimestamp"] = now().into();
            self.put(key.clone(), ending);
        }
        Some(object)
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let mut object = self.objects.remove(key)?;
        self.version += 1;
        Arc::make_mut(&mut object)["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.note("DELETED", key.clone(), object.clone());
        let is_home = |(place, home): &(&Key, &Arc<Value>)| {
            place.collection.plural == "namespaces"
                && place.name == key.namespace
                && home["metadata"]["deletionTimestamp"].is_string()
        };
        let home = self.objects.iter().find(is_home).map(|(place, _)| place.clone());
        if let Some(home) = home.filter(|home| self.inside(&home.name).is_empty()) {
            self.remove(&home);
        }
        Some(object)
    }

    /// What is in a namespace.
    fn inside(&self, namespace: &str) -> Vec<Key> {
        self.objects.keys().filter(|inside| inside.namespace == namespace).cloned().collect()
    }

    /// Whether it is known what happened after this version.
    pub(crate) fn remembers(&self, version: u64) -> bool {
        version >= self.forgotten
    }

    /// What happened to these objects after a version; `None` when that is forgotten.
    pub(crate) fn since(&self, version: u64, target: &Target) -> Option<Vec<Event>> {
        if !self.remembers(version) {
            return None;
        }
        let after = self.log.partition_point(|event| event.version <= version);
        Some(self.log.range(after..).filter(|event| target.contains(&event.key)).cloned().collect())
    }

    /// Forgets all that happened until now, as an API server does after a while.
    pub(crate) fn forget(&mut self) {
        self.log.clear();
        self.version += 1;
        self.forgotten = self.version;
    }

    fn note(&mut self, kind: &'static str, key: Key, object: Arc<Value>) {
        self.log.push_back(Event { version: self.version, kind, key, object });
        if self.log.len() > LOG {
            self.forgotten = self.log.pop_front().map_or(self.forgotten, |event| event.version);
        }
    }

    fn uid(&mut self) -> String {
        self.made += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.made)
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Lays a patch over an object: RFC 7396.
pub fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *object = patch.clone() };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(object.as_object_mut().map(|object| object.remove(name))),
            value => merge(&mut object[name], value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name}, "status": {"phase": phase}})
    }

    fn put(store: &mut Store, object: Value) -> Arc<Value> {
        store.put(Key::of(&object).unwrap(), object)
    }

    #[test]
    fn an_object_keeps_its_uid_and_gets_versions() {
        let mut store = Store::default();
        let (first, second) = (put(&mut store, pod("a", "Pending")), put(&mut store, pod("a", "Running")));
        assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
        assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
        let pods = Target::read("/api/v1/pods").unwrap();
        let kinds: Vec<_> = store.since(1_000, &pods).unwrap().iter().map(|event| event.kind).collect();
        assert_eq!((kinds, store.list(&pods).len()), (vec!["ADDED", "MODIFIED"], 1));
    }

    #[test]
    fn what_was_forgotten_is_gone() {
        let mut store = Store::default();
        put(&mut store, pod("a", "Running"));
        let (before, pods) = (store.version(), Target::read("/api/v1/pods").unwrap());
        store.forget();
        assert!(store.since(before, &pods).is_none());
        assert!(store.since(store.version(), &pods).unwrap().is_empty());
    }

    #[test]
    fn a_namespace_goes_with_what_is_in_it() {
        let mut store = Store::default();
        put(&mut store, pod("a", "Running"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        put(&mut store, namespace.clone());
        store.delete(&Key::of(&namespace).unwrap()).unwrap();
        assert!(store.is_empty());
    }

    #[test]
    fn what_has_finalizers_keeps_its_namespace() {
        let mut store = Store::default();
        let mut held = pod("a", "Running");
        held["metadata"]["finalizers"] = json!(["test/held"]);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        for object in [&held, &pod("b", "Running"), &namespace] {
            put(&mut store, object.clone());
        }
        store.delete(&Key::of(&namespace).unwrap()).unwrap();
        assert_eq!(store.len(), 2);
        assert!(store.get(&Key::of(&held).unwrap()).unwrap()["metadata"]["deletionTimestamp"].is_string());
        put(&mut store, pod("a", "Running"));
        store.delete(&Key::of(&held).unwrap()).unwrap();
        assert!(store.is_empty());
    }

    #[test]
    fn a_patch_takes_away_what_is_null() {
        let mut object = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut object, &json!({"a": {"b": null, "e": 3}, "d": [2]}));
        assert_eq!(object, json!({"a": {"c": 2, "e": 3}, "d": [2]}));
    }
}
