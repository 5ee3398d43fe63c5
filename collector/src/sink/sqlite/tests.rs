//! What a database holds after rows, ticks and the end.

use super::*;
use netobserv_wire::FIELDS;
use netobserv_wire::pbflow::AgentStatus;
use serde_json::json;

fn sink() -> (SqliteSink, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let info = Arc::new(CaptureInfo::new("a|b".into(), "ns".into(), "2024-03-06T16:19:22Z".parse().unwrap()));
    (SqliteSink::create(&dir.path().join("flows.db"), Arc::default(), info).unwrap(), dir)
}

fn text(sink: &SqliteSink, sql: &str) -> String {
    let db = Connection::open(&sink.path).unwrap();
    let value: rusqlite::types::Value = db.query_row(sql, [], |row| row.get(0)).unwrap();
    match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Null => "NULL".into(),
        other => panic!("{sql}: {other:?}"),
    }
}

fn generic(record: &serde_json::Value) -> Flow {
    Flow::from_generic(record.to_string().as_bytes(), 5).unwrap()
}

#[test]
fn every_field_has_a_column_of_its_name() {
    let (sink, _dir) = sink();
    for field in FIELDS {
        text(&sink, &format!("SELECT count(\"{}\") FROM flow", field.name));
    }
    assert_eq!(text(&sink, "SELECT count(TimeFlowRTTNs) FROM flow"), "0", "the older spelling");
}

