//! What is different between two captures: by workload and port, because addresses and pods change.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use super::file::Capture;
use crate::human;
use crate::sink::sqlite::views::PROTOCOL;

/// A rate counts as changed from this factor on, and a round-trip time.
const FACTOR: f64 = 2.0;
/// Rates below this are noise, bytes a second.
const QUIET: f64 = 1_000.0;
/// Round-trip times differ by at least this much, ms.
const CLOSE_MS: f64 = 1.0;

/// Client and server by workload, else by process or address; the server's port, and the protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    client: String,
    server: String,
    port: Option<u16>,
    protocol: String,
}

/// What one capture has of a pair.
#[derive(Clone, Debug, Default)]
struct Traffic {
    bytes: u64,
    drops: u64,
    dns_errors: u64,
    /// Round-trip times in ascending order, ms.
    rtt: Vec<f64>,
}

/// One capture.
struct Side {
    pairs: BTreeMap<Pair, Traffic>,
    seconds: f64,
}

/// The kinds of differences, as `--fail-on` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Pairs that only the second capture has.
    NewPeers,
    /// Pairs that only the first one has.
    GonePeers,
    /// Rates that differ by a factor of 2.
    Rates,
    /// More dropped packets a second.
    Drops,
    /// More failed DNS queries a second.
    DnsErrors,
    /// Longer round-trip times, p95, by a factor of 2.
    Rtt,
}

/// A difference.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// What kind.
    pub(super) kind: Kind,
    pair: Pair,
    text: String,
}

/// All differences, by kind.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn of(before: &Capture, after: &Capture) -> anyhow::Result<Vec<Difference>> {
    let (before, after) = (side(&before.db)?, side(&after.db)?);
    let mut all = Vec::new();
    for (pair, now) in &after.pairs {
        match before.pairs.get(pair) {
            None => all.push(Difference {
                kind: Kind::NewPeers,
                pair: pair.clone(),
                text: format!("{} in all", human::bytes(now.bytes)),
            }),
            Some(then) => {
                let changes = changes((then, before.seconds), (now, after.seconds));
                all.extend(changes.map(|(kind, text)| Difference { kind, pair: pair.clone(), text }));
            }
        }
    }
    for (pair, then) in before.pairs.iter().filter(|(pair, _)| !after.pairs.contains_key(pair)) {
        let text = format!("{} before", human::bytes(then.bytes));
        all.push(Difference { kind: Kind::GonePeers, pair: pair.clone(), text });
    }
    all.sort_by_key(|one| one.kind as u8);
    Ok(all)
}

fn changes(
    (then, then_s): (&Traffic, f64),
    (now, now_s): (&Traffic, f64),
) -> impl Iterator<Item = (Kind, String)> + use<> {
    let rates = (then.bytes as f64 / then_s, now.bytes as f64 / now_s);
    let differs = rates.0.max(rates.1) >= QUIET && (rates.1 >= rates.0 * FACTOR || rates.0 >= rates.1 * FACTOR);
    let of = |rate: f64| format!("{}/s", human::bytes(rate as u64));
    let rate = differs.then(|| (Kind::Rates, format!("{} -> {}", of(rates.0), of(rates.1))));
    let more = |kind, name: &str, then: u64, now: u64| {
        let grew = now > then && now as f64 / now_s > then as f64 / then_s;
        grew.then(|| (kind, format!("{name} {} -> {}", human::count(then), human::count(now))))
    };
    let drops = more(Kind::Drops, "dropped packets", then.drops, now.drops);
    let dns = more(Kind::DnsErrors, "failed DNS queries", then.dns_errors, now.dns_errors);
    let times = [0.5, 0.95].map(|part| percentile(&then.rtt, part).zip(percentile(&now.rtt, part)));
    let rtt = match times {
        [Some((old50, new50)), Some((old95, new95))] if new95 >= old95 * FACTOR && new95 - old95 >= CLOSE_MS => {
            Some((Kind::Rtt, format!("RTT p50 {old50:.1} -> {new50:.1} ms, p95 {old95:.1} -> {new95:.1} ms")))
        }
        _ => None,
    };
    [rate, drops, dns, rtt].into_iter().flatten()
}

