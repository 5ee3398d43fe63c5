//! get, create, apply, run, wait, delete.

use std::io::Read;
use std::time::Duration;

use netobserv_testkit::wait_for;
use serde_json::{Value, json};

use super::Oc;
use super::kinds::Kind;
use super::words::Words;

type Done = Result<u8, String>;

pub(crate) fn get(oc: &Oc, words: &Words) -> Done {
    if let Some(path) = words.get("raw") {
        return raw(oc, path);
    }
    let found = find(oc, words)?;
    let output = words.get("o").or(words.get("output")).unwrap_or_default();
    let (items, single) = match found {
        Found::One(object) => (vec![object], true),
        Found::Many(objects) => (objects, false),
        Found::Nothing => return Ok(0),
    };
    if output == "json" && single {
        println!("{}", items[0]);
    } else if output == "json" {
        println!("{}", json!({"apiVersion": "v1", "kind": "List", "items": items}));
    } else if let Some(path) = output.strip_prefix("jsonpath=") {
        print!("{}", items.iter().map(|item| jsonpath(item, path)).collect::<String>());
    } else if items.is_empty() {
        eprintln!("No resources found");
    } else {
        items.iter().for_each(|item| println!("{}", title(item)));
    }
    Ok(0)
}

fn raw(oc: &Oc, path: &str) -> Done {
    if path == "/apis" {
        // A test makes it another kind of cluster.
        let more = std::env::var("CLUSTER_GROUPS").unwrap_or_default();
        let usual = ["apps", "batch", "discovery.k8s.io", "rbac.authorization.k8s.io"];
        let names = usual.into_iter().chain(more.split(',').filter(|name| !name.is_empty()));
        let groups: Vec<Value> = names.map(|name| json!({"name": name})).collect();
        // The server knows no groups; whether it answers is the point.
        oc.api.get("/api/v1/namespaces")?;
        println!("{}", json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}));
        return Ok(0);
    }
    let answer =
        oc.api.get(path)?.ok_or("Error from server (NotFound): the server could not find the requested resource")?;
    println!("{answer}");
    Ok(0)
}

enum Found {
    Nothing,
    One(Value),
    Many(Vec<Value>),
}

fn find(oc: &Oc, words: &Words) -> Result<Found, String> {
    let first = words.plain.first().ok_or("error: You must specify the type of resource to get")?;
    let (kinds, name) = match first.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (first.as_str(), words.plain.get(1).map(String::as_str)),
    };
    let kinds = Kind::list(kinds)?;
    let Some(name) = name else {
        let namespace = (!words.has("A") && !words.has("all-namespaces")).then(|| words.namespace());
        let lists = kinds.iter().map(|kind| listed(oc, kind, namespace, words)).collect::<Result<Vec<_>, _>>()?;
        return Ok(Found::Many(lists.concat()));
    };
    let kind = kinds[0];
    match oc.api.get(&format!("{}/{name}", kind.path(Some(words.namespace()))))? {
        Some(object) => Ok(Found::One(object)),
        None if words.has("ignore-not-found") => Ok(Found::Nothing),
        None => Err(kind.not_found(name)),
    }
}

fn listed(oc: &Oc, kind: &Kind, namespace: Option<&str>, words: &Words) -> Result<Vec<Value>, String> {
    let mut path = kind.path(namespace) + "?";
    for (option, parameter) in [("l", "labelSelector"), ("field-selector", "fieldSelector")] {
        if let Some(selector) = words.get(option) {
            path += &format!("{parameter}={}&", selector.replace('=', "%3D").replace(',', "%2C"));
        }
    }
    let list = oc.api.get(path.trim_end_matches(['?', '&']))?.unwrap_or_default();
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Fields with dots between them in braces; text outside stands for itself.
fn jsonpath(object: &Value, path: &str) -> String {
    let mut text = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (field, next) = after.split_once('}').unwrap_or((after, ""));
        let names = field.trim_start_matches('.').replace("\\.", "\u{0}");
        let value = names.split('.').fold(object, |value, name| &value[name.replace('\u{0}', ".")]);
        text += before;
        text += &value
            .as_str()
            .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned);
        rest = next;
    }
    text + rest
}

fn title(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or("object").to_lowercase();
    let group = object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map(|(group, _)| group);
    let kind = group.map_or_else(|| kind.clone(), |group| format!("{kind}.{group}"));
    format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
}

