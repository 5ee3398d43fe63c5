//! `--filter` and `--query`: read and checked before anything is started, and what of the filter the agents' rules can decide.

use std::fmt::Write as _;

use netobserv_contract::selector::Term;
use netobserv_query::{Condition, FieldId, Query, QueryError, Rule, Split, Used, split};
use serde_json::{Map, Value};

use super::OptionError;
use crate::cli::FlowsArgs;

/// Endings of the fields that only a capture on this machine fills in.
const OF_PROCESSES: [&str; 4] = ["Comm", "Pid", "Container", "Cgroup"];

/// What flows or packets have to match.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    filter: Option<(String, Query)>,
    queries: Vec<(String, Query)>,
    split: Split,
}

impl Expressions {
    /// Reads the words of a capture.
    ///
    /// # Errors
    /// One is wrong, or asks for what such a capture does not know.
    pub(super) fn read(words: &FlowsArgs, packets: bool) -> Result<Self, OptionError> {
        let local = super::is_local(words)?;
        let check = |text: &String, is_filter: bool| -> Result<(String, Query), QueryError> {
            let query = Query::read(text)?;
            if packets {
                query.check_packets()?;
            } else {
                query.check_flows()?;
            }
            query.refuse(|used| unknown(used, local, is_filter))?;
            Ok((text.clone(), query))
        };
        if words.query.iter().any(|text| text.trim().is_empty()) {
            return Err(OptionError::EmptyQuery);
        }
        let queries = words.query.iter().map(|text| check(text, false)).collect::<Result<_, _>>()?;
        let filter = match words.expression.as_slice() {
            [] => None,
            [text] => Some(check(text, true).map_err(OptionError::Filter)?),
            [.., last] => return Err(super::not_allowed("filter", last, "one filter: join conditions with and, or")),
        };
        let split = filter.as_ref().map(|(_, query)| split(&query.expr, packets)).unwrap_or_default();
        if let Some((text, _)) = filter.as_ref().filter(|_| split.impossible) {
            return Err(OptionError::ImpossibleFilter(text.clone()));
        }
        Ok(Self { filter, queries, split })
    }

    /// All that is named in a cluster.
    pub(super) fn terms(&self) -> impl Iterator<Item = &Term> {
        self.filter.iter().chain(&self.queries).flat_map(|(_, query)| query.terms())
    }

    /// The rules of the filter, as agents read them; none if the kernel can decide nothing.
    pub(super) fn rules(&self, mut number: impl FnMut(&Term) -> u32) -> Vec<Value> {
        self.split.rules.iter().map(|rule| Value::Object(json(rule, &mut number))).collect()
    }

    /// Whether the filter asks for fields whose names begin so.
    pub(super) fn asks_for(&self, beginning: &str) -> bool {
        self.filter.as_ref().is_some_and(|(_, query)| query.asks_for(&[beginning]))
    }

    /// The filter, as typed.
    pub(super) fn filter(&self) -> Option<&str> {
        self.filter.as_ref().map(|(text, _)| text.as_str())
    }

    /// The queries, as typed.
    pub(super) fn queries(&self) -> Vec<String> {
        self.queries.iter().map(|(text, _)| text.clone()).collect()
    }

    /// Which side decides what, for people. `has_rules`: options make rules, so that none are made of the filter.
    pub(super) fn explain(&self, has_rules: bool) -> Result<String, OptionError> {
        let (text, query) = self.filter.as_ref().ok_or(OptionError::Needs { option: "explain", other: "filter" })?;
        let mut lines = format!("filter: {text}\nread as: {}\n", query.expr);
        let Split { rules, in_kernel, in_both, in_collector, .. } = &self.split;
        if has_rules {
            let what = "the filter options, such as --port, make the rules of the kernel";
            let _ = write!(lines, "in the kernel: {what}\nin the collector: all of the filter\n");
            return Ok(lines);
        }
        let parts = [
            ("decided in the kernel", in_kernel),
            ("narrowed in the kernel, decided in the collector", in_both),
            ("decided in the collector", in_collector),
        ];
        for (side, parts) in parts.into_iter().filter(|(_, parts)| !parts.is_empty()) {
            let _ = writeln!(lines, "{side}:");
            for part in parts {
                let _ = writeln!(lines, "  {part}");
            }
        }
        lines.push_str("rules of the kernel, of which the first that matches decides:\n");
        if rules.is_empty() {
            lines.push_str("  none: the collector gets everything\n");
        }
        for rule in rules {
            let _ = writeln!(lines, "  {rule}");
        }
        Ok(lines)
    }
}

/// Why such a capture does not know this.
fn unknown(used: &Used, local: bool, is_filter: bool) -> Option<String> {
    match used {
        Used::Name(term) if local => {
            Some(format!("{term} is of a cluster, and with --local there is none: use host, net or proc:"))
        }
        Used::Field(field) if !local && is_filter && is_of_processes(*field) => {
            Some("processes are known with --local only: in a cluster use pod:, svc: and the like".into())
        }
        _ => None,
    }
}

fn is_of_processes(field: FieldId) -> bool {
    let end = ["Src", "Dst"].iter().find_map(|end| field.name().strip_prefix(end));
    end.is_some_and(|rest| OF_PROCESSES.contains(&rest))
}

fn json(rule: &Rule, number: &mut impl FnMut(&Term) -> u32) -> Map<String, Value> {
    let value = |condition| match condition {
        Condition::Text(text) => Value::from(text),
        Condition::Number(number) => Value::from(number),
    };
    rule.conditions(number).into_iter().map(|(key, condition)| (key.to_owned(), value(condition))).collect()
}

