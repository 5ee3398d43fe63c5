//! The options of filter rules. Their order counts (`or` begins another rule), which is why they are not fields like the
//! others but a list of words.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::values::{self, OneOf};

/// One word of the rules, in the order typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterWord {
    /// `or`.
    Or,
    /// Another bare word; none is left behind `FilterArgs::expand`.
    Bare(String),
    /// Name without dashes, with underscores; and the value.
    Option(&'static str, String),
}

/// The words of the rules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FilterArgs(pub Vec<FilterWord>);

impl FilterArgs {
    /// The first option that names something in a cluster.
    pub fn selector(&self) -> Option<&'static str> {
        self.0.iter().find_map(|word| match word {
            FilterWord::Option(name, _) => SELECTORS.iter().map(|(its, ..)| *its).find(|its| its == name),
            _ => None,
        })
    }

    /// Takes the short form `protocol,port` of packet captures apart; any other bare word is the error.
    pub(super) fn expand(&mut self, short: bool) -> Result<(), String> {
        let mut words = Vec::with_capacity(self.0.len() + 1);
        for word in std::mem::take(&mut self.0) {
            match word {
                FilterWord::Bare(text) => match text.split_once(',').filter(|_| short) {
                    Some((protocol, port)) => words.extend([
                        FilterWord::Option("protocol", protocol.to_owned()),
                        FilterWord::Option("port", port.to_owned()),
                    ]),
                    None => return Err(text),
                },
                word => words.push(word),
            }
        }
        self.0 = words;
        Ok(())
    }
}

const HEADING: &str = "Filter rules (an option belongs to the rule it appears in; the first rule that matches decides)";
const OR: &str = "or";

const IN_CLUSTER: &str = "Names in a cluster (conditions of a rule; the same option again means either name)";

/// The options that name what is in a cluster, for one end of a packet. `*` in a name is any part of it.
const SELECTORS: [(&str, &str, &str); 27] = [
    ("pod", "[NS/]NAME", "Packets from or to this pod, or the pods of the workload of this name"),
    ("deploy", "[NS/]NAME", "The pods of this Deployment"),
    ("statefulset", "[NS/]NAME", "The pods of this StatefulSet"),
    ("daemonset", "[NS/]NAME", "The pods of this DaemonSet"),
    ("job", "[NS/]NAME", "The pods of this Job, or of the Jobs of this CronJob"),
    ("svc", "[NS/]NAME", "This service: its addresses, its node ports, and what is behind it"),
    ("label", "CONDITIONS", "Pods with these labels: app=web,tier!=test,'env in (a,b)',!old"),
    ("ns", "NAME", "The pods and services of this namespace"),
    ("node", "NAME", "This node and its pods"),
    ("peer-pod", "[NS/]NAME", "The other end of those packets is this pod"),
    ("peer-deploy", "[NS/]NAME", "The other end is of this Deployment"),
    ("peer-statefulset", "[NS/]NAME", "The other end is of this StatefulSet"),
    ("peer-daemonset", "[NS/]NAME", "The other end is of this DaemonSet"),
    ("peer-job", "[NS/]NAME", "The other end is of this Job or CronJob"),
    ("peer-svc", "[NS/]NAME", "The other end is this service"),
    ("peer-label", "CONDITIONS", "The other end is a pod with these labels"),
    ("peer-ns", "NAME", "The other end is in this namespace"),
    ("peer-node", "NAME", "The other end is this node, or on it"),
    ("not-pod", "[NS/]NAME", "Neither end is this pod"),
    ("not-deploy", "[NS/]NAME", "Neither end is of this Deployment"),
    ("not-statefulset", "[NS/]NAME", "Neither end is of this StatefulSet"),
    ("not-daemonset", "[NS/]NAME", "Neither end is of this DaemonSet"),
    ("not-job", "[NS/]NAME", "Neither end is of this Job or CronJob"),
    ("not-svc", "[NS/]NAME", "Neither end is this service"),
    ("not-label", "CONDITIONS", "Neither end is a pod with these labels"),
    ("not-ns", "NAME", "Neither end is in this namespace"),
    ("not-node", "NAME", "Neither end is this node, or on it"),
];

