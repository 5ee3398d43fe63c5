//! What is in the files: after every batch, at the end, and after a kill.

mod support;

use std::time::Duration;

use netobserv_testkit::{Signal, wait_for};
use serde_json::json;
use support::{Collector, SOON, records};

#[test]
fn the_json_file_is_an_array_after_every_batch() {
    let collector = Collector::start(&[]);
    assert!(collector.files().flows().is_empty());
    let (agent, mut sent) = (collector.client(), 0);
    for batch in [1, 1, 700, 3] {
        agent.send("n1", records::some(sent, batch), false).unwrap();
        sent += batch;
        collector.wait_for_flows(sent as usize);
    }
    agent.send("n1", Vec::new(), true).unwrap();
    let ended = collector.stop(Signal::SIGTERM);
    assert_eq!((ended.files().flows().len(), ended.files().rows()), (705, 705));
    ended.files().assert_whole();
}

#[test]
fn both_files_say_the_same() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    agent.send("n1", records::some(0, 200), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let files = ended.files();
    let db = files.database();
    for (row, flow) in files.flows().iter().enumerate() {
        for (name, value) in flow.as_object().unwrap() {
            let sql = format!("SELECT \"{name}\" FROM flow WHERE rowid = ?");
            let column: rusqlite::types::Value = db.query_row(&sql, [row as i64 + 1], |row| row.get(0)).unwrap();
            let same = match column {
                rusqlite::types::Value::Integer(number) => json!(number) == *value,
                rusqlite::types::Value::Text(text) if value.is_string() => json!(text) == *value,
                rusqlite::types::Value::Text(text) => {
                    serde_json::from_str::<serde_json::Value>(&text).unwrap() == *value
                }
                _ => false,
            };
            assert!(same, "{name} of row {row}: {value}");
        }
    }
}

