//! What a script demands of a capture: limits (`drops>0` fails), connections that have to be there, and connections that must not.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::finding::{Finding, Kind};
use crate::measure::{Measures, is_answer};
use crate::objects::Protocol;
use crate::observe::{Observation, Seen};

/// A demand in words that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DemandError(String);

/// What a demand came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The demand as it was written, with its option.
    pub demand: String,
    /// Whether it is met.
    pub met: bool,
    /// What was found.
    pub found: String,
}

/// All demands on a capture.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    limits: Vec<Limit>,
    connections: Vec<(Connection, Sighting)>,
}

/// A limit: the capture fails when it is exceeded.
#[derive(Clone, Debug)]
struct Limit {
    text: String,
    measure: Measure,
    compare: Compare,
    value: f64,
    /// In percent of all, not by number.
    percent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Drops,
    Resets,
    Unanswered,
    Refused,
    Findings,
    DnsErrors,
    DnsTimeouts,
    /// A percentile of round trips; 100 for the largest.
    Rtt(u64),
    /// The same of DNS.
    Dns(u64),
}

/// The names of the measures.
/// What an end may begin with.
const KINDS: [&str; 3] = ["ns:", "svc:", "pod:"];
const MEASURES: [(&str, Measure); 15] = [
    ("drops", Measure::Drops),
    ("resets", Measure::Resets),
    ("unanswered", Measure::Unanswered),
    ("refused", Measure::Refused),
    ("findings", Measure::Findings),
    ("dns-errors", Measure::DnsErrors),
    ("dns-timeouts", Measure::DnsTimeouts),
    ("rtt-p50", Measure::Rtt(50)),
    ("rtt-p95", Measure::Rtt(95)),
    ("rtt-p99", Measure::Rtt(99)),
    ("rtt-max", Measure::Rtt(100)),
    ("dns-p50", Measure::Dns(50)),
    ("dns-p95", Measure::Dns(95)),
    ("dns-p99", Measure::Dns(99)),
    ("dns-max", Measure::Dns(100)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    More,
    AtLeast,
    Less,
    AtMost,
}

/// A connection that has to be there, or must not.
#[derive(Clone, Debug)]
struct Connection {
    text: String,
    wanted: bool,
    client: Side,
    server: Side,
    port: Option<u16>,
    protocol: Option<Protocol>,
}

#[derive(Clone, Debug, Default)]
struct Sighting {
    seen: u64,
    answered: bool,
    example: String,
}

/// An end of a connection, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Side {
    Any,
    /// Nothing in the cluster; without a cluster, no private address.
    Outside,
    Namespace(String),
    /// A workload, pod or service: namespace, name.
    Named(String, String),
    /// A process of this machine, a node, or a workload of any namespace.
    Plain(String),
    Addresses(IpNet),
}

impl Demands {
    /// Adds limits: `drops>0, dns-errors>1%, rtt-p95>50ms`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn fail_on(&mut self, text: &str) -> Result<(), DemandError> {
        for one in text.split(',').map(str::trim) {
            self.limits.push(limit(one)?);
        }
        Ok(())
    }

    /// Adds a connection that has to be seen and answered: `shop/web -> shop/db:5432`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn expect(&mut self, text: &str) -> Result<(), DemandError> {
        self.connections.push((connection(text, true)?, Sighting::default()));
        Ok(())
    }

    /// Adds a connection that must not be seen: `ns:shop -> outside`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn forbid(&mut self, text: &str) -> Result<(), DemandError> {
        self.connections.push((connection(text, false)?, Sighting::default()));
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.connections.is_empty()
    }

    /// Looks at a record.
    pub fn add(&mut self, seen: &Observation<'_>) {
        for (connection, sighting) in &mut self.connections {
            connection.look(seen, sighting);
        }
    }

    /// What they came to.
    pub fn outcomes(&self, measures: &Measures, findings: &[Finding]) -> Vec<Outcome> {
        let limits = self.limits.iter().map(|limit| limit.outcome(measures, findings));
        limits.chain(self.connections.iter().map(|(connection, sighting)| connection.outcome(sighting))).collect()
    }
}

/// The two ends that a question is about.
#[derive(Clone, Debug)]
pub struct Pair {
    connection: Connection,
    /// The conversations between them: a service's have records of its pods.
    conversations: HashSet<u64>,
}