#[cfg(test)]
mod tests {
    use crate::cli::{Request, read};
    use crate::options::{Capture, Settings};
    use crate::plan::Kind;

    fn made(line: &[&str]) -> Result<Settings, String> {
        match read(std::iter::once("oc-netobserv").chain(line.iter().copied()).map(Into::into)) {
            Ok(Request::Flows(words)) => Settings::new(&words, Kind::Flows).map_err(|error| error.to_string()),
            Ok(Request::Packets(words)) => Settings::new(&words, Kind::Packets).map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn local(line: &[&str]) -> Result<Capture, String> {
        match read(std::iter::once("oc-netobserv").chain(line.iter().copied()).map(Into::into)) {
            Ok(Request::Flows(words)) => Capture::flows(&words).map_err(|error| error.to_string()),
            Ok(Request::Packets(words)) => Capture::packets(&words).map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn rules(settings: &Settings) -> &str {
        let rules = settings.agent_env.iter().find(|(name, _)| name == "FLOW_FILTER_RULES");
        rules.map_or("", |(_, rules)| rules)
    }

    #[test]
    fn agents_get_the_rules_and_the_collector_all_of_the_filter() {
        let filter = "--filter=pod:shop/web and tcp dst port 80 and bytes>1000 and not port 22";
        let settings = made(&["flows", filter, "--query=svc:db or rtt>5ms"]).unwrap();
        let wanted = r#"[{"action":"Reject","port":22},{"port":80,"protocol":"TCP","set":1}]"#;
        assert_eq!(rules(&settings), wanted);
        for word in [
            "--require=pod:shop/web and tcp dst port 80 and bytes>1000 and not port 22",
            "--select=1:pod=shop/web",
            "--select=2:svc=db",
        ] {
            assert!(settings.collector_args.iter().any(|arg| arg == word), "{word}: {:?}", settings.collector_args);
        }
        let settings = made(&["packets", "--filter=udp dst port 53 and vlan 5"]).unwrap();
        assert_eq!(rules(&settings), r#"[{"destination_port":53,"protocol":"UDP"}]"#);
    }

    #[test]
    fn options_keep_their_rules() {
        let settings = made(&["flows", "--ns=shop", "--filter=pod:web or port 80"]).unwrap();
        assert_eq!(rules(&settings), r#"[{"set":1}]"#);
        assert!(settings.collector_args.iter().any(|arg| arg == "--select=2:pod=web"));
    }

    #[test]
    fn what_a_filter_asks_for_is_captured() {
        let capture = local(&["flows", "--local", "--filter=rtt>5ms and cause:NETFILTER or dns:shop"]).unwrap();
        assert!(capture.rtt && capture.drops && capture.dns);
        let capture = local(&["flows", "--local", "--query=rtt>5ms"]).unwrap();
        assert!(!capture.rtt && !capture.drops && !capture.dns);
    }

    #[test]
    fn a_wrong_filter_is_refused_with_its_place() {
        let refused = |line: &[&str]| made(line).unwrap_err();
        assert_eq!(
            refused(&["flows", "--filter=port 80 adn tcp"]),
            "--filter: and or or is missing before this\n  port 80 adn tcp\n          ^^^"
        );
        assert!(refused(&["flows", "--filter=vlan 5"]).contains("vlan works with packets"));
        assert!(refused(&["packets", "--filter=tcp and rtt>5ms"]).contains("packets do not have TimeFlowRttNs"));
        assert!(refused(&["packets", "--filter=tcp and udp"]).contains("no packet can meet --filter=tcp and udp"));
        assert!(refused(&["packets", "--filter=bytes>100"]).contains("the kernel can decide nothing of --filter"));
        assert!(made(&["packets", "--filter=bytes>100", "--all"]).is_ok());
        assert!(refused(&["flows", "--filter=tcp", "--filter=udp"]).contains("one filter"));
        assert!(refused(&["flows", "--filter=proc:nginx"]).contains("processes are known with --local only"));
        assert!(refused(&["flows", "--query=with(Duplicate)"]).contains("flow_once"));
        let here = local(&["flows", "--local", "--filter=tcp and pod:web"]).unwrap_err();
        assert!(here.contains("pod web is of a cluster") && here.ends_with("^^^^^^^"), "{here}");
    }

    #[test]
    fn the_split_is_explained() {
        let text =
            local(&["packets", "--local", "--explain", "--filter=tcp and src net 10.0.0.0/8 and bytes>1k"]).unwrap();
        let wanted = "\
filter: tcp and src net 10.0.0.0/8 and bytes>1k
read as: Proto = 6 and SrcAddr = 10.0.0.0/8 and Bytes > 1000
decided in the kernel:
  Proto = 6
narrowed in the kernel, decided in the collector:
  SrcAddr = 10.0.0.0/8
decided in the collector:
  Bytes > 1000
rules of the kernel, of which the first that matches decides:
  keep TCP, one end in 10.0.0.0/8
";
        assert_eq!(text.explain.as_deref(), Some(wanted));
        assert_eq!(local(&["flows", "--local", "--explain"]).unwrap_err(), "--explain requires --filter");
        let all = made(&["flows", "--port=80", "--explain", "--filter=tcp"]).unwrap().explain.unwrap();
        assert!(all.ends_with("in the collector: all of the filter\n"), "{all}");
    }
}
