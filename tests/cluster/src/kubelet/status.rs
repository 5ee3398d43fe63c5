//! What the objects say of the processes: the status of pods and DaemonSets, and the names of services.

use std::fs;

use serde_json::{Value, json};

use super::{Running, State, container, matches, name_of, text};

impl State {
    pub(super) fn status(&self, pod: &Value, running: &Running) -> Value {
        let runs = running.process.is_some();
        if runs && running.prepares {
            return self.status_before(pod, running);
        }
        let phase = match (runs, running.exit, pod["spec"]["restartPolicy"] == "Never") {
            (true, ..) | (_, _, false) => "Running",
            (_, Some(0), _) => "Succeeded",
            _ => "Failed",
        };
        let state = match running.exit {
            _ if runs => json!({"running": {}, "waiting": null, "terminated": null}),
            code if phase == "Running" => {
                json!({"running": null, "waiting": {"reason": "CrashLoopBackOff", "message": format!("exit code {code:?}")}})
            }
            code => json!({"running": null, "terminated": {"exitCode": code}}),
        };
        let ready = if runs { "True" } else { "False" };
        let host = self.node_of(pod).map(|node| node.address.to_string());
        let first = container(pod, true)["name"].as_str();
        let first: Vec<_> = first
            .map(|name| json!({"name": name, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}))
            .into_iter()
            .collect();
        json!({"phase": phase, "podIP": running.address, "podIPs": [{"ip": running.address}], "hostIP": host,
            "initContainerStatuses": first,
            "conditions": [{"type": "Ready", "status": ready}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": text(&pod["spec"]["containers"][0]["name"]), "ready": runs, "state": state,
                "restartCount": running.restarts}]})
    }

    /// While the first container prepares the others.
    fn status_before(&self, pod: &Value, running: &Running) -> Value {
        let host = self.node_of(pod).map(|node| node.address.to_string());
        json!({"phase": "Pending", "podIP": running.address, "podIPs": [{"ip": running.address}], "hostIP": host,
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "True"}],
            "initContainerStatuses": [{"name": text(&container(pod, true)["name"]), "state": {"running": {}}}],
            "containerStatuses": [{"name": text(&container(pod, false)["name"]), "ready": false,
                "state": {"waiting": {"reason": "PodInitializing"}}}]})
    }

    pub(super) fn tell_daemonsets(&self) {
        for set in self.server.objects("/apis/apps/v1/daemonsets") {
            let pods = self.server.objects("/api/v1/pods");
            let uid = &set["metadata"]["uid"];
            let own = pods.iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == *uid);
            let (mut desired, mut ready) = (0, 0);
            for pod in own {
                desired += 1;
                ready += u64::from(pod["status"]["conditions"][0]["status"] == "True");
            }
            let status = json!({"desiredNumberScheduled": desired, "currentNumberScheduled": desired,
                "numberReady": ready, "observedGeneration": set["metadata"]["generation"].as_u64().unwrap_or(1)});
            let (namespace, name) = name_of(&set);
            let path = format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}");
            if set["status"] != status {
                self.server.patch_if_there(&path, &json!({"status": status}));
            }
        }
    }

    /// The names of services, for pods: each leads to the one pod that it selects.
    pub(super) fn tell_hosts(&self) {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for service in self.server.objects("/api/v1/services") {
            let (namespace, name) = name_of(&service);
            let pods = self.server.objects(&format!("/api/v1/namespaces/{namespace}/pods"));
            let selector = &service["spec"]["selector"];
            let chosen = pods.iter().find(|pod| matches(selector, &pod["metadata"]["labels"]));
            if let Some(address) = chosen.and_then(|pod| pod["status"]["podIP"].as_str()) {
                let full = format!("{name}.{namespace}.svc");
                hosts += &format!("{address} {full} {full}.cluster.local {name}.{namespace}\n");
            }
        }
        // In place: pods have this very file bound into them.
        let file = self.world.dir().join("hosts");
        if fs::read_to_string(&file).unwrap_or_default() != hosts {
            fs::write(file, hosts).expect("write the names of services");
        }
    }
}
