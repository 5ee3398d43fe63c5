//! A capture tells the truth: what it wrote and what it says it lost add up to the kernel's own counters.
//! One test at a time: each is timed traffic on all processors.

use std::sync::{Mutex, MutexGuard, PoisonError};

use netobserv_testkit::capture::{Sum, sum};
use netobserv_testkit::{Blast, LocalCapture, Pair, require_privileged};

/// Value of IfDirection (agent-side names): seen coming in, seen going out.
const INGRESS: u64 = 0;
const EGRESS: u64 = 1;
/// Packets a second in each direction: slow enough that the traffic goes on over several windows of the agent, which
/// reads the maps while packets are counted in them.
const STEADY: Option<u32> = Some(120_000);
/// As fast as they go: all flows in one window.
const AT_ONCE: Option<u32> = None;
/// JSON of this size is parsed in the test as well.
const SMALL: u32 = 20_000;

fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends `rounds` datagrams for each of `flows` five-tuples, in both directions at once and each at `rate`, under a capture with
/// default settings (but without the limit of 50 MB, which the larger ones pass).
#[track_caller]
fn account(flows: u32, rounds: u32, rate: Option<u32>, ipv6: bool) {
    let _guard = alone();
    let pair = Pair::silent();
    let capture = LocalCapture::of(&pair.right, pair.captured(), &["--max-bytes=100000000000"]);
    let start = pair.counters();
    pair.blast_both_ways(&Blast { flows, rounds, ipv6, rate, ..Blast::default() });
    let counted = pair.counters().since(&start);
    assert_eq!((counted.rx_dropped, counted.tx_dropped), (0, 0), "the veth pair itself lost packets");
    assert_eq!(counted.rx_packets, u64::from(flows) * u64::from(rounds));

    let ended = capture.stop();
    let files = ended.files();
    let came_in = Sum { packets: counted.rx_packets, bytes: counted.rx_bytes };
    let went_out = Sum { packets: counted.tx_packets, bytes: counted.tx_bytes };
    let seen_in = files.sum("IfDirection = 0");
    let seen_out = files.sum("IfDirection = 1");
    let lost = files.lost();
    println!("{}", ended.finished.stdout);
    println!("{flows} flows: in {seen_in:?}, out {seen_out:?}, lost {lost:?}, rows {}", files.rows());
    assert_eq!(
        seen_in + seen_out + lost,
        came_in + went_out,
        "seen and lost, against the interface\n{}",
        ended.finished
    );
    if flows <= SMALL {
        assert_eq!(lost, Sum::default(), "nothing is lost with {flows} flows");
        assert_eq!((seen_in, seen_out), (came_in, went_out), "coming in, going out");
        let records = files.flows();
        assert_eq!(records.len() as u64, files.rows(), "both files hold the same records");
        let direction = |wanted: u64| sum(&records, |flow| flow["IfDirection"].as_u64() == Some(wanted));
        assert_eq!((direction(INGRESS), direction(EGRESS)), (came_in, went_out), "in the JSON file");
    }
}

#[test]
fn one_ipv4_flow() {
    require_privileged!();
    account(1, 300_000, STEADY, false);
}

#[test]
fn one_ipv6_flow() {
    require_privileged!();
    account(1, 300_000, STEADY, true);
}

#[test]
fn a_thousand_ipv4_flows() {
    require_privileged!();
    account(1_000, 300, STEADY, false);
}

#[test]
fn a_thousand_ipv6_flows() {
    require_privileged!();
    account(1_000, 300, STEADY, true);
}

#[test]
fn twenty_thousand_ipv4_flows() {
    require_privileged!();
    account(20_000, 15, STEADY, false);
}

#[test]
fn twenty_thousand_ipv6_flows() {
    require_privileged!();
    account(20_000, 15, STEADY, true);
}

#[test]
fn two_hundred_thousand_ipv4_flows() {
    require_privileged!();
    account(200_000, 2, AT_ONCE, false);
}

#[test]
fn two_hundred_thousand_ipv6_flows() {
    require_privileged!();
    account(200_000, 2, AT_ONCE, true);
}
