//! The calls that are made: one function for each, so that all that is sent is in one file.

use std::ffi::OsString;
use std::time::Duration;

use super::{Document, canned};
use crate::progress;

/// The label that everything of one session carries.
pub(crate) const SESSION: &str = "netobserv.io/session";
/// Namespace in which the console of OpenShift finds dashboards.
pub(crate) const DASHBOARDS: &str = "openshift-config-managed";
/// Name of the collector's pod.
pub(crate) const COLLECTOR: &str = "collector";
/// The collector's program in its image.
pub(crate) const PROGRAM: &str = "/network-observability-cli";

const SEE_POD: &str = "'oc describe pod collector' in that namespace has details";
const TRY_AGAIN: &str = "run 'cleanup' again when the cluster responds";
const NEEDS_SHELL: &str = "the image of --no-registry needs sh, cat, chmod, mv, sleep, uname and wc";
/// Longest time of one transfer: a gigabyte over a slow line.
const LONGEST_TRANSFER: std::time::Duration = std::time::Duration::from_secs(3600);
/// Some 20 MB over a slow line.
const LONGEST_HANDOVER: Duration = Duration::from_secs(300);
const MAY_YOU: &str = "nothing was created after it";

/// One call of `oc` or `kubectl`.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is for: "create the namespace".
    pub what: String,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its standard input.
    pub input: Option<Vec<u8>>,
    /// What a dry run adds to the line: what the input is, or when the call is made.
    pub note: String,
    /// What a dry run takes for the answer.
    pub canned: String,
    /// Calls that follow from this one: while it runs, or for what it answers. A dry run prints each once.
    pub implied: Vec<Call>,
    /// What to do when it fails.
    pub advice: &'static str,
    /// Longest time, where the usual one does not fit.
    pub limit: Option<Duration>,
}

impl Call {
    fn new<I: Into<OsString>>(what: impl Into<String>, args: impl IntoIterator<Item = I>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self {
            what: what.into(),
            args,
            input: None,
            note: String::new(),
            canned: String::new(),
            implied: Vec::new(),
            advice: "",
            limit: None,
        }
    }

    /// What a dry run adds to the line.
    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// The answer of a cluster on which the capture succeeds.
    pub(crate) fn canned(self, answer: impl Into<String>) -> Self {
        Self { canned: answer.into(), ..self }
    }

    /// The calls that follow from this one.
    pub(crate) fn implied(self, calls: Vec<Self>) -> Self {
        Self { implied: calls, ..self }
    }