/// Name, what its value is called, and what it does.
const OPTIONS: [(&str, &str, &str); 20] = [
    ("action", "ACTION", "Accept or Reject packets that match [default: Accept]"),
    ("protocol", "NAME", "TCP, UDP, SCTP, ICMP or ICMPv6"),
    ("direction", "DIRECTION", "Ingress or Egress, from the interface's point of view"),
    ("cidr", "CIDR", "Packets from or to this network: 10.0.0.0/8, fd00::/8"),
    ("peer_ip", "IP", "The address at the other end of those packets"),
    ("peer_cidr", "CIDR", "The network at the other end of those packets"),
    ("port", "PORT", "Source or destination port"),
    ("port_range", "A-B", "The same, from A to B"),
    ("ports", "LIST", "The same, one of up to 16 separated by commas"),
    ("sport", "PORT", "Source port"),
    ("sport_range", "A-B", "The same, from A to B"),
    ("sports", "LIST", "The same, one of up to 16"),
    ("dport", "PORT", "Destination port"),
    ("dport_range", "A-B", "The same, from A to B"),
    ("dports", "LIST", "The same, one of up to 16"),
    ("icmp_type", "N", "ICMP type, 0 to 255"),
    ("icmp_code", "N", "ICMP code, 0 to 255"),
    ("tcp_flags", "FLAGS", "SYN, SYN-ACK, ACK, FIN, FIN-ACK, RST, RST-ACK, PSH, URG, ECE or CWR"),
    ("sample", "N", "Keep one in N packets that match, instead of --sampling"),
    ("drops", SWITCH, "Only packets that the kernel dropped; implies --enable_pkt_drop"),
];
const SWITCH: &str = "BOOL";

impl clap::Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        let options = OPTIONS.iter().map(|(name, value, help)| option(name, value).help(*help).help_heading(HEADING));
        // The original's old switch; rules are on when there are some.
        let old = option("enable_filter", SWITCH).hide(true);
        let or = Arg::new(OR).value_name(OR).num_args(0..).action(ArgAction::Append);
        let or = or.help("Starts another rule").help_heading(HEADING);
        let selectors = SELECTORS.iter();
        let selectors = selectors.map(|(name, value, help)| option(name, value).help(*help).help_heading(IN_CLUSTER));
        command.args(options).arg(old).arg(or).args(selectors)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn option(name: &'static str, value: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).action(ArgAction::Append).allow_negative_numbers(true);
    let arg = if name.contains('_') { arg.alias(name.replace('_', "-")) } else { arg };
    let arg = if name.contains('-') { arg.alias(name.replace('-', "_")) } else { arg };
    let arg = match name {
        "action" => arg.value_parser(OneOf(&values::ACTIONS)),
        "direction" => arg.value_parser(OneOf(&values::DIRECTIONS)),
        "protocol" => arg.value_parser(OneOf(&values::PROTOCOLS)),
        "tcp_flags" => arg.value_parser(OneOf(values::FLAGS_OFFERED)),
        _ => arg,
    };
    if value == SWITCH { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
}

impl clap::FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let names = OPTIONS.iter().chain(&SELECTORS).map(|(name, ..)| *name).chain(["enable_filter", OR]);
        let mut words: Vec<(usize, FilterWord)> = Vec::new();
        for name in names {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            for (index, value) in matches.indices_of(name).into_iter().flatten().zip(values) {
                words.push((index, word(name, value)));
            }
        }
        words.sort_by_key(|(index, _)| *index);
        Ok(Self(words.into_iter().map(|(_, word)| word).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn word(name: &'static str, value: &str) -> FilterWord {
    match name {
        OR if value == OR => FilterWord::Or,
        OR => FilterWord::Bare(value.to_owned()),
        name => FilterWord::Option(name, value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, read};
    use FilterWord::{Option as O, Or};

    #[track_caller]
    fn words(line: &str) -> Vec<FilterWord> {
        match read(["oc-netobserv", "flows"].into_iter().chain(line.split(' ')).map(Into::into)) {
            Ok(Request::Flows(flows)) => flows.filter.0,
            other => panic!("{line} gave {other:?}"),
        }
    }

    #[test]
    fn words_keep_their_order() {
        let (tcp, port) = (O("protocol", "TCP".into()), O("port", "8080".into()));
        let udp = O("protocol", "UDP".into());
        let expected = [tcp, port, Or, udp];
        assert_eq!(words("--protocol=TCP --port=8080 or --protocol=UDP"), expected);
        assert_eq!(words("--protocol TCP --sampling=5 --port 8080 --local or -v --protocol UDP"), expected);
    }

    #[test]
    fn an_option_may_stand_in_each_rule_and_again() {
        let port = |n: &str| O("port", n.into());
        assert_eq!(words("--port=1 --port=2 or --port=3 or or"), [port("1"), port("2"), Or, port("3"), Or, Or]);
    }

    #[test]
    fn switches_and_dashes() {
        let expected = [O("drops", "true".into()), O("tcp_flags", "SYN".into()), O("enable_filter", "true".into())];
        assert_eq!(words("--drops --tcp-flags=SYN --enable_filter"), expected);
        assert_eq!(words("--drops=false"), [O("drops", "false".into())]);
    }

    #[test]
    fn names_of_a_cluster_are_words_of_rules_too() {
        let expected = [O("pod", "shop/web".into()), O("pod", "shop/db".into()), Or, O("peer-svc", "dns".into())];
        assert_eq!(words("--pod=shop/web --pod shop/db or --peer_svc=dns"), expected);
    }

    #[test]
    fn a_value_called_or_is_a_value() {
        assert_eq!(words("--output-dir or --port=1"), [O("port", "1".into())]);
    }
}
