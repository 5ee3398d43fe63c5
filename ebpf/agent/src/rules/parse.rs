//! Rules as they are written: the JSON of FLOW_FILTER_RULES, with the key names of the NetObserv agent.
//!
//! The original's own tools write every key of a rule, with "" and 0 for those not given. Such a rule is known by
//! having all keys of `ALWAYS_WRITTEN`; in it, "" and 0 mean "no condition". In any other rule a key that
//! is there is meant, so that ICMP type 0 can be written and port 0 is a mistake.

use std::{net::IpAddr, num::NonZeroU32};

use netobserv_ebpf_common::{EGRESS, INGRESS, filter::MAX_RULES};
use serde_json::{Map, Value};

use super::{Action, ICMP, ICMPV6, Ports, Prefix, Rule, SCTP, TCP, TcpFlags, UDP};

/// Why a list of rules cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The text as a whole.
    #[error("{0}")]
    List(String),
    /// One condition.
    #[error("rule {rule}, {key}={value}: {why}")]
    Condition {
        /// From 1.
        rule: usize,
        /// As written.
        key: String,
        /// As written.
        value: String,
        /// What would be right.
        why: String,
    },
}

/// No rule has all of these but those that have every key.
const ALWAYS_WRITTEN: [&str; 5] = ["source_port", "destination_port", "port", "icmp_type", "icmp_code"];

const KEYS: [&str; 23] = [
    "action",
    "ip_cidr",
    "peer_ip",
    "peer_cidr",
    "set",
    "peer_set",
    "not_set",
    "direction",
    "protocol",
    "source_port",
    "source_port_range",
    "source_ports",
    "destination_port",
    "destination_port_range",
    "destination_ports",
    "port",
    "port_range",
    "ports",
    "icmp_type",
    "icmp_code",
    "tcp_flags",
    "drops",
    "sample",
];

/// Longest list of ports.
const MOST_PORTS: usize = 16;

const A_PORT: &str = "a port from 1 to 65535 is wanted";
const A_RANGE: &str = "two ports from 1 to 65535 are wanted, the smaller one first, such as 8000-8100";
const A_LIST: &str = "up to 16 ports from 1 to 65535 are wanted, separated by commas, such as 80,443";
const A_NETWORK: &str = "a network is wanted, such as 10.0.0.0/8 or fd00::/8";
const AN_ADDRESS: &str = "an IPv4 or IPv6 address is wanted";
const A_BYTE: &str = "a whole number from 0 to 255 is wanted";

type Reason = String;
type Checked<T> = Result<T, (&'static str, Reason)>;

/// Reads a list; no text, like an empty list, is no rules.
pub fn parse(text: &str) -> Result<Vec<Rule>, RuleError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| RuleError::List(format!("not JSON: {error}")))?;
    let Value::Array(list) = value else {
        return Err(RuleError::List("a JSON array of rules is wanted".into()));
    };
    if list.len() > MAX_RULES {
        return Err(RuleError::List(format!("{} rules; at most {MAX_RULES} are wanted", list.len())));
    }
    list.iter().enumerate().map(|(index, value)| rule(index + 1, value)).collect()
}

fn rule(number: usize, value: &Value) -> Result<Rule, RuleError> {
    let Value::Object(map) = value else {
        return Err(RuleError::List(format!("rule {number}: a JSON object is wanted")));
    };
    let condition = |key: &str, why: Reason| RuleError::Condition {
        rule: number,
        key: key.to_owned(),
        value: map.get(key).map_or_else(String::new, shown),
        why,
    };
    if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(condition(key, format!("unknown key; there are: {}", KEYS.join(", "))));
    }
    let every_key = ALWAYS_WRITTEN.iter().all(|key| map.contains_key(*key));
    let given: Map<String, Value> =
        map.iter().filter(|(_, value)| !every_key || !is_unset(value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let given = Given(&given);
    let checked = given.rule().and_then(|rule| consistent(&rule).map(|()| rule));
    checked.map_err(|(key, why)| condition(key, why))
}

/// A value for people: strings without quotes.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_unset(value: &Value) -> bool {
    value.as_str() == Some("") || value.as_u64() == Some(0)
}

/// The keys of a rule that are conditions.
struct Given<'a>(&'a Map<String, Value>);

