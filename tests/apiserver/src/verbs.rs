//! What can be done with objects, watching apart.

use std::sync::Arc;

use hyper::Response;
use serde_json::{Value, json};

use crate::answer::{Body, Refused, object};
use crate::http::Words;
use crate::path::{Key, Target};
use crate::select;
use crate::server::Shared;
use crate::store::{Store, merge};

type Answer = Result<Response<Body>, Refused>;

pub(crate) fn get(shared: &Shared, words: &Words) -> Answer {
    let store = shared.store();
    let key = place(&words.target)?;
    let found = store.get(&key).ok_or_else(|| missing(&key))?;
    Ok(object(200, &words.form.of(found)))
}

/// The objects that a request means.
pub(crate) fn selected<'a>(store: &'a Store, words: &Words) -> Vec<(&'a Key, &'a Arc<Value>)> {
    let mut found = store.list(&words.target);
    found.retain(|(_, object)| wanted(object, words));
    found
}

/// Whether an object is what the selectors want.
pub(crate) fn wanted(object: &Value, words: &Words) -> bool {
    select::labels(object, words.get("labelSelector")) && select::fields(object, words.get("fieldSelector"))
}

pub(crate) fn list(shared: &Shared, words: &Words) -> Answer {
    let store = shared.store();
    let found = selected(&store, words);
    let limit = words.get("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let (version, start) = match words.get("continue") {
        "" => (store.version(), 0),
        token => continued(&store, &found, token)?,
    };
    let page = &found[start..];
    let items: Vec<_> = page.iter().take(limit).map(|(_, object)| words.form.of(object)).collect();
    let collection = &words.target.collection;
    let first = page.first().map(|(_, object)| object.as_ref());
    let (kind, api) = words.form.list_type(&collection.version, &collection.plural, first);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if page.len() > items.len() {
        let last = page[items.len() - 1].0;
        metadata["continue"] = format!("{version}|{}|{}", last.namespace, last.name).into();
        metadata["remainingItemCount"] = (page.len() - items.len()).into();
    }
    Ok(object(200, &json!({"kind": kind, "apiVersion": api, "metadata": metadata, "items": items})))
}

/// Version and start of the next page. Once the version is forgotten there is none.
fn continued(store: &Store, found: &[(&Key, &Arc<Value>)], token: &str) -> Result<(u64, usize), Refused> {
    let wrong = || Refused::new(400, "not a continue token");
    let [version, namespace, name] = token.splitn(3, '|').collect::<Vec<_>>()[..] else { return Err(wrong()) };
    let version = version.parse().map_err(|_| wrong())?;
    if !store.remembers(version) {
        return Err(Refused::new(410, "The provided continue parameter is too old"));
    }
    Ok((version, found.partition_point(|(key, _)| (key.namespace.as_str(), key.name.as_str()) <= (namespace, name))))
}

pub(crate) fn create(shared: &Shared, words: &Words, mut body: Value) -> Answer {
    let mut store = shared.store();
    if let Some(prefix) = body["metadata"]["generateName"].as_str().filter(|_| body["metadata"]["name"].is_null()) {
        body["metadata"]["name"] = format!("{prefix}{:05}", store.version() % 100_000).into();
    }
    let name = body["metadata"]["name"].as_str().ok_or_else(|| Refused::new(400, "an object has a name"))?.to_owned();
    let key = place(&Target { name: Some(name), ..words.target.clone() })?;
    if store.get(&key).is_some() {
        return Err(Refused::exists(&key.name));
    }
    let made = store.put(key, body);
    drop(store);
    shared.changed();
    Ok(object(201, &made))
}

pub(crate) fn replace(shared: &Shared, words: &Words, body: Value) -> Answer {
    let (mut store, key) = (shared.store(), place(&words.target)?);
    let before = store.get(&key).ok_or_else(|| missing(&key))?;
    let (is, wanted) = (&before["metadata"]["resourceVersion"], &body["metadata"]["resourceVersion"]);
    if !wanted.is_null() && is != wanted {
        return Err(Refused::new(409, "the object has been modified"));
    }
    let made = store.put(key, body);
    drop(store);
    shared.changed();
    Ok(object(200, &made))
}

/// Lays the body over the object; server-side apply makes it when it is not there.
pub(crate) fn patch(shared: &Shared, words: &Words, body: &Value) -> Answer {
    let (mut store, key) = (shared.store(), place(&words.target)?);
    let mut patched = match store.get(&key) {
        Some(object) => Value::clone(object),
        None if words.query.contains_key("fieldManager") => json!({}),
        None => return Err(missing(&key)),
    };
    merge(&mut patched, body);
    let made = store.put(key, patched);
    drop(store);
    shared.changed();
    Ok(object(200, &words.form.of(&made)))
}

pub(crate) fn delete(shared: &Shared, words: &Words, options: &Value) -> Answer {
    let (mut store, key) = (shared.store(), place(&words.target)?);
    let uid = store.get(&key).ok_or_else(|| missing(&key))?["metadata"]["uid"].clone();
    let wanted = &options["preconditions"]["uid"];
    if !wanted.is_null() && *wanted != uid {
        return Err(Refused::new(409, "the uid is another one"));
    }
    store.delete(&key);
    drop(store);
    shared.changed();
    Ok(object(200, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
}

pub(crate) fn delete_all(shared: &Shared, words: &Words) -> Answer {
    let mut store = shared.store();
    let keys: Vec<_> = selected(&store, words).into_iter().map(|(key, _)| key.clone()).collect();
    keys.iter().for_each(|key| drop(store.delete(key)));
    drop(store);
    shared.changed();
    Ok(object(200, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
}

fn place(target: &Target) -> Result<Key, Refused> {
    target.key().ok_or_else(|| Refused::new(405, "this needs the name of an object"))
}

fn missing(key: &Key) -> Refused {
    Refused::new(404, format!("{} \"{}\" not found", key.collection.plural, key.name))
}
