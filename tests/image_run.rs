//! The image under a container runtime, with the pods' own security settings: it captures, and it answers as `oc exec`,
//! `oc cp` and the kubelet call it.

mod image_world;
mod yaml_world;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use image_world::{Container, Image, Pod, SOON};
use netobserv_testkit::capture::Sum;
use netobserv_testkit::session::ours;
use netobserv_testkit::{Blast, Files, Netns, Pair, Run, Signal, Veth, require_privileged, wait_for};
use oc_netobserv::certificates;
use oc_netobserv::manifest;
use oc_netobserv::plan::{Kind, Plan};
use serde_json::Value;

/// Address of the collector's pod, and of the node for it.
const POD: &str = "10.77.0.2";
const NODE: &str = "10.77.0.1";
/// The image's own user, and one that OpenShift chooses for a namespace.
const IMAGE_USER: u32 = 65532;
const OPENSHIFT_USER: u32 = 1_000_680_000;
/// A size that `oc cp` has trouble with, and one for machines with little room.
const LARGE: u64 = 1 << 30;
const SMALLER: u64 = 64 << 20;

/// Where the manifests mount the secrets with the certificates.
const TLS: &str = "/etc/netobserv/tls";

fn plan() -> Plan {
    Plan { tls: false, ..yaml_world::plan(Kind::Flows) }
}

/// The files of a secret.
fn with_secret(pod: Pod, ca: &str, pair: &certificates::Pair) -> Pod {
    [("ca.crt", ca), ("tls.crt", &pair.certificate), ("tls.key", &pair.key)]
        .into_iter()
        .fold(pod, |pod, (name, text)| pod.file(&format!("{TLS}/{name}"), text))
}

fn spec(document: Result<manifest::Document, manifest::ManifestError>) -> Value {
    serde_saphyr::from_str(&document.expect("a manifest").yaml).expect("YAML")
}

/// The collector's pod, kept by `sleep infinity`.
fn collector(image: &Image, netns: &Netns) -> Pod {
    Pod::new(image, &spec(manifest::collector(&plan()))["spec"], netns)
}

/// The collector's pod and the agent's, as a capture with every feature makes them: with certificates, or without.
fn pods(image: &Image, tls: bool, pod: &Netns, node: &Netns) -> (Pod, Pod) {
    let features = ["ENABLE_RTT", "ENABLE_PKT_DROPS", "ENABLE_DNS_TRACKING"];
    let agent_env = features.map(|name| (name.to_owned(), "true".to_owned())).to_vec();
    let plan = Plan { tls, agent_env, ..plan() };
    let collector = Pod::new(image, &spec(manifest::collector(&plan))["spec"], pod);
    let agent = Pod::new(image, &spec(manifest::agents(&plan))["spec"]["template"]["spec"], node);
    if !tls {
        return (collector, agent);
    }
    let made = yaml_world::certificates(&plan);
    (with_secret(collector, &made.ca, &made.collector), with_secret(agent, &made.ca, &made.agent))
}

/// A network for a pod alone.
fn lonely(image: &Image) -> (Netns, Container) {
    let netns = Netns::new("pod");
    let mut pod = collector(image, &netns).start();
    pod.wait_running();
    (netns, pod)
}

#[test]
fn the_pods_capture_a_namespace() {
    require_privileged!();
    let Some(image) = Image::find("the_pods_capture_a_namespace") else { return };
    capture_a_namespace(&image, true, OPENSHIFT_USER);
}

#[test]
fn the_pods_capture_without_certificates() {
    require_privileged!();
    let Some(image) = Image::find("the_pods_capture_without_certificates") else { return };
    capture_a_namespace(&image, false, IMAGE_USER);
}

fn capture_a_namespace(image: &Image, tls: bool, user: u32) {
    let (wire, pod_netns) = (Pair::silent(), Netns::new("pod"));
    let node = &wire.right;
    let _veth = Veth::new(node, &["10.77.0.1/24"], &pod_netns, &["10.77.0.2/24"]);
    // The name service of the cluster; the node asks itself.
    node.ip("link set lo up");
    let name = format!("--address=/{}/{POD}", plan().collector_host());
    let words = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file", &name];
    let dnsmasq = node.run("dnsmasq").args(words).arg(format!("--listen-address={NODE}")).start();

    let (collector, agent) = pods(image, tls, &pod_netns, node);
    let mut collector = collector.user(user).start();
    collector.wait_running();
    let security: &[&str] = if tls { &["--tls-dir", TLS] } else { &["--insecure"] };
    let command = [&["/network-observability-cli", "get-flows", "--maxtime=5m"], security].concat();
    let capture = collector.exec(&command).start();
    assert!(wait_for(SOON, || capture.stderr().contains("Started collector")), "{}", capture.stderr());
    let agent = agent.env("INTERFACES", wire.captured());
    let mut agent = agent.file("/etc/resolv.conf", &format!("nameserver {NODE}\n")).start();
    let attached = wait_for(SOON, || ours(node, wire.captured()) == 2 || agent.process().ended());
    let said = format!("{}{}", agent.process().stderr(), dnsmasq.stderr());
    assert!(attached && !agent.process().ended(), "{said}");

    let start = wire.counters();
    wire.blast_both_ways(&Blast { flows: 500, rounds: 100, rate: Some(50_000), ..Blast::default() });
    let counted = wire.counters().since(&start);
    capture.signal(Signal::SIGINT);
    let ended = capture.wait(SOON);
    assert!(ended.success(), "{ended}\n{}", agent.process().stderr());
    let files = Files::of(&collector.output());
    let wire_sum = Sum { packets: counted.rx_packets + counted.tx_packets, bytes: counted.rx_bytes + counted.tx_bytes };
    assert_eq!((files.sum("true"), files.lost()), (wire_sum, Sum::default()), "{ended}");
    files.assert_whole();
    // Told by the collector, the agent has left the interfaces, and waits for the end of its pod.
    assert_eq!(ours(node, wire.captured()), 0);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().code(), 0);
}