#[test]
fn the_query_of_the_first_article_runs() {
    let collector = Collector::start(&[]);
    collector.client().send("n1", records::some(0, 100), true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let files = ended.files();
    let db = files.database();
    let sql = "SELECT DnsLatencyMs, DnsFlagsResponseCode, DnsId, DstAddr, DstPort, Interface, Proto, SrcAddr, SrcPort, Bytes, Packets FROM flow";
    let mut select = db.prepare(&format!("{sql} LIMIT 10;")).unwrap();
    assert_eq!(
        select.query_map([], |row| row.get::<_, String>(5)).unwrap().filter(|name| *name == Ok("eth0".into())).count(),
        10
    );
    let answered = format!(
        "SELECT count(*) FROM ({sql}) WHERE DnsFlagsResponseCode = 'NoError' AND DnsId > 0 AND DnsLatencyMs >= 0"
    );
    assert_eq!(
        files.number(&answered),
        records::some(0, 100).iter().filter(|record| record.dns_id != 0).count() as u64
    );
}

#[test]
fn a_flowlogs_pipeline_can_feed_it() {
    let collector = Collector::start(&[]);
    let pipeline = collector.client();
    let record = json!({
        "AgentIP": "10.0.1.1", "Bytes": 456, "Packets": 2, "SrcAddr": "10.1.0.1", "DstAddr": "10.2.0.2", "SrcPort": 33000, "DstPort": 80,
        "Proto": 6, "Flags": ["SYN", "ACK"], "SrcK8S_Name": "client", "SrcK8S_Namespace": "shop", "Interfaces": ["eth0"], "IfDirections": [1],
        "Udns": [""], "Interface": "eth0", "IfDirection": 1, "TimeReceived": 1_709_741_962, "TimeFlowStartMs": 1_709_741_961_000_u64,
        "Etype": 2048, "CustomLabel": {"deep": [1, 2]},
    });
    pipeline.send_generic(&record.to_string()).unwrap();
    assert_eq!(pipeline.send_generic("no json").unwrap_err().code(), tonic::Code::InvalidArgument);
    let endless = format!("{{\"Endless\": [{}0]}}", "0,".repeat(1 << 20));
    assert_eq!(pipeline.send_generic(&endless).unwrap_err().code(), tonic::Code::InvalidArgument);
    let ended = collector.stop(Signal::SIGINT);
    let mut flows = ended.files().flows();
    let added =
        flows[0].as_object_mut().map(|flow| (flow.remove("FromClient"), flow.remove("ConversationId").is_some()));
    assert_eq!((added, flows), (Some((Some(json!(1)), true)), vec![record]));
    let other = "SELECT Other ->> 'Flags' || SrcK8S_Name FROM flow";
    let text: String = ended.files().database().query_row(other, [], |row| row.get(0)).unwrap();
    assert_eq!(text, r#"["SYN","ACK"]client"#);
    assert_eq!(ended.said("lost_unreadable_flows"), "2");
}

/// The files have all records; what is printed and summed up has each packet once.
#[test]
fn lines_show_each_packet_once_unless_all_records_are_asked_for() {
    for (words, printed) in [(&["--output", "json"][..], 8), (&["--output", "json", "--observations", "all"], 10)] {
        let collector = Collector::start(words);
        let mut records = records::some(0, 10);
        records.iter_mut().take(2).for_each(|record| record.duplicate = true);
        let packets: u64 = records.iter().skip(2).map(|record| record.packets).sum();
        collector.client().send("n1", records, true).unwrap();
        let ended = collector.stop(Signal::SIGINT);
        let lines = ended.finished.stdout.lines().filter(|line| line.starts_with('{'));
        assert_eq!(lines.count(), printed, "{}", ended.finished);
        assert_eq!((ended.files().flows().len(), ended.files().rows()), (10, 10));
        assert_eq!(
            [ended.said("packets"), ended.said("flows")],
            [packets.to_string(), "8".into()],
            "{}",
            ended.finished
        );
        assert!(ended.finished.stderr.contains("not counted again: 2 records"), "{}", ended.finished);
        assert_eq!(ended.files().number("SELECT count(*) FROM flow WHERE Duplicate = 'translation'"), 2);
    }
}

#[test]
fn a_kill_leaves_whole_files_and_counts() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    agent.send("n1", records::some(0, 5), false).unwrap();
    let files = collector.files();
    let counted = || files.number("SELECT count(*) FROM capture WHERE name = 'flows' AND value > 0");
    assert!(wait_for(SOON, || counted() == 1), "the counts are kept up to date");
    std::thread::scope(|scope| {
        let batches = (0..200).map(|batch| records::batch("n1", batch * 1_000, 1_000)).collect();
        scope.spawn(|| agent.send_all(batches));
        assert!(wait_for(SOON, || files.json.metadata().is_ok_and(|file| file.len() > 1 << 20)));
        collector.process.signal(Signal::SIGKILL);
    });
    let ended = collector.ended();
    assert_eq!(ended.finished.code(), 128 + 9);
    ended.files().assert_whole();
    assert!(ended.files().rows() >= 5);
    assert_eq!(ended.files().number("SELECT count(*) FROM capture WHERE name = 'end' AND value IS NOT NULL"), 0);
}

#[test]
fn the_end_is_told_on_standard_output_and_in_the_database() {
    let collector = Collector::start(&["--options", "enable_dns=true|background=false", "--namespace", "mine"]);
    let agent = collector.client();
    agent.send("n1", records::some(0, 7), false).unwrap();
    assert!(wait_for(SOON, || collector.process.stderr().contains("7 flows,")), "a line every second");
    agent.send("n1", vec![], true).unwrap();
    let ended = collector.stop(Signal::SIGINT);
    let out = &ended.finished.stdout;
    for line in [
        "Capture interrupted, exiting now...",
        "7 flows, ",
        "from 1 agent",
        ".json: 7 flows",
        ".db: 7 flows",
        "lost: nothing",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let said =
        ["options", "namespace", "end_reason", "rows_json", "rows_sqlite", "agents"].map(|name| ended.said(name));
    assert_eq!(said, ["enable_dns=true|background=false", "mine", "interrupted", "7", "7", "1"]);
    assert_eq!(std::fs::read_dir(ended.files().db.parent().unwrap()).unwrap().count(), 2, "no log beside the database");
}

#[test]
fn losses_of_agents_are_told_by_stage() {
    let collector = Collector::start(&[]);
    let agent = collector.client();
    let status = |node: &str, packets| netobserv_wire::pbflow::AgentStatus {
        node: node.into(),
        last: true,
        lost_kernel_packets: packets,
        lost_kernel_bytes: 100 * packets,
        lost_export_flows: 2,
        lost_export_packets: 6,
        ..Default::default()
    };
    for (node, packets) in [("n1", 10), ("n2", 1_234)] {
        let records = netobserv_wire::pbflow::Records {
            entries: records::some(0, 1),
            agent: Some(status(node, packets)),
            sequence: 0,
        };
        agent.send_records(records).unwrap();
    }
    let ended = collector.stop(Signal::SIGINT);
    assert!(
        ended.finished.stdout.contains("lost: in the kernel 1,244 packets, in the agents' queues 4 flows"),
        "{}",
        ended.finished
    );
    assert_eq!((ended.said("lost_kernel_packets"), ended.said("lost_kernel_bytes")), ("1244".into(), "124400".into()));
    assert_eq!(ended.files().lost().packets, 1_244 + 12, "what the testkit sums up");
    assert_eq!(ended.files().number("SELECT lost_kernel_packets FROM agent WHERE node = 'n2'"), 1_234);
}

#[test]
fn a_name_can_be_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let again = || {
        support::get_flows(dir.path(), &["--filename", "mine", "--maxtime", "10ms"])
            .start()
            .wait(Duration::from_secs(20))
    };
    assert!(again().success());
    assert!(dir.path().join("output/flow/mine.db").exists());
    let refused = again();
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("mine.json is already there: remove it, or choose another --filename"),
        "{refused}"
    );
}
