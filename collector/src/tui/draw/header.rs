//! The two lines at the top: how far the capture is, and what went missing.

use std::time::Duration;

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::bars::bar;
use super::{Canvas, Pieces, fit};
use crate::human;
use crate::summary::{attaching, clock};
use crate::tui::app::{App, Facts, Silent};
use crate::tui::mouse::Act;
use crate::tui::push::Kernel;
use crate::tui::stage::At;
use crate::tui::theme::{Theme, bold, dim};

/// From this width on there is room for more.
const WIDE: u16 = 100;

/// What the two lines show.
pub(in crate::tui) struct Head<'a> {
    /// `Flow capture`.
    pub(in crate::tui) title: &'static str,
    pub(in crate::tui) facts: &'a Facts,
    pub(in crate::tui) theme: Theme,
    pub(in crate::tui) elapsed: Duration,
    /// Whether it still captures.
    pub(in crate::tui) stage: &'a At,
    /// What `+` adds to its time, now that it is over.
    pub(in crate::tui) more: Option<Duration>,
    /// Bytes of the file that the limit is for.
    pub(in crate::tui) bytes: u64,
    /// How many of what a second.
    pub(in crate::tui) rate: (f64, &'static str),
    /// Nodes that reported.
    pub(in crate::tui) nodes: u64,
    /// How many interfaces are watched, until all are.
    pub(in crate::tui) attaching: String,
    /// What was lost, stage by stage.
    pub(in crate::tui) lost: Vec<String>,
    /// Flows that their sender has to send again.
    pub(in crate::tui) refused: u64,
    pub(in crate::tui) silent: &'a [Silent],
    /// What is captured by name.
    pub(in crate::tui) selected: &'a [String],
    /// The filter that was put into the kernels.
    pub(in crate::tui) kernel: Option<&'a Kernel>,
}

impl<'a> Head<'a> {
    pub(super) fn of(app: &'a App) -> Self {
        let shown = &app.shown;
        Self {
            title: "Flow capture",
            facts: &app.facts,
            theme: app.theme,
            elapsed: shown.elapsed.saturating_sub(shown.periods.rested),
            stage: &shown.stage,
            more: shown.periods.more,
            bytes: shown.totals.json_bytes,
            rate: (shown.rate, "flows/s"),
            nodes: shown.totals.agents,
            attaching: attaching(&shown.totals),
            lost: shown.totals.lost(),
            refused: shown.totals.refused_flows,
            silent: &shown.silent,
            selected: &shown.selected,
            kernel: shown.kernel.as_ref(),
        }
    }
}

/// Duration, size, rate and nodes.
pub(in crate::tui) fn counts(canvas: &mut Canvas, head: &Head, area: Rect) {
    let bar_width = if area.width >= WIDE { usize::from(area.width / 13).min(16) } else { 4 };
    let mut pieces = Pieces::new();
    if area.width >= WIDE {
        pieces.push(format!("{}  ", head.title), bold());
    }
    match head.stage {
        At::Capturing => {
            time(&mut pieces, head, bar_width);
            pieces.plain("  ");
            size(&mut pieces, head, bar_width);
            let (rate, unit) = head.rate;
            pieces.push(format!("  {} {unit}", human::count(rate.round() as u64)), bold());
        }
        At::Finishing(reason) => {
            pieces.push(format!("The capture {reason}: "), bold());
            pieces.push("its files are being finished", head.theme.accent());
        }
        At::Finished(reason) => {
            pieces.push(format!("The capture {reason}, its files are written. "), bold());
            let more = head.more.map(|more| format!(", + continues for {}", human::duration(more)));
            pieces.push(format!("q leaves{}", more.unwrap_or_default()), head.theme.accent().patch(bold()));
        }
    }
    nodes(&mut pieces, head, if area.width >= WIDE { " of " } else { "/" });
    pieces.push(head.attaching.clone(), head.theme.alarm());
    pieces.draw(canvas, area);
}

fn time(pieces: &mut Pieces, head: &Head, bar_width: usize) {
    pieces.push(clock(head.elapsed), bold());
    let Some(limit) = head.facts.max_time else { return };
    let left = limit.as_secs().saturating_sub(head.elapsed.as_secs());
    let share = head.elapsed.as_secs_f64() / limit.as_secs_f64().max(0.001);
    pieces.push(format!(" {}", bar(share, bar_width)), filling(head.theme, share));
    pieces.plain(format!(" {} left", human::duration(Duration::from_secs(left))));
}

