//! The cluster as a test holds it: nodes joined by a bridge, workload with addresses and names, and the way to run the
//! plugin against it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netobserv_test_apiserver::Server;
use netobserv_testkit::link::bridge;
use netobserv_testkit::netns::unique_interface;
use netobserv_testkit::proc::{binaries, signal};
use netobserv_testkit::terminal::OnTerminal;
use netobserv_testkit::{Netns, Run, Signal, bpf, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kubelet::{Kubelet, mounts_of, processes_in};
use crate::pod::keep_programs;
use crate::world::{PodState, VARIABLE, World};

/// Where the API server listens, in a namespace of its own: for pods, over TLS and with tokens.
pub(crate) const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 6443);
/// The same for `oc`, in the clear.
const PLAIN: SocketAddr = SocketAddr::new(API.ip(), 8080);
/// Longest time for an agent to end.
const ENDING: Duration = Duration::from_secs(20);

/// A machine of the cluster: a network namespace with a bridge.
#[derive(Debug)]
pub struct Node {
    /// `node1`, `node2`, ...
    pub name: String,
    /// Its network.
    pub netns: Netns,
    /// Its address.
    pub address: Ipv4Addr,
    bridge: String,
    /// The other end of its cable, in the fabric.
    port: String,
    number: u8,
    pods: std::sync::atomic::AtomicU8,
}

impl Node {
    fn new(number: u8, fabric: &Netns, switch: &str) -> Self {
        let name = format!("node{number}");
        let netns = Netns::new(&name);
        let address = Ipv4Addr::new(10, 77, number, 1);
        let bridge = bridge(&netns, &[]);
        let port = join(fabric, switch, &netns, &bridge);
        netns.ip(&format!("address add {address}/16 dev {bridge}"));
        netns.ip("link set lo up");
        Self { name, netns, address, bridge, port, number, pods: 10.into() }
    }

    /// The interface that has its address.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Programs of agents at its interfaces, as Program/NAME.
    pub fn programs(&self) -> Vec<String> {
        let links = self.netns.ip("-o link show");
        // 7: name@peer: <FLAGS> ...
        let names =
            links.lines().filter_map(|line| line.split([' ', '@']).nth(1)).map(|name| name.trim_end_matches(':'));
        let programs = names.flat_map(|name| bpf::attached(&self.netns, name)).filter(bpf::Program::is_ours);
        programs.map(|program| format!("Program/{}", program.name)).collect()
    }

    /// A network namespace of a pod on this node, with an address.
    pub fn attach(&self, label: &str) -> (Netns, Ipv4Addr) {
        let number = self.pods.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let address = Ipv4Addr::new(10, 77, self.number, number);
        let pod = Netns::new(label);
        pod.ip("link set lo up");
        let port = unique_interface("p");
        self.netns.ip(&format!("link add {port} type veth peer name eth0 netns {}", pod.name()));
        self.netns.ip(&format!("link set {port} master {} up", self.bridge));
        pod.ip(&format!("address add {address}/16 dev eth0"));
        pod.ip("link set eth0 up");
        (pod, address)
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> Value {
        let zone = format!("zone-{}", char::from(b'a' + self.number - 1));
        json!({"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": zone})
    }

    fn object(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name, "labels": self.labels()}, "spec": {},
            "status": {"addresses": [{"type": "InternalIP", "address": self.address.to_string()}],
                "conditions": [{"type": "Ready", "status": "True"}]}})
    }
}

/// Joins the bridges of two namespaces by a cable; returns its end in the first.
fn join(a: &Netns, bridge_a: &str, b: &Netns, bridge_b: &str) -> String {
    let (end_a, end_b) = (unique_interface("u"), unique_interface("v"));
    a.ip(&format!("link add {end_a} type veth peer name {end_b} netns {}", b.name()));
    a.ip(&format!("link set {end_a} master {bridge_a} up"));
    b.ip(&format!("link set {end_b} master {bridge_b} up"));
    end_a
}

/// A pod that has work to do: an object with an owner, and a namespace in which the test runs programs.
#[derive(Debug)]
pub struct Workload {
    /// Its network.
    pub netns: Netns,
    /// Its address.
    pub address: Ipv4Addr,
}

/// The cluster. Dropped, all that it started ends.
pub struct Cluster {
    // In the order in which they must end.
    kubelet: Kubelet,
    nodes: Arc<Vec<Node>>,
    server: Arc<Server>,
    fabric: Netns,
    dir: TempDir,
}

