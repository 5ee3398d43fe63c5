//! What is printed about the options, in the words that scripts of the original match.

use super::super::images::{AGENT_IMAGE, COLLECTOR_IMAGE, REGISTRY};
use super::{Access, NAMESPACE, environment};
use crate::cli::{ClusterArgs, FilterWord, FlowsArgs};

/// Settings that come from the environment.
pub(super) fn environment_lines(words: &ClusterArgs, access: &Access) -> Vec<String> {
    let mut lines = Vec::new();
    if words.access.namespace.is_none() && environment(NAMESPACE).is_some() {
        lines.push(format!("using custom namespace {}", access.namespace));
    }
    let sources = &words.sources;
    for (option, variable, what) in
        [(&sources.collector_image, COLLECTOR_IMAGE, "collector"), (&sources.agent_image, AGENT_IMAGE, "agent")]
    {
        if let Some(image) = environment(variable).filter(|_| option.is_none()) {
            lines.push(format!("using custom {what} image {image}"));
        }
    }
    if let Some(registry) = environment(REGISTRY).filter(|_| sources.registry.is_none()) {
        lines.push(format!("using custom registry {registry}"));
    }
    lines
}

/// One line for each setting of the agents that is not its default.
pub(super) fn options(words: &FlowsArgs) -> Vec<String> {
    let on = |name, value: &Option<String>| value.clone().map(|value| (name, value));
    let mut printed: Vec<(&str, String)> = [
        on("pkt_drop_enable", &words.enable_pkt_drop),
        on("dns_enable", &words.enable_dns),
        on("rtt_enable", &words.enable_rtt),
        on("pkt_xlat_enable", &words.enable_pkt_translation),
        on("sampling", &words.sampling),
        on("interfaces", &words.interfaces),
        on("exclude_interfaces", &words.exclude_interfaces),
        on("log_level", &words.log_level),
        on("node_selector", &words.cluster.node_selector),
        on("privileged", &words.cluster.privileged),
        on("get_subnets", &words.cluster.get_subnets),
    ]
    .into_iter()
    .flatten()
    .collect();
    if words.enable_all.as_deref() == Some("true") {
        printed.extend(["pkt_drop_enable", "dns_enable", "rtt_enable"].map(|name| (name, "true".to_owned())));
    }
    printed.extend(words.expression.iter().map(|filter| ("filter_expression", filter.clone())));
    printed.extend(words.query.iter().map(|query| ("filter_query", query.clone())));
    let rules = words.filter.0.iter().map(|word| match word {
        FilterWord::Or | FilterWord::Bare(_) => "opt: add_filter, value: true".to_owned(),
        FilterWord::Option("enable_filter", value) => format!("opt: filter_enable, value: {value}"),
        FilterWord::Option("drops", value) => format!("opt: filter_pkt_drops, value: {value}"),
        FilterWord::Option(name, value) => format!("opt: filter_{name}, value: {value}"),
    });
    printed.into_iter().map(|(name, value)| format!("opt: {name}, value: {value}")).chain(rules).collect()
}