/// The nearest rank.
fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn side(db: &Connection) -> anyhow::Result<Side> {
    let end = |end: &str| format!("coalesce({end}K8S_Namespace || '/' || {end}K8S_OwnerName, {end}Comm, {end}Addr)");
    let (src, dst) = (end("Src"), end("Dst"));
    let sql = format!(
        "SELECT CASE WHEN coalesce(FromClient, 1) THEN {src} ELSE {dst} END,
            CASE WHEN coalesce(FromClient, 1) THEN {dst} ELSE {src} END,
            CASE WHEN coalesce(FromClient, 1) THEN coalesce(OrigDstPort, DstPort) ELSE coalesce(OrigSrcPort, SrcPort) END,
            CAST({PROTOCOL} AS TEXT), Bytes, coalesce(PktDropPackets, 0), DnsErrno = 110 OR DnsFlagsResponseCode <> 'NoError', TimeFlowRttNs
         FROM flow_once WHERE SrcAddr IS NOT NULL"
    );
    let mut pairs: BTreeMap<Pair, Traffic> = BTreeMap::new();
    let mut select = db.prepare(&sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let pair = Pair {
            client: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
            server: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            port: row.get(2)?,
            protocol: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
        };
        let traffic = pairs.entry(pair).or_default();
        traffic.bytes += row.get::<_, Option<i64>>(4)?.unwrap_or_default().cast_unsigned();
        traffic.drops += row.get::<_, i64>(5)?.cast_unsigned();
        traffic.dns_errors += u64::from(row.get::<_, Option<bool>>(6)?.unwrap_or_default());
        let rtt: Option<i64> = row.get(7)?;
        traffic.rtt.extend(rtt.filter(|ns| *ns > 0).map(|ns| ns as f64 / 1e6));
    }
    pairs.values_mut().for_each(|traffic| traffic.rtt.sort_by(f64::total_cmp));
    let seconds = "SELECT (max(TimeFlowEndMs) - min(TimeFlowStartMs)) / 1000.0 FROM flow";
    let seconds: Option<f64> = db.query_row(seconds, [], |row| row.get(0))?;
    Ok(Side { pairs, seconds: seconds.unwrap_or_default().max(1.0) })
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::NewPeers => "New",
            Self::GonePeers => "Gone",
            Self::Rates => "Changed rates",
            Self::Drops => "More drops",
            Self::DnsErrors => "More DNS errors",
            Self::Rtt => "Slower",
        }
    }

    /// As it is typed.
    pub(super) fn word(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} -> {}", self.client, self.server)?;
        if let Some(port) = self.port.filter(|port| *port > 0) {
            write!(out, ":{port}")?;
        }
        write!(out, " {}", self.protocol)
    }
}

/// The differences for a person.
pub(super) fn text(all: &[Difference]) -> String {
    if all.is_empty() {
        return "No difference.".into();
    }
    let mut lines = Vec::new();
    for (at, one) in all.iter().enumerate() {
        if at == 0 || all[at - 1].kind != one.kind {
            lines.push(format!("{}:", one.kind.title()));
        }
        lines.push(format!("  {}: {}", one.pair, one.text));
    }
    lines.join("\n")
}

/// The differences for a program.
pub(super) fn json(all: &[Difference]) -> Json {
    let object = |one: &Difference| {
        json!({"kind": one.kind.word(), "client": one.pair.client, "server": one.pair.server, "port": one.pair.port,
            "protocol": one.pair.protocol, "text": one.text})
    };
    all.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((percentile(&times, 0.5), percentile(&times, 0.95)), (Some(10.0), Some(19.0)));
        assert_eq!((percentile(&[], 0.5), percentile(&[7.0], 0.95)), (None, Some(7.0)));
    }

    #[test]
    fn only_changes_that_matter_are_reported() {
        let traffic = |bytes, drops, rtt: f64| Traffic { bytes, drops, dns_errors: 0, rtt: vec![rtt; 9] };
        let kinds = |then, now| changes((&then, 10.0), (&now, 10.0)).map(|(kind, _)| kind).collect::<Vec<_>>();
        assert_eq!(kinds(traffic(50_000, 1, 1.0), traffic(60_000, 1, 1.5)), []);
        assert_eq!(kinds(traffic(10, 0, 0.1), traffic(900, 0, 0.9)), [], "quiet, and close");
        let all = kinds(traffic(50_000, 1, 1.0), traffic(500_000, 5, 9.0));
        assert_eq!(all, [Kind::Rates, Kind::Drops, Kind::Rtt]);
    }
}
