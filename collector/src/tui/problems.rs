//! The rows of view Problems: one a cause.

use std::time::Duration;

use super::data::Data;
use super::data::problems::{Kind, Pair, Problem};
use super::top::name_or_address;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProblemRow {
    pub(super) kind: Kind,
    pub(super) what: String,
    pub(super) count: u64,
    /// Since it was last seen.
    pub(super) ago: Duration,
    pub(super) who: String,
    /// The filter that shows its flows.
    pub(super) filter: String,
}

/// All rows, the gravest first.
pub(super) fn rows(data: &Data, now: Duration) -> Vec<ProblemRow> {
    let list = data.problems(now);
    let row = |(kind, what, problem): (Kind, compact_str::CompactString, Problem)| ProblemRow {
        kind,
        count: problem.count,
        ago: now.saturating_sub(problem.last),
        who: who(data, &problem),
        filter: filter(kind, &what, &problem),
        what: if problem.worst_ms > 0 { format!("{what} (worst {})", problem.worst_ms) } else { what.into() },
    };
    list.into_iter().map(row).collect()
}

fn who(data: &Data, problem: &Problem) -> String {
    let Some((pair, number)) = problem.who() else { return String::new() };
    let others = match (number - 1, problem.more) {
        (0, false) => String::new(),
        (others, false) => format!(" and {others} more"),
        (others, true) => format!(" and more than {others} others"),
    };
    format!("{}{others}", named(data, pair))
}

fn named(data: &Data, (src, dst, port): Pair) -> String {
    let end = |address: Option<std::net::IpAddr>| {
        address.map_or_else(|| "?".into(), |address| name_or_address(&data.talkers, address))
    };
    let port = if port == 0 { String::new() } else { format!(":{port}") };
    format!("{} → {}{port}", end(src), end(dst))
}

fn filter(kind: Kind, what: &str, problem: &Problem) -> String {
    match kind {
        Kind::Drop => format!("cause:{what}"),
        Kind::Dns => format!("rcode:{}", what.split(' ').next().unwrap_or(what)),
        _ => problem.who().and_then(|((_, dst, _), _)| dst).map_or_else(String::new, |dst| format!("ip:{dst}")),
    }
}
