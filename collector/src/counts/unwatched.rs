//! Interfaces that agents did not watch, or not all the time, as they report them.

use std::collections::BTreeMap;

use netobserv_contract::plain;
use netobserv_wire::pbflow::{AgentStatus, UnwatchedInterfaces};

use tracing::warn;

use crate::counts::Agent;

/// Most reasons that are kept of an agent.
const MOST_REASONS: usize = 16;
/// Most names that are kept for a reason.
const MOST_NAMES: usize = 50;
/// Longest text that is kept of a name or a reason, in characters.
const LONGEST: usize = 300;

/// What an agent reports, as far as it is kept.
pub fn reported(status: &AgentStatus) -> Vec<UnwatchedInterfaces> {
    let kept = |group: &UnwatchedInterfaces| UnwatchedInterfaces {
        reason: clean(&group.reason),
        count: group.count,
        names: group.names.iter().take(MOST_NAMES).map(|name| clean(name)).collect(),
    };
    status.unwatched.iter().take(MOST_REASONS).map(kept).collect()
}

/// What a peer wrote goes to terminals.
fn clean(text: &str) -> String {
    plain::line(&text.chars().take(LONGEST).collect::<String>()).into_owned()
}

/// Features that were wanted and that kernels cannot do, in words, by node.
pub fn lacking(agents: &BTreeMap<String, Agent>) -> Vec<String> {
    let lacking = agents.iter().filter(|(_, agent)| !agent.lacking.is_empty());
    let line = |(node, agent): (&String, &Agent)| {
        format!("not captured on {}, as its kernel cannot: {}", clean(node), clean(&agent.lacking))
    };
    lacking.map(line).collect()
}

/// Reports at once what an agent did not report before.
pub fn warn_of_new(node: &str, before: &[UnwatchedInterfaces], now: &[UnwatchedInterfaces]) {
    let is_new = |group: &&UnwatchedInterfaces| before.iter().all(|known| known.reason != group.reason);
    now.iter().filter(is_new).for_each(|group| warn!("not watched on {}: {group}", clean(node)));
}

/// How many there are.
pub fn count(groups: &[UnwatchedInterfaces]) -> u64 {
    groups.iter().map(|group| u64::from(group.count)).sum()
}

/// A line for each agent and reason.
pub fn lines(agents: &BTreeMap<String, Agent>) -> Vec<String> {
    let lines = agents.iter().flat_map(|(node, agent)| agent.unwatched.iter().map(move |group| (node, group)));
    match agents.len() {
        1 => lines.map(|(_, group)| format!("not watched: {group}")).collect(),
        _ => lines.map(|(node, group)| format!("not watched on {node}: {group}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::counts::Counts;

    fn status(node: &str, interfaces: u32, last: bool, names: &[&str]) -> AgentStatus {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let group =
            UnwatchedInterfaces { reason: "link type X is not supported".into(), count: names.len() as u32, names };
        let unwatched = Some(group).filter(|group| group.count > 0).into_iter().collect();
        AgentStatus { node: node.into(), interfaces, last, unwatched, ..AgentStatus::default() }
    }

    #[test]
    fn interfaces_that_are_not_watched_are_counted_named_and_lost() {
        let (counts, now) = (Counts::default(), Instant::now());
        counts.heard(&status("a", 7, false, &["tun0", "wg\u{1b}0"]), 0, now);
        let kind = "link type X is not supported";
        assert_eq!(lines(&counts.agents()), [format!("not watched: 2 interfaces: {kind}: tun0, wg?0")]);
        counts.heard(&status("b", 3, false, &["tun1"]), 0, now);
        assert_eq!(lines(&counts.agents())[1], format!("not watched on b: 1 interface: {kind}: tun1"));
        assert_eq!((counts.totals().unwatched, counts.totals().interfaces), (3, 10));
        assert_eq!(counts.totals().lost(), ["packets of 3 interfaces that were not watched all the time"]);
    }

    #[test]
    fn an_agent_that_has_left_its_interfaces_watched_them() {
        let (counts, now) = (Counts::default(), Instant::now());
        counts.heard(&status("a", 7, false, &[]), 0, now);
        counts.heard(&status("a", 0, true, &[]), 0, now);
        assert_eq!(counts.agents()["a"].interfaces, 7);
        assert_eq!(counts.capturing(), 0, "not any more");
    }
}
