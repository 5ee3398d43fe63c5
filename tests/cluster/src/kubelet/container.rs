//! What a container finds: its environment and its volumes.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Running, State, name_of, text};
use crate::cluster::{API, Node};

/// Where pods find their token.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl State {
    pub(super) fn env(&self, pod: &Value, container: &Value, node: &Node, running: &Running) -> Vec<(String, String)> {
        let mut env = vec![
            ("PATH".to_owned(), "/bin:/".to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
            ("KUBERNETES_SERVICE_HOST".to_owned(), API.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), API.port().to_string()),
        ];
        for entry in container["env"].as_array().into_iter().flatten() {
            let value = match text(&entry["valueFrom"]["fieldRef"]["fieldPath"]) {
                "spec.nodeName" => node.name.clone(),
                "status.hostIP" => node.address.to_string(),
                "status.podIP" => running.address.clone(),
                "metadata.namespace" => name_of(pod).0,
                "metadata.name" => name_of(pod).1,
                _ => text(&entry["value"]).to_owned(),
            };
            env.push((text(&entry["name"]).to_owned(), value));
        }
        let more = fs::read(self.world.env_file()).unwrap_or_default();
        let more: Vec<(String, String)> = serde_json::from_slice(&more).unwrap_or_default();
        let pod = name_of(pod).1;
        env.extend(more.into_iter().map(|(name, value)| (name, value.replace("{pod}", &pod))));
        env
    }

    /// The container's volumes. Those that begin empty belong to the pod: its containers see the same files.
    pub(super) fn volumes(&self, pod: &Value, container: &Value, root: &Path, uid: u32) -> Vec<(PathBuf, PathBuf)> {
        let hosts = self.world.dir().join("hosts");
        // Under the same name as outside: programs that enter a pod find it on either side.
        let shared = self.world.shared();
        fs::create_dir_all(inside_of(root, &shared)).expect("a place for a volume");
        let mut volumes = vec![(hosts, PathBuf::from("/etc/hosts")), (shared.clone(), shared)];
        fs::write(root.join("etc/hosts"), "").expect("a file to bind over");
        if pod["spec"]["automountServiceAccountToken"] != false {
            fs::create_dir_all(root.join(ACCOUNT.trim_start_matches('/'))).expect("a place for a volume");
            volumes.push((self.world.account(), ACCOUNT.into()));
        }
        let sources = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        for mounted in container["volumeMounts"].as_array().into_iter().flatten() {
            let source =
                sources.iter().find(|source| source["name"] == mounted["name"]).expect("a volume of that name");
            let volume = format!("{}_{}", text(&pod["metadata"]["uid"]), text(&mounted["name"]));
            let dir = self.world.dir().join("roots").join(volume);
            let place = text(&mounted["mountPath"]);
            let host = text(&source["hostPath"]["path"]);
            let given = fs::read_link(self.world.volume(text(&mounted["name"])));
            let from = match given {
                Ok(folder) => owned_by(folder, uid),
                Err(_) if host.is_empty() => self.filled(&dir, source, &name_of(pod).0, uid),
                Err(_) => host.into(),
            };
            let inside = inside_of(root, Path::new(place));
            let from = match mounted["subPath"].as_str() {
                Some(file) => {
                    fs::write(inside, "").expect("a file to bind over");
                    from.join(file)
                }
                None => {
                    fs::create_dir_all(inside).expect("a place for a volume");
                    from
                }
            };
            volumes.push((from, place.into()));
        }
        volumes
    }

    /// A folder that was empty when the pod began, or one with the values of a Secret.
    fn filled(&self, dir: &Path, source: &Value, namespace: &str, uid: u32) -> PathBuf {
        fs::create_dir_all(dir).expect("a volume");
        owned_by(dir.to_owned(), uid);
        let secret = text(&source["secret"]["secretName"]);
        let object = self.server.object(&format!("/api/v1/namespaces/{namespace}/secrets/{secret}"));
        let object = object.unwrap_or_default();
        for (name, value) in object["data"].as_object().into_iter().flatten() {
            let bytes = BASE64_STANDARD.decode(text(value)).expect("base64 in a Secret");
            fs::write(dir.join(name), bytes).expect("a value of a Secret");
        }
        for (name, value) in object["stringData"].as_object().into_iter().flatten() {
            fs::write(dir.join(name), text(value)).expect("a value of a Secret");
        }
        dir.to_owned()
    }
}

fn owned_by(folder: PathBuf, uid: u32) -> PathBuf {
    std::os::unix::fs::chown(&folder, Some(uid), Some(uid)).expect("a volume's owner");
    folder
}

fn inside_of(root: &Path, place: &Path) -> PathBuf {
    root.join(place.strip_prefix("/").unwrap_or(place))
}