#[test]
fn a_capture_ends_at_its_limit_as_any_user() {
    require_privileged!();
    let Some(image) = Image::find("a_capture_ends_at_its_limit_as_any_user") else { return };
    let netns = Netns::new("pod");
    let mut pod = collector(&image, &netns).user(OPENSHIFT_USER).start();
    pod.wait_running();
    let done = pod.exec(&["/network-observability-cli", "get-flows", "--insecure", "--maxtime=1s"]).finish();
    assert!(done.success() && done.stdout.contains("Capture reached 1s"), "{done}");
    assert_eq!(Files::of(&pod.output()).rows(), 0);
}

#[test]
fn oc_cp_gets_files_and_folders() {
    require_privileged!();
    let Some(image) = Image::find("oc_cp_gets_files_and_folders") else { return };
    let (_netns, pod) = lonely(&image);
    let flow = pod.output().join("flow");
    fs::create_dir_all(flow.join("empty")).unwrap();
    fs::write(flow.join("a.json"), "[]").unwrap();
    fs::write(flow.join("b.db"), vec![3; 700_001]).unwrap();
    let here = tempfile::tempdir().unwrap();
    // An absolute path, one from the working directory, one file, and the other way round.
    for (from, to) in [("/output", "."), ("output", "."), ("-C /output .", "output"), ("output/flow/a.json", ".")] {
        let line = format!("rm -rf output; mkdir -p {to}; pod tar cf - {from} | tar xf - -C {to}");
        let done = pod.shell(here.path(), &line);
        assert!(done.success(), "{from}: {done}");
        assert_eq!(fs::read_to_string(here.path().join("output/flow/a.json")).unwrap(), "[]", "{from}");
        let all = here.path().join("output/flow/empty").is_dir()
            && same(&here.path().join("output/flow/b.db"), &flow.join("b.db"));
        assert_eq!(all, from != "output/flow/a.json", "{from}");
    }
    let done = pod.shell(here.path(), "echo in > given; tar cf - given | pod tar -xmf - -C /output");
    assert!(done.success(), "{done}");
    assert_eq!(fs::read_to_string(pod.output().join("given")).unwrap(), "in\n");
    let refused = pod.shell(here.path(), "tar cf - given | pod tar -xmf - -C /");
    assert!(!refused.success() && refused.stderr.contains("Read-only file system"), "{refused}");
}

#[test]
fn a_large_file_comes_whole_also_after_an_interruption() {
    require_privileged!();
    let Some(image) = Image::find("a_large_file_comes_whole_also_after_an_interruption") else { return };
    let (_netns, pod) = lonely(&image);
    let size = if free_bytes(&pod.output()) > 3 * LARGE { LARGE } else { SMALLER };
    fs::create_dir(pod.output().join("flow")).unwrap();
    write_noise(&pod.output().join("flow/large.json"), size);
    let here = tempfile::tempdir().unwrap();
    let sum =
        Run::new("sha256sum").arg(pod.output().join("flow/large.json")).start().wait(Duration::from_secs(120)).stdout;
    let sum = sum.split(' ').next().unwrap();

    let cut = pod.shell(here.path(), &format!("pod tar cf - output/flow | head -c {} | wc -c", size / 3));
    assert_eq!(cut.stdout.trim(), (size / 3).to_string(), "{cut}");
    assert!(wait_for(SOON, || pod.programs() == 1), "tar goes on without a reader");
    let whole = pod.shell(here.path(), "pod tar cf - output/flow | tar xOf - output/flow/large.json | sha256sum");
    assert_eq!(whole.stdout.split(' ').next(), Some(sum), "{whole}");
    let half = size / 2;
    let line = format!(
        "f='pod /network-observability-cli fetch flow/large.json'; ($f | gunzip 2>/dev/null | head -c {half}; $f --offset {half} | gunzip) | sha256sum"
    );
    let parts = pod.shell(here.path(), &line);
    assert_eq!(parts.stdout.split(' ').next(), Some(sum), "{parts}");
    assert!(wait_for(SOON, || pod.programs() == 1), "fetch goes on without a reader");
}

#[test]
fn the_pod_ends_when_the_kubelet_asks() {
    require_privileged!();
    let Some(image) = Image::find("the_pod_ends_when_the_kubelet_asks") else { return };
    let (_netns, mut pod) = lonely(&image);
    assert_eq!(pod.programs(), 1);
    assert!(!pod.process().ended());
    pod.signal(Signal::SIGTERM);
    let ended = pod.ended();
    assert!([0, 143].contains(&ended.code()), "{ended}");
}

fn same(one: &Path, other: &Path) -> bool {
    one.exists() && fs::read(one).unwrap() == fs::read(other).unwrap()
}

fn free_bytes(path: &Path) -> u64 {
    let stat = Run::new("stat").args(["-f", "-c", "%a %S"]).arg(path).output();
    stat.split_whitespace().filter_map(|number| number.parse::<u64>().ok()).product()
}

/// Bytes that do not repeat soon and hardly shrink.
fn write_noise(path: &Path, size: u64) {
    let (mut file, mut state) = (File::create(path).unwrap(), 0x9e37_79b9_7f4a_7c15_u64);
    let mut block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
}
