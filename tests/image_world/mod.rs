//! The image's programs as a node runs them: the archive is unpacked, and runc starts it with the settings of the
//! manifests. What a node adds (mounts of /proc and /sys, names, the output volume) is added here.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod archive;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netobserv_testkit::{Finished, Netns, Process, Run, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use archive::Image;

/// Longest time for a container to start, or to end.
pub const SOON: Duration = Duration::from_secs(30);
/// What containerd hides from a container that is not privileged.
const MASKED: [&str; 5] = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"];
const READ_ONLY: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];

/// A container that is described and not yet started.
pub struct Pod {
    spec: Value,
    dir: TempDir,
}

impl Pod {
    /// The first container of a pod's `spec`, in this network.
    #[track_caller]
    pub fn new(image: &Image, pod: &Value, netns: &Netns) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the bundle");
        let output = dir.path().join("output");
        fs::create_dir(&output).expect("the output volume");
        // As the kubelet makes an emptyDir.
        fs::set_permissions(&output, fs::Permissions::from_mode(0o777)).expect("the output volume's mode");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("the bundle's mode");
        let mut pod = Self { spec: runtime_spec(image, pod, netns), dir };
        pod.mount("/output", &output, "rw");
        pod
    }

    /// The words that are started instead of the manifest's.
    pub fn command(mut self, words: &[&str]) -> Self {
        self.spec["process"]["args"] = json!(words);
        self
    }

    /// Sets a variable, also one that the manifest has.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        set_env(self.spec["process"]["env"].as_array_mut().expect("a list"), name, value);
        self
    }

    /// The user that OpenShift chooses for a namespace.
    pub fn user(mut self, uid: u32) -> Self {
        self.spec["process"]["user"] = json!({ "uid": uid, "gid": 0 });
        self
    }

    /// A file of the pod that only these words are in.
    pub fn file(mut self, path: &str, text: &str) -> Self {
        let source = self.dir.path().join(path.replace('/', "_"));
        fs::write(&source, text).expect("a file of the pod");
        self.mount(path, &source, "ro");
        self
    }

    fn mount(&mut self, path: &str, source: &Path, mode: &str) {
        let mount = json!({ "destination": path, "type": "bind", "source": source, "options": ["bind", mode] });
        self.spec["mounts"].as_array_mut().expect("a list").push(mount);
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Container {
        fs::write(self.dir.path().join("config.json"), self.spec.to_string()).expect("the bundle");
        let id = self.dir.path().file_name().expect("a name").to_string_lossy().trim_start_matches('.').to_owned();
        let process = runc(self.dir.path()).args(["run", "--bundle"]).arg(self.dir.path()).arg(&id).start();
        Container { id, dir: self.dir, process: Some(process) }
    }
}

/// A container that was started. Dropped, it is killed and removed.
pub struct Container {
    id: String,
    dir: TempDir,
    process: Option<Process>,
}

impl Container {
    /// The output volume, from outside.
    pub fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// The process that holds it.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was not waited for")
    }

    /// Waits until its first program is the one of the image.
    #[track_caller]
    pub fn wait_running(&mut self) {
        let runs =
            |container: &Self| container.runc().args(["state", &container.id]).finish().stdout.contains("\"running\"");
        let came = netobserv_testkit::wait_for(SOON, || runs(self) || self.process().ended());
        let ended = self.process().ended();
        assert!(came && !ended, "it does not run: {}{}", self.process().stdout(), self.process().stderr());
    }

    /// `oc exec`: a program about to be started in it.
    pub fn exec(&self, words: &[&str]) -> Run {
        self.runc().args(["exec", &self.id]).args(words)
    }

    /// A shell line on this machine, as `oc cp` joins its ends; `pod WORDS` runs words in the container, `$1` is `dir`.
    #[track_caller]
    pub fn shell(&self, dir: &Path, line: &str) -> Finished {
        let pod = format!(
            "pod() {{ runc --root '{}' exec '{}' \"$@\"; }}; {line}",
            self.dir.path().join("runc").display(),
            self.id
        );
        Run::new("bash")
            .args(["-o", "pipefail", "-c", &pod, "bash"])
            .arg(dir)
            .dir(dir)
            .start()
            .wait(Duration::from_secs(180))
    }

    /// Number of programs in it.
    #[track_caller]
    pub fn programs(&self) -> usize {
        let list = self.runc().args(["ps", "--format", "json", &self.id]).output();
        serde_json::from_str::<Vec<i32>>(&list).expect("a list of processes").len()
    }

    /// Sends a signal to its first program, as the kubelet does.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.runc().args(["kill", &self.id, signal.as_str()]).output();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(mut self) -> Finished {
        self.process.take().expect("it was not waited for").wait(SOON)
    }

    fn runc(&self) -> Run {
        runc(self.dir.path())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.runc().args(["delete", "--force", &self.id]).finish();
    }
}

/// runc keeps what it knows of a container below the bundle.
fn runc(bundle: &Path) -> Run {
    Run::new("runc").arg("--root").arg(bundle.join("runc"))
}

/// The runtime's words for the image's configuration and the manifest's settings.
fn runtime_spec(image: &Image, pod: &Value, netns: &Netns) -> Value {
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    let defaults = &image.config["config"];
    let mut env: Vec<Value> = defaults["Env"].as_array().cloned().unwrap_or_default();
    for variable in container["env"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            set_env(&mut env, name, value);
        }
    }
    let own_user: u64 = defaults["User"].as_str().and_then(|user| user.parse().ok()).expect("a numeric user");
    let user = security["runAsUser"].as_u64().unwrap_or(own_user);
    assert!(user != 0 || pod["securityContext"]["runAsNonRoot"] != true, "the kubelet refuses root here");
    let capabilities = capabilities(&security["capabilities"]);
    let sets = ["bounding", "effective", "permitted"].map(|set| (set.to_owned(), capabilities.clone()));
    json!({
        "ociVersion": "1.0.2",
        "hostname": "pod",
        "root": { "path": image.root(), "readonly": security["readOnlyRootFilesystem"] == true },
        "process": {
            "terminal": false,
            "cwd": container["workingDir"].as_str().unwrap_or("/"),
            "args": container["command"],
            "env": env,
            "user": { "uid": user, "gid": 0 },
            "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
            "capabilities": serde_json::Map::from_iter(sets),
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network", "path": netns.path() },
            ],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

/// Only manifests that give up everything are run here.
fn capabilities(words: &Value) -> Value {
    assert_eq!(words["drop"], json!(["ALL"]));
    let added = words["add"].as_array().into_iter().flatten().filter_map(Value::as_str);
    added.map(|name| format!("CAP_{name}")).collect()
}

fn set_env(env: &mut Vec<Value>, name: &str, value: &str) {
    env.retain(|line| line.as_str().is_none_or(|line| line.split('=').next() != Some(name)));
    env.push(json!(format!("{name}={value}")));
}
