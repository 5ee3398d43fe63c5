//! How help, manual pages and completions show the command line: options under headings, those of other commands left out,
//! and examples. What a word means is not decided here: `super` reads all of them whatever they look like.

use clap::{Arg, Command};

use super::cluster::NOT_OF_PACKETS;
use super::examples::OTHERS;

const CAPTURED: &str = "What is captured";
const OUTPUT: &str = "Limits and output";
const DEMANDS: &str = "For scripts";
const CLUSTER: &str = "In a cluster";
const IMAGES: &str = "Images";
const ACCESS: &str = "Access to the cluster";
const LOCAL: &str = "On this machine";

/// The headings in their order, and the options below each. Filter rules have a heading of their own, at the end.
const HEADINGS: [(&str, &[&str]); 7] = [
    (
        CAPTURED,
        &[
            "from",
            "for",
            "connect",
            "objects",
            "interfaces",
            "exclude_interfaces",
            "enable_dns",
            "enable_rtt",
            "enable_pkt_drop",
            "enable_all",
            "sampling",
            "filter",
            "explain",
            "query",
            "observations",
            "own-traffic",
            "get-subnets",
            "subnets",
            "all",
            "snaplen",
            "include_list",
            "max-series",
        ],
    ),
    (
        OUTPUT,
        &[
            "max-time",
            "max-bytes",
            "copy",
            "output-dir",
            "no-tui",
            "output",
            "write",
            "format",
            "comments",
            "sightings",
            "tls-keylog",
            "max-file-size",
            "max-files",
            "log-level",
            "verbose",
            "quiet",
        ],
    ),
    (DEMANDS, &["fail-on", "expect", "forbid", "report"]),
    (
        CLUSTER,
        &["to", "background", "keep", "lease", "node-selector", "only-these-nodes", "wait", "privileged", "yaml"],
    ),
    (
        IMAGES,
        &["collector-image", "agent-image", "registry", "image-pull-policy", "pull-secret", "no-registry", "programs"],
    ),
    (ACCESS, &["namespace", "kubeconfig", "context", "timeout", "dry-run", "force"]),
    (LOCAL, &["local", "listen", "process", "pid", "container", "cgroup", "listen-port"]),
];

/// Options that only captures of packets have.
const ONLY_OF_PACKETS: [&str; 9] =
    ["all", "comments", "sightings", "format", "write", "tls-keylog", "max-file-size", "max-files", "snaplen"];

/// Options that only captures of metrics have.
const ONLY_OF_METRICS: [&str; 4] = ["include_list", "max-series", "to", "listen"];
/// Options of flows that metrics do not have.
const NOT_OF_METRICS: [&str; 7] = ["max-bytes", "output", "observations", "fail-on", "expect", "forbid", "report"];

/// Options that other commands take and do nothing with: they are not shown there.
const WITHOUT_EFFECT: [(&str, &[&str]); 8] = [
    ("why", &NOT_OF_WHY),
    ("metrics", &["force"]),
    ("flows", &["force"]),
    ("packets", &["output", "force"]),
    ("follow", &["output-dir", "force"]),
    ("stop", &["output-dir", "force"]),
    ("copy", &["force"]),
    ("cleanup", &["output-dir"]),
];
/// Options of a capture that `why` decides itself.
const NOT_OF_WHY: [&str; 8] =
    ["background", "copy", "yaml", "wait", "own-traffic", "get-subnets", "keep", "only-these-nodes"];
/// What an option does there, where that is not what it does for flows.
const OF_PACKETS: [(&str, &str); 4] = [
    ("query", "Keep only packets that match this query; if repeated, packets that match any of them"),
    ("enable_all", "All features of packets: --enable_pkt_drop"),
    ("max-bytes", "End when this many bytes are written [default: 50000000]"),
    ("no-tui", "No screen: one line of progress per second"),
];

