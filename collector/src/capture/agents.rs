//! Agents on the nodes of what is selected and on no others: one is started where something appears that is selected, and stays until the
//! capture ends, so that nothing is lost when a pod comes back.

use std::collections::BTreeSet;
use std::time::Instant;

use tracing::info;

use crate::counts::Counts;
use crate::keeper::agents;
use crate::select::OnlyNodes;

/// The nodes that have an agent.
#[derive(Debug)]
pub(super) struct AgentNodes {
    only: OnlyNodes,
    nodes: BTreeSet<String>,
    started: bool,
}

impl AgentNodes {
    pub(super) fn new(only: OnlyNodes) -> Self {
        Self { only, nodes: BTreeSet::new(), started: false }
    }

    /// Starts agents where something has appeared. Gives the number of nodes.
    pub(super) async fn follow(&mut self, counts: &Counts) -> Result<u64, String> {
        let mut new = counts.pushed().members().nodes(&self.only.of);
        new.retain(|node| !self.nodes.contains(node));
        if new.is_empty() && self.started {
            return Ok(self.nodes.len() as u64);
        }
        let all: BTreeSet<String> = self.nodes.union(&new).cloned().collect();
        if self.started {
            // Also when the API server refuses: nothing is captured there from now on.
            new.iter().for_each(|node| counts.starts_agent(node, Instant::now()));
        }
        agents::run_on(&self.only.namespace, &all).await?;
        let names: Vec<&str> = new.iter().map(String::as_str).collect();
        match names.is_empty() {
            true => info!("agents start where something appears that is selected"),
            false => info!("agents on {}", names.join(", ")),
        }
        (self.nodes, self.started) = (all, true);
        Ok(self.nodes.len() as u64)
    }
}
