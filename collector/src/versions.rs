//! Whether plugin, collector and agents are of one version: an image chosen by hand, or an outdated mirror,
//! may hold another. A capture with such a mixture may lack what one of them does not know.

use std::collections::BTreeMap;

use tracing::warn;

use crate::counts::Agent;

/// The variable in which the plugin passes its own version. An older one does not.
pub const PLUGIN: &str = "NETOBSERV_CLI_VERSION";
/// That of this collector.
pub const OWN: &str = env!("CARGO_PKG_VERSION");

/// The version of the plugin that started this capture, if it passed one.
pub fn plugin() -> Option<String> {
    std::env::var(PLUGIN).ok().filter(|version| !version.is_empty())
}

/// Logs at once that the plugin has another version.
pub fn compare_with_plugin() {
    if let Some(line) = differences(plugin().as_deref(), &BTreeMap::new()) {
        warn!("{line}");
    }
}

/// What to report about versions that differ. Agents of other projects have none.
pub fn differences(plugin: Option<&str>, agents: &BTreeMap<String, Agent>) -> Option<String> {
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, agent) in agents.iter().filter(|(_, agent)| !agent.version.is_empty() && agent.version != OWN) {
        others.entry(&agent.version).or_default().push(node);
    }
    let plugin = plugin.filter(|version| *version != OWN).map(|version| format!("the plugin is {version}"));
    let agents = others.iter().map(|(version, nodes)| format!("the agent of {} is {version}", some(nodes)));
    let told: Vec<String> = plugin.into_iter().chain(agents).collect();
    let rest = "use the images that 'oc netobserv images' lists";
    (!told.is_empty()).then(|| format!("versions differ: this collector is {OWN}, {}: {rest}", told.join(", ")))
}

/// The first of the nodes, and how many more.
fn some(nodes: &[&str]) -> String {
    match nodes {
        [] => String::new(),
        [node] => (*node).to_owned(),
        [node, rest @ ..] => format!("{node} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use netobserv_wire::pbflow::AgentStatus;

    use super::*;
    use crate::counts::Counts;

    fn agents(versions: &[(&str, &str)]) -> BTreeMap<String, Agent> {
        let counts = Counts::default();
        for (node, version) in versions {
            let status = AgentStatus { node: (*node).into(), version: (*version).into(), ..AgentStatus::default() };
            counts.heard(&status, 0, Instant::now());
        }
        counts.agents()
    }

    #[test]
    fn nothing_is_said_of_one_version() {
        assert_eq!(differences(None, &agents(&[])), None);
        assert_eq!(differences(Some(OWN), &agents(&[("a", OWN), ("foreign", "")])), None);
    }

    #[test]
    fn each_other_version_is_named_once() {
        let said = differences(Some("9.0.0"), &agents(&[("a", "8.1.0"), ("b", OWN), ("c", "8.1.0"), ("d", "8.2.0")]));
        let wanted = format!(
            "versions differ: this collector is {OWN}, the plugin is 9.0.0, the agent of a and 1 more is 8.1.0, \
             the agent of d is 8.2.0: use the images that 'oc netobserv images' lists"
        );
        assert_eq!(said, Some(wanted));
    }
}
