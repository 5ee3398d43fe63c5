//! Traffic from a file: what a capture wrote is sent to another one, as it came.

use std::path::Path;

use serde_json::Value;

use super::Client;

/// Flows in the order of their ends.
pub struct Scene {
    flows: Vec<Value>,
}

impl Scene {
    /// Reads a JSON file of flows from `tests/scenes`.
    #[track_caller]
    pub fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes").join(name);
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut flows: Vec<Value> = serde_json::from_slice(&text).expect("an array of flows");
        flows.sort_by_key(end);
        Self { flows }
    }

    /// Seconds from the first flow to the last.
    pub fn seconds(&self) -> u64 {
        let ends = |flow: Option<&Value>| flow.map_or(0, end);
        (ends(self.flows.last()) - ends(self.flows.first())) / 1_000 + 1
    }

    /// All flows, in the order of their ends.
    pub fn flows(&self) -> impl Iterator<Item = &Value> {
        self.flows.iter()
    }

    /// The second in which the last flow ends that is like this.
    #[track_caller]
    pub fn last(&self, is: impl Fn(&Value) -> bool) -> u64 {
        let found = self.flows.iter().rfind(|flow| is(flow)).expect("such a flow");
        (end(found) - end(&self.flows[0])) / 1_000
    }

    /// The client's port of a connection to this port that begins in a second or later, and its flows from the client.
    #[track_caller]
    pub fn connection_after(&self, second: u64, port: u16) -> (u64, usize) {
        let start = end(&self.flows[0]) + second * 1_000;
        let is_new = |flow: &&Value| flow["DstPort"] == port && flow["TimeFlowStartMs"].as_u64() >= Some(start);
        let client = self.flows.iter().find(is_new).expect("a connection")["SrcPort"].as_u64().expect("a port");
        (client, self.flows.iter().filter(|flow| flow["SrcPort"] == client).count())
    }

    /// Sends the flows of these seconds.
    #[track_caller]
    pub fn play(&self, client: &Client, seconds: std::ops::Range<u64>) {
        let start = self.flows.first().map_or(0, end);
        let is_now = |flow: &&Value| seconds.contains(&((end(flow) - start) / 1_000));
        for flow in self.flows.iter().filter(is_now) {
            client.send_generic(&flow.to_string()).expect("an accepted flow");
        }
    }
}

fn end(flow: &Value) -> u64 {
    flow["TimeFlowEndMs"].as_u64().expect("a time")
}
