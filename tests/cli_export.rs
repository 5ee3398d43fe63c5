//! `export`: what other programs read from it is what the capture has.

mod after_world;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use after_world::{assert_error, record, run, write_json};
use netobserv_testkit::Run;
use serde_json::{Value, json};

/// Three flows in two hours, one of them on the next day, and one without a time.
fn records() -> Vec<Value> {
    let day = 1_700_006_400_000_u64;
    let at = |end: u64| json!({"TimeFlowEndMs": end, "SrcK8S_Name": "a, \"quoted\" pod", "TimeFlowRttNs": 7});
    vec![
        record(("10.0.0.1", 40_000), ("10.0.0.2", 80), 1_000, &at(day - 1)),
        record(("10.0.0.1", 40_000), ("10.0.0.2", 80), 2_000, &at(day)),
        record(("10.0.0.2", 80), ("10.0.0.1", 40_000), 4_000, &at(day + 1)),
        record(("fd00::1", 1), ("fd00::2", 2), 8_000, &json!({"TimeFlowEndMs": 0})),
    ]
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The Python with duckdb that scripts/test.sh installs.
fn python() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python3");
    let has_duckdb = ours.exists() && Run::new(&ours).args(["-c", "import duckdb"]).finish().success();
    has_duckdb.then_some(ours)
}

#[test]
fn parquet_is_read_by_duckdb() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    let done = run(dir.path(), &["export", "a.json", "-o", "parquet:flows"]);
    assert_eq!(done.stdout, "flows: 4 flows in 3 files\n", "{done}");
    let places = [
        "dt=2023-11-14/hour=23",
        "dt=2023-11-15/hour=00",
        "dt=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__",
    ];
    let found = files(&dir.path().join("flows"));
    assert!(
        found.len() == 3 && found.iter().zip(places).all(|(file, place)| file.parent().unwrap().ends_with(place)),
        "{found:?}"
    );
    let Some(python) = python() else {
        // libtest would keep what `eprintln!` prints to itself.
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED: parquet_is_read_by_duckdb: needs duckdb in target/python");
        return;
    };
    let script = "import duckdb, json
rows = duckdb.sql('''SELECT SrcAddr, SrcPort, Bytes, SrcK8S_Name, TimeFlowRttNs, DnsName, Interfaces, hour
    FROM read_parquet('flows/*/*/*.parquet', hive_partitioning = true) ORDER BY Bytes''').fetchall()
print(json.dumps([[str(cell) if isinstance(cell, bytes) else cell for cell in row] for row in rows]))";
    let done = Run::new(&python).args(["-c", script]).dir(dir.path()).finish();
    let rows: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"));
    let interfaces = "[\"eth0\"]";
    let name = "a, \"quoted\" pod";
    let hour = |at: usize| rows[at][7].as_i64().or_else(|| rows[at][7].as_str().and_then(|text| text.parse().ok()));
    assert_eq!([0, 1, 2, 3].map(hour), [Some(23), Some(0), Some(0), None], "{rows}");
    let row = |at: usize| rows[at].as_array().unwrap()[..7].to_vec();
    assert_eq!(json!(row(0)), json!(["10.0.0.1", 40_000, 1_000, name, 7, null, interfaces]));
    assert_eq!(json!(row(3)), json!(["fd00::1", 1, 8_000, "fd00::1", null, null, interfaces]));
}

#[test]
fn csv_and_lines_have_every_record() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    let piped = run(dir.path(), &["export", "a.json", "-o", "csv"]);
    let mut lines = piped.stdout.lines();
    let head = lines.next().unwrap();
    assert!(head.starts_with("TimeFlowStartMs,TimeFlowEndMs,TimeReceived,SrcAddr,SrcPort,"), "{head}");
    let first = lines.next().unwrap();
    assert!(
        first.starts_with("1700000000000,1700006399999,,10.0.0.1,40000,10.0.0.2,80,6,1000,10,")
            && first.contains("\"a, \"\"quoted\"\" pod\""),
        "{first}"
    );
    assert_eq!(lines.count(), 3);
    let done = run(dir.path(), &["export", "a.json", "-o", "csv:a.csv"]);
    assert_eq!(
        (done.stdout.as_str(), fs::read_to_string(dir.path().join("a.csv")).unwrap()),
        ("a.csv: 4 flows\n", piped.stdout),
        "{done}"
    );
    let lines = run(dir.path(), &["export", "a.json", "-o", "ndjson"]).stdout;
    let flows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kept = |field: &str| flows.iter().map(|flow| flow[field].clone()).collect::<Vec<_>>();
    assert_eq!(kept("Bytes"), [1_000, 2_000, 4_000, 8_000].map(Value::from));
    assert_eq!(kept("Interfaces"), [(); 4].map(|()| json!(["eth0"])));
    // What was exported is a capture, too.
    fs::write(dir.path().join("lines.json"), lines).unwrap();
    let top = |file: &str| run(dir.path(), &["query", file, "top", "-o", "csv"]).stdout;
    assert_eq!(top("lines.json"), top("a.json"));
}

#[test]
fn what_cannot_be_exported_is_one_sentence_and_no_file() {
    let dir = tempfile::tempdir().unwrap();
    write_json(&dir.path().join("a.json"), &records());
    fs::create_dir(dir.path().join("full")).unwrap();
    fs::write(dir.path().join("full/x"), b"").unwrap();
    fs::write(dir.path().join("p.pcapng"), [0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0]).unwrap();
    assert_error(
        dir.path(),
        &["export", "a.json", "-o", "parquet:full"],
        1,
        "full is not empty: choose another directory",
    );
    assert_error(dir.path(), &["export", "a.json", "-o", "parquet:a.json"], 1, "cannot write a.json: Not a directory");
    assert_error(dir.path(), &["export", "a.json", "-o", "csv:gone/a.csv"], 1, "cannot write gone/a.csv: No such file");
    assert_error(dir.path(), &["export", "a.json", "-o", "csv:a.json"], 1, "a.json is the file to read");
    assert_error(dir.path(), &["export", "p.pcapng", "-o", "csv"], 1, "p.pcapng holds packets, not flows");
    assert_error(
        dir.path(),
        &["export", "a.json", "-o", "xml"],
        2,
        "use parquet:DIRECTORY, csv, csv:FILE, ndjson or ndjson:FILE",
    );
    assert_error(dir.path(), &["export", "a.json"], 2, "--output");
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing half-written: {names:?}");
}
