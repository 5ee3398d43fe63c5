//! `summary`, `query`, `diff`, `report` and `mcp` on captures of this program and of the Go program, and on files that are none.

mod after_world;

use std::fs;
use std::path::Path;

use after_world::{assert_error, record, run, write_database, write_json};
use netobserv_testkit::Run;
use netobserv_testkit::proc::binaries;
use netobserv_testkit::terminal::OnTerminal;
use rusqlite::Connection;
use serde_json::{Value, json};

/// One client with two servers; the larger conversation is the one with 10.0.0.3.
fn records() -> Vec<Value> {
    let nothing = json!({});
    vec![
        record(("10.0.0.1", 40_000), ("10.0.0.2", 5432), 1_000, &nothing),
        record(("10.0.0.2", 5432), ("10.0.0.1", 40_000), 3_000, &json!({"TimeFlowRttNs": 2_000_000})),
        record(
            ("10.0.0.1", 40_001),
            ("10.0.0.3", 80),
            50_000,
            &json!({
            "PktDropPackets": 4, "PktDropBytes": 400, "PktDropLatestDropCause": "SKB_DROP_REASON_NETFILTER_DROP"}),
        ),
    ]
}

#[test]
fn json_of_the_go_program_is_summarized() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    let done = run(dir.path(), &["summary", "a.json"]);
    assert!(done.success(), "{done}");
    for text in [
        "a.json: 2023-11-14T22:13:20Z to 2023-11-14T22:13:30Z",
        "2 conversations, 540 packets, 54KB in 3 flows",
        "lost: not recorded in this file",
        "shop/pod-1  shop/pod-3",
        "NETFILTER_DROP",
        "Next: oc netobserv query a.json top",
    ] {
        assert!(done.stdout.contains(text), "{text}\n{done}");
    }
    let json: Value = serde_json::from_str(&run(dir.path(), &["summary", "a.json", "-o", "json"]).stdout).unwrap();
    assert_eq!((&json["conversations"], &json["drops"][0]["packets"]), (&json!(2), &json!(4)));
    assert_eq!(json["top"][1]["port"], 5432, "of the server, in both directions");
    // Objects line by line are read as an array is.
    let lines: String = records().iter().map(|record| format!("{record}\n")).collect();
    fs::write(dir.path().join("lines.json"), lines).unwrap();
    let top = |file: &str| run(dir.path(), &["query", file, "top", "-o", "csv"]).stdout;
    assert_eq!(top("lines.json"), top("a.json"));
    assert_eq!(top("a.json").lines().count(), 3);
}

#[test]
fn a_database_of_the_go_program_answers() {
    let dir = tempfile::tempdir().unwrap();
    write_database(&dir.path().join("a.db"), &records());
    let done = run(dir.path(), &["query", "a.db", "drops", "-o", "json"]);
    let rows: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"));
    let cause = "SKB_DROP_REASON_NETFILTER_DROP";
    assert_eq!(
        rows,
        json!([{"sender": "10.0.0.1", "receiver": "10.0.0.3", "port": 80, "cause": cause, "packets": 4, "bytes": 400}])
    );
    let done = run(dir.path(), &["summary", "a.db"]);
    assert!(done.stdout.contains("times are not recorded") && done.stdout.contains("10.0.0.1"), "{done}");
}

#[test]
fn the_copy_of_an_echo_reply_that_the_kernel_drops_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let reply = json!({"Proto": 1, "IcmpType": 0, "IcmpCode": 0, "PktDropPackets": 3, "PktDropBytes": 300,
        "PktDropLatestDropCause": "SKB_DROP_REASON_NO_SOCKET"});
    let request =
        json!({"PktDropPackets": 2, "PktDropBytes": 200, "PktDropLatestDropCause": "SKB_DROP_REASON_NO_SOCKET"});
    let records = [
        record(("10.0.0.1", 0), ("10.0.0.2", 0), 500, &reply),
        record(("10.0.0.1", 9), ("10.0.0.2", 80), 400, &request),
    ];
    write_json(&dir.path().join("a.json"), &records);
    let done =
        run(dir.path(), &["query", "a.json", "--sql=SELECT protocol, drops FROM conversation ORDER BY 1", "-o", "csv"]);
    assert_eq!(done.stdout, "protocol,drops\nICMP,0\nTCP,2\n", "{done}");
}

