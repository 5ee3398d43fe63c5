//! The report in a real browser: what it shows without a click, what clicks do, and that no name in it does anything.
#![cfg(target_os = "linux")]

mod after_world;
mod browser_world;

use std::fs;
use std::path::{Path, PathBuf};

use after_world::{record, run, write_json};
use browser_world::browser;
use serde_json::{Value, json};

const BASE: u64 = 1_700_000_000_000;
const HOSTILE: &str = "<script>window.hacked = 1</script>";
const QUOTED: &str = "\"><img src=x onerror='window.hacked = 1'>.example";

fn report(dir: &Path, name: &str, records: &[Value]) -> PathBuf {
    let file = dir.join(format!("{name}.json"));
    write_json(&file, records);
    let done = run(dir, &["report", file.to_str().unwrap()]);
    assert!(done.success(), "{done}");
    dir.join(format!("{name}.html"))
}

/// 30 clients of a server, one each two seconds; the last one has drops, a hostile name, and asks for a hostile name.
fn records() -> Vec<Value> {
    let one = |number: u64| {
        let start = BASE + number * 2_000;
        let mut more = json!({"TimeFlowStartMs": start, "TimeFlowEndMs": start + 1_000});
        if number == 29 {
            let hostile = json!({
                "SrcK8S_Name": HOSTILE, "DnsName": QUOTED, "DnsFlagsResponseCode": "NXDomain", "DnsId": 1, "PktDropPackets": 7,
                "PktDropBytes": 700, "PktDropLatestDropCause": "SKB_DROP_REASON_NETFILTER_DROP"
            });
            more.as_object_mut().unwrap().extend(hostile.as_object().unwrap().clone());
        }
        record((&format!("10.0.0.{number}"), 40_000), ("10.0.0.200", 5432), 1_000 * (number + 1), &more)
    };
    (0..30).map(one).collect()
}

const ROWS: &str = "document.querySelectorAll('#conversations tbody tr').length";
const LINES: &str = "document.querySelectorAll('#graph path').length";

#[test]
fn clicks_filter_and_hostile_names_are_text() {
    let Some(mut browser) = browser("clicks_filter_and_hostile_names_are_text") else { return };
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), "hostile", &records());
    for (name, width, dark) in
        [("light", 1_200, false), ("dark", 1_200, true), ("wide", 2_400, false), ("phone", 390, true)]
    {
        browser.open(&page, width, dark);
        assert_eq!(browser.value(ROWS), 30, "{name}");
        // Wide tables scroll in a box of their own.
        let wide = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "{name}: the page itself is as wide as the window");
        browser.screenshot(name);
        assert!(browser.complaints().is_empty(), "{name}: {:?}", browser.complaints());
    }
    browser.open(&page, 1_200, false);
    // Names are text, wherever they are shown.
    let state = browser.value("[window.hacked === undefined, document.images.length, document.scripts.length]");
    assert_eq!(state, json!([true, 0, 2]), "no name became an element");
    let text = browser.value("document.body.innerText");
    let text = text.as_str().unwrap();
    assert!(text.contains(HOSTILE) && text.contains(QUOTED), "{text}");
    // A word filters the table and the graph.
    browser.click("document.getElementById('filter')");
    browser.call("Input.insertText", &json!({"text": "pod-7"}));
    browser.wait_until(&format!("{ROWS} === 1 && {LINES} === 1"));
    browser.value(
        "(() => { const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input')); })()",
    );
    assert_eq!((browser.value(ROWS), browser.value(LINES)), (json!(30), json!(30)));
    // Columns sort, in both directions.
    let first = "document.querySelector('#conversations tbody tr').innerText";
    let up = "[...document.querySelectorAll('#conversations th button')].find(b => b.textContent.startsWith('up'))";
    browser.click(up);
    browser.wait_until(&format!("{first}.includes('pod-0\\t')"));
    browser.click(up);
    browser.wait_until(&format!("!{first}.includes('pod-0\\t')"));
    // The brush filters everything else; a click ends that.
    browser.drag("document.querySelector('#time svg')", (0.0, 0.4), (0.49, 0.4));
    browser.wait_until(&format!("{ROWS} > 5 && {ROWS} < 20 && {LINES} === {ROWS}"));
    assert_eq!(browser.value("document.querySelectorAll('#conversations tr.bad').length"), 0, "the drops came later");
    browser.drag("document.querySelector('#time svg')", (0.7, 0.4), (0.7, 0.4));
    browser.wait_until(&format!("{ROWS} === 30 && {LINES} === 30"));
    // A name in the graph filters by it.
    browser.click("[...document.querySelectorAll('#graph text')].find(t => t.textContent.includes('pod-12'))");
    browser.wait_until(&format!("{ROWS} === 1"));
    assert_eq!(browser.value("document.querySelectorAll('#graph path[stroke=\"var(--red)\"]').length"), 0);
    assert_eq!(browser.value("window.hacked === undefined"), true);
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn the_report_of_a_blocked_pod_shows_the_cause_without_a_click() {
    let Some(mut browser) = browser("the_report_of_a_blocked_pod_shows_the_cause_without_a_click") else { return };
    let dir = tempfile::tempdir().unwrap();
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("collector/tests/scenes/policy-drop.json");
    fs::copy(scene, dir.path().join("blocked.json")).unwrap();
    assert!(run(dir.path(), &["report", "blocked.json"]).success());
    browser.open(&dir.path().join("blocked.html"), 1_200, false);
    browser.screenshot("blocked");
    let seen = browser.value(
        "(() => { const card = document.querySelector('.card.bad'); const box = card.getBoundingClientRect();
            return [card.innerText, box.top >= 0 && box.bottom <= innerHeight]; })()",
    );
    let sentence = seen[0].as_str().unwrap();
    assert!(sentence.contains("dropped") && seen[1] == true, "in the first screen: {seen}");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn a_graph_of_500_clients_is_readable() {
    let Some(mut browser) = browser("a_graph_of_500_clients_is_readable") else { return };
    let dir = tempfile::tempdir().unwrap();
    let one = |number: u64| {
        let (client, server) = (format!("10.1.{}.{}", number / 250, number % 250), format!("10.0.0.{}", number % 50));
        record((&client, 40_000), (&server, 80), number + 1, &json!({}))
    };
    let page = report(dir.path(), "many", &(0..500).map(one).collect::<Vec<_>>());
    browser.open(&page, 1_200, false);
    browser.screenshot("many");
    let overlap = browser.value(
        "(() => { const boxes = [...document.querySelectorAll('#graph text')].map(t => t.getBoundingClientRect());
            return [boxes.length, boxes.some((a, i) => boxes.some((b, j) => i < j && a.left < b.right && b.left < a.right &&
                a.top + 2 < b.bottom - 2 && b.top + 2 < a.bottom - 2))]; })()",
    );
    assert!(overlap[0].as_u64().unwrap() >= 40 && overlap[1] == false, "no name is on another: {overlap}");
    let left_out = browser.value("document.getElementById('graph').innerText");
    assert!(left_out.as_str().unwrap().contains("460 more pairs"), "{left_out}");
}