impl Given<'_> {
    fn rule(&self) -> Checked<Rule> {
        Ok(Rule {
            action: self
                .one_of("action", &[("Accept", Action::Accept), ("Reject", Action::Reject)])?
                .unwrap_or(Action::Accept),
            cidr: self.text("ip_cidr", A_NETWORK, network)?,
            peer: self.peer()?,
            set: self.count("set")?,
            peer_set: self.count("peer_set")?,
            not_set: self.count("not_set")?,
            direction: self.one_of("direction", &[("Ingress", INGRESS), ("Egress", EGRESS)])?,
            protocol: self.one_of(
                "protocol",
                &[("TCP", TCP), ("UDP", UDP), ("SCTP", SCTP), ("ICMP", ICMP), ("ICMPv6", ICMPV6)],
            )?,
            source_port: self.ports("source_port", "source_port_range", "source_ports")?,
            destination_port: self.ports("destination_port", "destination_port_range", "destination_ports")?,
            port: self.ports("port", "port_range", "ports")?,
            icmp_type: self.number("icmp_type", A_BYTE, |n| u8::try_from(n).ok())?,
            icmp_code: self.number("icmp_code", A_BYTE, |n| u8::try_from(n).ok())?,
            tcp_flags: self.text(
                "tcp_flags",
                "allowed: SYN, SYN-ACK, ACK, FIN, FIN-ACK, RST, RST-ACK, PSH, URG, ECE, CWR",
                TcpFlags::of,
            )?,
            drops: self.flag("drops")?,
            sample: self.count("sample")?,
        })
    }

    fn count(&self, key: &'static str) -> Checked<Option<NonZeroU32>> {
        let why = "a whole number from 1 to 4294967295 is wanted";
        self.number(key, why, |n| u32::try_from(n).ok().and_then(|n| n.try_into().ok()))
    }

    fn peer(&self) -> Checked<Option<Prefix>> {
        let ip = self.text("peer_ip", AN_ADDRESS, |text| text.parse().ok().map(Prefix::host))?;
        let cidr = self.text("peer_cidr", A_NETWORK, network)?;
        if ip.is_some() && cidr.is_some() {
            return Err(("peer_ip", "peer_ip and peer_cidr exclude each other".into()));
        }
        Ok(ip.or(cidr))
    }

    fn ports(&self, single: &'static str, range: &'static str, list: &'static str) -> Checked<Option<Ports>> {
        let port = |n: u64| u16::try_from(n).ok().filter(|port| *port > 0).map(|port| vec![port..=port]);
        let found = [
            (single, self.number(single, A_PORT, port)?),
            (range, self.text(range, A_RANGE, port_range)?),
            (list, self.text(list, A_LIST, port_list)?),
        ];
        let mut given = found.into_iter().filter_map(|(key, ports)| Some((key, ports?)));
        let first = given.next();
        match given.next() {
            Some((key, _)) => Err((key, format!("only one of {single}, {range} and {list} may be given"))),
            None => Ok(first.map(|(_, ports)| ports)),
        }
    }

    fn text<T>(&self, key: &'static str, why: &str, read: impl Fn(&str) -> Option<T>) -> Checked<Option<T>> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        value.as_str().and_then(|text| read(text.trim())).map(Some).ok_or_else(|| (key, why.to_owned()))
    }

    fn number<T>(&self, key: &'static str, why: &str, read: impl Fn(u64) -> Option<T>) -> Checked<Option<T>> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        value.as_u64().and_then(read).map(Some).ok_or_else(|| (key, why.to_owned()))
    }

    fn flag(&self, key: &'static str) -> Checked<bool> {
        let Some(value) = self.0.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| (key, "allowed: true, false".to_owned()))
    }

    fn one_of<T: Copy>(&self, key: &'static str, of: &[(&str, T)]) -> Checked<Option<T>> {
        let words = of.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        self.text(key, &format!("allowed: {words}"), |text| {
            of.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        })
    }
}

fn network(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Prefix::new(address, digits(length)?)
}

fn port_range(text: &str) -> Option<Ports> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then(|| vec![first..=last])
}

fn port_list(text: &str) -> Option<Ports> {
    let ports: Option<Ports> = text.split(',').map(|item| port(item).map(|port| port..=port)).collect();
    ports.filter(|ports| ports.len() <= MOST_PORTS)
}

fn port(text: &str) -> Option<u16> {
    digits(text).filter(|port| *port > 0)
}