fn size(pieces: &mut Pieces, head: &Head, bar_width: usize) {
    pieces.push(human::bytes(head.bytes), bold());
    let Some(limit) = head.facts.max_bytes else { return };
    let share = head.bytes as f64 / limit.max(1) as f64;
    pieces.push(format!(" {}", bar(share, bar_width)), filling(head.theme, share));
    pieces.plain(format!(" {} left", human::bytes(limit.saturating_sub(head.bytes))));
}

fn filling(theme: Theme, share: f64) -> Style {
    if share >= 0.9 { theme.alarm() } else { theme.good() }
}

fn nodes(pieces: &mut Pieces, head: &Head, of: &str) {
    let nodes = head.nodes;
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    match head.facts.expected {
        Some(expected) if nodes < expected => pieces.push(format!("  {nodes}{of}{expected} nodes"), head.theme.alarm()),
        Some(expected) => pieces.plain(format!("  {nodes}{of}{expected} nodes")),
        None => pieces.plain(format!("  {nodes} node{}", plural(nodes))),
    }
}

/// Losses by stage, silent nodes, and what the kernel lets through.
pub(in crate::tui) fn losses(canvas: &mut Canvas, head: &Head, area: Rect) {
    let mut pieces = Pieces::new();
    if head.lost.is_empty() {
        pieces.push("Lost: nothing", head.theme.good());
    } else {
        pieces.push(format!("Lost: {}", head.lost.join(", ")), head.theme.alarm());
    }
    if head.refused > 0 {
        pieces.push(format!("  Refused: {} flows", human::count(head.refused)), head.theme.alarm());
    }
    let silent: Vec<_> = head.silent.iter().map(|it| format!("{} {}s", it.node, it.time.as_secs())).collect();
    if !silent.is_empty() {
        pieces.push(format!("  Silent: {}", silent.join(", ")), head.theme.alarm());
    }
    if !head.selected.is_empty() {
        let (text, room) = (head.selected.join("; "), usize::from(area.width).saturating_sub(pieces.at + 2));
        pieces.plain("  ");
        pieces.push(fit(&text, room.min(text.chars().count()), false), head.theme.accent());
    }
    if let Some(kernel) = head.kernel {
        pushed(&mut pieces, canvas, head.theme, kernel, area);
    }
    let filters = kernel_filters(&head.facts.options);
    if !filters.is_empty() {
        let room = usize::from(area.width).saturating_sub(pieces.at + 10);
        pieces.push("  Kernel: ", dim());
        pieces.plain(fit(&filters, room.min(filters.chars().count()), false));
    }
    pieces.draw(canvas, area);
}

/// That nothing else is captured, and which nodes have confirmed it.
fn pushed(pieces: &mut Pieces, canvas: &mut Canvas, theme: Theme, kernel: &Kernel, area: Rect) {
    let Kernel { text, wanted, done, nodes, refused } = kernel;
    let said = match (refused, *wanted) {
        (Some((node, why)), _) => format!("{node} does not filter: {why}"),
        (None, true) => format!("Files get only: {text} ({done} of {nodes} nodes)"),
        (None, false) => format!("All is captured again ({done} of {nodes} nodes)"),
    };
    let style = if refused.is_some() || done < nodes { theme.alarm() } else { theme.second().patch(bold()) };
    pieces.plain("  ");
    pieces.button(canvas, area, said, style, Act::Kernel);
}

/// The filter rules among the options of the capture.
fn kernel_filters(options: &str) -> String {
    const RULES: [&str; 13] = [
        "action",
        "cidr",
        "direction",
        "protocol",
        "port",
        "sport",
        "dport",
        "icmp_",
        "peer_",
        "tcp_flags",
        "drops",
        "sample",
        "or",
    ];
    let is_rule = |option: &&str| {
        let name = option.trim_start_matches('-').split('=').next().unwrap_or_default();
        let known = |rule: &&str| match *rule {
            "or" | "action" | "cidr" | "direction" | "protocol" | "tcp_flags" | "drops" | "sample" => name == *rule,
            start => name.starts_with(start),
        };
        RULES.iter().any(known)
    };
    let rules: Vec<_> = options.split('|').filter(is_rule).map(|rule| rule.trim_start_matches('-')).collect();
    rules.join(" ")
}

#[cfg(test)]
mod tests {
    use super::kernel_filters;

    #[test]
    fn rules_are_told_from_other_options() {
        let options = "--enable_dns|--protocol=TCP|--ports=80,443|or|--peer_ip=10.0.0.1|--max-time=5m|--sampling=2";
        assert_eq!(kernel_filters(options), "protocol=TCP ports=80,443 or peer_ip=10.0.0.1");
        assert_eq!(kernel_filters(""), "");
    }
}
