//! Sends the addresses of what is selected to the agents, now and whenever they change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::Utc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::agents::AgentNodes;
use crate::cli::Options;
use crate::counts::Counts;
use crate::enrich::Names;
use crate::select::{Roster, Selections};

/// Longest wait for the objects of the cluster: until then nothing can be captured.
const FIRST: Duration = Duration::from_secs(30);
/// Between attempts to start agents.
const AGAIN: Duration = Duration::from_secs(2);
/// What changes within this time is one change.
const TOGETHER: Duration = Duration::from_millis(20);

/// Resolves the selections and follows them for as long as the runtime is there. When it returns, agents that ask get the addresses, and it is
/// known how many agents to expect.
///
/// # Errors
/// Something that is named is not there, or it cannot be known.
pub(super) async fn begin(
    options: &mut Options,
    names: Option<&Arc<Names>>,
    counts: &Arc<Counts>,
) -> anyhow::Result<()> {
    let agent_nodes = follow_selections(&options.selections, names, counts).await?;
    options.expect_nodes = agent_nodes.unwrap_or(options.expect_nodes);
    if agent_nodes.map_or(options.background, |nodes| nodes > 0) {
        counts.beginning().agents_come_later();
    }
    Ok(())
}

/// Gives the number of nodes on which agents are started, where that is decided here.
async fn follow_selections(
    selections: &Selections,
    names: Option<&Arc<Names>>,
    counts: &Arc<Counts>,
) -> anyhow::Result<Option<u64>> {
    if selections.is_empty() {
        return Ok(None);
    }
    let names =
        names.filter(|names| names.roster().is_some()).context("names are of a cluster, and there is none here")?;
    if let Err(missing) = names.all(FIRST).await {
        bail!("it is not known what has these names: {}", missing.join("; "));
    }
    let roster = names.roster().context("names are not followed")?;
    if !selections.wait {
        roster.check(selections).map_err(|why| anyhow::anyhow!("{why}; --wait waits until it exists"))?;
    }
    send(selections, roster, counts)?;
    let mut agents = selections.only_nodes.clone().map(AgentNodes::new);
    let mut nodes = None;
    if let Some(agents) = &mut agents {
        let started = agents.follow(counts).await;
        let started =
            started.map_err(|why| anyhow::anyhow!("cannot start agents on the nodes of what is selected: {why}"));
        nodes = Some(started?);
    }
    tokio::spawn(follow(selections.clone(), names.clone(), counts.clone(), agents));
    Ok(nodes)
}

async fn follow(selections: Selections, names: Arc<Names>, counts: Arc<Counts>, mut agents: Option<AgentNodes>) {
    let Some(roster) = names.roster() else { return };
    let (mut failed, mut without_agents) = (false, false);
    loop {
        match without_agents {
            true => drop(timeout(AGAIN, roster.changed()).await),
            false => roster.changed().await,
        }
        let start = Instant::now();
        match send(&selections, roster, &counts) {
            Ok(()) => failed = false,
            // The agents keep what they had.
            Err(error) if !failed => {
                failed = true;
                warn!("what is captured does not follow what is there: {error}");
            }
            Err(_) => {}
        }
        if let Some(agents) = &mut agents {
            match agents.follow(&counts).await {
                Ok(_) => without_agents = false,
                Err(why) if !without_agents => {
                    without_agents = true;
                    warn!("cannot start agents on further nodes yet: {why}");
                }
                Err(_) => {}
            }
        }
        // In a large cluster, not all the time.
        sleep(TOGETHER.max(start.elapsed() * 4)).await;
    }
}

/// Hands the current addresses to the agents, if they have changed.
fn send(selections: &Selections, roster: &Roster, counts: &Counts) -> anyhow::Result<()> {
    let (now, members) = (Utc::now(), counts.pushed().members());
    if let Some(sets) = roster.update(selections, members, now)? {
        counts.pushed().put_sets(sets, now);
        info!("{}", members.now().join("; "));
    }
    Ok(())
}
