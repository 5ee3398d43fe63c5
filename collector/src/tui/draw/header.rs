//! The two lines at the top: how far the capture is, and what went missing.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::bars::bar;
use super::{Canvas, Pieces, fit};
use crate::human;
use crate::tui::app::App;
use crate::tui::theme::{bold, dim};

/// From this width on there is room for more.
const WIDE: u16 = 100;

/// Duration, size, rate and nodes.
pub(super) fn counts(canvas: &mut Canvas, app: &App, area: Rect) {
    let bar_width = if area.width >= WIDE { usize::from(area.width / 13).min(16) } else { 4 };
    let mut pieces = Pieces::new();
    if area.width >= WIDE {
        pieces.push("Flow capture  ", bold());
    }
    time(&mut pieces, app, bar_width);
    pieces.plain("  ");
    size(&mut pieces, app, bar_width);
    pieces.push(format!("  {} flows/s", human::count(app.shown.rate.round() as u64)), bold());
    nodes(&mut pieces, app, if area.width >= WIDE { " of " } else { "/" });
    pieces.draw(canvas, area);
}

fn time(pieces: &mut Pieces, app: &App, bar_width: usize) {
    let seconds = app.shown.elapsed.as_secs();
    pieces.push(format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60), bold());
    let Some(limit) = app.facts.max_time else { return };
    let left = limit.as_secs().saturating_sub(seconds);
    let share = app.shown.elapsed.as_secs_f64() / limit.as_secs_f64().max(0.001);
    pieces.push(format!(" {}", bar(share, bar_width)), filling(app, share));
    pieces.plain(format!(" {} left", human::duration(std::time::Duration::from_secs(left))));
}

fn size(pieces: &mut Pieces, app: &App, bar_width: usize) {
    let bytes = app.shown.totals.json_bytes;
    pieces.push(human::bytes(bytes), bold());
    let Some(limit) = app.facts.max_bytes else { return };
    let share = bytes as f64 / limit.max(1) as f64;
    pieces.push(format!(" {}", bar(share, bar_width)), filling(app, share));
    pieces.plain(format!(" {} left", human::bytes(limit.saturating_sub(bytes))));
}

fn filling(app: &App, share: f64) -> Style {
    if share >= 0.9 { app.theme.alarm() } else { app.theme.good() }
}

fn nodes(pieces: &mut Pieces, app: &App, of: &str) {
    let agents = app.shown.totals.agents;
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    match app.facts.expected {
        Some(expected) if agents < expected => {
            pieces.push(format!("  {agents}{of}{expected} nodes"), app.theme.alarm())
        }
        Some(expected) => pieces.plain(format!("  {agents}{of}{expected} nodes")),
        None => pieces.plain(format!("  {agents} node{}", plural(agents))),
    }
}

/// Losses by stage, silent nodes, and what the kernel lets through.
pub(super) fn losses(canvas: &mut Canvas, app: &App, area: Rect) {
    let mut pieces = Pieces::new();
    let lost = app.shown.totals.lost();
    if lost.is_empty() {
        pieces.push("Lost: nothing", app.theme.good());
    } else {
        pieces.push(format!("Lost: {}", lost.join(", ")), app.theme.alarm());
    }
    if app.shown.totals.refused_flows > 0 {
        let refused = human::count(app.shown.totals.refused_flows);
        pieces.push(format!("  Refused: {refused} flows"), app.theme.alarm());
    }
    let silent: Vec<_> = app.shown.silent.iter().map(|it| format!("{} {}s", it.node, it.time.as_secs())).collect();
    if !silent.is_empty() {
        pieces.push(format!("  Silent: {}", silent.join(", ")), app.theme.alarm());
    }
    let filters = kernel_filters(&app.facts.options);
    if !filters.is_empty() {
        let room = usize::from(area.width).saturating_sub(pieces.at + 10);
        pieces.push("  Kernel: ", dim());
        pieces.plain(fit(&filters, room.min(filters.chars().count()), false));
    }
    pieces.draw(canvas, area);
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
