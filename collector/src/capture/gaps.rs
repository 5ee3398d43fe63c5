//! What may be missing in the files though nothing was lost on the way.

use crate::cli::Options;
use crate::counts::Counts;
use crate::counts::{pushed, unwatched};
use crate::enrich::Names;
use crate::versions;

/// Nodes on which packets before and after address translation may count twice, by reason.
fn translations(counts: &Counts) -> Vec<String> {
    let mut reasons = std::collections::BTreeMap::<String, Vec<String>>::new();
    for (node, agent) in counts.agents() {
        let lost = (agent.lost_translations > 0).then(|| "some messages of the kernel were lost".to_owned());
        if let Some(reason) = lost.or_else(|| Some(agent.no_translations).filter(|reason| !reason.is_empty())) {
            reasons.entry(reason).or_default().push(node);
        }
    }
    let line = |(reason, nodes): (String, Vec<String>)| {
        let (first, number) = (&nodes[0], nodes.len());
        let others = if number > 1 { format!(" and {} more", number - 1) } else { String::new() };
        format!("  translated packets may count twice on {first}{others}: {reason}")
    };
    reasons.into_iter().map(line).collect()
}

/// What may be missing though nothing was lost on the way: what a filter from the screen kept out, the `what` of times without an agent,
/// names, and the `what` of nodes that were never heard.
pub(crate) fn gaps(options: &Options, names: Option<&Names>, counts: &Counts, what: &str) -> Vec<String> {
    let pushed = counts.pushed();
    let kept = pushed.members().summary().into_iter().chain(pushed.periods());
    let mut lines: Vec<String> = kept.map(|line| format!("  {line}")).collect();
    lines.extend(pushed::refusals(&counts.agents()).map(|line| format!("  {line}")));
    lines.extend(unwatched::lines(&counts.agents()).into_iter().map(|line| format!("  {line}")));
    lines.extend(unwatched::lacking(&counts.agents()).into_iter().map(|line| format!("  {line}")));
    lines.extend(translations(counts));
    let absences = counts.absences().into_iter();
    lines.extend(absences.map(|absence| format!("  {absence}: {what} of that time are missing")));
    let missing = names.map(Names::missing).into_iter().flatten();
    lines.extend(missing.map(|missing| format!("  names may be missing, {missing}")));
    let (heard, expected) = (counts.totals().agents, options.expect_nodes);
    let silence = format!("  {heard} of {expected} nodes sent something: {what} of the others are missing");
    lines.extend((heard < expected).then_some(silence));
    let versions = versions::differences(versions::plugin().as_deref(), &counts.agents());
    lines.extend(versions.map(|line| format!("  {line}")));
    lines
}
