//! Files of the Go program, and running a command on them.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::path::Path;

use netobserv_testkit::proc::binaries;
use netobserv_testkit::{Finished, Run};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A record as the Go program writes it.
pub(crate) fn record(from: (&str, u16), to: (&str, u16), bytes: u64, more: &Value) -> Value {
    let name = |address: &str| address.replace("10.0.0.", "pod-");
    let mut record = json!({
        "SrcAddr": from.0, "SrcPort": from.1, "DstAddr": to.0, "DstPort": to.1, "Proto": 6, "Bytes": bytes, "Packets": bytes / 100,
        "SrcK8S_Namespace": "shop", "SrcK8S_Name": name(from.0), "SrcK8S_OwnerName": name(from.0), "SrcK8S_Type": "Pod",
        "DstK8S_Namespace": "shop", "DstK8S_Name": name(to.0), "DstK8S_OwnerName": name(to.0), "DstK8S_Type": "Pod",
        "Duplicate": false, "Interfaces": ["eth0"], "IfDirections": [1], "TimeFlowStartMs": 1_700_000_000_000_u64,
        "TimeFlowEndMs": 1_700_000_010_000_u64, "AgentIP": "10.0.0.250"
    });
    record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    record
}

/// Runs the plugin in this directory.
pub(crate) fn run(dir: &Path, words: &[&str]) -> Finished {
    Run::new(&binaries().plugin)
        .args(words)
        .dir(dir)
        .env("NETOBSERV_BIN_DIR", binaries().plugin.parent().unwrap())
        .finish()
}

/// The lines of the only error, and the exit code.
#[track_caller]
pub(crate) fn assert_error(dir: &Path, words: &[&str], code: i32, text: &str) {
    let done = run(dir, words);
    assert_eq!(done.code(), code, "{done}");
    assert!(done.stderr.contains(text), "{text}\n{done}");
    assert_eq!(done.stderr.trim().lines().count(), 1, "{done}");
    assert!(!done.stderr.contains("panicked"), "{done}");
}

/// An array of records.
pub(crate) fn write_json(path: &Path, records: &[Value]) {
    fs::write(path, serde_json::to_vec(records).unwrap()).unwrap();
}

/// A database with the columns of the Go program.
pub(crate) fn write_database(path: &Path, records: &[Value]) {
    let db = Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE flow (DnsErrno INTEGER, Dscp INTEGER, DstAddr TEXT, DstPort INTEGER, Interface TEXT, Proto INTEGER,
        SrcAddr TEXT, SrcPort INTEGER, Bytes INTEGER, Packets INTEGER, PktDropLatestDropCause TEXT, PktDropBytes INTEGER,
        PktDropPackets INTEGER, DnsId INTEGER, DnsName TEXT, DnsFlagsResponseCode TEXT, DnsLatencyMs TIMESTAMP, TimeFlowRTTNs TIMESTAMP)")
        .unwrap();
    for record in records {
        db.execute(
            "INSERT INTO flow (SrcAddr, SrcPort, DstAddr, DstPort, Proto, Bytes, Packets, PktDropPackets, PktDropBytes, PktDropLatestDropCause)
                SELECT ?1 ->> 'SrcAddr', ?1 ->> 'SrcPort', ?1 ->> 'DstAddr', ?1 ->> 'DstPort', ?1 ->> 'Proto', ?1 ->> 'Bytes',
                    ?1 ->> 'Packets', ?1 ->> 'PktDropPackets', ?1 ->> 'PktDropBytes', ?1 ->> 'PktDropLatestDropCause'",
            [record.to_string()],
        )
        .unwrap();
    }
}