#[test]
fn a_value_does_not_stay_for_the_next_row() {
    let (mut sink, _dir) = sink();
    let full =
        generic(&json!({"DnsId": 7, "DnsName": "a.b", "Interfaces": ["x", "y"], "IfDirections": [0, 1], "Odd": 1}));
    sink.write(&[full.clone(), Flow::default(), full]).unwrap();
    sink.finish(true).unwrap();
    let rows = |what: &str| text(&sink, &format!("SELECT group_concat(ifnull({what}, '-'), ' ') FROM flow"));
    assert_eq!(rows("DnsId"), "7 - 7");
    assert_eq!(rows("Interfaces"), r#"["x","y"] - ["x","y"]"#);
    assert_eq!(rows("IfDirections"), "[0,1] - [0,1]");
    assert_eq!(rows("Interface"), "x - x");
    assert_eq!(rows("Other"), r#"{"Odd":1} - {"Odd":1}"#);
}

#[test]
fn rows_are_committed_when_due() {
    let (mut sink, _dir) = sink();
    sink.write(&[Flow::default()]).unwrap();
    assert_eq!(text(&sink, "SELECT count(*) FROM flow"), "0");
    sink.since = sink.since.and_then(|since| since.checked_sub(COMMIT_TIME));
    sink.tick().unwrap();
    assert_eq!(text(&sink, "SELECT count(*) FROM flow"), "1");
    sink.write(&vec![Flow::default(); COMMIT_ROWS as usize]).unwrap();
    assert_eq!(text(&sink, "SELECT count(*) FROM flow"), (COMMIT_ROWS + 1).to_string());
}

#[test]
fn the_capture_is_told_from_the_start() {
    let (mut sink, _dir) = sink();
    let of = |sink: &SqliteSink, name: &str| text(sink, &format!("SELECT value FROM capture WHERE name = '{name}'"));
    assert_eq!([of(&sink, "start"), of(&sink, "options"), of(&sink, "end")], ["2024-03-06T16:19:22Z", "a|b", "NULL"]);
    let status =
        AgentStatus { node: "n1".into(), lost_kernel_packets: 3, lost_export_flows: 4, ..AgentStatus::default() };
    sink.counts.heard(&status, 2, Instant::now());
    sink.info.end("interrupted".into());
    sink.finish(true).unwrap();
    assert_eq!([of(&sink, "end_reason"), of(&sink, "lost_kernel_packets")], ["interrupted", "3"]);
    assert_eq!(text(&sink, "SELECT flows || ' ' || lost_export_flows FROM agent WHERE node = 'n1'"), "2 4");
}

#[test]
fn the_end_leaves_one_file_with_indices() {
    let indices = |sink: &SqliteSink| {
        text(sink, "SELECT group_concat(name, ' ') FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    };
    let (mut sink, dir) = sink();
    sink.write(&[Flow::default()]).unwrap();
    sink.finish(true).unwrap();
    let files: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["flows.db"]);
    assert_eq!(indices(&sink), "flow_start flow_end flow_src flow_dst flow_dns_name", "no names");
    let (mut sink, _dir) = named(&[("x", "y"), ("y", "x")]);
    sink.finish(true).unwrap();
    let all = "flow_start flow_end flow_src flow_dst endpoint_name flow_src_name flow_dst_name flow_dns_name";
    assert_eq!(indices(&sink), all);
    let db = Connection::open(&sink.path).unwrap();
    let mut plan = db.prepare("EXPLAIN QUERY PLAN SELECT 1 FROM flow WHERE SrcK8S_Name = 'x'").unwrap();
    let plan = plan.query_map([], |row| row.get::<_, String>(3)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    assert!(plan[0].contains("endpoint_name") && plan[1].contains("flow_src_name"), "{plan:?}");
}

/// Flows between pods of these names, each written again.
fn named(pairs: &[(&str, &str)]) -> (SqliteSink, tempfile::TempDir) {
    let (mut sink, dir) = sink();
    let flow =
        |(src, dst): &(&str, &str)| generic(&json!({"SrcK8S_Name": src, "SrcK8S_Type": "Pod", "DstK8S_Name": dst}));
    sink.write(&pairs.iter().map(flow).collect::<Vec<_>>()).unwrap();
    (sink, dir)
}

#[test]
fn a_holder_is_written_once_and_shown_in_each_of_its_flows() {
    let (mut sink, _dir) = named(&[("a", "b"), ("c", "b"), ("a", "b")]);
    sink.write(&[Flow::default()]).unwrap();
    sink.finish(true).unwrap();
    let shown = "SELECT group_concat(rowid || ifnull(SrcK8S_Name, '-') || ifnull(DstK8S_Name, '-') || ifnull(DstK8S_Type, '-'), ' ') FROM flow";
    assert_eq!(text(&sink, shown), "1ab- 2cb- 3ab- 4---");
    assert_eq!(text(&sink, "SELECT group_concat(Name, ' ') FROM endpoint"), "a b c");
    let columns = text(&sink, "SELECT group_concat(name, ' ') FROM pragma_table_info('flow')");
    let wanted: Vec<_> = FIELDS.iter().map(|field| field.name).chain(["Other", "rowid"]).collect();
    assert_eq!(columns, wanted.join(" "));
}

#[test]
fn a_lasting_holder_is_written_once_beside_others() {
    use netobserv_wire::field::Side;
    use netobserv_wire::flow::{Holder, HolderRef};
    let (mut sink, _dir) = named(&[("a", "b")]);
    let lasting = |name: &str| HolderRef::lasting(Arc::new(Holder { name: name.into(), ..Holder::default() }));
    let (web, db) = (lasting("web"), lasting("db"));
    for _ in 0..2 {
        let mut flow = Flow::default();
        flow.set_holder(Side::Src, web.clone());
        flow.set_holder(Side::Dst, db.clone());
        sink.write(&[flow]).unwrap();
    }
    sink.finish(true).unwrap();
    assert_eq!(text(&sink, "SELECT group_concat(SrcK8S_Name || DstK8S_Name, ' ') FROM flow"), "ab webdb webdb");
    assert_eq!(
        text(&sink, "SELECT group_concat(Name, ' ') FROM (SELECT Name FROM endpoint ORDER BY Name)"),
        "a b db web"
    );
}

#[test]
fn late_names_without_time_are_counted() {
    use crate::facts::{Fact, Identity, Pod};
    let names = Arc::new(Names::default());
    let (sink, _dir) = sink();
    let mut sink = sink.with_names(Some(names.clone()));
    let mut flows = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|src| Flow {
        start_ms: 9,
        src_addr: src.parse().ok(),
        ..Flow::default()
    });
    names.name(&mut flows);
    sink.write(&flows).unwrap();
    let pod = |name: &str, address: &str| {
        let identity =
            Identity { uid: name.into(), namespace: "shop".into(), name: name.into(), ..Identity::default() };
        Fact::Pod(Pod { identity, addresses: vec![address.parse().unwrap()], ..Pod::default() })
    };
    names.learn(pod("web", "10.0.0.1"));
    names.learn(pod("db", "10.0.0.2"));
    sink.begin().and_then(|()| sink.commit()).unwrap();
    sink.fill_names().unwrap();
    assert_eq!(sink.counts.totals().sqlite_unnamed, 0);
    let shown = "SELECT group_concat(ifnull(SrcK8S_Namespace || SrcK8S_Name || K8S_FlowLayer, '-'), ' ') FROM flow";
    assert_eq!(text(&sink, shown), "shopwebapp shopdbapp -");
    names.hurry();
    sink.info.end("interrupted".into());
    sink.finish(true).unwrap();
    assert_eq!(sink.counts.totals().sqlite_unnamed, 3, "of none of them both ends are known");
    assert_eq!(text(&sink, "SELECT value FROM capture WHERE name = 'unnamed_sqlite_flows'"), "3");
}

#[test]
fn in_a_hurry_there_are_no_indices() {
    let (mut sink, _dir) = sink();
    sink.hurry().up();
    sink.write(&[Flow::default()]).unwrap();
    sink.finish(true).unwrap();
    assert_eq!(text(&sink, "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"), "0");
    assert_eq!(text(&sink, "SELECT count(*) FROM flow"), "1");
}

#[test]
fn a_failed_transaction_is_counted_as_lost() {
    let (mut sink, _dir) = sink();
    sink.write(&vec![Flow::default(); 3]).unwrap();
    let full = "CREATE TEMP TRIGGER full BEFORE INSERT ON main.flow_data BEGIN SELECT RAISE(FAIL, 'no room'); END";
    sink.db.execute_batch(full).unwrap();
    let error = sink.write(&[Flow::default(), Flow::default()]).unwrap_err().to_string();
    assert!(error.contains("flows.db: no room"), "{error}");
    sink.finish(false).unwrap();
    assert_eq!(sink.counts.totals().sqlite_lost, 5);
    assert_eq!(text(&sink, "SELECT count(*) FROM flow"), "0");
}

#[test]
fn a_conversation_is_one_line_however_many_records_it_has() {
    let (mut sink, _dir) = sink();
    let record = |more: serde_json::Value| {
        let mut record = json!({"ConversationId": 7, "Proto": 6, "TimeFlowStartMs": 1_000, "TimeFlowEndMs": 1_500});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        generic(&record)
    };
    let pod = |side: &str, name: &str, kind: &str| json!({format!("{side}K8S_Name"): name, format!("{side}K8S_Namespace"): "shop", format!("{side}K8S_Type"): kind});
    let with = |mut one: serde_json::Value, others: &[serde_json::Value]| {
        let fields = one.as_object_mut().unwrap();
        others.iter().for_each(|other| fields.extend(other.as_object().unwrap().clone()));
        one
    };
    let (client, service, web) = ("10.1.0.5", "10.96.0.1", "10.2.0.7");
    let asks = json!({"SrcAddr": client, "SrcPort": 80, "DstAddr": service, "DstPort": 8080, "XlatSrcAddr": client, "XlatSrcPort": 80,
        "XlatDstAddr": web, "XlatDstPort": 9000, "FromClient": 1, "Packets": 5, "Bytes": 500});
    let asks = with(asks, &[pod("Src", "client", "Pod"), pod("Dst", "web", "Service"), pod("XlatDst", "web-1", "Pod")]);
    let behind = json!({"SrcAddr": client, "SrcPort": 80, "DstAddr": web, "DstPort": 9000, "OrigSrcAddr": client, "OrigSrcPort": 80,
        "OrigDstAddr": service, "OrigDstPort": 8080, "FromClient": 1, "Packets": 5, "Bytes": 500, "Duplicate": "translation"});
    let at_server = json!({"SrcAddr": client, "SrcPort": 80, "DstAddr": web, "DstPort": 9000, "FromClient": 1, "Packets": 5,
        "Bytes": 500, "Duplicate": "server", "PktDropPackets": 2});
    let gets = json!({"SrcAddr": service, "SrcPort": 8080, "DstAddr": client, "DstPort": 80, "XlatSrcAddr": web, "XlatSrcPort": 9000,
        "XlatDstAddr": client, "XlatDstPort": 80, "FromClient": 0, "Packets": 4, "Bytes": 400, "TimeFlowEndMs": 3_000, "TimeFlowRttNs": 2_000_000});
    let lone = json!({"ConversationId": 8, "SrcAddr": "10.9.9.9", "SrcPort": 5, "DstAddr": client, "DstPort": 4, "Packets": 1, "Bytes": 60});
    let rows: Vec<_> = [asks, behind, at_server, gets, lone].into_iter().map(record).collect();
    sink.write(&rows).unwrap();
    sink.finish(true).unwrap();
    let line = |id: u64, columns: &str| {
        text(&sink, &format!("SELECT json_array({columns}) FROM conversation WHERE id = {id}"))
    };
    let names =
        "client, service, server, protocol, port, client_addr, client_port, asked_addr, server_addr, server_port";
    assert_eq!(
        line(7, names),
        r#"["shop/client","shop/web","shop/web-1","TCP",8080,"10.1.0.5",80,"10.96.0.1","10.2.0.7",9000]"#
    );
    let sums = "packets_to_server, bytes_to_server, packets_to_client, bytes_to_client, rtt_ms, drops, duration_s, start, lost_to_server";
    assert_eq!(line(7, sums), r#"[5,500,4,400,2.0,2,2.0,"1970-01-01T00:00:01.000Z",null]"#);
    assert_eq!(line(8, "client, server, service, port"), r#"["10.9.9.9","10.1.0.5",null,4]"#);
    assert_eq!(text(&sink, "SELECT count(*) || ' ' || sum(Packets) FROM flow_once"), "3 10");
}