/// The documents on standard input, or in a file.
fn documents(words: &Words) -> Result<Vec<Value>, String> {
    let mut text = String::new();
    let file = words.get("f").or(words.get("filename")).unwrap_or("-");
    let read = if file == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| format!("error: {file}: {error}"))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| format!("error: error parsing {file}: {error}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Path of the collection that an object belongs to.
fn place(object: &Value, words: &Words) -> Result<String, String> {
    let kind = Kind::find(object["kind"].as_str().unwrap_or_default())?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_else(|| words.namespace());
    Ok(kind.path(Some(namespace)))
}

pub(crate) fn create(oc: &Oc, words: &Words) -> Done {
    for document in documents(words)? {
        let made = oc.api.call("POST", &place(&document, words)?, &generation(document))?.unwrap_or_default();
        match words.get("o").and_then(|output| output.strip_prefix("jsonpath=")) {
            Some(path) => print!("{}", jsonpath(&made, path)),
            None => println!("{} created", title(&made)),
        }
    }
    Ok(0)
}

/// One document that cannot be applied does not keep the others from it.
pub(crate) fn apply(oc: &Oc, words: &Words) -> Done {
    let mut failed = Vec::new();
    for document in documents(words)? {
        match apply_one(oc, words, document) {
            Ok(line) => println!("{line}"),
            Err(error) => failed.push(error),
        }
    }
    if failed.is_empty() { Ok(0) } else { Err(failed.join("\n")) }
}

fn apply_one(oc: &Oc, words: &Words, document: Value) -> Result<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, kind, version) =
        (text(&document["metadata"]["name"]), text(&document["kind"]), text(&document["apiVersion"]));
    let file = words.get("f").unwrap_or("STDIN");
    let unknown = |_| {
        format!(
            "error: resource mapping not found for name: \"{name}\" namespace: \"\" from \"{file}\": no matches for kind \
             \"{kind}\" in version \"{version}\"\nensure CRDs are installed first"
        )
    };
    let collection = place(&document, words).map_err(unknown)?;
    let path = format!("{collection}/{name}");
    let (method, path, done) = match oc.api.get(&path)? {
        Some(_) => ("PATCH", path, "configured"),
        None => ("POST", collection, "created"),
    };
    let made = oc.api.call(method, &path, &generation(document))?.unwrap_or_default();
    Ok(format!("{} {done}", title(&made)))
}

fn generation(mut object: Value) -> Value {
    object["metadata"]["generation"] = 1.into();
    object
}

pub(crate) fn run(oc: &Oc, words: &Words) -> Done {
    let name = words.plain.first().ok_or("error: NAME is required for run")?;
    let image = words.get("image").ok_or("error: required flag(s) \"image\" not set")?;
    let overrides: Value = match words.get("overrides") {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("error: Invalid overrides: {error}"))?,
        None => json!({}),
    };
    let mut labels = json!({"run": name});
    for (label, value) in words.get("labels").unwrap_or_default().split(',').filter_map(|pair| pair.split_once('=')) {
        labels[label] = value.into();
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": words.namespace(), "labels": labels},
        "spec": {"containers": [{"name": name, "image": image, "command": words.rest}],
            "restartPolicy": words.get("restart").unwrap_or("Always")}});
    // What `kubectl run --overrides` does: lists are replaced.
    netobserv_test_apiserver::merge(&mut pod, &overrides);
    oc.api.call("POST", &place(&pod, words)?, &pod)?;
    println!("pod/{name} created");
    Ok(0)
}

pub(crate) fn wait(oc: &Oc, words: &Words) -> Done {
    let wanted = words.get("for").and_then(|text| text.strip_prefix("condition=")).unwrap_or("Ready").to_owned();
    let name = words.plain.first().cloned().unwrap_or_default();
    let is_so = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array();
        conditions.is_some_and(|list| list.iter().any(|c| c["type"] == *wanted && c["status"] == "True"))
    };
    let mut last = Ok(());
    let came = wait_for(Duration::from_secs(words.timeout()), || match find(oc, words) {
        Ok(Found::One(object)) => is_so(&object),
        Ok(_) => false,
        Err(error) => {
            last = Err(error);
            true
        }
    });
    last?;
    if !came {
        return Err(format!("error: timed out waiting for the condition on {name}"));
    }
    println!("{name} condition met");
    Ok(0)
}

pub(crate) fn delete(oc: &Oc, words: &Words) -> Done {
    let found = match find(oc, words)? {
        Found::Nothing => Vec::new(),
        Found::One(object) => vec![object],
        Found::Many(objects) => objects,
    };
    let force = words.has("force");
    for object in &found {
        let (kind, name) =
            (object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default());
        let path = format!("{}/{name}", place(object, words)?);
        if force {
            forget(oc, object, &path)?;
        }
        if oc.api.call("DELETE", &path, &Value::Null)?.is_some() {
            println!("{} \"{name}\" deleted", title(object).split('/').next().unwrap_or(kind));
        }
    }
    let gone = || !found.iter().any(|object| is_there(oc, words, object) || runs(oc, object));
    if words.get("wait") != Some("false") && !force && !wait_for(Duration::from_secs(words.timeout()), gone) {
        return Err("error: timed out waiting for the condition".into());
    }
    Ok(0)
}

/// A pod goes without a word of its node.
fn forget(oc: &Oc, pod: &Value, path: &str) -> Result<(), String> {
    oc.api.call("PATCH", path, &json!({"metadata": {"finalizers": null}}))?;
    let part = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
    let _ = std::fs::remove_file(oc.world.pod_file(part("namespace"), part("name")));
    Ok(())
}

/// Whether a deleted object is on its way out only.
fn is_there(oc: &Oc, words: &Words, object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let found = place(object, words).and_then(|place| oc.api.get(&format!("{place}/{name}")));
    found.is_ok_and(|found| found.is_some_and(|found| found["metadata"]["uid"] == object["metadata"]["uid"]))
}

/// Whether a deleted object still has processes.
fn runs(oc: &Oc, object: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    match object["kind"].as_str() {
        Some("Pod") => oc.world.has_process(&namespace, Some(&name)),
        Some("Namespace") => oc.world.has_process(&name, None),
        _ => false,
    }
}