#[test]
fn what_is_no_capture_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    file("empty.db", b"");
    file("text.db", b"hello");
    file("packets.pcapng", &[0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0]);
    let whole = serde_json::to_vec(&records()).unwrap();
    file("cut.json", &whole[..whole.len() - 30]);
    file("number.json", b"[1]");
    write_database(&dir.path().join("whole.db"), &records());
    let database = fs::read(dir.path().join("whole.db")).unwrap();
    file("cut.db", &database[..database.len() / 2]);
    Connection::open(dir.path().join("other.db")).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
    for (name, text) in [
        ("empty.db", "empty.db is empty"),
        ("text.db", "text.db is not a capture: it is neither a database nor JSON"),
        ("cut.json", "cannot read cut.json after 2 flows: EOF"),
        ("number.json", "cannot read number.json after 0 flows: invalid type: integer"),
        ("cut.db", "cannot read cut.db: database disk image is malformed"),
        ("other.db", "cannot read other.db: it has no table flow"),
        (".", ". is a directory: name a file in it"),
        ("gone.db", "cannot read gone.db: No such file or directory"),
    ] {
        for words in [&["summary", name][..], &["query", name, "top"]] {
            assert_error(dir.path(), words, 1, text);
        }
        assert_error(dir.path(), &["replay", name], 1, text);
    }
    let packets = "packets.pcapng holds packets, not flows: open it with Wireshark or tshark";
    for words in [&["query", "packets.pcapng", "top"][..], &["replay", "packets.pcapng"]] {
        assert_error(dir.path(), words, 1, packets);
    }
    let none = "cannot read packets.pcapng: after 0 blocks: a section has no byte order";
    file("packets.pcapng", &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0, 0, 0, 0]);
    assert_error(dir.path(), &["summary", "packets.pcapng"], 1, none);
    // It does not read a long file to its end before it shows the beginning.
    let long = serde_json::to_vec(&vec![records().remove(0); 1_500]).unwrap();
    file("long.json", &long[..long.len() - 30]);
    assert_error(dir.path(), &["replay", "long.json"], 1, "long.json is cut: it has no end");
    assert_error(dir.path(), &["summary"], 1, "no FILE is given, and ./output/flow has no capture");
}

#[test]
fn questions_are_listed_and_misspelled_ones_corrected() {
    let dir = tempfile::tempdir().unwrap();
    let listed = run(dir.path(), &["query"]);
    assert!(listed.success() && listed.stdout.contains("  drops       what was dropped, and why"), "{listed}");
    write_json(&dir.path().join("a.json"), &records());
    assert_error(
        dir.path(),
        &["query", "a.json", "drps"],
        1,
        "no question is called drps; did you mean drops? Use one of: top,",
    );
    assert_error(dir.path(), &["query", "a.json"], 1, "what is the question to a.json? Use one of: top,");
    let sql = "SELECT sum(Bytes) AS bytes FROM flow";
    let done = run(dir.path(), &["query", "a.json", "--sql", sql, "-o", "csv"]);
    assert_eq!(done.stdout, "bytes\n54000\n", "{done}");
    for wrong in ["DELETE FROM flow_data", "DROP TABLE flow_data", "PRAGMA user_version = 7"] {
        assert_error(dir.path(), &["query", "a.json", "--sql", wrong], 1, "only queries are allowed");
    }
    assert_error(dir.path(), &["query", "a.json", "--sql", "SELECT color FROM flow"], 1, "no such column: color");
    let empty = run(dir.path(), &["query", "a.json", "dns"]);
    assert_eq!(empty.stdout, "a.json has none of this: names that do not resolve, and those that ask for them\n");
}

