//! What the test process and the `oc` that it hands out tell each other: a folder with the way to the API server and one
//! file for each pod that has a process.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Names the folder for `oc`.
pub const VARIABLE: &str = "NETOBSERV_TEST_CLUSTER";

/// A running pod, for `exec` and `logs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodState {
    /// The process that started first in it.
    pub pid: i32,
    /// User of its processes.
    pub uid: u32,
    /// Where its output goes.
    pub log: PathBuf,
    /// Its environment.
    pub env: Vec<(String, String)>,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct World {
    dir: PathBuf,
}

impl World {
    /// The folder at a path.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The one that the environment names.
    ///
    /// # Errors
    /// There is none: the text says so.
    pub fn from_env() -> Result<Self, String> {
        let dir = std::env::var_os(VARIABLE).ok_or_else(|| format!("{VARIABLE} does not name a cluster"))?;
        Ok(Self::at(dir))
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// File with the address of the API server.
    pub fn address_file(&self) -> PathBuf {
        self.dir.join("api")
    }

    /// File with the path of the network namespace that the API server is in.
    pub fn netns_file(&self) -> PathBuf {
        self.dir.join("netns")
    }

    /// Link to the folder that volumes of this name are, instead of a fresh one.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.dir.join("volumes").join(name)
    }

    /// Folder that every pod has, too, under the same name.
    pub fn shared(&self) -> PathBuf {
        self.dir.join("shared")
    }

    /// Folder of the programs in the pods' image.
    pub fn programs(&self) -> PathBuf {
        self.dir.join("programs")
    }

    /// File with what every pod has in its environment, beside what its object says.
    pub fn env_file(&self) -> PathBuf {
        self.dir.join("env.json")
    }

    /// Folder of what pods show to the API server: token, certificate, namespace.
    pub fn account(&self) -> PathBuf {
        self.dir.join("account")
    }

    /// File of a pod that has a process.
    pub fn pod_file(&self, namespace: &str, name: &str) -> PathBuf {
        self.dir.join("pods").join(format!("{namespace}_{name}.json"))
    }

    /// File with the output of a pod; it outlives the process.
    pub fn log_file(&self, namespace: &str, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{namespace}_{name}.log"))
    }

    /// File with the ends of processes that were to go on.
    pub fn ends_file(&self) -> PathBuf {
        self.dir.join("logs").join("ends.log")
    }

    /// File that is there when a node has stopped.
    pub fn stopped_file(&self, node: &str) -> PathBuf {
        self.dir.join("shared").join(format!("stopped_{node}"))
    }

    /// Whether a node has stopped: nothing on it answers.
    pub fn has_stopped(&self, node: &str) -> bool {
        self.stopped_file(node).exists()
    }

    /// The state of a pod, if it has a process.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<PodState> {
        serde_json::from_slice(&fs::read(self.pod_file(namespace, name)).ok()?).ok()
    }

    /// Whether a pod of this namespace (any name: all) still has a process.
    pub fn has_process(&self, namespace: &str, name: Option<&str>) -> bool {
        let start = format!("{namespace}_{}", name.map_or_else(String::new, |name| format!("{name}.json")));
        let entries = fs::read_dir(self.dir.join("pods")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|file| file.to_string_lossy().starts_with(&start))
    }
}
