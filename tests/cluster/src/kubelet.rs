//! What makes the objects come true: DaemonSets get a pod for each node, pods get a process, and what is deleted ends.
//! All on one thread, because a test's programs end with the thread that started them.

mod container;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netobserv_test_apiserver::Server;
use netobserv_testkit::proc::{program_of, signal};
use netobserv_testkit::{Netns, Process, Run, Signal};
use serde_json::{Value, json};

use crate::cluster::Node;
use crate::pod::{Init, lay_out};
use crate::world::{PodState, World};

/// How often objects and processes are compared.
const ROUND: Duration = Duration::from_millis(20);
/// The user of an image that names none.
const IMAGE_USER: u64 = 65532;
/// A pod that failed is started again after this.
const BACK_OFF: Duration = Duration::from_secs(1);

/// The thread.
#[derive(Debug)]
pub(crate) struct Kubelet {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    pub(crate) fn start(world: World, server: Arc<Server>, nodes: Arc<Vec<Node>>, program: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let state = State { world, server, nodes, program, pods: BTreeMap::new(), said: HashMap::new() };
        state.tell_hosts();
        let told = stop.clone();
        let thread = std::thread::spawn(move || state.run(&told));
        Self { stop, thread: Some(thread) }
    }

    /// Ends all pods.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Namespace and name of a pod.
type Name = (String, String);

struct State {
    world: World,
    server: Arc<Server>,
    nodes: Arc<Vec<Node>>,
    /// What becomes the first process of a pod.
    program: PathBuf,
    pods: BTreeMap<Name, Running>,
    /// The status that each pod was given last.
    said: HashMap<Name, Value>,
}

struct Running {
    node: String,
    /// The mount namespace that all its processes share, once there is one.
    rest: Option<Namespace>,
    /// `None`: it ended, and is to be started again.
    process: Option<Process>,
    /// It is that of the first container, which prepares the others.
    prepares: bool,
    uid: String,
    address: String,
    /// Kept for pods with a network of their own.
    own: Option<Netns>,
    exit: Option<i32>,
    ended: Instant,
    restarts: u64,
    grace: Duration,
    /// Since when it has been told to end.
    ending: Option<Instant>,
}

impl Running {
    /// A container ends with its first process: what `oc exec` started in it is killed.
    fn kill_the_rest(&self) {
        let rest = self.rest.as_ref().map(|rest| processes_in(&rest.name)).unwrap_or_default();
        rest.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process = None;
        self.kill_the_rest();
    }
}

/// A mount namespace, held open: the kernel gives the number of one that is gone to the next that is made, which may be that of a pod of
/// another test.
struct Namespace {
    name: PathBuf,
    _held: File,
}

impl Namespace {
    fn of(pid: i32) -> Option<Self> {
        let held = File::open(format!("/proc/{pid}/ns/mnt")).ok()?;
        let name = format!("mnt:[{}]", held.metadata().ok()?.ino()).into();
        Some(Self { name, _held: held })
    }
}

/// The processes of a mount namespace; none for that of this machine, which a pod is in before it has its own.
pub(crate) fn processes_in(namespace: &Path) -> Vec<i32> {
    if mounts_of(nix::unistd::getpid().as_raw()).as_deref() == Some(namespace) {
        return Vec::new();
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| mounts_of(*pid).is_some_and(|mounts| mounts == namespace)).collect()
}

/// The mount namespace of a process.
pub(crate) fn mounts_of(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

impl State {
    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.make_daemon_pods();
            self.follow_pods();
            self.tell_daemonsets();
            self.tell_hosts();
            std::thread::sleep(ROUND);
        }
    }

    fn make_daemon_pods(&self) {
        let sets = self.server.objects("/apis/apps/v1/daemonsets");
        let pods = self.server.objects("/api/v1/pods");
        for set in &sets {
            let spec = &set["spec"]["template"]["spec"];
            let nodes = self
                .nodes
                .iter()
                .filter(|node| selects(&spec["nodeSelector"], node) && allows(&spec["affinity"], node));
            for pod in nodes.map(|node| daemon_pod(set, node)) {
                if !pods.iter().any(|other| name_of(other) == name_of(&pod)) {
                    self.server.put(pod);
                }
            }
        }
        for pod in &pods {
            let owner = &pod["metadata"]["ownerReferences"][0];
            let orphan = owner["kind"] == "DaemonSet" && !sets.iter().any(|set| set["metadata"]["uid"] == owner["uid"]);
            if orphan {
                self.delete_pod(pod);
            }
        }
    }

    fn delete_pod(&self, pod: &Value) {
        let (namespace, name) = name_of(pod);
        self.server.delete_if_there(&format!("/api/v1/namespaces/{namespace}/pods/{name}"));
    }