#[test]
fn the_newest_capture_is_meant_and_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("output/flow")).unwrap();
    for (name, records) in [("2026-01-01T000000Z.db", &records()[..1]), ("2026-01-02T000000Z.db", &records()[..2])] {
        write_database(&dir.path().join("output/flow").join(name), records);
    }
    let done = run(dir.path(), &["query", "top", "-o", "csv"]);
    assert_eq!(done.stderr, "./output/flow/2026-01-02T000000Z.db is the newest capture\n");
    assert!(done.stdout.contains("4000"), "both directions: {done}");
}

#[test]
fn differences_are_by_workload_and_end_a_script_with_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let before = records();
    let mut after = records();
    // Another port of the client is the same pair; more is sent, and another server is asked.
    after[0]["SrcPort"] = json!(41_000);
    after[1]["DstPort"] = json!(41_000);
    after[0]["Bytes"] = json!(90_000);
    after[1]["TimeFlowRttNs"] = json!(50_000_000);
    after[2]["DstAddr"] = json!("10.0.0.4");
    after[2]["DstK8S_OwnerName"] = json!("pod-4");
    write_json(&dir.path().join("before.json"), &before);
    write_json(&dir.path().join("after.json"), &after);
    let done = run(dir.path(), &["diff", "before.json", "after.json"]);
    assert!(done.success(), "{done}");
    let wanted = "New:
  shop/pod-1 -> shop/pod-4:80 TCP: 50KB in all
Gone:
  shop/pod-1 -> shop/pod-3:80 TCP: 50KB before
Changed rates:
  shop/pod-1 -> shop/pod-2:5432 TCP: 400B/s -> 9.3KB/s
Slower:
  shop/pod-1 -> shop/pod-2:5432 TCP: RTT p50 2.0 -> 50.0 ms, p95 2.0 -> 50.0 ms
";
    assert_eq!(done.stdout, wanted);
    let same = run(
        dir.path(),
        &["diff", "before.json", "before.json", "--fail-on=new-peers,gone-peers,rates,drops,dns-errors,rtt"],
    );
    assert_eq!((same.code(), same.stdout.as_str()), (0, "No difference.\n"), "{same}");
    let failed = run(dir.path(), &["diff", "before.json", "after.json", "--fail-on=drops,new-peers", "-o", "json"]);
    assert_eq!((failed.code(), failed.stderr.trim()), (3, "error: the captures differ: new-peers"), "{failed}");
    let kinds: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!((kinds[0]["kind"].as_str(), kinds[0]["server"].as_str()), (Some("new-peers"), Some("shop/pod-4")));
    assert_error(dir.path(), &["diff", "before.json"], 2, "<AFTER> is missing");
    assert_error(dir.path(), &["diff", "before.json", "after.json", "--fail-on=news"], 2, "invalid value 'news'");
}

/// What the server answers to these lines, by the number of the request.
fn converse(dir: &Path, lines: &[&str]) -> Vec<Value> {
    fs::write(dir.join("requests"), lines.join("\n")).unwrap();
    let plugin = &binaries().plugin;
    let script = format!("exec {} mcp < requests", plugin.display());
    let done =
        Run::new("sh").args(["-c", &script]).dir(dir).env("NETOBSERV_BIN_DIR", plugin.parent().unwrap()).finish();
    assert!(done.success(), "{done}");
    done.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn an_assistant_asks_and_can_only_read() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    let call = |id: u8, name: &str, words: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": words}})
            .to_string()
    };
    let answers = converse(
        dir.path(),
        &[
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{}}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#,
            &call(3, "question", json!({"name": "drops", "file": "a.json"})),
            &call(4, "sql", json!({"select": "DELETE FROM flow_data", "file": "a.json"})),
            &call(5, "summary", json!({})),
            &call(6, "nothing", json!({})),
            r#"{"jsonrpc":"2.0","id":7,"method":"resources/list"}"#,
            "{",
            &call(8, "summary", json!({"file": "a.json"})),
        ],
    );
    let numbers: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    let wanted = [json!(1), json!(2), json!(3), json!(4), json!(5), json!(6), json!(7), Value::Null, json!(8)];
    assert_eq!(numbers, wanted.iter().collect::<Vec<_>>(), "a notification has no answer");
    assert_eq!(answers[0]["result"]["protocolVersion"], "2025-03-26");
    let tools = answers[1]["result"]["tools"].as_array().unwrap();
    assert!(
        tools.iter().all(|tool| tool["inputSchema"]["type"] == "object" && tool["annotations"]["readOnlyHint"] == true)
    );
    let text = |at: usize| answers[at]["result"]["content"][0]["text"].as_str().unwrap();
    let rows: Value = serde_json::from_str(text(2)).unwrap();
    assert_eq!((&rows[0]["port"], &rows[0]["packets"]), (&json!(80), &json!(4)));
    for (at, words) in [(3, "only queries are allowed"), (4, "no FILE is given, and ./output/flow has no capture")] {
        assert!(answers[at]["result"]["isError"] == true && text(at).contains(words), "{}", answers[at]);
    }
    assert_eq!(
        [5, 6, 7].map(|at| answers[at]["error"]["code"].as_i64()),
        [Some(-32_602), Some(-32_601), Some(-32_700)]
    );
    let summary: Value = serde_json::from_str(text(8)).unwrap();
    assert_eq!(summary["conversations"], 2);
}

