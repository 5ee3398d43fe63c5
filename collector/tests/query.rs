//! `--query`: what it keeps, what is counted, and that a wrong one is told before anything is made.

mod support;

use netobserv_testkit::Signal;
use support::{Collector, get_flows, records};

#[test]
fn only_flows_that_match_are_kept_and_the_others_are_counted() {
    let collector = Collector::start(&["--query", "Proto = 6 and with(SrcPort)", "--query=IcmpType = 8"]);
    let (sent, agent) = (records::some(0, 400), collector.client());
    let wanted = sent.iter().filter(|record| record.transport.is_some_and(|t| t.protocol != 17)).count() as u64;
    agent.send("n1", sent, true).unwrap();
    let ended = collector.stop(Signal::SIGTERM);
    assert!(wanted > 0 && wanted < 400);
    assert_eq!((ended.files().rows(), ended.files().flows().len() as u64), (wanted, wanted));
    assert_eq!((ended.said("flows"), ended.said("filtered_flows")), (wanted.to_string(), (400 - wanted).to_string()));
    let told = format!("left out by the query: {} flows", 400 - wanted);
    assert!(
        ended.finished.stdout.contains(&told) && ended.finished.stdout.contains("lost: nothing"),
        "{}",
        ended.finished
    );
}

#[test]
fn regexes_are_a_query_too() {
    let collector = Collector::start(&["--regexes", "Proto~^6$,SrcAddr~:"]);
    collector.client().send("n1", records::some(0, 400), true).unwrap();
    let ended = collector.stop(Signal::SIGTERM);
    let flows = ended.files().flows();
    assert!(!flows.is_empty());
    assert!(flows.iter().all(|flow| flow["Proto"] == 6 && flow["SrcAddr"].as_str().unwrap().contains(':')));
}

#[test]
fn a_wrong_query_is_told_before_anything_is_made() {
    for (words, lines) in [
        (
            ["--query", "DstProt = 80"],
            ["error: --query: unknown field DstProt; did you mean DstPort?", "  DstProt = 80", "  ^^^^^^^"],
        ),
        (
            ["--query", "DnsName =~ \"a[\""],
            [
                "error: --query: not a regular expression: unclosed character class",
                "  DnsName =~ \"a[\"",
                "               ^",
            ],
        ),
        (
            ["--query", "Proto = \"TCP\""],
            ["error: --query: Proto is a number: write it without quotes", "  Proto = \"TCP\"", "          ^^^^^"],
        ),
        (
            ["--regexes", "SrcAddr~1,DstProt~8"],
            [
                "error: --query: unknown field DstProt; did you mean DstPort?",
                "  SrcAddr~1,DstProt~8",
                "            ^^^^^^^",
            ],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let finished = get_flows(dir.path(), &words).finish();
        assert_eq!(finished.code(), 2, "{finished}");
        assert_eq!(finished.stderr.lines().take(3).collect::<Vec<_>>(), lines, "{finished}");
        assert!(finished.stdout.is_empty() && dir.path().read_dir().unwrap().next().is_none(), "{finished}");
    }
    let dir = tempfile::tempdir().unwrap();
    let empty = get_flows(dir.path(), &["--query="]).finish();
    assert!(empty.code() == 2 && empty.stderr.contains("the query is empty"), "{empty}");
}