    fn follow_pods(&mut self) {
        let mut pods = self.server.objects("/api/v1/pods");
        pods.retain(|pod| pod["metadata"]["annotations"]["test/workload"].is_null());
        let wanted: HashMap<Name, &str> =
            pods.iter().map(|pod| (name_of(pod), text(&pod["metadata"]["uid"]))).collect();
        self.end_others(&wanted);
        for pod in &pods {
            let name = name_of(pod);
            if self.pods.get(&name).is_some_and(|running| self.world.has_stopped(&running.node)) {
                continue;
            }
            match self.pods.get_mut(&name) {
                None => self.start_pod(pod),
                Some(running) if running.uid == text(&pod["metadata"]["uid"]) => self.look_after(pod),
                // The old one of this name is still ending.
                Some(_) => {}
            }
        }
    }

    /// Pods whose object is gone are told to end, then made to.
    fn end_others(&mut self, wanted: &HashMap<Name, &str>) {
        let mut gone = Vec::new();
        for (name, running) in &mut self.pods {
            if wanted.get(name).is_some_and(|uid| *uid == running.uid) || self.world.has_stopped(&running.node) {
                continue;
            }
            let since = *running.ending.get_or_insert_with(|| {
                if let Some(process) = &running.process {
                    process.signal(Signal::SIGTERM);
                }
                Instant::now()
            });
            if since.elapsed() > running.grace
                && let Some(process) = &running.process
            {
                process.signal(Signal::SIGKILL);
            }
            if running.process.as_mut().is_none_or(Process::ended) {
                running.kill_the_rest();
                gone.push(name.clone());
            }
        }
        for name in gone {
            self.pods.remove(&name);
            self.said.remove(&name);
            let _ = fs::remove_file(self.world.pod_file(&name.0, &name.1));
        }
    }

    fn start_pod(&mut self, pod: &Value) {
        let name = name_of(pod);
        let Some(node) = self.node_of(pod) else { return };
        let host = pod["spec"]["hostNetwork"] == true;
        let (own, address) = if host { (None, node.address) } else { own_network(node, &name.1) };
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        let mut running = Running {
            node: node.name.clone(),
            rest: None,
            process: None,
            prepares: pod["spec"]["initContainers"].is_array(),
            uid: text(&pod["metadata"]["uid"]).to_owned(),
            address: address.to_string(),
            own,
            exit: None,
            ended: Instant::now(),
            restarts: 0,
            grace: Duration::from_secs(grace),
            ending: None,
        };
        running.process = Some(self.process(pod, node, &running));
        let path = format!("/api/v1/namespaces/{}/pods/{}", name.0, name.1);
        self.server.patch_if_there(&path, &json!({"spec": {"nodeName": running.node}}));
        self.pods.insert(name, running);
        self.look_after(pod);
    }

    fn node_of(&self, pod: &Value) -> Option<&Node> {
        let named = &pod["spec"]["nodeName"];
        if named.is_null() { self.nodes.first() } else { self.nodes.iter().find(|node| *named == *node.name) }
    }

    fn process(&self, pod: &Value, node: &Node, running: &Running) -> Process {
        let (namespace, name) = name_of(pod);
        let container = container(pod, running.prepares);
        let part = if running.prepares { "first" } else { "main" };
        let root = self.world.dir().join("roots").join(format!("{namespace}_{name}_{part}_{}", running.restarts));
        let ours = text(&container["image"]).contains("netobserv-cli");
        let programs = self.world.programs();
        lay_out(&root, ours.then_some(programs.as_path()));
        let user = &container["securityContext"]["runAsUser"];
        let uid = u32::try_from(user.as_u64().unwrap_or(IMAGE_USER)).expect("a user id");
        let init = Init {
            volumes: self.volumes(pod, container, &root, uid),
            root,
            uid,
            command: strings(&container["command"]).into_iter().chain(strings(&container["args"])).collect(),
            env: self.env(pod, container, node, running),
            log: self.world.log_file(&namespace, &name),
        };
        let file = self.world.dir().join("roots").join(format!("{namespace}_{name}.json"));
        fs::write(&file, serde_json::to_vec(&init).expect("JSON")).expect("write how to start a pod");
        let run = Run::new(&self.program).arg("pod-init").arg(&file);
        let process = run.netns(running.own.as_ref().unwrap_or(&node.netns)).own_group().start();
        let state = PodState { pid: process.pid(), uid, log: init.log, env: init.env };
        let file = self.world.pod_file(&namespace, &name);
        fs::write(file, serde_json::to_vec(&state).expect("JSON")).expect("write the state of a pod");
        process
    }

