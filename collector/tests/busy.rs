//! A file that cannot be written as fast as flows come: senders wait, then are refused, and all of it is counted.

mod support;

use netobserv_testkit::Signal;
use netobserv_wire::pbflow::{Record, Records};
use prost::Message;
use support::{Collector, records};
use tonic::Code;

#[test]
fn a_slow_file_makes_senders_wait_and_then_refuses_them() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    agent.send("n1", records::some(0, 1), false).unwrap();
    collector.wait_for_flows(1);

    let other = collector.files().database();
    let committed = || other.query_row("SELECT count(*) FROM flow", [], |row| row.get::<_, i64>(0)).unwrap() == 1;
    assert!(netobserv_testkit::wait_for(support::SOON, committed));
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock that the collector needs");
    let answers = agent.send_all((0..10).map(|batch| records::batch("n1", batch * 10_000, 10_000)).collect());
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);

    let refused = answers
        .iter()
        .filter(|answer| answer.as_ref().is_err_and(|status| status.code() == Code::ResourceExhausted))
        .count();
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((accepted, refused), (3, 7), "{answers:?}");
    agent.send("n1", records::some(100_000, 1), true).expect("room again");
    let ended = collector.stop(Signal::SIGINT);
    assert_eq!((ended.said("refused_flows"), ended.said("lost_sqlite_flows")), ("70000".into(), "0".into()));
    assert_eq!((ended.files().rows(), ended.files().flows().len()), (30_002, 30_002));
    assert!(ended.finished.stdout.contains("refused 70,000 flows for want of room"), "{}", ended.finished);
}

#[test]
fn a_message_with_more_records_than_the_queue_holds_is_taken() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    let records = Records { entries: vec![Record::default(); 100_000], agent: None, sequence: 0 };
    agent.send_records(records).unwrap();
    assert_eq!(collector.stop(Signal::SIGINT).files().rows(), 100_000);
}

#[test]
fn a_message_that_is_too_large_is_refused_and_counted() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    let large = Record { dns_name: "x".repeat(9 << 20), ..Record::default() };
    let status = agent.send_records(Records { entries: vec![large; 2], agent: None, sequence: 0 }).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(collector.stop(Signal::SIGINT).said("refused_flows"), "2");
}

#[test]
fn what_cannot_be_read_is_counted_and_the_rest_is_kept() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    let mut message = Records { entries: records::some(0, 3), agent: None, sequence: 0 }.encode_to_vec();
    message.extend([0x0a, 1, 0xff]);
    assert!(agent.send_all(vec![message.into()])[0].is_ok());
    assert_eq!(agent.send_all(vec![vec![0xff; 9].into()])[0].as_ref().unwrap_err().code(), Code::InvalidArgument);
    let ended = collector.stop(Signal::SIGINT);
    assert_eq!((ended.files().rows(), ended.said("lost_unreadable_flows")), (3, "1".into()));
}