impl Pair {
    /// Reads them: `shop/web` and `shop/db:5432`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(client: &str, server: &str) -> Result<Self, DemandError> {
        let connection = connection(&format!("{client} -> {server}"), true)?;
        Ok(Self { connection, conversations: HashSet::new() })
    }

    /// Notes the conversation of a record that is between them. Without it only records that show both ends concern them.
    pub fn note(&mut self, seen: &Observation<'_>) {
        if seen.conversation > 0 && self.is_between(seen) {
            self.conversations.insert(seen.conversation);
        }
    }

    fn is_between(&self, seen: &Observation<'_>) -> bool {
        let Connection { client, server, port, .. } = &self.connection;
        let is = |from: &Seen<'_>, to: &Seen<'_>| {
            client.is(from) && server.is(to) && port.is_none_or(|port| to.port == Some(port))
        };
        is(&seen.src, &seen.dst) || is(&seen.dst, &seen.src)
    }

    /// Whether a record is between them, in any direction, shows a DNS look-up of the client, or what a router answers it.
    pub fn concerns(&self, seen: &Observation<'_>) -> bool {
        let client = &self.connection.client;
        let looks_up = seen.dns.is_some() && (client.is(&seen.src) || client.is(&seen.dst));
        let is_answer =
            matches!((seen.protocol, seen.icmp), (Some(1), Some((3 | 11 | 12, _))) | (Some(58), Some((1..=4, _))));
        self.is_between(seen)
            || self.conversations.contains(&seen.conversation)
            || looks_up
            || is_answer && client.is(&seen.dst)
    }
}

fn limit(text: &str) -> Result<Limit, DemandError> {
    let names = || MEASURES.map(|(name, _)| name).join(", ");
    let wrong = || {
        DemandError(format!(
            "'{text}' is no limit: use MEASURE>NUMBER, such as drops>0, dns-errors>1% or rtt-p95>50ms; measures: {}",
            names()
        ))
    };
    let at = text.find(['<', '>']).ok_or_else(wrong)?;
    let (name, rest) = text.split_at(at);
    let (compare, value) = match rest.as_bytes() {
        [b'>', b'=', ..] => (Compare::AtLeast, &rest[2..]),
        [b'<', b'=', ..] => (Compare::AtMost, &rest[2..]),
        [b'>', ..] => (Compare::More, &rest[1..]),
        _ => (Compare::Less, &rest[1..]),
    };
    let (_, measure) = MEASURES.into_iter().find(|(known, _)| *known == name.trim()).ok_or_else(wrong)?;
    let value = value.trim();
    let is_time = matches!(measure, Measure::Rtt(_) | Measure::Dns(_));
    let is_share = matches!(measure, Measure::DnsErrors | Measure::DnsTimeouts);
    let units: &[(&str, f64)] = if is_time {
        &[("us", 1e-3), ("ms", 1.0), ("s", 1e3)]
    } else if is_share {
        &[("%", 1.0), ("", 1.0)]
    } else {
        &[("", 1.0)]
    };
    let number = |(unit, factor): &(&str, f64)| {
        let number = value.strip_suffix(unit)?.trim_end();
        let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        number.parse::<f64>().ok().filter(|_| plain).map(|number| (number * factor, *unit == "%"))
    };
    let wrong_value = || {
        let use_ = if is_time {
            "a time such as 50ms or 1s"
        } else if is_share {
            "a number, or a share such as 1%"
        } else {
            "a number"
        };
        DemandError(format!("'{text}': {name} is compared with {use_}"))
    };
    let (value, percent) = units.iter().find_map(number).ok_or_else(wrong_value)?;
    Ok(Limit { text: text.to_owned(), measure, compare, value, percent })
}

fn connection(text: &str, wanted: bool) -> Result<Connection, DemandError> {
    let wrong = |why: &str| {
        DemandError(format!(
            "'{text}': {why}: use CLIENT -> SERVER[:PORT], such as shop/web -> shop/db:5432 or ns:shop -> outside"
        ))
    };
    let (client, server) = text.split_once("->").ok_or_else(|| wrong("there is no ->"))?;
    let (server, protocol) = match server.trim().rsplit_once('/') {
        Some((rest, name)) if rest.contains(':') => {
            let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .into_iter()
                .find(|one| one.name().eq_ignore_ascii_case(name));
            if known.is_some() { (rest, known) } else { (server.trim(), None) }
        }
        _ => (server.trim(), None),
    };
    let (server, port) = match server.rsplit_once(':') {
        // The colons of `ns:` and of IPv6 belong to no port.
        Some((name, port))
            if !["ns", "svc", "pod"].contains(&name)
                && (!name.contains(':') || KINDS.iter().any(|kind| name.starts_with(kind)) || name.ends_with(']')) =>
        {
            let port = port.parse().map_err(|_| wrong(&format!("{port} is no port")))?;
            (name, Some(port))
        }
        _ => (server, None),
    };
    let side =
        |word: &str| side(word.trim()).ok_or_else(|| wrong(&format!("'{}' is no end of a connection", word.trim())));
    Ok(Connection {
        text: text.trim().to_owned(),
        wanted,
        client: side(client)?,
        server: side(server)?,
        port,
        protocol,
    })
}