    fn advice(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    fn limit(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    fn documents(self, documents: &[&Document]) -> Self {
        let input = documents.iter().map(|document| document.yaml.as_str()).collect::<Vec<_>>().join("---\n");
        let names: Vec<String> = documents.iter().map(|d| format!("{}/{}", d.kind, d.name)).collect();
        Self { input: Some(input.into_bytes()), note: names.join(", "), ..self }
    }

    /// What a dry run prints.
    pub(super) fn print(&self, line: &str) {
        let note = if self.note.is_empty() { String::new() } else { format!("  # {}", self.note) };
        progress::print(&format!("{line}{note}\n"));
    }

    // ---- before anything is made ----

    /// The groups of the API: the cluster answers, and whether it is OpenShift.
    pub(crate) fn api_groups() -> Self {
        let call = Self::new("reach the cluster", ["get", "--raw", "/apis"]);
        call.advice("log in, or choose another --context").canned(canned::OPENSHIFT)
    }

    /// Who is logged in.
    pub(crate) fn whoami() -> Self {
        Self::new("ask who is logged in", ["whoami"])
    }

    /// The version of OpenShift.
    pub(crate) fn cluster_version() -> Self {
        Self::new("read the version of the cluster", ["get", "clusterversion", "version", "-o", "json"])
            .canned(canned::VERSION)
    }

    /// What the user may do in the namespace.
    pub(crate) fn permissions(namespace: &str) -> Self {
        Self::new("read your permissions", ["auth", "can-i", "--list", "--no-headers", "-n", namespace])
            .canned(canned::ADMINISTRATOR)
    }

    /// Whether the user may do one thing.
    pub(crate) fn can_i(verb: &str, resource: &str, subresource: Option<&str>, namespace: &str) -> Self {
        let subresource = subresource.map(|name| format!("--subresource={name}"));
        let words = ["auth", "can-i", verb, resource].map(str::to_owned).into_iter().chain(subresource);
        let words = words.chain(["-n".to_owned(), namespace.to_owned()]);
        Self::new(format!("ask whether you may {verb} {resource}"), words)
    }

    /// The namespace, if there is one.
    pub(crate) fn namespace(namespace: &str) -> Self {
        let args = ["get", "namespace", namespace, "--ignore-not-found=true", "-o", "json"];
        Self::new(format!("look for namespace {namespace}"), args).advice("log in, or choose another --context")
    }

    /// The same where a capture is expected: a dry run finds one of this person.
    pub(crate) fn held_namespace(namespace: &str, by: &str) -> Self {
        Self::namespace(namespace).canned(canned::held(namespace, by))
    }

    /// What a session has running in its namespace.
    pub(crate) fn workload(namespace: &str) -> Self {
        let args = ["get", "daemonset,pod", "-n", namespace, "-l", "app=netobserv-cli", "-o", "json"];
        Self::new(format!("list the pods in namespace {namespace}"), args)
    }

    /// Nodes with a label.
    pub(crate) fn nodes(key: &str, value: &str) -> Self {
        let label = format!("{key}={value}");
        Self::new("find the nodes", ["get", "nodes", "-l", &label, "-o", "name"]).canned("node/NODE")
    }

    /// A line for each node: its name, and whether it is ready (True, False, Unknown).
    pub(crate) fn node_states() -> Self {
        let path =
            r#"jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
        Self::new("check which nodes are ready", ["get", "nodes", "-o", path])
    }

    /// A node, if there is one.
    pub(crate) fn node(node: &str) -> Self {
        let args = ["get", "node", node, "--ignore-not-found=true", "-o", "json"];
        Self::new(format!("read node {node}"), args)
    }

    /// What OpenShift was installed with.
    pub(crate) fn install_config() -> Self {
        let path = "jsonpath={.data.install-config}";
        let args =
            ["get", "configmap", "cluster-config-v1", "-n", "kube-system", "--ignore-not-found=true", "-o", path];
        Self::new("read the networks of the machines", args).canned(canned::MACHINES)
    }

    /// The networks of OpenShift's pods and services.
    pub(crate) fn network() -> Self {
        let args = ["get", "network.config.openshift.io", "cluster", "--ignore-not-found=true", "-o", "json"];
        Self::new("read the networks of pods and services", args).canned(canned::NETWORKS)
    }

    // ---- set up ----

    /// Makes the namespace and answers with its uid; of two sessions that try at once, one fails.
    pub(crate) fn create_namespace(documents: &[&Document]) -> Self {
        let args = ["create", "-f", "-", "-o", "jsonpath={.metadata.uid}"];
        Self::new("create the namespace", args).documents(documents).advice(MAY_YOU).canned("UID")
    }

    /// Makes objects, or changes them.
    pub(crate) fn apply(what: &str, documents: &[&Document]) -> Self {
        Self::new(format!("create {what}"), ["apply", "-f", "-"]).documents(documents).advice(MAY_YOU)
    }

    /// Starts the collector's pod.
    pub(crate) fn run_collector(
        namespace: &str,
        image: &str,
        policy: &str,
        labels: &str,
        overrides: &str,
        command: &[String],
    ) -> Self {
        let mut args: Vec<String> = ["run", "-n", namespace, COLLECTOR].map(str::to_owned).into();
        args.push(format!("--image={image}"));
        args.push(format!("--image-pull-policy={policy}"));
        args.push("--restart=OnFailure".to_owned());
        args.push(format!("--labels={labels}"));
        args.push(format!("--overrides={overrides}"));
        args.extend(["--command", "--"].map(str::to_owned));
        args.extend(command.iter().cloned());
        Self::new("start the collector", args).advice(SEE_POD)
    }

    /// Waits for the collector's pod.
    pub(crate) fn wait_for_collector(namespace: &str, time: Duration) -> Self {
        let seconds = time.as_secs().max(1);
        let timeout = format!("--timeout={seconds}s");
        let args = ["wait", &timeout, "-n", namespace, "--for=condition=Ready", "pod/collector"];
        Self::new("wait for the collector", args).advice(SEE_POD).limit(time + Duration::from_secs(5))
    }

    /// DaemonSet and pods of a session.
    pub(crate) fn rollout(namespace: &str, session: &str) -> Self {
        let label = format!("{SESSION}={session}");
        Self::new("watch the agents start", ["get", "daemonset,pod", "-n", namespace, "-l", &label, "-o", "json"])
            .canned(canned::READY)
    }

    /// What Kubernetes reports about the DaemonSet: why it makes no pods.
    pub(crate) fn events(namespace: &str) -> Self {
        let selector = "--field-selector=involvedObject.kind=DaemonSet,type=Warning";
        Self::new("read the events of the agents", ["get", "events", "-n", namespace, selector, "-o", "json"])
    }

    /// The last words of a pod.
    pub(crate) fn last_words(namespace: &str, pod: &str, previous: bool) -> Self {
        let mut args = vec!["logs", pod, "-n", namespace, "--tail=5"];
        if previous {
            args.push("--previous");
        }
        Self::new(format!("read the log of {pod}"), args)
    }

    /// The machine that a waiting pod runs on, as `uname -m` calls it.
    pub(crate) fn machine(namespace: &str, pod: &str, container: &str) -> Self {
        let words = ["exec", "-n", namespace, pod, "-c", container, "--", "uname", "-m"];
        Self::new(format!("ask pod {pod} for its architecture"), words).advice(NEEDS_SHELL)
    }

    /// Writes a program into a waiting pod; `script` reads it from its standard input.
    pub(crate) fn hand_over(namespace: &str, pod: &str, container: &str, script: &[String], program: &[u8]) -> Self {
        let words = ["exec", "-i", "-n", namespace, pod, "-c", container, "--"].map(str::to_owned);
        let call = Self::new(format!("copy our program to pod {pod}"), words.into_iter().chain(script.iter().cloned()));
        Self { input: Some(program.to_vec()), ..call }.note("the program").advice(NEEDS_SHELL).limit(LONGEST_HANDOVER)
    }

    // ---- capture ----

    /// The capture itself, with a terminal or without.
    pub(crate) fn capture(namespace: &str, terminal: bool, args: &[String]) -> Self {
        let mut words: Vec<String> = vec!["exec".to_owned()];
        if terminal {
            words.extend(["-i", "--tty"].map(str::to_owned));
        }
        words.extend(["-n", namespace, COLLECTOR, "--", PROGRAM].map(str::to_owned));
        words.extend(args.iter().cloned());
        Self::new("run the capture", words)
    }

    /// Another command of the collector's program.
    pub(crate) fn collector(what: &str, namespace: &str, args: &[&str]) -> Self {
        let words = ["exec", "-n", namespace, COLLECTOR, "--", PROGRAM].into_iter().chain(args.iter().copied());
        Self::new(what, words)
    }

    /// Reports that the user is still there.
    pub(crate) fn renew(namespace: &str, pause: Duration, time: Duration) -> Self {
        let note = format!("every {} while it captures", super::seconds(pause));
        Self::collector("renew the session", namespace, &["renew"]).note(note).limit(time)
    }

    /// Reads the state of a capture in the background.
    pub(crate) fn state(namespace: &str, time: Duration) -> Self {
        Self::collector("check whether the capture has started", namespace, &["state"])
            .note("until it captures")
            .limit(time)
            .canned(r#"{"state":"capturing"}"#)
    }

    /// Lists the files of the capture.
    pub(crate) fn files(namespace: &str) -> Self {
        let list = Self::collector("list the files of the capture", namespace, &["files"]);
        list.canned("[]").implied(vec![Self::fetch(namespace, "PATH", 0)])
    }

    /// Reads a file of the capture, from this byte on.
    pub(crate) fn fetch(namespace: &str, path: &str, offset: u64) -> Self {
        let from = (offset > 0).then(|| format!("--offset={offset}"));
        let args: Vec<&str> = ["fetch", path].into_iter().chain(from.as_deref()).collect();
        Self::collector(&format!("fetch {path}"), namespace, &args).limit(LONGEST_TRANSFER)
    }

    /// Hands whole lines of a key log to the capture.
    pub(crate) fn add_secrets(namespace: &str, lines: Vec<u8>) -> Self {
        let words = ["exec", "-i", "-n", namespace, COLLECTOR, "--", PROGRAM, "keylog"];
        let call = Self::new("pass secrets to the collector", words).note("secrets of TLS connections, as they arrive");
        Self { input: Some(lines), ..call }
    }

    /// Reads a file of a pod from after so many bytes.
    pub(crate) fn read_secrets(namespace: &str, pod: &str, path: &str, behind: u64) -> Self {
        let from = format!("+{}", behind + 1);
        let words = ["exec", "-n", namespace, pod, "--", "tail", "-c", &from, path];
        Self::new(format!("read secrets in pod {namespace}/{pod}"), words)
    }

    /// A pod, if there is one.
    pub(crate) fn pod(namespace: &str, pod: &str) -> Self {
        let args = ["get", "pod", pod, "-n", namespace, "--ignore-not-found=true", "-o", "name"];
        Self::new(format!("look for pod {namespace}/{pod}"), args).canned(format!("pod/{pod}"))
    }

    /// The pods of a namespace, or of that of the context.
    pub(crate) fn pods(namespace: Option<&str>) -> Self {
        let place = namespace.into_iter().flat_map(|namespace| ["-n", namespace]);
        Self::new("find a pod of the client", ["get", "pods", "-o", "json"].into_iter().chain(place))
    }

    /// A service, if there is one.
    pub(crate) fn service(namespace: &str, service: &str) -> Self {
        let args = ["get", "service", service, "-n", namespace, "--ignore-not-found=true", "-o", "name"];
        Self::new(format!("look for service {namespace}/{service}"), args)
    }

    /// Opens a connection from a pod.
    pub(crate) fn connect((namespace, pod): (&str, &str), script: &str, host: &str, port: u16) -> Self {
        let port = port.to_string();
        let words = ["exec", "-n", namespace, pod, "--", "sh", "-c", script, "sh", host, &port];
        Self::new(format!("connect from pod {namespace}/{pod}"), words).limit(Duration::from_secs(10))
    }

    /// Asks the capture to write what it has and to end, and waits for that.
    pub(crate) fn finish(namespace: &str, time: Duration) -> Self {
        Self::collector("finish the capture", namespace, &["finish"]).limit(time).canned("{}")
    }

    /// The log of the collector, as it comes.
    pub(crate) fn follow(namespace: &str) -> Self {
        Self::new("follow the collector", ["logs", COLLECTOR, "-n", namespace, "-f"])
    }

    // ---- clean up ----

    /// Cluster-scoped objects of all sessions.
    pub(crate) fn cluster_objects(kinds: &str) -> Self {
        let args = ["get", kinds, "-l", "app=netobserv-cli", "-o", "json"];
        Self::new("look for objects of captures", args).advice(TRY_AGAIN).canned(r#"{"items":[]}"#)
    }

    /// Dashboards of all captures.
    pub(crate) fn dashboards() -> Self {
        let args = ["get", "configmap", "-n", DASHBOARDS, "-l", "app=netobserv-cli", "-o", "json"];
        Self::new("look for dashboards of captures", args).advice(TRY_AGAIN).canned(r#"{"items":[]}"#)
    }

    /// Removes the pods of a session from the cluster, whether or not their nodes answer.
    pub(crate) fn forget_pods(namespace: &str, session: &str) -> Self {
        let label = format!("{SESSION}={session}");
        let args =
            ["delete", "pod", "-n", namespace, "-l", &label, "--ignore-not-found=true", "--force", "--grace-period=0"];
        Self::new("remove pods whose nodes do not respond", args).advice(TRY_AGAIN)
    }

    /// Removes what carries the label of a session.
    pub(crate) fn delete(kinds: &str, namespace: Option<&str>, session: &str, time: Duration) -> Self {
        let (label, timeout) = (format!("{SESSION}={session}"), format!("--timeout={}s", time.as_secs().max(1)));
        let mut args = vec!["delete", kinds];
        args.extend(namespace.into_iter().flat_map(|namespace| ["-n", namespace]));
        args.extend(["-l", &label, "--ignore-not-found=true", &timeout]);
        Self::new(format!("delete {kinds}"), args).advice(TRY_AGAIN).limit(time + Duration::from_secs(5))
    }
}
