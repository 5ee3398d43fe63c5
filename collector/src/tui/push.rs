//! The filters of the screen in the kernels of all nodes, and out of them again.

use chrono::{DateTime, Utc};

use super::app::App;
use crate::counts::Counts;

/// How the nodes stand to the filter that was pushed last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    /// As it was typed.
    pub(super) text: String,
    /// Nothing else is wanted; else it is taken back.
    pub(super) wanted: bool,
    /// Nodes that have done what is wanted, and all.
    pub(super) done: usize,
    pub(super) nodes: usize,
    /// A node that refused it, and why.
    pub(super) refused: Option<(String, String)>,
}

impl Kernel {
    /// `None` when there is none, and no node has one any more.
    pub(super) fn of(counts: &Counts) -> Option<Self> {
        let wanted = counts.pushed().wanted()?;
        let agents = counts.agents();
        let asked = agents.values().filter(|agent| agent.filter == wanted.number);
        let refused = agents.iter().find(|(_, agent)| agent.filter == wanted.number && !agent.filter_error.is_empty());
        let kernel = Self {
            text: wanted.text,
            wanted: wanted.filters,
            done: asked.filter(|agent| agent.filter_error.is_empty()).count(),
            nodes: agents.len(),
            refused: refused.map(|(node, agent)| (node.clone(), agent.filter_error.clone())),
        };
        (kernel.wanted || kernel.done < kernel.nodes).then_some(kernel)
    }
}

/// What is captured by name, in words; how many nodes have the addresses of now, until all do.
pub(super) fn selected(counts: &Counts) -> Vec<String> {
    let (mut lines, number, agents) = (counts.pushed().members().now(), counts.pushed().number(), counts.agents());
    let done = agents.values().filter(|agent| agent.filter == number && agent.filter_error.is_empty()).count();
    if let Some(last) = lines.last_mut().filter(|_| done < agents.len()) {
        *last = format!("{last} ({done} of {} nodes)", agents.len());
    }
    lines
}

/// Puts the filters into the kernels, or takes back those that are there.
pub(super) fn toggle(app: &mut App, counts: &Counts, now: DateTime<Utc>) {
    if app.shown.kernel.as_ref().is_some_and(|kernel| kernel.wanted) {
        counts.pushed().take_back(now);
        return;
    }
    let filters = app.typed_filters();
    let lists: Result<Vec<_>, _> =
        filters.iter().map(|filter| filter.kernel_rules(|term| counts.pushed().members().number(term))).collect();
    match lists {
        Ok(lists) if lists.is_empty() => {
            app.notice = Some("nothing to put into the kernel: type a filter first, such as port:443".into());
        }
        Ok(lists) => {
            let texts: Vec<_> = filters.iter().map(|filter| filter.text.as_str()).collect();
            counts.pushed().push(texts.join(" "), lists, now);
        }
        Err(why) => app.notice = Some(format!("not put into the kernel: {why}")),
    }
}
