//! Filter rules: from the options as typed to the JSON that the agent reads (FLOW_FILTER_RULES). A value that the
//! agent would refuse is refused here, under the name of its option.

use std::net::IpAddr;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::expression::Expressions;
use super::selectors::{self, Roles, Selections};
use super::{OptionError, not_allowed, switch};
use crate::cli::FilterWord;
use crate::cli::values::{ACTIONS, DIRECTIONS, PROTOCOLS, TCP_FLAGS};

/// As many as the kernel programs look at.
const MOST_RULES: usize = 64;
/// Longest list of ports.
const MOST_PORTS: usize = 16;

const A_PORT: &str = "a port from 1 to 65535";
const A_RANGE: &str = "two ports from 1 to 65535, the smaller one first, such as 8000-8100";
const A_LIST: &str = "up to 16 ports from 1 to 65535 separated by commas, such as 80,443";
const A_NETWORK: &str = "a network such as 10.0.0.0/8, 10.0.0.1/32 or fd00::/8";
const AN_ADDRESS: &str = "an IPv4 or IPv6 address";
const A_BYTE: &str = "a whole number from 0 to 255";

const WITH_PORTS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const WITH_ICMP: [&str; 2] = ["ICMP", "ICMPv6"];
/// The three ways to write ports, for each end; only one of a row may be used.
const PORTS: [[&str; 3]; 3] =
    [["port", "port_range", "ports"], ["sport", "sport_range", "sports"], ["dport", "dport_range", "dports"]];

/// The rules of a capture.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rules {
    /// As the agent reads them; `None` for no rules.
    pub json: Option<String>,
    /// Some rule asks for dropped packets.
    pub drops: bool,
    /// What rules name by numbers, as the collector reads it.
    pub selections: Vec<String>,
}

/// Checks the words and makes rules of them.
pub(super) fn rules(words: &[FilterWord], expressions: &Expressions) -> Result<Rules, OptionError> {
    let mut rules = vec![Rule::default()];
    let mut selections = Selections::default();
    for word in words {
        match word {
            // Bare words are taken apart where the words are read.
            FilterWord::Or | FilterWord::Bare(_) => rules.push(Rule::default()),
            FilterWord::Option("enable_filter", value) => drop(switch("enable_filter", Some(value), true)?),
            FilterWord::Option(option, value) => rules.last_mut().expect("at least one rule").set(option, value)?,
        }
    }
    if rules.len() == 1 && rules[0].is_empty() {
        return Ok(of_expression(expressions));
    }
    if rules.iter().any(Rule::is_empty) {
        return Err(OptionError::EmptyRule);
    }
    if rules.len() > MOST_RULES {
        return Err(OptionError::TooManyRules { given: rules.len(), most: MOST_RULES });
    }
    rules.iter().try_for_each(Rule::check)?;
    let drops = rules.iter().any(|rule| rule.get("drops") == Some("true"));
    let list: Vec<Value> = rules.into_iter().map(|rule| Value::Object(rule.json(&mut selections))).collect();
    // The collector decides the whole filter of what these rules keep.
    selections.add_all(expressions.terms());
    Ok(Rules { json: Some(Value::Array(list).to_string()), drops, selections: selections.words() })
}

/// Where there are no options for rules, the filter makes them.
fn of_expression(expressions: &Expressions) -> Rules {
    let mut selections = Selections::default();
    let list = expressions.rules(|term| selections.number(vec![term.clone()]));
    selections.add_all(expressions.terms());
    let json = (!list.is_empty()).then(|| Value::Array(list).to_string());
    Rules { json, drops: false, selections: selections.words() }
}

