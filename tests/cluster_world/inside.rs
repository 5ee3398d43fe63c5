//! What is in the collector's pod while it captures, seen from outside of it: so that no look renews a lease.

use std::fs;
use std::path::PathBuf;

use netobserv_testkit::proc::{Process, children_of};
use serde_json::Value;

use super::Shop;

/// Its output folder.
pub(crate) fn output(shop: &Shop) -> Option<PathBuf> {
    let pid = shop.cluster.pid("netobserv-cli", "collector")?;
    Some(PathBuf::from(format!("/proc/{pid}/root/output")))
}

/// The flows of the JSON file as it is now; none while it is being written.
pub(crate) fn flows(shop: &Shop) -> Vec<Value> {
    flows_of(shop, ".json")
}

/// The flows of the file whose name ends so.
pub(crate) fn flows_of(shop: &Shop, ending: &str) -> Vec<Value> {
    let folder = output(shop).and_then(|output| fs::read_dir(output.join("flow")).ok());
    let mut entries = folder.into_iter().flatten().flatten().map(|entry| entry.path());
    let json = entries.find(|path| path.to_string_lossy().ends_with(ending));
    let text = json.and_then(|path| fs::read(path).ok()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The program that captures in the pod: the child of the `oc exec` below the plugin.
#[track_caller]
pub(crate) fn collector(plugin: &Process) -> i32 {
    let captures =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.contains("get-flows"));
    let exec = children_of(plugin.pid()).into_iter().find(captures);
    let exec = exec.unwrap_or_else(|| panic!("no oc exec: {}", plugin.stderr()));
    let found = children_of(exec);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}
