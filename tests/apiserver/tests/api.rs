//! The server, asked in plain HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use netobserv_test_apiserver::Server;
use serde_json::{Value, json};

/// Sends a request; the connection stays open.
fn open(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).expect("a server");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    BufReader::new(stream)
}

/// Status and body of an answer.
fn ask(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    ask_for(server, method, path, "", body)
}

fn ask_for(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut text = String::new();
    open(server, method, path, headers, body).read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// A watch: its events, one by one.
struct Watch(BufReader<TcpStream>);

impl Watch {
    fn start(server: &Server, path: &str) -> Self {
        Self(open(server, "GET", path, "", ""))
    }

    /// The next event that is not a bookmark; `None` at the end.
    fn next(&mut self) -> Option<(String, String)> {
        self.any().map(|event| {
            let object = &event["object"];
            let name = object["metadata"]["name"].as_str().map_or(object["code"].to_string(), str::to_owned);
            (event["type"].as_str().unwrap().to_owned(), name)
        })
    }

    fn any(&mut self) -> Option<Value> {
        let mut line = String::new();
        while self.0.read_line(&mut line).ok()? > 0 {
            if line.starts_with('{') && !line.contains("BOOKMARK") {
                return serde_json::from_str(&line).ok();
            }
            line.clear();
        }
        None
    }
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name, "labels": {"app": name}},
           "spec": {"nodeName": "n1"}})
}

fn event(kind: &str, name: &str) -> Option<(String, String)> {
    Some((kind.into(), name.into()))
}

#[test]
fn objects_are_made_read_changed_and_deleted() {
    let server = Server::start();
    let path = "/apis/apps/v1/namespaces/shop/daemonsets";
    let body = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}}).to_string();
    assert_eq!(ask(&server, "POST", path, &body).0, 201);
    assert_eq!(ask(&server, "POST", path, &body).1["reason"], "AlreadyExists");
    let one = format!("{path}/d");
    assert_eq!(ask(&server, "PATCH", &one, r#"{"spec": {"a": 1}}"#).1["spec"]["a"], 1);
    let uid = ask(&server, "GET", &one, "").1["metadata"]["uid"].clone();
    assert_eq!(server.object(&one).unwrap()["metadata"]["namespace"], "shop");
    let other = json!({"preconditions": {"uid": "other"}}).to_string();
    assert_eq!(ask(&server, "DELETE", &one, &other).0, 409);
    let same = json!({"preconditions": {"uid": uid}}).to_string();
    assert_eq!(ask(&server, "DELETE", &one, &same).1["status"], "Success");
    assert_eq!(ask(&server, "GET", &one, "").1["reason"], "NotFound");
    assert_eq!(ask(&server, "PUT", &one, &body).0, 404);
}

#[test]
fn a_list_comes_in_pages_until_its_version_is_forgotten() {
    let server = Server::start();
    server.put_all(["a", "b", "c", "d", "e"].map(pod));
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/pods?limit=2&continue={}", token.replace('|', "%7C"));
        let (_, page) = ask(&server, "GET", &path, "");
        names.extend(page["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].to_string()));
        let Some(next) = page["metadata"]["continue"].as_str() else { break };
        token = next.into();
    }
    assert_eq!(names.join(""), r#""a""b""c""d""e""#);
    server.forget_history();
    assert_eq!(ask(&server, "GET", &format!("/api/v1/pods?limit=2&continue={}", token.replace('|', "%7C")), "").0, 410);
    assert_eq!(ask(&server, "GET", "/api/v1/pods?labelSelector=app%3Db", "").1["items"].as_array().unwrap().len(), 1);
}

#[test]
fn metadata_alone_can_be_asked_for() {
    let server = Server::start();
    server.put(pod("a"));
    let accept = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1\r\n";
    let (_, list) = ask_for(&server, "GET", "/api/v1/pods", accept, "");
    assert_eq!(
        (list["kind"].as_str(), list["items"][0]["kind"].as_str()),
        (Some("PartialObjectMetadataList"), Some("PartialObjectMetadata"))
    );
    assert!(list["items"][0]["spec"].is_null());
}

#[test]
fn a_watch_tells_what_happens_and_when_it_is_too_late() {
    let server = Server::start();
    server.put(pod("a"));
    let version = ask(&server, "GET", "/api/v1/pods", "").1["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let mut watch = Watch::start(&server, &path);
    server.put(pod("b"));
    assert_eq!(watch.next(), event("ADDED", "b"));
    server.patch("/api/v1/namespaces/shop/pods/a", &json!({"status": {"phase": "Running"}}));
    assert_eq!(watch.next(), event("MODIFIED", "a"));
    server.delete("/api/v1/namespaces/shop/pods/b");
    assert_eq!(watch.next(), event("DELETED", "b"));
    server.expire_watches();
    assert_eq!((watch.next(), watch.next()), (event("ERROR", "410"), None));
    assert_eq!(Watch::start(&server, &path).next(), event("ERROR", "410"));
}

#[test]
fn a_watch_can_begin_with_what_is_there() {
    let server = Server::start();
    server.put(pod("a"));
    let mut watch = Watch::start(&server, "/api/v1/pods?watch=1&sendInitialEvents=true&allowWatchBookmarks=true");
    assert_eq!(watch.next(), event("ADDED", "a"));
    server.put(pod("b"));
    assert_eq!(watch.next(), event("ADDED", "b"));
}

#[test]
fn faults_come_and_go() {
    let server = Server::start();
    server.faults(|faults| faults.forbidden.extend(["pods".to_owned()]));
    assert_eq!(ask(&server, "GET", "/api/v1/pods", "").1["reason"], "Forbidden");
    assert_eq!(ask(&server, "GET", "/api/v1/nodes", "").0, 200);
    server.faults(|faults| *faults = netobserv_test_apiserver::Faults { broken: Some(503), ..Default::default() });
    assert_eq!(ask(&server, "GET", "/api/v1/nodes", "").0, 503);
    server.faults(|faults| faults.broken = None);
    let mut watch = Watch::start(&server, "/api/v1/pods?watch=1");
    server.put(pod("a"));
    assert_eq!(watch.next(), event("ADDED", "a"));
    server.down();
    assert_eq!(watch.next(), None, "the watch is cut");
    assert!(TcpStream::connect(server.url().trim_start_matches("http://")).is_err());
    server.up();
    assert_eq!(ask(&server, "GET", "/version", "").0, 200);
    assert!(server.requests().iter().any(|request| request == "GET /api/v1/pods?watch=1"));
}
