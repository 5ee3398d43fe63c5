//! The pod's keeper against an API server: what it removes, what it leaves, and that it does not give up.

mod support;

use std::path::Path;
use std::time::Duration;

use netobserv_test_apiserver::Server;
use netobserv_testkit::{Process, Signal, wait_for};
use serde_json::{Value, json};
use support::client::Client;
use support::{SOON, get_flows, program};

const SESSION: &str = "0a1b2c3d";
const DAEMON_SET: &str = "/apis/apps/v1/namespaces/lab/daemonsets/netobserv-cli";
const NAMESPACE: &str = "/api/v1/namespaces/lab";

fn object(api: &str, kind: &str, namespace: Option<&str>, name: &str, session: &str) -> Value {
    let labels = json!({"app": "netobserv-cli", "netobserv.io/session": session});
    let mut metadata = json!({"name": name, "labels": labels});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": api, "kind": kind, "metadata": metadata})
}

/// All that a session makes in namespace `lab`, the namespace apart.
fn session(id: &str) -> Vec<Value> {
    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    let lab = [
        ("apps/v1", "DaemonSet", "netobserv-cli"),
        ("v1", "Service", "collector"),
        ("v1", "Pod", "collector"),
        ("v1", "Secret", "netobserv-cli-collector-tls"),
        ("v1", "Secret", "netobserv-cli-agent-tls"),
        ("v1", "ServiceAccount", "netobserv-cli"),
        ("v1", "ServiceAccount", "netobserv-cli-agent"),
        (RBAC, "Role", "netobserv-cli"),
        (RBAC, "RoleBinding", "netobserv-cli"),
    ];
    let all = [
        (RBAC, "ClusterRole", "netobserv-cli-lab"),
        (RBAC, "ClusterRoleBinding", "netobserv-cli-lab"),
        ("security.openshift.io/v1", "SecurityContextConstraints", "netobserv-cli-lab"),
    ];
    let lab = lab.map(|(api, kind, name)| object(api, kind, Some("lab"), name, id));
    lab.into_iter().chain(all.map(|(api, kind, name)| object(api, kind, None, name, id))).collect()
}

fn server(id: &str, namespace: Value) -> Server {
    let server = Server::start();
    server.put_all(session(id).into_iter().chain([namespace]));
    server
}

fn ours() -> Value {
    object("v1", "Namespace", None, "lab", SESSION)
}

fn theirs() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
}

/// What of the session is still there.
fn left(server: &Server) -> Vec<String> {
    let plurals =
        ["daemonsets", "services", "pods", "secrets", "serviceaccounts", "roles", "rolebindings", "clusterroles"];
    let more = ["clusterrolebindings", "securitycontextconstraints", "namespaces"];
    let group = |plural: &str| match plural {
        "daemonsets" => "/apis/apps/v1",
        "securitycontextconstraints" => "/apis/security.openshift.io/v1",
        role if role.contains("role") => "/apis/rbac.authorization.k8s.io/v1",
        _ => "/api/v1",
    };
    let objects =
        plurals.into_iter().chain(more).flat_map(|plural| server.objects(&format!("{}/{plural}", group(plural))));
    objects.map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "")).collect()
}

/// A capture that is over, in the folder of a pod. The lease was renewed just now.
fn ended_capture(dir: &Path, lease_s: u64, keep_s: u64) {
    let state = dir.join("output/.capture");
    std::fs::create_dir_all(&state).unwrap();
    let text = json!({"state": "finished", "reason": "x", "session": SESSION, "lease_s": lease_s, "keep_s": keep_s});
    std::fs::write(state.join("state.json"), text.to_string()).unwrap();
    assert!(program(&["renew"]).dir(dir).finish().success());
}

fn keeper(dir: &Path, server: &Server) -> Process {
    let run = program(&["sleep", "infinity"]).dir(dir).env("NETOBSERV_KUBE_URL", server.url());
    let keeper = run.env("NETOBSERV_SESSION", SESSION).env("NETOBSERV_NAMESPACE", "lab").start();
    // A signal before that would end it.
    assert!(wait_for(SOON, || catches(keeper.pid(), Signal::SIGTERM)), "{}", keeper.stderr());
    keeper
}

/// Whether a process has a handler for a signal (proc_pid_status(5), SigCgt).
fn catches(pid: i32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    caught & (1 << (signal as i32 - 1)) != 0
}

#[test]
fn agents_go_at_once_and_everything_when_the_files_were_kept() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    ended_capture(dir.path(), 1, 3);
    let mut keeper = keeper(dir.path(), &server);
    assert!(wait_for(SOON, || server.object(DAEMON_SET).is_none()), "{}", keeper.stderr());
    assert!(server.object(NAMESPACE).is_some() && !keeper.ended(), "the files are kept: {}", keeper.stderr());
    let finished = keeper.wait(SOON);
    assert!(finished.success(), "{finished}");
    assert_eq!(left(&server), Vec::<String>::new(), "{finished}");
}

#[test]
fn a_namespace_that_was_there_before_stays() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, theirs()));
    server.put(object("v1", "Secret", Some("lab"), "precious", "other"));
    ended_capture(dir.path(), 1, 0);
    let finished = keeper(dir.path(), &server).wait(SOON);
    assert!(finished.success(), "{finished}");
    assert_eq!(left(&server), ["Secret precious", "Namespace lab"], "{finished}");
}