fn side(word: &str) -> Option<Side> {
    let word = word.trim_start_matches('[').trim_end_matches(']');
    if word.is_empty() || word.contains(char::is_whitespace) {
        return None;
    }
    if let Some(namespace) = word.strip_prefix("ns:") {
        return (!namespace.is_empty()).then(|| Side::Namespace(namespace.to_owned()));
    }
    // Which of them it is makes a difference to what is captured only.
    let word = ["svc:", "pod:"].into_iter().find_map(|prefix| word.strip_prefix(prefix)).unwrap_or(word);
    if let Ok(net) = word.parse::<IpNet>() {
        return Some(Side::Addresses(net));
    }
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(Side::Addresses(address.into()));
    }
    Some(match (word, word.split_once('/')) {
        ("any" | "*", _) => Side::Any,
        ("outside", _) => Side::Outside,
        (_, Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Side::Named(namespace.to_owned(), name.to_owned())
        }
        (_, Some(_)) => return None,
        _ => Side::Plain(word.to_owned()),
    })
}

impl Side {
    fn is(&self, end: &Seen<'_>) -> bool {
        match self {
            Side::Any => true,
            Side::Outside => end.kind.is_empty() && end.address.is_some_and(|address| !is_private(address)),
            Side::Namespace(name) => end.namespace == name,
            Side::Named(namespace, name) => end.namespace == namespace && (end.name == name || end.owner == name),
            Side::Plain(name) => [end.process, end.name, end.owner].contains(&name.as_str()),
            Side::Addresses(net) => end.address.is_some_and(|address| net.contains(&address)),
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
        }
    }
}

impl Connection {
    fn look(&self, seen: &Observation<'_>, sighting: &mut Sighting) {
        let protocol_holds =
            self.protocol.is_none_or(|protocol| seen.protocol.and_then(Protocol::of) == Some(protocol));
        if !protocol_holds || seen.packets == 0 {
            return;
        }
        let port_holds = |end: &Seen<'_>| self.port.is_none_or(|port| end.port == Some(port));
        let (client, server) = seen.client_and_server();
        // With a port in the demand that decides which end is the server, whatever the record shows.
        let ways =
            if self.port.is_some() { [(seen.src, seen.dst), (seen.dst, seen.src)] } else { [(client, server); 2] };
        let Some((client, server)) = ways
            .into_iter()
            .find(|(client, server)| self.client.is(client) && self.server.is(server) && port_holds(server))
        else {
            return;
        };
        let by_client = seen.src.address == client.address && seen.src.port == client.port;
        if by_client {
            sighting.seen += 1;
        } else {
            sighting.answered |= is_answer(seen);
        }
        if sighting.example.is_empty() {
            let port = server.port.map(|port| format!(" port {port}")).unwrap_or_default();
            sighting.example = format!("{} to {}{port}", client.party(), server.party());
        }
    }

    fn outcome(&self, sighting: &Sighting) -> Outcome {
        let is_there = sighting.seen > 0 || sighting.answered;
        let met = if self.wanted { sighting.answered } else { !is_there };
        let found = match (is_there, sighting.answered) {
            (false, _) => "not seen".to_owned(),
            (true, false) => format!("not answered: {}", sighting.example),
            (true, true) => format!("answered: {}", sighting.example),
        };
        let option = if self.wanted { "--expect" } else { "--forbid" };
        Outcome { demand: format!("{option}='{}'", self.text), met, found }
    }
}

impl Limit {
    fn outcome(&self, measures: &Measures, findings: &[Finding]) -> Outcome {
        let of_kind = |kind| findings.iter().filter(|one| one.kind == kind).map(|one| one.count).sum::<u64>();
        let ms = |us: u64| us as f64 / 1e3;
        let number = |number: u64| number as f64;
        let times = |times: &crate::measure::Times, percent: u64| match percent {
            100 => ms(times.worst_us()),
            percent => ms(times.percentile_us(percent)),
        };
        let is = match self.measure {
            Measure::Drops => number(measures.drops),
            Measure::Resets => number(measures.resets),
            Measure::Unanswered => number(of_kind(Kind::Unanswered)),
            Measure::Refused => number(of_kind(Kind::Refused)),
            Measure::Findings => findings.len() as f64,
            Measure::DnsErrors => number(measures.dns_errors),
            Measure::DnsTimeouts => number(measures.dns_timeouts),
            Measure::Rtt(percent) => times(&measures.rtt, percent),
            Measure::Dns(percent) => times(&measures.dns_times, percent),
        };
        let is = match self.percent {
            true if measures.dns == 0 => 0.0,
            true => is * 100.0 / number(measures.dns),
            false => is,
        };
        let exceeded = match self.compare {
            Compare::More => is > self.value,
            Compare::AtLeast => is >= self.value,
            Compare::Less => is < self.value,
            Compare::AtMost => is <= self.value,
        };
        let unit = match self.measure {
            _ if self.percent => "%",
            Measure::Rtt(_) | Measure::Dns(_) => " ms",
            _ => "",
        };
        let is = (is * 100.0).round() / 100.0;
        Outcome { demand: format!("--fail-on='{}'", self.text), met: !exceeded, found: format!("{is}{unit}") }
    }
}