/// The data of a report, as a browser reads them.
fn report_data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("the data");
    serde_json::from_str(rest.split_once("</script>").expect("their end").0).expect("JSON")
}

#[test]
fn a_report_is_one_page_in_which_names_are_no_html() {
    let dir = tempfile::tempdir().unwrap();
    let mut records = records();
    records[2]["DstK8S_Name"] = json!("</script><script>alert(1)</script>");
    records[2]["DnsName"] = json!("\"><img src=x onerror=alert(1)>");
    records[2]["DnsFlagsResponseCode"] = json!("NXDomain");
    write_json(&dir.path().join("a.json"), &records);
    let done = run(dir.path(), &["report", "a.json"]);
    assert_eq!((done.code(), done.stdout.as_str()), (0, "a.html\n"), "{done}");
    let page = fs::read_to_string(dir.path().join("a.html")).unwrap();
    assert_eq!(page.matches("<script").count(), 2, "those of the page");
    let data = report_data(&page);
    assert!(!page.contains("<img"));
    assert!(["href=", "<link", "url(", "fetch("].iter().all(|word| !page.contains(word)), "nothing is loaded");
    assert_eq!(data["conversations"]["rows"][0][2], "shop/</script><script>alert(1)</script>", "with drops, so first");
    assert_eq!(data["dns"]["rows"][0][1], "\"><img src=x onerror=alert(1)>");
    assert_eq!((&data["time"][0][1], &data["time"][0][2]), (&json!(54_000), &json!(4)));
    assert_eq!(data["edges"][0], json!(["shop/pod-1", "shop/</script><script>alert(1)</script>:80", 50_000, 4]));
    let piped = run(dir.path(), &["report", "a.json", "-o", "-"]);
    assert!(piped.stdout == page, "the same on standard output");
    assert_error(dir.path(), &["report", "a.json", "-o", "gone/a.html"], 1, "cannot write gone/a.html: No such file");
}

#[test]
fn a_condition_finds_records_and_by_sums_them() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    write_database(&dir.path().join("go.db"), &records());
    let csv = |words: &[&str]| {
        let done = run(dir.path(), &[&["query"], words, &["-o", "csv"]].concat());
        assert!(done.success(), "{done}");
        done.stdout
    };
    let bytes = |words: &[&str]| -> Vec<String> {
        let text = csv(words);
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let at = lines.next().unwrap().iter().position(|name| name == "bytes").unwrap();
        lines.map(|line| line[at].clone()).collect()
    };
    for file in ["a.json", "go.db"] {
        assert_eq!(bytes(&[file, "port:5432", "--sort=bytes"]), ["3000", "1000"], "{file}");
        assert_eq!(bytes(&[file, "tcp port 80 or bytes<2k"]), ["1000", "50000"], "{file}");
        assert_eq!(bytes(&[file, "drops>0 and not port 22"]), ["50000"], "{file}");
        assert_eq!(bytes(&[file, "tcp", "--by=proto"]), ["54000"], "{file}");
        assert_eq!(bytes(&[file, "--by=port"]), ["50000", "4000"], "{file}: both directions are one row");
    }
    assert_eq!(bytes(&["a.json", "src pod:shop/pod-1"]), ["1000", "50000"]);
    assert_eq!(bytes(&["a.json", "rtt>1ms", "--by=ns"]), ["3000"]);
    let by = csv(&["a.json", "ns:shop", "--by=client,server,port", "--sort=drops", "--limit=1"]);
    assert_eq!(
        by,
        "client,server,port,records,conversations,packets,bytes,rtt_ms,drops,dns_ms\n\
         shop/pod-1,shop/pod-3,80,1,1,500,50000,,4,\n"
    );
    let table = run(dir.path(), &["query", "a.json", "port=1"]);
    assert_eq!(table.stdout, "a.json has none of this: records that match\n", "{table}");
    fs::create_dir_all(dir.path().join("output/flow")).unwrap();
    fs::copy(dir.path().join("go.db"), dir.path().join("output/flow/2026_01_01.db")).unwrap();
    assert_eq!(bytes(&["port:5432"]), ["1000", "3000"], "of the newest capture");
}