/// One rule: option, its value as typed, and the value as the agent reads it. The last of a repeated option counts; of names in the
/// cluster, all.
#[derive(Default)]
struct Rule(Vec<(&'static str, String, Value)>, Roles);

impl Rule {
    fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }

    fn set(&mut self, option: &'static str, text: &str) -> Result<(), OptionError> {
        if let Some((role, kind)) = selectors::of_option(option) {
            self.1.add(role, selectors::read(option, kind, text)?);
            return Ok(());
        }
        let value = value(option, text)?;
        self.0.retain(|(other, ..)| *other != option);
        self.0.push((option, text.to_owned(), value));
        Ok(())
    }

    /// A value as typed.
    fn get(&self, option: &str) -> Option<&str> {
        self.0.iter().find(|(name, ..)| *name == option).map(|(_, text, _)| text.as_str())
    }

    /// The first of these options that is given.
    fn first_of(&self, options: &[&str]) -> Option<(&'static str, &str)> {
        self.0.iter().find(|(name, ..)| options.contains(name)).map(|(name, text, _)| (*name, text.as_str()))
    }

    fn json(self, selections: &mut Selections) -> Map<String, Value> {
        let sets = self.1.numbers(selections).map(|(key, number)| (key.to_owned(), number.into()));
        self.0.into_iter().map(|(option, _, value)| (key(option).to_owned(), value)).chain(sets).collect()
    }

    /// Refuses conditions that no packet can meet together.
    fn check(&self) -> Result<(), OptionError> {
        let icmp = self.first_of(&["icmp_type", "icmp_code"]);
        let ports = self.first_of(PORTS.as_flattened());
        let flags = self.first_of(&["tcp_flags"]);
        self.only_with(ports, &WITH_PORTS)?;
        self.only_with(icmp, &WITH_ICMP)?;
        self.only_with(flags, &["TCP"])?;
        if let (Some((option, value)), Some((other, _))) = (icmp, ports.or(flags)) {
            return Err(not_allowed(option, value, format!("it without --{other}: no packet has both")));
        }
        for ways in PORTS {
            self.only_one(&ways)?;
        }
        self.only_one(&["peer_ip", "peer_cidr"])?;
        self.one_family()
    }

    /// Some options go with some protocols only.
    fn only_with(&self, given: Option<(&'static str, &str)>, protocols: &[&str]) -> Result<(), OptionError> {
        if let (Some((option, value)), Some(protocol)) = (given, self.get("protocol"))
            && !protocols.iter().any(|allowed| allowed.eq_ignore_ascii_case(protocol))
        {
            let allowed = format!("--protocol={} with it, not {protocol}", alternatives(protocols));
            return Err(not_allowed(option, value, allowed));
        }
        Ok(())
    }

    fn only_one(&self, options: &[&'static str]) -> Result<(), OptionError> {
        let mut given = self.0.iter().filter(|(name, ..)| options.contains(name));
        given.next();
        given.next().map_or(Ok(()), |(name, text, _)| {
            let names: Vec<String> = options.iter().map(|option| format!("--{option}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(not_allowed(name, text, format!("only one of {} in a rule", names.join(", "))))
        })
    }

    fn one_family(&self) -> Result<(), OptionError> {
        if let (Some(cidr), Some((option, peer))) = (self.get("cidr"), self.first_of(&["peer_ip", "peer_cidr"]))
            && cidr.contains(':') != peer.contains(':')
        {
            return Err(not_allowed(option, peer, format!("an address of the same family as --cidr={cidr}")));
        }
        Ok(())
    }
}

/// `A, B or C`.
fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The agent's name of an option.
fn key(option: &str) -> &str {
    match option {
        "cidr" => "ip_cidr",
        "sport" => "source_port",
        "sport_range" => "source_port_range",
        "sports" => "source_ports",
        "dport" => "destination_port",
        "dport_range" => "destination_port_range",
        "dports" => "destination_ports",
        other => other,
    }
}

/// The value of an option as the agent reads it.
fn value(option: &'static str, text: &str) -> Result<Value, OptionError> {
    let checked = |value: Option<Value>, allowed: &str| value.ok_or_else(|| not_allowed(option, text, allowed));
    match option {
        "action" => choice(option, text, &ACTIONS),
        "direction" => choice(option, text, &DIRECTIONS),
        "protocol" => choice(option, text, &PROTOCOLS),
        "tcp_flags" => choice(option, text, &TCP_FLAGS),
        "cidr" | "peer_cidr" => checked(is_network(text).then(|| text.into()), A_NETWORK),
        "peer_ip" => checked(text.parse::<IpAddr>().ok().map(|_| text.into()), AN_ADDRESS),
        "port" | "sport" | "dport" => checked(port(text).map(Value::from), A_PORT),
        "port_range" | "sport_range" | "dport_range" => checked(is_range(text).then(|| text.into()), A_RANGE),
        "ports" | "sports" | "dports" => checked(is_list(text).then(|| text.into()), A_LIST),
        "icmp_type" | "icmp_code" => checked(digits::<u8>(text).map(Value::from), A_BYTE),
        "sample" => super::number(option, text, std::num::NonZeroU32::MAX).map(|number| number.get().into()),
        _ => switch(option, Some(text), false).map(Value::from),
    }
}

/// A word in any case, as the agent writes it.
fn choice(option: &'static str, text: &str, words: &[&str]) -> Result<Value, OptionError> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    let allowed = || format!("{}{}", alternatives(words), super::did_you_mean(text, words));
    found.map(|word| Value::from(*word)).ok_or_else(|| not_allowed(option, text, allowed()))
}

pub(super) fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    digits::<u8>(length).is_some_and(|length| length <= most)
}

fn is_range(text: &str) -> bool {
    let ports = text.split_once('-').and_then(|(first, last)| Some((port(first)?, port(last)?)));
    ports.is_some_and(|(first, last)| first <= last)
}

fn is_list(text: &str) -> bool {
    text.split(',').count() <= MOST_PORTS && text.split(',').all(|item| port(item).is_some())
}

fn port(text: &str) -> Option<u16> {
    digits(text).filter(|port| *port > 0)
}

/// A number of plain digits.
fn digits<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(words: &[(&'static str, &str)]) -> Result<Rules, OptionError> {
        let word = |(name, value): &(&'static str, &str)| match *name {
            "or" => FilterWord::Or,
            name => FilterWord::Option(name, (*value).to_owned()),
        };
        rules(&words.iter().map(word).collect::<Vec<_>>(), &Expressions::default())
    }

    #[track_caller]
    fn json(words: &[(&'static str, &str)]) -> Value {
        serde_json::from_str(&made(words).expect("valid").json.expect("rules")).expect("JSON")
    }

    #[test]
    fn only_what_is_given_is_said() {
        let example = [("protocol", "tcp"), ("port", "8080"), ("or", ""), ("protocol", "UDP")];
        assert_eq!(json(&example), serde_json::json!([{"protocol": "TCP", "port": 8080}, {"protocol": "UDP"}]));
        assert_eq!(made(&[]), Ok(Rules::default()));
        assert_eq!(made(&[("enable_filter", "true")]), Ok(Rules::default()));
    }

    #[test]
    fn every_option_has_its_key() {
        let rule = [
            ("action", "reject"),
            ("cidr", "10.0.0.0/8"),
            ("peer_ip", "10.0.0.1"),
            ("direction", "egress"),
            ("protocol", "SCTP"),
            ("sports", "1,2,3"),
            ("dport_range", "80-80"),
            ("port", "1"),
            ("port", "2"),
            ("sample", "50"),
            ("drops", "true"),
        ];
        let expected = serde_json::json!([{
            "action": "Reject", "ip_cidr": "10.0.0.0/8", "peer_ip": "10.0.0.1", "direction": "Egress",
            "protocol": "SCTP", "source_ports": "1,2,3", "destination_port_range": "80-80", "port": 2,
            "sample": 50, "drops": true
        }]);
        assert_eq!(json(&rule), expected);
        assert!(made(&rule).unwrap().drops);
        let icmp = [("protocol", "icmpv6"), ("icmp_type", "0"), ("icmp_code", "0"), ("peer_cidr", "fd00::/8")];
        let expected =
            serde_json::json!([{"protocol": "ICMPv6", "icmp_type": 0, "icmp_code": 0, "peer_cidr": "fd00::/8"}]);
        assert_eq!(json(&icmp), expected);
    }

    #[test]
    fn wrong_values_are_named() {
        for (option, value, allowed) in [
            ("cidr", "10.0.0.0", A_NETWORK),
            ("cidr", "10.0.0.0/33", A_NETWORK),
            ("peer_cidr", "fd00::/129", A_NETWORK),
            ("peer_ip", "10.0.0.0/8", AN_ADDRESS),
            ("port", "0", A_PORT),
            ("sport", "70000", A_PORT),
            ("dport", "http", A_PORT),
            ("port_range", "90-80", A_RANGE),
            ("sport_range", "80", A_RANGE),
            ("dport_range", "0-1", A_RANGE),
            ("ports", "80,", A_LIST),
            ("sports", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", A_LIST),
            ("icmp_type", "256", A_BYTE),
            ("icmp_code", "-1", A_BYTE),
            ("sample", "0", "a whole number from 1 to 4294967295"),
            ("drops", "maybe", "true or false"),
            ("action", "drop", "Accept or Reject"),
            ("direction", "in", "Ingress or Egress"),
            ("direction", "Egres", "Ingress or Egress; did you mean Egress?"),
            ("protocol", "ip", "TCP, UDP, SCTP, ICMP or ICMPv6"),
            ("protocol", "tpc", "TCP, UDP, SCTP, ICMP or ICMPv6; did you mean tcp?"),
        ] {
            let error = made(&[(option, value)]).unwrap_err().to_string();
            assert_eq!(error, format!("--{option}={value} is not valid: use {allowed}"));
        }
        assert!(made(&[("tcp_flags", "NS")]).unwrap_err().to_string().contains("use SYN, SYN-ACK, ACK"));
    }

    #[test]
    fn conditions_that_no_packet_meets() {
        for (words, line) in [
            (
                &[("protocol", "tcp"), ("icmp_type", "8")][..],
                "--icmp_type=8 is not valid: use --protocol=ICMP or ICMPv6 with it, not tcp",
            ),
            (
                &[("port", "80"), ("protocol", "ICMP")],
                "--port=80 is not valid: use --protocol=TCP, UDP or SCTP with it, not ICMP",
            ),
            (
                &[("tcp_flags", "SYN"), ("protocol", "UDP")],
                "--tcp_flags=SYN is not valid: use --protocol=TCP with it, not UDP",
            ),
            (
                &[("icmp_code", "0"), ("dport", "80")],
                "--icmp_code=0 is not valid: use it without --dport: no packet has both",
            ),
            (
                &[("peer_ip", "10.0.0.1"), ("peer_cidr", "10.0.0.0/8")],
                "--peer_cidr=10.0.0.0/8 is not valid: use only one of --peer_ip, --peer_cidr in a rule",
            ),
            (
                &[("sport", "80"), ("sports", "80,81")],
                "--sports=80,81 is not valid: use only one of --sport, --sport_range, --sports in a rule",
            ),
            (
                &[("cidr", "10.0.0.0/8"), ("peer_ip", "fd00::1")],
                "--peer_ip=fd00::1 is not valid: use an address of the same family as --cidr=10.0.0.0/8",
            ),
        ] {
            assert_eq!(made(words).unwrap_err().to_string(), line);
        }
    }

    #[test]
    fn rules_are_not_empty_and_not_too_many() {
        let (port, or) = (("port", "80"), ("or", ""));
        for words in [&[or][..], &[port, or], &[or, port], &[port, or, or, port], &[("enable_filter", "true"), or]] {
            assert_eq!(made(words), Err(OptionError::EmptyRule));
        }
        let many = vec![[port, or]; 64].concat();
        assert!(made(&many[..127]).is_ok());
        let error = made(&[&many[..], &[port]].concat()).unwrap_err();
        assert_eq!(error.to_string(), "65 filter rules are too many: use at most 64");
    }
}
