//! Plans for the tests of manifests.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use netobserv_contract::metrics::Metric;
use oc_netobserv::certificates::Certificates;
use oc_netobserv::images::{Images, PullSecret};
use oc_netobserv::manifest::{Document, documents};
use oc_netobserv::plan::{Kind, MetricsPlan, Monitoring, Plan};

/// A plan with nothing special.
pub(crate) fn plan(command: Kind) -> Plan {
    Plan {
        command,
        namespace: "netobserv-cli".into(),
        namespace_uid: None,
        session: "0a1b2c3d".into(),
        started: "2026-03-06T16:19:22Z".into(),
        by: "user@host".into(),
        typed: "oc netobserv flows".into(),
        images: Images::default(),
        node_selector: None,
        only_these_nodes: false,
        privileged: false,
        scc: false,
        agent_env: Vec::new(),
        collector_args: vec!["--maxtime=5m".into(), "--maxbytes=50000000".into()],
        max_time: Duration::from_secs(300),
        max_bytes: 50_000_000,
        keep: Duration::from_secs(3600),
        tls: true,
        background: false,
        metrics: (command == Kind::Metrics).then(|| metrics(Monitoring::OpenShift)),
    }
}

/// All metrics, read like this.
fn metrics(monitoring: Monitoring) -> MetricsPlan {
    MetricsPlan { counted: Metric::all().collect(), monitoring }
}

/// One plan for each combination of what changes the manifests.
pub(crate) fn every_plan() -> impl Iterator<Item = Plan> {
    (0..1 << 8).flat_map(|bits: u32| {
        let bit = move |n: u32| bits & (1 << n) != 0;
        let readers = [Monitoring::OpenShift, Monitoring::ServiceMonitor, Monitoring::Annotations, Monitoring::Off];
        // What the later bits change has nothing to do with these.
        let of_metrics = readers.into_iter().filter(move |_| bits < 1 << 5);
        let of_metrics =
            of_metrics.map(|monitoring| Plan { metrics: Some(metrics(monitoring)), ..plan(Kind::Metrics) });
        [plan(Kind::Flows), plan(Kind::Packets)].into_iter().chain(of_metrics).map(move |mut plan| {
            plan.privileged = bit(0);
            plan.scc = bit(1);
            plan.tls = bit(2);
            plan.background = bit(3);
            plan.namespace_uid = bit(4).then(|| "7a0c".into());
            plan.only_these_nodes = bit(5);
            plan.node_selector = bit(5).then(|| ("role".into(), "infra".into()));
            if bit(7) {
                plan.images = Images::bare("registry.example.com/tools/shell:9".into());
            }
            plan.images.pull_secret = bit(6).then(|| PullSecret(r#"{"auths":{"r":{"auth":"YTpi"}}}"#.into()));
            plan
        })
    })
}

/// Certificates for any of them: what they certify does not matter to a manifest.
pub(crate) fn certificates(plan: &Plan) -> Certificates {
    Certificates::new(plan, SystemTime::now()).expect("certificates")
}

/// All documents of a plan.
#[track_caller]
pub(crate) fn made(plan: &Plan) -> Vec<Document> {
    documents(plan, &certificates(plan)).expect("documents")
}

/// A document as JSON.
#[track_caller]
pub(crate) fn json(document: &Document) -> serde_json::Value {
    let read = serde_saphyr::from_str(&document.yaml);
    read.unwrap_or_else(|error| panic!("{} {}: {error}\n{}", document.kind, document.name, document.yaml))
}

/// A tool that this machine has, or a line that says that the test was skipped.
pub(crate) fn tool(name: &str, test: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin").join(name);
    let found = if ours.exists() { Some(ours) } else { which::which(name).ok() };
    if found.is_none() {
        // libtest would keep what `eprintln!` says to itself.
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {test}: needs {name}");
    }
    found
}