impl Cluster {
    /// Starts one of so many nodes.
    ///
    /// # Panics
    /// When namespaces or processes cannot be made.
    #[track_caller]
    pub fn start(nodes: u8) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["pods", "logs", "roots", "bin", "home", "volumes", "shared", "programs"] {
            fs::create_dir(dir.path().join(folder)).expect("a folder of the cluster");
        }
        let fabric = Netns::new("fabric");
        let switch = bridge(&fabric, &[]);
        fabric.ip(&format!("address add {}/16 dev {switch}", API.ip()));
        fabric.ip("link set lo up");
        let server = Arc::new(fabric.enter(|| Server::start_on(PLAIN)));
        let nodes: Arc<Vec<_>> = Arc::new((1..=nodes).map(|number| Node::new(number, &fabric, &switch)).collect());
        server.put_all(nodes.iter().map(Node::object));
        let world = World::at(dir.path());
        write(&world.address_file(), &PLAIN.to_string());
        let authority = fabric.enter(|| server.secure_on(API));
        fs::create_dir(world.account()).expect("a folder of the cluster");
        write(&world.account().join("ca.crt"), &authority);
        write(&world.account().join("namespace"), "netobserv-cli");
        write(&world.netns_file(), &fabric.path().to_string_lossy());
        let standin = binaries().collector.with_file_name("netobserv-test-oc");
        symlink(&standin, dir.path().join("bin/oc")).expect("a link to oc");
        symlink(&binaries().plugin, dir.path().join("bin/oc-netobserv")).expect("a link to the plugin");
        keep_programs(&world.programs());
        let kubelet = Kubelet::start(world, server.clone(), nodes.clone(), standin);
        let cluster = Self { kubelet, nodes, server, fabric, dir };
        cluster.rotate_token("the first one");
        cluster
    }

    /// The API server, for objects and faults.
    pub fn api(&self) -> &Server {
        &self.server
    }

    /// Pulls the cable of a node.
    pub fn unplug(&self, node: &Node) {
        self.fabric.ip(&format!("link set {} down", node.port));
    }

    /// Plugs it in again.
    pub fn plug(&self, node: &Node) {
        self.fabric.ip(&format!("link set {} up", node.port));
    }

    /// Stops a node as a loss of its power does: nothing on it answers or goes on, and its pods stay in the cluster as they were. That
    /// the node is not ready the cluster hears by [`Cluster::miss`].
    pub fn stop(&self, node: &Node) {
        write(&self.world().stopped_file(&node.name), "");
        let pods = self.server.objects("/api/v1/pods");
        for pod in pods.iter().filter(|pod| pod["spec"]["nodeName"] == *node.name) {
            let part = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
            let (namespace, name) = (part("namespace"), part("name"));
            let held = json!({"metadata": {"finalizers": ["test/held"]}});
            self.server.patch_if_there(&format!("/api/v1/namespaces/{namespace}/pods/{name}"), &held);
            let mounts = self.pid(namespace, name).and_then(mounts_of);
            let all = mounts.as_deref().map(processes_in).unwrap_or_default();
            all.into_iter().for_each(|pid| signal(pid, Signal::SIGSTOP));
        }
    }

    /// The cluster finds out that a node is not ready.
    pub fn miss(&self, node: &Node) {
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        self.server.patch(&format!("/api/v1/nodes/{}", node.name), &status);
    }

    /// Gives all pods another token, as a kubelet does every hour or so. The old one is good for nothing any more, which no real
    /// API server is so quick to say.
    pub fn rotate_token(&self, token: &str) {
        let account = self.world().account();
        write(&account.join("token.new"), token);
        fs::rename(account.join("token.new"), account.join("token")).expect("another token");
        self.server.only_token(token);
        self.server.cut();
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The namespace that joins the nodes; the API server is in it.
    pub fn fabric(&self) -> &Netns {
        &self.fabric
    }

    /// The user's working folder: `./output` appears here.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// What `oc` and the kubelet share.
    pub fn world(&self) -> World {
        World::at(self.dir.path())
    }

    /// A program of the user, with this cluster's `oc` first on PATH.
    pub fn user(&self, program: impl AsRef<std::ffi::OsStr>) -> Run {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.dir.path().join("bin").display());
        Run::new(program).env("PATH", path).env(VARIABLE, self.dir.path()).dir(self.home())
    }

    /// The plugin, as `oc netobserv WORDS`.
    pub fn plugin(&self, words: &[&str]) -> Run {
        self.user(&binaries().plugin).args(words)
    }

    /// The same, for a terminal, in UTF-8.
    pub fn plugin_on_terminal(&self, words: &[&str]) -> OnTerminal {
        self.user_on_terminal(&binaries().plugin).args(words)
    }

    /// As [`Cluster::user`], for a terminal, in UTF-8.
    pub fn user_on_terminal(&self, program: impl AsRef<std::ffi::OsStr>) -> OnTerminal {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.dir.path().join("bin").display());
        let program = OnTerminal::new(program).dir(&self.home());
        program.env("PATH", path).env(VARIABLE, self.dir.path()).env("LANG", "C.UTF-8")
    }

    /// `oc WORDS`; gives its output.
    #[track_caller]
    pub fn oc(&self, words: &str) -> String {
        self.user("oc").args(words.split_whitespace()).output()
    }

    /// A pod `NAME-1` of Deployment `NAME` in a namespace, on a node (from 0).
    #[track_caller]
    pub fn deploy(&self, namespace: &str, name: &str, node: usize) -> Workload {
        self.replica(namespace, name, 1, node)
    }

    /// A pod `NAME-NUMBER` of the same, with a network of its own.
    #[track_caller]
    pub fn replica(&self, namespace: &str, name: &str, number: u8, node: usize) -> Workload {
        let (netns, address) = self.nodes[node].attach(name);
        self.pod_at(namespace, name, number, node, address);
        Workload { netns, address }
    }

    /// The objects of a pod `NAME-NUMBER` of Deployment `NAME` that has this address.
    pub fn pod_at(&self, namespace: &str, name: &str, number: u8, node: usize, address: Ipv4Addr) {
        let node = &self.nodes[node];
        let owner = |kind: &str, name: &str| {
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": name,
            "uid": format!("{kind}-{name}"), "controller": true}])
        };
        let set = format!("{name}-5d8f");
        self.server.put_all([
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"namespace": namespace, "name": set,
                "ownerReferences": owner("Deployment", name)}}),
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": namespace, "name": format!("{name}-{number}"), "labels": {"app": name},
                    "annotations": {"test/workload": "true"}, "ownerReferences": owner("ReplicaSet", &set)},
                "spec": {"nodeName": node.name, "containers": [{"name": name}]},
                "status": {"phase": "Running", "podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}],
                    "hostIP": node.address.to_string(), "startTime": "2026-01-01T00:00:00Z"}}),
        ]);
    }

    /// From now on `oc exec` starts programs of this pod beside this process of the machine, with the machine's files.
    pub fn let_in(&self, namespace: &str, pod: &str, pid: i32) {
        let world = self.world();
        let state = PodState { pid, uid: 0, log: world.log_file(namespace, pod), env: Vec::new() };
        let text = serde_json::to_string(&state).expect("a state can be written");
        write(&world.pod_file(namespace, pod), &text);
    }

    /// Volumes of this name are this folder from now on, in pods that start then.
    pub fn mount(&self, volume: &str, folder: &Path) {
        symlink(folder, self.world().volume(volume)).expect("a link to a volume");
    }

    /// Pods that start from now on have these in their environment; `{pod}` is the name of the pod.
    pub fn pod_env(&self, env: &[(&str, &str)]) {
        write(&self.world().env_file(), &serde_json::to_string(env).expect("names and values can be written"));
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// After a minute.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(wait_for(Duration::from_secs(60), condition), "waited for: {what}\n{}", self.logs());
    }

    /// What all pods said, and how those ended that should not have.
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(self.dir.path().join("logs")).into_iter().flatten().flatten();
        let text = |path: PathBuf| format!("--- {}\n{}", name(&path), fs::read_to_string(&path).unwrap_or_default());
        entries.map(|entry| text(entry.path())).collect()
    }

    /// What captures make that is still there, as KIND/NAME: objects, and kernel programs at interfaces of nodes.
    pub fn left_behind(&self) -> Vec<String> {
        let kinds = [
            "/api/v1/namespaces",
            "/api/v1/pods",
            "/api/v1/services",
            "/api/v1/secrets",
            "/api/v1/configmaps",
            "/apis/monitoring.coreos.com/v1/servicemonitors",
            "/api/v1/serviceaccounts",
            "/apis/apps/v1/daemonsets",
            "/apis/rbac.authorization.k8s.io/v1/roles",
            "/apis/rbac.authorization.k8s.io/v1/rolebindings",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        ];
        let objects = kinds.iter().flat_map(|path| self.server.objects(path));
        let ours = objects.filter(|object| object["metadata"]["labels"]["app"] == "netobserv-cli");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut left: Vec<_> =
            ours.map(|object| format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))).collect();
        // An agent whose pod is gone may be ending still; one that stays is found all the same.
        let patience = if left.is_empty() { ENDING } else { Duration::ZERO };
        let mut programs = Vec::new();
        let _ = wait_for(patience, || {
            programs = self.nodes.iter().flat_map(Node::programs).collect();
            programs.is_empty()
        });
        left.append(&mut programs);
        left
    }

    /// Process of a pod.
    pub fn pid(&self, namespace: &str, pod: &str) -> Option<i32> {
        self.world().pod(namespace, pod).map(|pod| pod.pid)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kubelet.stop();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