/// A number of plain digits: `+80` is Rust's, not what anyone means.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether some packet matches.
pub(super) fn can_match(rule: &Rule) -> bool {
    consistent(rule).is_ok()
}

/// Refuses rules that no packet can match.
fn consistent(rule: &Rule) -> Checked<()> {
    let may_be = |protocols: &[u8]| rule.protocol.is_none_or(|protocol| protocols.contains(&protocol));
    if rule.has_ports() && !may_be(&[TCP, UDP, SCTP]) {
        return Err(("protocol", "only TCP, UDP and SCTP have ports".into()));
    }
    if rule.has_icmp() && !may_be(&[ICMP, ICMPV6]) {
        return Err(("protocol", "only ICMP and ICMPv6 have icmp_type and icmp_code".into()));
    }
    if rule.tcp_flags.is_some() && !may_be(&[TCP]) {
        return Err(("protocol", "only TCP has tcp_flags".into()));
    }
    if rule.has_ports() && rule.has_icmp() {
        return Err(("icmp_type", "no packet has both ports and an ICMP type".into()));
    }
    if rule.tcp_flags.is_some() && rule.has_icmp() {
        return Err(("tcp_flags", "no packet has both TCP flags and an ICMP type".into()));
    }
    if let (Some(cidr), Some(peer)) = (rule.cidr, rule.peer)
        && cidr.address().is_ipv4() != peer.address().is_ipv4()
    {
        return Err(("ip_cidr", "one end is IPv4 and the other IPv6: no packet has both".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule that the original's command line begins with, and one change to it.
    fn original(change: &str) -> String {
        let default = r#"{"direction":"","ip_cidr":"0.0.0.0/0","protocol":"","source_port":0,"destination_port":0,
            "port":0,"source_port_range":"","source_ports":"","destination_port_range":"","destination_ports":"",
            "port_range":"","ports":"","icmp_type":0,"icmp_code":0,"peer_ip":"","peer_cidr":"","action":"Accept",
            "tcp_flags":"","drops":false"#;
        format!("[{default}{change}}}]")
    }

    fn one(text: &str) -> Rule {
        let mut rules = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rules.len(), 1);
        rules.remove(0)
    }

    #[test]
    fn the_originals_default_rule_is_all_of_ipv4() {
        let any = Prefix::new("0.0.0.0".parse().unwrap(), 0);
        assert_eq!(one(&original("")), Rule { cidr: any, ..Rule::all(Action::Accept) });
        let rule = one(&original(r#","protocol":"ICMP","icmp_type":8"#));
        assert_eq!((rule.protocol, rule.icmp_type, rule.icmp_code), (Some(ICMP), Some(8), None));
    }

    #[test]
    fn in_other_rules_zero_is_meant() {
        let rule = one(r#"[{"protocol":"icmpv6","icmp_type":0,"icmp_code":0}]"#);
        assert_eq!((rule.protocol, rule.icmp_type, rule.icmp_code), (Some(ICMPV6), Some(0), Some(0)));
        assert!(parse(r#"[{"port":0}]"#).is_err());
    }

    #[test]
    fn nothing_is_no_rules() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("[]"), Ok(vec![]));
        assert_eq!(one("[{}]"), Rule::all(Action::Accept));
    }

    #[test]
    fn every_condition() {
        let rule = one(
            r#"[{"action":"reject","ip_cidr":"10.1.2.3/8","peer_ip":"192.0.2.1","direction":"EGRESS","protocol":"tcp",
                "source_ports":"1,2,65535","destination_port_range":"80-80","port":443,"tcp_flags":"PSH",
                "drops":true,"sample":50,"set":1,"peer_set":2,"not_set":3}]"#,
        );
        assert_eq!([rule.set, rule.peer_set, rule.not_set].map(|set| set.map_or(0, NonZeroU32::get)), [1, 2, 3]);
        assert_eq!(rule.action, Action::Reject);
        assert_eq!(rule.cidr, Prefix::new("10.0.0.0".parse().unwrap(), 8));
        assert_eq!(rule.peer, Prefix::new("192.0.2.1".parse().unwrap(), 32));
        assert_eq!((rule.direction, rule.protocol), (Some(EGRESS), Some(TCP)));
        assert_eq!(rule.source_port, Some(vec![1..=1, 2..=2, 65535..=65535]));
        assert_eq!((rule.destination_port, rule.port), (Some(vec![80..=80]), Some(vec![443..=443])));
        assert_eq!(rule.tcp_flags, TcpFlags::of("PUSH"));
        assert!(rule.drops && rule.sample.is_some_and(|sample| sample.get() == 50));
    }

    #[test]
    fn wrong_conditions_are_named() {
        let ports17 = (1..18).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        let cases: &[(&str, &str, &str)] = &[
            (r#""ip_cidr":"10.0.0.0""#, "ip_cidr=10.0.0.0", A_NETWORK),
            (r#""ip_cidr":"10.0.0.0/33""#, "ip_cidr=10.0.0.0/33", A_NETWORK),
            (r#""ip_cidr":"fd00::/+8""#, "ip_cidr=fd00::/+8", A_NETWORK),
            (r#""ip_cidr":"""#, "ip_cidr=", A_NETWORK),
            (r#""peer_ip":"10.0.0""#, "peer_ip=10.0.0", AN_ADDRESS),
            (r#""peer_cidr":"x/8""#, "peer_cidr=x/8", A_NETWORK),
            (r#""port":0"#, "port=0", A_PORT),
            (r#""source_port":70000"#, "source_port=70000", A_PORT),
            (r#""destination_port":-1"#, "destination_port=-1", A_PORT),
            (r#""port":"80""#, "port=80", A_PORT),
            (r#""port_range":"90-80""#, "port_range=90-80", A_RANGE),
            (r#""port_range":"0-80""#, "port_range=0-80", A_RANGE),
            (r#""port_range":"80""#, "port_range=80", A_RANGE),
            (r#""ports":"80,""#, "ports=80,", A_LIST),
            (r#""icmp_type":256"#, "icmp_type=256", A_BYTE),
            (r#""sample":0"#, "sample=0", "a whole number from 1 to 4294967295 is wanted"),
            (r#""set":0"#, "set=0", "a whole number from 1 to 4294967295 is wanted"),
            (r#""not_set":"x""#, "not_set=x", "a whole number from 1 to 4294967295 is wanted"),
            (r#""drops":"yes""#, "drops=yes", "allowed: true, false"),
            (r#""action":"Drop""#, "action=Drop", "allowed: Accept, Reject"),
            (r#""direction":"in""#, "direction=in", "allowed: Ingress, Egress"),
            (r#""protocol":"IGMP""#, "protocol=IGMP", "allowed: TCP, UDP, SCTP, ICMP, ICMPv6"),
            (r#""protocol":"TCP","icmp_type":8"#, "protocol=TCP", "only ICMP and ICMPv6 have icmp_type and icmp_code"),
            (r#""protocol":"ICMP","port":80"#, "protocol=ICMP", "only TCP, UDP and SCTP have ports"),
            (r#""protocol":"UDP","tcp_flags":"SYN""#, "protocol=UDP", "only TCP has tcp_flags"),
            (
                r#""peer_ip":"10.0.0.1","peer_cidr":"10.0.0.0/8""#,
                "peer_ip=10.0.0.1",
                "peer_ip and peer_cidr exclude each other",
            ),
            (r#""port":80,"ports":"80,81""#, "ports=80,81", "only one of port, port_range and ports may be given"),
            (
                r#""ip_cidr":"10.0.0.0/8","peer_ip":"fd00::1""#,
                "ip_cidr=10.0.0.0/8",
                "one end is IPv4 and the other IPv6: no packet has both",
            ),
        ];
        for (keys, what, why) in cases {
            let error = parse(&format!("[{{}},{{{keys}}}]")).expect_err(keys).to_string();
            assert_eq!(error, format!("rule 2, {what}: {why}"));
        }
        assert!(parse(&format!(r#"[{{"ports":"{ports17}"}}]"#)).is_err());
    }

    #[test]
    fn wrong_lists_are_told() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert!(error("[{").starts_with("not JSON: "));
        assert_eq!(error("{}"), "a JSON array of rules is wanted");
        assert_eq!(error("[1]"), "rule 1: a JSON object is wanted");
        assert!(error(r#"[{"prot":"TCP"}]"#).starts_with("rule 1, prot=TCP: unknown key; there are: action, ip_cidr"));
        let many = vec!["{}"; 65].join(",");
        assert_eq!(error(&format!("[{many}]")), "65 rules; at most 64 are wanted");
    }
}
