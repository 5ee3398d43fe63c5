//! Live filters as rules of the kernel, where they can be: addresses, ports, protocols, and names whose addresses the capture follows.

use netobserv_contract::selector::Term;
use netobserv_query::{Condition, Expr, Split, split};
use serde_json::{Map, Value};

use super::{Filter, What};

/// What the kernel can be asked for.
const CAN: &str = "the kernel knows addresses, ports, protocols and names that the capture selects";

impl Filter {
    /// The list of rules, as JSON, that keeps what this filter shows. `number` is that by which the agents know a name.
    ///
    /// # Errors
    /// Why the kernel cannot do that.
    pub(crate) fn kernel_rules(&self, number: impl Fn(&Term) -> Option<u32>) -> Result<String, String> {
        let text = &self.text;
        let query = match &self.what {
            What::Invalid(why, _) => return Err(format!("{text} is not valid: {why}")),
            What::Exact(_) => return Err(format!("{text} is a row: {CAN}")),
            What::Query(query) => &query.0,
        };
        if let Some(term) = query.terms().into_iter().find(|term| number(term).is_none()) {
            return Err(format!("{text}: the addresses of {term} are not followed: start with --{}", option(term)));
        }
        let split = split(&query.expr, true);
        if split.impossible {
            return Err(format!("{text}: no packet can match"));
        }
        if let Some(part) = split.in_collector.first().or(split.in_both.first()) {
            return Err(format!("{} {}", of(text, part, &split), why(&query.expr)));
        }
        let rules: Vec<Value> = split
            .rules
            .iter()
            .map(|rule| {
                let mut rule: Map<_, _> =
                    rule.conditions(|term| number(term).unwrap_or_default()).into_iter().map(json).collect();
                rule.entry("action").or_insert_with(|| "Accept".into());
                Value::Object(rule)
            })
            .collect();
        Ok(Value::Array(rules).to_string())
    }
}

fn option(term: &Term) -> String {
    format!("{}={}", term.kind.option(), term.text())
}

fn json((key, condition): (&'static str, Condition)) -> (String, Value) {
    let value = match condition {
        Condition::Text(text) => Value::from(text),
        Condition::Number(number) => Value::from(number),
    };
    (key.to_owned(), value)
}

/// A part that is not the kernel's, in what was typed.
fn of(text: &str, part: &str, split: &Split) -> String {
    let is_all = split.in_kernel.is_empty() && split.in_both.len() + split.in_collector.len() == 1;
    if is_all { text.to_owned() } else { format!("{text}: {part}") }
}

/// Why a condition is not the kernel's.
fn why(expr: &Expr) -> String {
    match expr {
        Expr::Row(text, _) => match text.parse::<u16>() {
            Ok(number) => format!("may be anything: write port:{number} for a port"),
            Err(_) if text.starts_with('/') => format!("is a regular expression: {CAN}"),
            Err(_) => format!("is a text: {CAN}"),
        },
        Expr::Within(..) | Expr::Text(..) => format!("is one end only: use ip:, as {CAN}, of either end"),
        _ => format!("cannot be in the kernel: {CAN}"),
    }
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
            ("10.0.0.0/8", r#"[{"action":"Accept","ip_cidr":"10.0.0.0/8"}]"#),
        ] {
            assert_eq!(Filter::parse(text).kernel_rules(|_| None).as_deref(), Ok(rules), "{text}");
        }
    }

    #[test]
    fn names_go_by_the_numbers_that_agents_know() {
        let rules = |text: &str| {
            let number = |term: &Term| (term.to_string() == "pod shop/web").then_some(7);
            Filter::parse(text).kernel_rules(number)
        };
        assert_eq!(rules("pod:shop/web").as_deref(), Ok(r#"[{"action":"Accept","set":7}]"#));
        let both = rules("pod:shop/web and tcp port 80");
        assert_eq!(both.as_deref(), Ok(r#"[{"action":"Accept","port":80,"protocol":"TCP","set":7}]"#));
        assert_eq!(rules("!pod:shop/web").as_deref(), Ok(r#"[{"action":"Accept","not_set":7}]"#));
        assert!(rules("pod:shop/db").unwrap_err().contains("start with --pod=shop/db"));
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused_with_a_reason() {
        for (text, why) in [
            ("nodejs", "is a text"),
            ("443", "write port:443"),
            ("6", "write port:6"),
            ("ns:shop", "start with --ns=shop"),
            ("/tcp/", "regular expression"),
            ("/a(", "not valid"),
            ("ip:10.0", "the kernel knows"),
            ("src 10.0.0.1", "is one end only"),
            ("SrcAddr:10.0.0.1", "is one end only"),
            ("10.1.2.3/8", "bits behind its length"),
            ("port:44x", "this is none"),
            ("proto:gre", "the kernel knows"),
            ("tcp and rtt>5ms", "TimeFlowRttNs > 5000000 cannot be"),
            ("tcp and udp", "no packet"),
            ("if:eth0", "the kernel knows"),
        ] {
            let error = Filter::parse(text).kernel_rules(|_| None).unwrap_err();
            assert!(error.starts_with(text) && error.contains(why), "{text}: {error}");
        }
    }
}
