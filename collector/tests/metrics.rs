//! `get-metrics`: what a scraper reads of the flows that were sent, and what stays on disk.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use netobserv_testkit::{Run, Signal, wait_for};
use support::pty::Pty;
use support::{Collector, SOON, program, records};

/// Sums every sample of a text by metric, with the parsers of Prometheus' own client; an error of theirs is the test's.
const READ: &str = "\
import collections, sys
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus
parse = {'openmetrics': openmetrics, 'prometheus': prometheus}[sys.argv[1]].text_string_to_metric_families
sums, kinds, exemplars = collections.Counter(), {}, 0
for family in parse(open(sys.argv[2]).read()):
    kinds[family.name] = family.type
    for sample in family.samples:
        exemplars += sample.exemplar is not None
        if not sample.name.endswith('_bucket'): sums[sample.name] += sample.value
for name, value in sorted(sums.items()): print(name, int(value))
print('exemplars', exemplars)
print('histograms', sum(kind == 'histogram' for kind in kinds.values()))
";

/// Where the metrics are, from the log.
#[track_caller]
fn page(collector: &Collector) -> String {
    let begin = "Metrics are at http://";
    let log = collector.process.stderr();
    let line = log.lines().find_map(|line| line.split_once(begin)).expect("the address in the log");
    line.1.trim_end_matches("/metrics").to_owned()
}

/// Status line with headers, and body.
fn get(address: &str, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_lowercase(), body.to_owned())
}

/// What a metric sums up to, over all labels.
#[track_caller]
fn sum(text: &str, metric: &str) -> u64 {
    let begin = format!("on_demand_netobserv_{metric}");
    let of = |line: &&str| line.strip_prefix(begin.as_str()).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values = text.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().expect("a number"));
    values.sum()
}

#[test]
fn a_scraper_reads_the_sums_of_the_flows_that_were_sent() {
    let names = "node_,namespace_,workload_";
    let collector = Collector::start_metrics(&["--include-list", names, "--serve=127.0.0.1:0"]);
    let (sent, address) = (records::some(0, 2_000), page(&collector));
    let (bytes, packets) = sent.iter().fold((0, 0), |(b, p), record| (b + record.bytes, p + record.packets));
    let egress: u64 = sent.iter().filter(|record| record.direction == 1).map(|record| record.bytes).sum();
    collector.client().send("n1", sent, true).unwrap();
    let mut text = String::new();
    let counted = wait_for(SOON, || {
        text = get(&address, "/metrics", "text/plain").1;
        sum(&text, "node_flows_total") == 2_000
    });
    assert!(counted, "{text}");
    for level in ["node", "namespace", "workload"] {
        let total = |what: &str| sum(&text, &format!("{level}_{what}_total"));
        assert_eq!(total("flows"), 2_000);
        assert_eq!((total("egress_bytes"), total("egress_bytes") + total("ingress_bytes")), (egress, bytes));
        assert_eq!(total("egress_packets") + total("ingress_packets"), packets);
    }
    assert_eq!((sum(&text, "capture_flows_total"), sum(&text, "capture_bytes_total")), (2_000, bytes));
    let ended = collector.stop(Signal::SIGTERM);
    assert!(ended.finished.stdout.contains("2,000 flows") && ended.finished.stdout.contains("lost: nothing"));
    assert!(ended.finished.stdout.contains("series of at most 10,000"), "{}", ended.finished);
}

