//! `metrics --local`: what a scraper reads adds up to the kernel's own counters, and to a capture of flows beside it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use netobserv_testkit::{Blast, LocalCapture, Pair, Run, require_privileged, wait_for};

/// Longest time until the last flows are counted.
const SOON: Duration = Duration::from_secs(30);

fn sum(text: &str, metric: &str) -> u64 {
    let begin = format!("on_demand_netobserv_{metric}{{");
    let lines = text.lines().filter(|line| line.starts_with(&begin));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().expect("a number")).sum()
}

/// The only file with this ending.
#[track_caller]
fn file(dir: &Path, ending: &str) -> String {
    let entries = fs::read_dir(dir.join("output/metrics")).expect("the folder").map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "{ending}");
    fs::read_to_string(&found[0]).unwrap()
}

#[test]
fn the_metrics_are_the_kernels_counters() {
    require_privileged!();
    let pair = Pair::silent();
    // The port is free again when the capture takes it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("--listen={address}");
    let words = ["--include_list=node_,namespace_", "--no-tui", &listen];
    let mut metrics = LocalCapture::metrics(&pair.right, pair.captured(), &words);
    let mut flows = LocalCapture::start(&[&format!("--interfaces={}", pair.captured())]);
    flows.wait_programs(&pair.right, pair.captured(), 4);
    let start = pair.counters();
    pair.blast_both_ways(&Blast { flows: 500, rounds: 60, ..Blast::default() });
    let counted = pair.counters().since(&start);
    assert_eq!((counted.rx_dropped, counted.tx_dropped), (0, 0), "the veth pair itself lost packets");

    let url = format!("http://{address}/metrics");
    let mut text = String::new();
    let wanted = [counted.rx_packets, counted.tx_packets, counted.rx_bytes, counted.tx_bytes];
    let all = |text: &str, level: &str| {
        ["ingress_packets", "egress_packets", "ingress_bytes", "egress_bytes"]
            .map(|what| sum(text, &format!("{level}_{what}_total")))
    };
    let came = wait_for(SOON, || {
        text = Run::new("curl").args(["-s", &url]).finish().stdout;
        all(&text, "node") == wanted
    });
    assert!(came, "wanted {wanted:?} in\n{text}\n{}", metrics.stderr());
    assert!(!metrics.has_ended());

    let ended = metrics.stop();
    assert!(
        ended.finished.stderr.contains("metrics are in ") && ended.finished.stderr.contains("/s, "),
        "{}",
        ended.finished
    );
    let snapshot = file(ended.dir(), ".txt");
    assert_eq!([all(&snapshot, "node"), all(&snapshot, "namespace")], [wanted; 2]);
    let flows = flows.stop();
    let files = flows.files();
    let (came_in, went_out) = (files.sum("IfDirection = 0"), files.sum("IfDirection = 1"));
    assert_eq!([came_in.packets, went_out.packets, came_in.bytes, went_out.bytes], wanted, "the flows beside it");
    assert!(file(ended.dir(), ".dashboard.json").contains("on_demand_netobserv_node_egress_bytes_total"));
}