/// The same for metrics.
const OF_METRICS: [(&str, &str); 5] = [
    ("query", "Count only flows that match this query; if repeated, flows that match any of them"),
    ("enable_all", "DNS, round-trip times and drops, with their metrics; disable one of them with =false"),
    ("max-time", "End after this time: 30s, 5m, 1h30m [default: 1h]"),
    ("no-tui", "No screen: one line of rates per second"),
    ("quiet", "Print only warnings and errors"),
];

/// Commands with the options of a cluster.
const GROUPED: [&str; 8] = ["flows", "packets", "metrics", "follow", "stop", "copy", "cleanup", "why"];

/// Every command as it is shown.
pub(super) fn arranged(mut main: Command) -> Command {
    for (place, page) in main.get_subcommands_mut().enumerate() {
        let name = page.get_name().to_owned();
        let shown = if GROUPED.contains(&name.as_str()) { grouped(page) } else { page.clone() };
        let examples = OTHERS.iter().find(|(command, _)| *command == name);
        *page = examples.map_or(shown.clone(), |(_, text)| shown.after_help(*text)).display_order(place);
    }
    main
}

/// The same command with its options in the order of the headings.
fn grouped(page: &Command) -> Command {
    let name = page.get_name();
    let foreign = match name {
        "flows" => [&ONLY_OF_PACKETS[..], &ONLY_OF_METRICS].concat(),
        "packets" => [&NOT_OF_PACKETS[..], &ONLY_OF_METRICS].concat(),
        "metrics" => [&ONLY_OF_PACKETS[..], &NOT_OF_METRICS].concat(),
        _ => vec![],
    };
    let idle = WITHOUT_EFFECT.iter().find(|(command, _)| *command == name).map_or(&[][..], |(_, options)| *options);
    let hidden = [&foreign[..], idle].concat();
    let mut options: Vec<(usize, Arg)> = page.get_arguments().map(|arg| placed(arg, &hidden)).collect();
    let texts: &[(&'static str, &'static str)] = match name {
        "packets" => &OF_PACKETS,
        "metrics" => &OF_METRICS,
        _ => &[],
    };
    options.iter_mut().for_each(|(_, arg)| reworded(arg, texts));
    // Stable: below a heading, and where none is, they stay as they are.
    options.sort_by_key(|(place, _)| *place);
    let shown = Command::new(page.get_name().to_owned()).args(options.into_iter().map(|(_, arg)| arg));
    let shown = page.get_about().map_or(shown.clone(), |about| shown.about(about.clone()));
    page.get_after_help().map_or(shown.clone(), |text| shown.after_help(text.clone()))
}

/// An option with its heading, and where that stands.
fn placed(arg: &Arg, hidden: &[&str]) -> (usize, Arg) {
    let name = arg.get_long().unwrap_or_default();
    let arg = arg.clone();
    let arg = if hidden.contains(&name) { arg.hide(true) } else { arg };
    let below = |(_, options): &(&str, &[&str])| position(options, name);
    match HEADINGS.iter().enumerate().find_map(|(heading, entry)| Some((heading, below(entry)?))) {
        Some((heading, row)) => (heading * 100 + row, arg.help_heading(HEADINGS[heading].0).display_order(row)),
        None => (HEADINGS.len() * 100, arg),
    }
}

fn reworded(arg: &mut Arg, texts: &[(&'static str, &'static str)]) {
    if let Some((_, what)) = texts.iter().find(|(name, _)| arg.get_long() == Some(name)) {
        *arg = arg.clone().help(*what);
    }
}

fn position(options: &[&str], name: &str) -> Option<usize> {
    options.iter().position(|option| *option == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An option that is new has to be given a place.
    #[test]
    fn every_option_has_a_heading() {
        for command in super::super::whole().get_subcommands().filter(|page| GROUPED.contains(&page.get_name())) {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional()) {
                let name = arg.get_long().unwrap_or_default();
                let placed = HEADINGS.iter().any(|(_, options)| options.contains(&name));
                let rule = arg.get_help_heading().is_some_and(|heading| {
                    heading.starts_with("Filter rules") || heading.starts_with("Names in a cluster")
                });
                assert!(name == "help" || placed || rule, "--{name} of {}", command.get_name());
            }
        }
    }
}