#[test]
fn the_text_has_the_form_that_is_asked_for_and_only_get_is_answered() {
    let collector = Collector::start_metrics(&["--serve=127.0.0.1:0"]);
    let address = page(&collector);
    let (head, body) = get(&address, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-type: application/openmetrics-text; version=1.0.0")
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
    let (head, body) = get(&address, "/metrics", "*/*");
    assert!(head.contains("content-type: text/plain; version=0.0.4") && !body.contains("EOF"), "{head}");
    let (head, _) = get(&address, "/", "*/*");
    assert!(head.starts_with("http/1.1 404"), "{head}");
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405") && answer.to_lowercase().contains("allow: get"), "{answer}");
    collector.stop(Signal::SIGTERM);
}

/// The two files of a finished capture.
#[track_caller]
fn files(output: &Path) -> [PathBuf; 2] {
    let found = output.join("metrics").read_dir().expect("the folder").map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = found.collect();
    found.sort();
    let ends =
        |index: usize, ending: &str| found.get(index).is_some_and(|path| path.to_str().unwrap().ends_with(ending));
    assert!(found.len() == 2 && ends(0, ".dashboard.json") && ends(1, "Z.txt"), "{found:?}");
    [found[1].clone(), found[0].clone()]
}

#[test]
fn a_snapshot_and_a_dashboard_stay() {
    let collector = Collector::start_metrics(&["--include-list=node_flows_total,node_rtt_seconds"]);
    let output = collector.output();
    collector.client().send("n1", records::some(0, 500), true).unwrap();
    let _ended = collector.stop(Signal::SIGTERM);
    let [snapshot, dashboard] = files(&output);
    let text = std::fs::read_to_string(snapshot).unwrap();
    assert_eq!(sum(&text, "node_flows_total"), 500);
    assert!(text.ends_with("# EOF\n"));
    let dashboard: serde_json::Value = serde_json::from_slice(&std::fs::read(dashboard).unwrap()).unwrap();
    let shown = dashboard.to_string();
    assert!(shown.contains("on_demand_netobserv_node_rtt_seconds_bucket") && !shown.contains("workload_"), "{shown}");
}

#[test]
fn a_limit_of_series_keeps_the_sums_and_is_reported() {
    let collector = Collector::start_metrics(&["--include-list=namespace_flows_total,workload_dns", "--max-series=1"]);
    let output = collector.output();
    collector.client().send("n1", records::some(0, 900), true).unwrap();
    let ended = collector.stop(Signal::SIGTERM);
    let text = std::fs::read_to_string(&files(&output)[0]).unwrap();
    assert_eq!(sum(&text, "namespace_flows_total"), 900);
    let over = sum(&text, "other_observations_total");
    assert!(over > 0 && sum(&text, "series") == 1, "{text}");
    assert!(ended.finished.stdout.contains("observations had no series of their own"), "{}", ended.finished);
}

#[test]
fn the_parsers_of_prometheus_read_both_forms() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let has_it = python.exists() && Run::new(&python).args(["-c", "import prometheus_client"]).finish().success();
    if !has_it {
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED: the_parsers_of_prometheus_read_both_forms: needs prometheus_client in target/python"
        );
        return;
    }
    let collector = Collector::start_metrics(&["--include-list=node_,workload_", "--serve=127.0.0.1:0"]);
    let (address, sent) = (page(&collector), records::some(0, 1_000));
    let rtts = sent.iter().filter(|record| record.time_flow_rtt.is_some_and(|rtt| rtt.nanos > 0)).count();
    collector.client().send("n1", sent, true).unwrap();
    assert!(wait_for(SOON, || sum(&get(&address, "/metrics", "").1, "node_flows_total") == 1_000));
    let folder = tempfile::tempdir().unwrap();
    for (form, accept) in [("prometheus", "text/plain"), ("openmetrics", "application/openmetrics-text")] {
        let file = folder.path().join(form);
        std::fs::write(&file, get(&address, "/metrics", accept).1).unwrap();
        let read = Run::new(&python).args(["-c", READ, form]).arg(&file).output();
        let value = |name: &str| {
            let line = read.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} in\n{read}")).parse::<usize>().unwrap()
        };
        let prefix = "on_demand_netobserv";
        assert_eq!(value(&format!("{prefix}_node_flows_total")), 1_000, "{form}");
        assert_eq!(value(&format!("{prefix}_workload_rtt_seconds_count")), rtts, "{form}");
        assert_eq!(value("histograms"), 4, "{form}\n{read}");
        assert_eq!(value("exemplars") > 0, form == "openmetrics", "{form}\n{read}");
    }
    collector.stop(Signal::SIGTERM);
}

#[test]
fn the_screen_shows_graphs_and_gives_the_terminal_back() {
    let mut pty = Pty::metrics(&["--include-list=node_egress_bytes_total,node_flows_total"], (100, 30));
    pty.client().send("n1", records::some(0, 300), true).unwrap();
    pty.wait_for("300 flows, lost ");
    pty.wait_for("Largest of node_egress_bytes_total");
    pty.press("\x1b[B");
    pty.wait_for("Largest of node_flows_total");
    pty.wait_for("100%         300  - → -");
    pty.press("q");
    assert!(pty.wait().success());
    pty.assert_given_back();
    pty.wait_for("2 series of at most 10,000");
}

#[test]
fn wrong_words_make_nothing() {
    for (words, line) in [
        (["--include-list=nodes", "--serve=127.0.0.1:9401"], "no metric's name contains 'nodes'"),
        (["--serve=0", "--insecure"], "use PORT or ADDRESS:PORT"),
        (["--max-series=0", "--insecure"], "0 is not in 1..=1000000"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let finished = program(&["get-metrics", "--output-dir"]).arg(dir.path()).args(words).finish();
        assert!(finished.code() == 2 && finished.stderr.contains(line), "{finished}");
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_port_in_use_is_reported_and_leaves_no_files() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--serve={}", taken.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("--listen=unix:{}", dir.path().join("socket").display());
    let run = program(&["get-metrics", &address, &socket, "--output-dir"]).arg(dir.path().join("out"));
    let finished = run.finish();
    assert!(finished.code() == 1 && finished.stderr.contains("is in use"), "{finished}");
    assert_eq!(dir.path().join("out/metrics").read_dir().unwrap().count(), 0);
}
