//! Live filters as rules of the kernel, where they can be: addresses, ports and protocols.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Filter, Scope, What};

/// Protocols that rules know, by what may be typed (IANA).
const PROTOCOLS: [(&str, &str); 11] = [
    ("tcp", "TCP"),
    ("6", "TCP"),
    ("udp", "UDP"),
    ("17", "UDP"),
    ("sctp", "SCTP"),
    ("132", "SCTP"),
    ("icmp", "ICMP"),
    ("1", "ICMP"),
    ("icmpv6", "ICMPv6"),
    ("ipv6-icmp", "ICMPv6"),
    ("58", "ICMPv6"),
];

/// What the kernel can be asked for.
const CAN: &str = "the kernel knows ip:, port:, sport:, dport: and proto: only";

impl Filter {
    /// The list of rules, as JSON, that keeps what this filter shows; it is true for both directions where the filter is.
    ///
    /// # Errors
    /// Why the kernel cannot do that.
    pub(crate) fn kernel_rules(&self) -> Result<String, String> {
        let (key, value) = self.condition()?;
        let action = if self.not { "Reject" } else { "Accept" };
        Ok(json!([{ "action": action, key: value }]).to_string())
    }

    fn condition(&self) -> Result<(&'static str, Value), String> {
        let text = self.text.trim_start_matches('!');
        let word = match &self.what {
            What::Invalid(why) => return Err(format!("{text} is not valid: {why}")),
            What::Regex(_) => return Err(format!("{text} is a regular expression: {CAN}")),
            What::Compare(_) => return Err(format!("{text} is a comparison: {CAN}")),
            What::Exact(_) => return Err(format!("{text} is a row: {CAN}")),
            What::Network(network) => network.to_string(),
            What::Word(word) => word.clone(),
        };
        let fields = match &self.scope {
            Scope::Row => return any(text, &word),
            // The kernel looks at a packet as it is at an interface.
            Scope::Fields(fields) => {
                fields.iter().map(|field| field.name).filter(|name| !name.starts_with("Xlat")).collect::<Vec<_>>()
            }
        };
        match fields.as_slice() {
            ["SrcAddr", "DstAddr"] => network(&word).map(|network| ("ip_cidr", network.into())).ok_or_else(|| {
                format!("{text} is a part of an address: a whole one or a network is wanted, such as ip:10.0.0.0/8")
            }),
            ["SrcAddr", ..] | ["DstAddr", ..] => {
                Err(format!("{text} is one end only: the kernel's rules hold for both, so use ip:"))
            }
            ["SrcPort", "DstPort"] => port("port", text, &word),
            ["SrcPort"] => port("source_port", text, &word),
            ["DstPort"] => port("destination_port", text, &word),
            ["Proto"] => protocol(&word)
                .map(|name| ("protocol", name.into()))
                .ok_or_else(|| format!("{text}: the kernel's rules know TCP, UDP, SCTP, ICMP and ICMPv6")),
            _ => Err(format!("{text}: {CAN}")),
        }
    }
}

/// A word without a field.
fn any(text: &str, word: &str) -> Result<(&'static str, Value), String> {
    if let Some(name) = protocol(word).filter(|_| word.parse::<u16>().is_err()) {
        return Ok(("protocol", name.into()));
    }
    if let Some(network) = network(word) {
        return Ok(("ip_cidr", network.into()));
    }
    Err(match word.parse::<u16>() {
        Ok(number) => format!("{text} may be anything: write port:{number} for a port"),
        Err(_) => format!("{text} is a text: {CAN}"),
    })
}

fn network(word: &str) -> Option<String> {
    if word.contains('/') {
        return super::Network::parse(word).map(|network| network.to_string());
    }
    let address: IpAddr = word.parse().ok()?;
    Some(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }))
}

fn port(key: &'static str, text: &str, word: &str) -> Result<(&'static str, Value), String> {
    let port = word.parse::<u16>().ok().filter(|port| *port > 0);
    port.map(|port| (key, port.into())).ok_or_else(|| format!("{text}: a port from 1 to 65535 is wanted"))
}

fn protocol(word: &str) -> Option<&'static str> {
    PROTOCOLS.iter().find(|(typed, _)| typed.eq_ignore_ascii_case(word)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_ports_and_protocols_become_rules() {
        for (text, rules) in [
            ("port:443", r#"[{"action":"Accept","port":443}]"#),
            ("!port:53", r#"[{"action":"Reject","port":53}]"#),
            ("sport:53", r#"[{"action":"Accept","source_port":53}]"#),
            ("DstPort:53", r#"[{"action":"Accept","destination_port":53}]"#),
            ("tcp", r#"[{"action":"Accept","protocol":"TCP"}]"#),
            ("proto:17", r#"[{"action":"Accept","protocol":"UDP"}]"#),
            ("!proto:IPv6-ICMP", r#"[{"action":"Reject","protocol":"ICMPv6"}]"#),
            ("10.0.0.1", r#"[{"action":"Accept","ip_cidr":"10.0.0.1/32"}]"#),
            ("ip:fd00::1", r#"[{"action":"Accept","ip_cidr":"fd00::1/128"}]"#),
            ("10.1.2.3/8", r#"[{"action":"Accept","ip_cidr":"10.0.0.0/8"}]"#),
        ] {
            assert_eq!(Filter::parse(text).kernel_rules().as_deref(), Ok(rules), "{text}");
        }
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_with_a_reason() {
        for (text, why) in [
            ("nodejs", "is a text"),
            ("443", "write port:443"),
            ("6", "write port:6"),
            ("ns:shop", "the kernel knows"),
            ("/tcp/", "regular expression"),
            ("/a(", "not valid"),
            ("ip:10.0", "part of an address"),
            ("src:10.0.0.1", "one end only"),
            ("SrcAddr:10.0.0.1", "one end only"),
            ("port:0", "from 1 to 65535"),
            ("port:44x", "from 1 to 65535"),
            ("proto:gre", "TCP, UDP, SCTP"),
            ("if:eth0", "the kernel knows"),
        ] {
            let error = Filter::parse(text).kernel_rules().unwrap_err();
            assert!(error.starts_with(text) && error.contains(why), "{text}: {error}");
        }
    }
}
