//! What the objects say of the processes: the status of pods and DaemonSets, and the names of services.

use std::fs;

use serde_json::{Value, json};

use super::{Running, State, container, has_begun, matches, name_of, starts_again, text};

impl State {
    pub(super) fn status(&self, pod: &Value, running: &Running) -> Value {
        let process = running.process.as_ref();
        // Until then the first container prepares the pod, or its own is not there yet.
        let begun = process.map(|process| !running.prepares && has_begun(process, &self.program));
        let phase = match (begun, running.exit, !starts_again(pod, running.exit)) {
            (Some(false), ..) => "Pending",
            (Some(true), ..) | (_, _, false) => "Running",
            (_, Some(0), _) => "Succeeded",
            _ => "Failed",
        };
        let state = match (begun, running.exit) {
            (Some(true), _) => json!({"running": {}, "waiting": null, "terminated": null}),
            (Some(false), _) => {
                let reason = if running.prepares { "PodInitializing" } else { "ContainerCreating" };
                json!({"waiting": {"reason": reason}})
            }
            (None, code) if phase == "Running" => {
                json!({"running": null, "waiting": {"reason": "CrashLoopBackOff", "message": format!("exit code {code:?}")}})
            }
            (None, code) => json!({"running": null, "terminated": {"exitCode": code}}),
        };
        let last = match running.exit {
            Some(code) if running.restarts > 0 || running.process.is_none() => {
                json!({"terminated": {"exitCode": code, "reason": "Error"}})
            }
            _ => json!({}),
        };
        let runs = begun == Some(true);
        let ready = if runs { "True" } else { "False" };
        let host = self.node_of(pod).map(|node| node.address.to_string());
        let of_first = match running.prepares {
            true => json!({"running": {}}),
            false => json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
        };
        let first = container(pod, true)["name"].as_str().map(|name| json!({"name": name, "state": of_first}));
        let first: Vec<_> = first.into_iter().collect();
        json!({"phase": phase, "podIP": running.address, "podIPs": [{"ip": running.address}], "hostIP": host,
            "initContainerStatuses": first,
            "conditions": [{"type": "Ready", "status": ready}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"name": text(&container(pod, false)["name"]), "ready": runs, "state": state, "lastState": last,
                "restartCount": running.restarts}]})
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