    /// Starts again what should run, and says how it is.
    fn look_after(&mut self, pod: &Value) {
        let name = name_of(pod);
        let running = self.pods.get_mut(&name).expect("a pod that was started");
        if let Some(process) = running.process.as_ref().filter(|_| running.rest.is_none()) {
            running.rest = Namespace::of(process.pid()).filter(|rest| !processes_in(&rest.name).is_empty());
        }
        if running.process.as_mut().is_some_and(Process::ended) {
            let done = running.process.take().expect("it was just there").wait(Duration::from_secs(1));
            if !running.prepares {
                note(&self.world.ends_file(), &format!("{}/{}: {done}\n", name.0, name.1));
            }
            running.kill_the_rest();
            running.rest = None;
            (running.exit, running.ended) = (Some(done.code()), Instant::now());
            let _ = fs::remove_file(self.world.pod_file(&name.0, &name.1));
        }
        if running.process.is_none() && running.prepares && running.exit == Some(0) {
            let mut running = self.pods.remove(&name).expect("a pod that was started");
            running.prepares = false;
            let node = self.node_of(pod).expect("the node of a pod that ran");
            running.process = Some(self.process(pod, node, &running));
            self.pods.insert(name.clone(), running);
            return self.tell_pod(pod, &name);
        }
        let again = running.process.is_none() && starts_again(pod, running.exit);
        if again && running.ended.elapsed() > BACK_OFF {
            let mut running = self.pods.remove(&name).expect("a pod that was started");
            running.restarts += 1;
            let node = self.node_of(pod).expect("the node of a pod that ran");
            running.process = Some(self.process(pod, node, &running));
            self.pods.insert(name.clone(), running);
        }
        self.tell_pod(pod, &name);
    }

    fn tell_pod(&mut self, pod: &Value, name: &Name) {
        let status = self.status(pod, &self.pods[name]);
        if self.said.get(name) == Some(&status) {
            return;
        }
        let path = format!("/api/v1/namespaces/{}/pods/{}", name.0, name.1);
        if self.server.patch_if_there(&path, &json!({"status": status})) {
            self.said.insert(name.clone(), status);
        }
    }
}

/// Whether a container that ended so is started again.
fn starts_again(pod: &Value, exit: Option<i32>) -> bool {
    match text(&pod["spec"]["restartPolicy"]) {
        "Never" => false,
        "OnFailure" => exit != Some(0),
        _ => true,
    }
}

/// The pod's container, or the one before it.
fn container(pod: &Value, first: bool) -> &Value {
    &pod["spec"][if first { "initContainers" } else { "containers" }][0]
}

fn daemon_pod(set: &Value, node: &Node) -> Value {
    let (namespace, name) = name_of(set);
    let template = &set["spec"]["template"];
    let mut spec = template["spec"].clone();
    spec["nodeName"] = node.name.clone().into();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": format!("{name}-{}", node.name),
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": name,
                "uid": set["metadata"]["uid"], "controller": true}]},
        "spec": spec})
}

/// Whether a pod's process has become the pod's program: until then there is nothing in the pod, and `exec` finds the machine.
fn has_begun(process: &Process, init: &Path) -> bool {
    program_of(process.pid()).is_some_and(|program| init.file_name().is_none_or(|init| *init != *program))
}

/// Adds a line or more to a file.
fn note(file: &Path, text: &str) {
    let file = fs::File::options().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("write down what happened");
}

fn own_network(node: &Node, label: &str) -> (Option<Netns>, std::net::Ipv4Addr) {
    let (netns, address) = node.attach(label);
    (Some(netns), address)
}

/// Whether a pod may be on a node by its name: what terms may name, one each.
fn allows(affinity: &Value, node: &Node) -> bool {
    let terms = &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let named = |term: &Value| {
        let field = &term["matchFields"][0];
        assert!(field["key"] == "metadata.name" && field["operator"] == "In", "{term}");
        assert_eq!(field["values"].as_array().map(Vec::len), Some(1), "{term}");
        field["values"][0] == *node.name
    };
    terms.as_array().is_none_or(|terms| terms.iter().any(named))
}

fn selects(selector: &Value, node: &Node) -> bool {
    let labels = node.labels();
    matches(selector, &labels)
}

fn matches(selector: &Value, labels: &Value) -> bool {
    selector.as_object().into_iter().flatten().all(|(name, value)| labels[name] == *value)
}

fn name_of(object: &Value) -> Name {
    let metadata = &object["metadata"];
    (text(&metadata["namespace"]).to_owned(), text(&metadata["name"]).to_owned())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|word| text(word).to_owned()).collect()
}