#[test]
fn what_bears_another_sessions_label_stays() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server("ffffffff", theirs()));
    ended_capture(dir.path(), 1, 0);
    let finished = keeper(dir.path(), &server).wait(SOON);
    assert!(finished.success(), "{finished}");
    assert_eq!(left(&server).len(), session(SESSION).len() + 1, "{finished}");
}

#[test]
fn an_api_server_that_is_down_is_waited_for() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    server.down();
    ended_capture(dir.path(), 1, 0);
    let keeper = keeper(dir.path(), &server);
    assert!(wait_for(SOON, || keeper.stderr().contains("cannot remove")), "{}", keeper.stderr());
    server.up();
    server.faults(|faults| faults.broken = Some(503));
    assert!(wait_for(SOON, || server.requests().len() > 1), "{}", keeper.stderr());
    server.faults(|faults| faults.broken = None);
    let finished = keeper.wait(SOON);
    assert!(finished.success() && left(&server).is_empty(), "{finished}");
}

#[test]
fn without_the_right_to_it_is_told_and_left() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    server.faults(|faults| faults.forbidden = ["daemonsets".to_owned()].into());
    ended_capture(dir.path(), 1, 0);
    let finished = keeper(dir.path(), &server).wait(SOON);
    assert!(finished.stderr.contains("may not remove the session: DaemonSet netobserv-cli"), "{finished}");
}

#[test]
fn a_session_that_is_renewed_or_has_not_begun_is_left_alone() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    let keeper = keeper(dir.path(), &server);
    // Not waits for something: nothing is to happen in a time that would do for all of it.
    std::thread::sleep(Duration::from_millis(2_500));
    ended_capture(dir.path(), 3, 0);
    for _ in 0..16 {
        assert!(program(&["renew"]).dir(dir.path()).finish().success());
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_eq!(server.requests(), Vec::<String>::new());
    keeper.signal(Signal::SIGTERM);
    let finished = keeper.wait(SOON);
    assert!(finished.success(), "{finished}");
    assert!(server.object(NAMESPACE).is_some());
}

/// A pod that is drained or deleted has a minute: enough to finish the capture, and for the plugin to fetch the files.
#[test]
fn a_pod_that_is_removed_finishes_its_capture_and_waits_until_the_files_are_fetched() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    let mut keeper = keeper(dir.path(), &server);
    let words = ["get-flows", "--listen", "127.0.0.1:0", "--session", SESSION, "--lease=5m"];
    let capture = program(&words).dir(dir.path()).start();
    assert!(wait_for(SOON, || dir.path().join("output/.capture/state.json").exists()), "{}", capture.stderr());
    keeper.signal(Signal::SIGTERM);
    let ended = capture.wait(SOON);
    assert!(ended.success() && ended.stdout.contains("the pod of the collector is being removed"), "{ended}");
    let files: Value = serde_json::from_str(&program(&["files"]).dir(dir.path()).output()).unwrap();
    for file in files.as_array().unwrap() {
        assert!(!keeper.ended(), "the files are kept: {}", keeper.stderr());
        let fetched = program(&["fetch", file["path"].as_str().unwrap()]).dir(dir.path()).finish();
        assert!(fetched.success(), "{fetched}");
    }
    let finished = keeper.wait(SOON);
    assert!(finished.success(), "{finished}");
    // Those of the session are the cluster's to remove: it was asked to.
    assert_eq!(left(&server).len(), session(SESSION).len() + 1, "{finished}");
}

/// It does so too when the capture begins after its container was killed.
#[test]
fn a_container_that_comes_back_after_the_end_keeps_the_files() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    ended_capture(dir.path(), 1, 2);
    let words = ["get-flows", "--listen", "127.0.0.1:0", "--background", "--session", SESSION];
    let run = program(&words).dir(dir.path()).env("NETOBSERV_KUBE_URL", server.url());
    let pod = run.env("NETOBSERV_SESSION", SESSION).env("NETOBSERV_NAMESPACE", "lab").start();
    let finished = pod.wait(SOON);
    assert!(finished.success() && left(&server).is_empty(), "{finished}");
    assert!(!dir.path().join("output/flow").exists(), "nothing was captured once more");
}

#[test]
fn a_capture_in_the_background_keeps_its_files_and_then_removes_everything() {
    let (dir, server) = (tempfile::tempdir().unwrap(), server(SESSION, ours()));
    let words = ["--background", "--session", SESSION, "--maxtime=1s", "--keep=2s"];
    let run = get_flows(dir.path(), &words).dir(dir.path()).env("NETOBSERV_KUBE_URL", server.url());
    let mut pod = run.env("NETOBSERV_SESSION", SESSION).env("NETOBSERV_NAMESPACE", "lab").start();
    let socket = dir.path().join("socket");
    assert!(wait_for(SOON, || socket.exists()), "{}", pod.stderr());
    // The time of the capture begins with its first agent.
    Client::connect(&socket).send("n1", Vec::new(), true).expect("an answer");
    assert!(wait_for(SOON, || server.object(DAEMON_SET).is_none()), "{}", pod.stderr());
    assert!(!pod.ended() && server.object(NAMESPACE).is_some());
    netobserv_testkit::Files::of(&dir.path().join("output")).assert_whole();
    let finished = pod.wait(SOON);
    assert!(finished.success() && left(&server).is_empty(), "{finished}");
}
