//! Connections from a pod of the client, again and again while they are captured.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::Value;

use crate::oc::{Call, Oc, OcError};
use crate::options::{Connect, PodName, Server};

/// Between two connections.
const PAUSE: Duration = Duration::from_secs(2);
/// Opens a connection with what a pod may have: `$1` is the host, `$2` the port. 127 when there is nothing.
const SCRIPT: &str = r#"has() { command -v "$1" >/dev/null 2>&1; }
if has python3; then exec python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)' "$1" "$2"
elif has bash && has timeout; then exec timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"
elif has nc; then exec nc -z -w 3 "$1" "$2"
elif has curl; then curl -s --connect-timeout 3 -m 4 -o /dev/null "http://$1:$2/"; case $? in 6|7|28) exit 1;; *) exit 0;; esac
elif has wget; then exec wget -q -T 3 -t 1 -O /dev/null "http://$1:$2/"
else exit 127; fi"#;
/// What `oc` reports of a pod without a shell, and the shell of one without any of these programs.
const LACKS: [&str; 3] = ["exit code 126", "exit code 127", "executable file not found"];

/// What came of the connections, in words; nothing in a dry run, which prints the calls.
pub(super) fn run(connect: &Connect, oc: &Oc, over: &Receiver<()>) -> Option<String> {
    if !oc.is_dry() {
        return Some(open(connect, oc, over));
    }
    let client = connect.client.namespace.as_deref();
    let host = match &connect.server {
        Server::Host(host) => host.as_str(),
        Server::Pod(_) => "ADDRESS",
    };
    let call = Call::connect((client.unwrap_or("NAMESPACE"), "POD"), "SCRIPT", host, connect.port);
    for call in [Call::pods(client), call.note("every 2 s while it captures")] {
        // A dry run has no errors.
        let _ = oc.run(&call);
    }
    None
}

fn open(connect: &Connect, oc: &Oc, over: &Receiver<()>) -> String {
    let (mut tried, mut opened, mut last) = (0, 0, String::new());
    let mut ends: Option<Ends> = None;
    while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let Some(Ends { namespace, pod, host }) = &ends else {
            match Ends::find(connect, oc) {
                Ok(found) => ends = Some(found),
                Err(why) => last = why,
            }
            continue;
        };
        match oc.run(&Call::connect((namespace, pod), SCRIPT, host, connect.port)) {
            Ok(_) => opened += 1,
            Err(OcError::Interrupted { .. }) => break,
            Err(error) => last = error.to_string(),
        }
        tried += 1;
        if opened == 0 && LACKS.iter().any(|lack| last.contains(lack)) {
            return format!(
                "pod {namespace}/{pod} cannot open a connection by 'oc exec': it has no shell, or none of python3, bash, nc, curl and wget; open it in another way while the capture runs"
            );
        }
    }
    let Some(Ends { namespace, pod, host }) = ends else { return format!("no connection was opened: {last}") };
    let why = if opened < tried { format!("; the last error: {last}") } else { String::new() };
    format!("{opened} of {tried} connections from pod {namespace}/{pod} to {host}:{} were opened{why}", connect.port)
}

/// The pod that opens a connection, and where to.
struct Ends {
    namespace: String,
    pod: String,
    host: String,
}

impl Ends {
    fn find(connect: &Connect, oc: &Oc) -> Result<Self, String> {
        let client = pod_of(&connect.client, oc)?;
        let host = match &connect.server {
            Server::Host(host) => host.clone(),
            Server::Pod(name) => text(&pod_of(name, oc)?["status"]["podIP"]),
        };
        let metadata = &client["metadata"];
        Ok(Self { namespace: text(&metadata["namespace"]), pod: text(&metadata["name"]), host })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A running pod of this name, or of the workload of this name.
fn pod_of(wanted: &PodName, oc: &Oc) -> Result<Value, String> {
    let list: Option<Value> = oc.json(&Call::pods(wanted.namespace.as_deref())).map_err(|error| error.to_string())?;
    let is_one = |pod: &&Value| {
        let (metadata, owner) = (&pod["metadata"], &pod["metadata"]["ownerReferences"][0]);
        let owner_name = text(&owner["name"]);
        // A ReplicaSet has the name of its Deployment, and a hash.
        let deployment = owner_name.rsplit_once('-').map(|(name, _)| name).filter(|_| owner["kind"] == "ReplicaSet");
        let is_named = metadata["name"] == *wanted.name || owner_name == wanted.name;
        pod["status"]["phase"] == "Running" && (is_named || deployment == Some(wanted.name.as_str()))
    };
    let found = list.as_ref().and_then(|list| list["items"].as_array()?.iter().find(is_one).cloned());
    found.ok_or_else(|| format!("there is no running pod of {}", wanted.name))
}