#[test]
fn a_wrong_condition_is_refused_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    for (words, text) in [
        (&["a.json", "prot=80"][..], "unknown field prot; did you mean Proto?\n  prot=80\n  ^^^^"),
        (&["a.json", "rtt>5"], "the unit is missing"),
        (&["a.json", "label:app=web"], "a file does not have labels"),
        (&["a.json", "vlan 5"], "flows do not have the VLAN tags"),
        (&["a.json", "tcp", "--by=colour"], "--by: unknown field colour"),
        (&["a.json", "top", "--by=port"], "--by and --sort go with a condition"),
        (&["nowhere.json", "tcp"], "cannot read nowhere.json"),
    ] {
        let done = run(dir.path(), &[&["query"], words].concat());
        assert_eq!(done.code(), 1, "{done}");
        assert!(done.stderr.contains(text), "{text}\n{done}");
    }
    assert_eq!(run(dir.path(), &["query", "a.json", "tcp", "--sort=size"]).code(), 2);
}

#[test]
fn a_replay_wants_times_and_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    write_database(&dir.path().join("go.db"), &records());
    for (words, text) in [
        (
            &["replay", "a.json"][..],
            "replay needs a terminal, and there is none here: summary, query and report do without",
        ),
        (&["replay", "go.db"], "it has no times, without which it cannot be replayed: use its JSON file"),
        (&["replay", "a.json", "--from=noon"], "--from=noon: use HH:MM:SS, or 2026-01-31T12:00:00Z"),
        (&["replay", "a.json", "--from=22:13:30", "--to=22:13:21"], "--from is after --to"),
        (&["replay"], "no FILE is given, and ./output/flow has no capture"),
    ] {
        assert_error(dir.path(), words, 1, text);
    }
    assert_error(dir.path(), &["replay", "a.json", "--speed=0"], 2, "use a number from 0.1 to 1000");
}

#[test]
fn the_newest_capture_is_replayed_on_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("output/flow");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("2026_01_31.db");
    write_database(&path, &records());
    let db = Connection::open(&path).unwrap();
    let times = "ALTER TABLE flow ADD COLUMN TimeFlowStartMs INTEGER DEFAULT 1700000000000;
        ALTER TABLE flow ADD COLUMN TimeFlowEndMs INTEGER DEFAULT 1700000001000;
        UPDATE flow SET TimeFlowEndMs = 1700000000000 + rowid * 3000;";
    db.execute_batch(times).unwrap();
    drop(db);
    let mut terminal = OnTerminal::new(&binaries().plugin)
        .args(["replay", "--from=22:13:25"])
        .dir(dir.path())
        .env("NETOBSERV_BIN_DIR", binaries().plugin.parent().unwrap())
        .env("LANG", "C.UTF-8")
        .start((120, 40));
    terminal.wait_until("its end", |screen| screen.contains("2026_01_31.db") && screen.contains("3 flows"));
    terminal.press("q");
    assert!(terminal.wait().success(), "{}", terminal.text());
    terminal.assert_given_back();
    terminal.wait_for("2026_01_31.db is the newest capture");
}
