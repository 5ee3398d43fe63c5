//! The stand-in itself: objects come and go, pods run with their volumes and user, and programs run in them.

use std::time::Duration;

use netobserv_test_cluster::Cluster;
use netobserv_testkit::require_privileged;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: box, namespace: lab, labels: {run: box}}
spec:
  restartPolicy: Never
  containers:
    - name: box
      command: [sleep, infinity]
      env: [{name: HERE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
      volumeMounts: [{name: output, mountPath: /output}, {name: key, mountPath: /etc/netobserv/tls}]
  volumes:
    - {name: output, emptyDir: {}}
    - {name: key, secret: {secretName: key}}
";

#[test]
fn a_pod_runs_programs_until_it_is_deleted() {
    require_privileged!();
    let cluster = Cluster::start(2);
    assert_eq!(cluster.oc("get nodes -o name"), "node/node1\nnode/node2\n");
    let secret = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "lab"},
        "data": {"ca.crt": "aGVsbG8="}});
    cluster.api().put(secret);
    let file = cluster.home().join("pod.yml");
    std::fs::write(&file, POD).unwrap();
    assert_eq!(cluster.oc("apply -f pod.yml"), "pod/box created\n");
    assert_eq!(cluster.oc("wait --timeout=30s -n lab --for=condition=Ready pod/box"), "pod/box condition met\n");
    let inside = |words: &str| cluster.oc(&format!("exec -n lab box -- {words}"));
    assert_eq!(inside("/usr/bin/id -u"), "65532\n");
    assert_eq!(inside("/usr/bin/cat /etc/netobserv/tls/ca.crt"), "hello");
    assert_eq!(inside("/usr/bin/printenv HERE"), "node1\n");
    inside("/usr/bin/touch /output/a");
    let done = cluster.user("oc").args(["exec", "-n", "lab", "box", "--", "/usr/bin/touch", "/b"]).finish();
    assert_eq!(done.code(), 1, "the root is read-only: {done}");
    assert!(done.stderr.contains("Read-only") && done.stderr.contains("exit code 1"), "{done}");
    let pid = cluster.pid("lab", "box").unwrap();
    assert_eq!(cluster.oc("delete pod box -n lab"), "pod \"box\" deleted\n");
    assert!(!netobserv_testkit::proc::alive(pid), "deleted, and still running");
}

#[test]
fn pods_of_different_nodes_reach_each_other() {
    require_privileged!();
    let cluster = Cluster::start(3);
    let (client, server) = (cluster.deploy("shop", "client", 0), cluster.deploy("shop", "server", 2));
    let ping = client.netns.run("ping").args(["-c", "1", "-W", "5", &server.address.to_string()]);
    assert!(ping.start().wait(Duration::from_secs(10)).success());
    let name = cluster.oc("get pods -n shop -o jsonpath={.metadata.name},{.status.podIP}; ");
    assert!(name.contains(&format!("server-1,{}", server.address)), "{name}");
}
