//! What shells and manual readers see of the command line, from the same source as `--help`.
//!
//! Two kinds of completion: a script for a shell, which completes `oc-netobserv ...`; and the answer to `oc` and `kubectl`,
//! which ask a program called `kubectl_complete-netobserv` about `oc netobserv ...` (kubectl's plugin completion).

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command};
use clap_complete::Shell;

/// The name under which kubectl and oc ask for completions: a link to this program.
pub const ASKED_BY_KUBECTL: &str = "kubectl_complete-netobserv";
/// Shells that a script can be written for.
pub const SHELLS: &str = "bash, elvish, fish, powershell or zsh";

/// Values of options that take one of a few, by the option's name with underscores.
const VALUES: [(&str, &[&str]); 8] = [
    ("log_level", &["trace", "debug", "info", "warn", "error", "fatal", "panic"]),
    ("action", &["Accept", "Reject"]),
    ("direction", &["Ingress", "Egress"]),
    ("protocol", &["TCP", "UDP", "SCTP", "ICMP", "ICMPv6"]),
    ("tcp_flags", &["SYN", "SYN-ACK", "ACK", "FIN", "FIN-ACK", "RST", "RST-ACK", "PSH", "URG", "ECE", "CWR"]),
    ("copy", &["true", "false", "prompt"]),
    ("image_pull_policy", &["Always", "IfNotPresent", "Never"]),
    ("yaml", &["true", "false", "-"]),
];

/// The forms of `images`; `--output` of a capture has others.
const LISTS: [&str; 4] = ["text", "json", "mirror", "idms"];

/// "Nothing but what is listed", and "no space behind it", as cobra, the library of kubectl, numbers them.
const NO_FILES: u8 = 4;
const NO_SPACE: u8 = 2;

/// The completion script of a shell for a program of this name; `None` for a shell that is not among [`SHELLS`].
#[must_use]
pub fn script(command: Command, program: &str, shell: &str) -> Option<String> {
    let shell: Shell = shell.to_lowercase().parse().ok()?;
    if shell == Shell::Bash {
        // clap_complete 4.6 writes none that works for a name with a dash, nor for --name=value.
        return Some(include_str!("completion/bash.sh").to_owned());
    }
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut every_spelling(command), program, &mut text);
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A manual page in roff: of one command, or of all of it.
#[must_use]
pub fn manual(command: &Command, name: Option<&str>) -> Option<String> {
    let whole = command.get_name();
    let page = match name {
        None => command.clone(),
        Some(name) => {
            command.find_subcommand(name)?.clone().name(format!("{whole}-{name}")).bin_name(format!("{whole} {name}"))
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page.version(env!("CARGO_PKG_VERSION"))).render(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The answer to kubectl: what the last of `words` can become, one to a line, and what the shell does behind it.
#[must_use]
pub fn answer(command: Command, words: &[String]) -> String {
    let found = candidates(&every_spelling(command), words);
    let open = found.len() == 1 && found[0].ends_with('=');
    let lines: String = found.iter().map(|word| format!("{word}\n")).collect();
    format!("{lines}:{}\n", NO_FILES | if open { NO_SPACE } else { 0 })
}

fn candidates(command: &Command, words: &[String]) -> Vec<String> {
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let Some(command) = before.first().and_then(|name| command.find_subcommand(name)) else {
        let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
        return starting_with(typed, commands.map(|command| command.get_name().to_owned()));
    };
    if let Some((name, value)) = typed.strip_prefix("--").and_then(|option| option.split_once('=')) {
        let found = starting_with(value, values(option(command, name)));
        return found.into_iter().map(|value| format!("--{name}={value}")).collect();
    }
    let awaited = before.last().and_then(|word| word.strip_prefix("--")).and_then(|name| option(command, name));
    if let Some(awaited) = awaited.filter(|arg| !arg.is_require_equals_set() && arg.get_action().takes_values()) {
        return starting_with(typed, values(Some(awaited)));
    }
    let options = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| offer(arg, typed));
    let or = command.get_positionals().filter(|arg| arg.get_id() == "or").map(|arg| arg.get_id().to_string());
    starting_with(typed, options.chain(or))
}

fn starting_with(typed: &str, words: impl IntoIterator<Item = String>) -> Vec<String> {
    words.into_iter().filter(|word| word.starts_with(typed)).collect()
}

/// An option in the spelling that is being typed, ready for its value.
fn offer(arg: &Arg, typed: &str) -> Option<String> {
    let end = if arg.get_action().takes_values() && !is_switch(arg) { "=" } else { "" };
    let spellings = arg.get_long_and_visible_aliases()?;
    let mut words = spellings.into_iter().map(|name| format!("--{name}{end}"));
    words.find(|word| word.starts_with(typed))
}

fn option<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name)))
}

fn values(arg: Option<&Arg>) -> Vec<String> {
    let values = arg.map(Arg::get_possible_values).unwrap_or_default();
    values.iter().map(|value| value.get_name().to_owned()).collect()
}

/// `--name` alone is true.
fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

/// The command line as completion should know it: options in both spellings, and values where there are few.
fn every_spelling(command: Command) -> Command {
    command.mut_subcommands(|command| {
        let lists = command.get_name() == "images";
        command.mut_args(|arg| {
            if lists && arg.get_long() == Some("output") { with_values(arg, &LISTS) } else { spelt_out(arg) }
        })
    })
}

fn spelt_out(arg: Arg) -> Arg {
    let Some(name) = arg.get_long().map(str::to_owned) else { return arg };
    let scored = name.replace('-', "_");
    let values = VALUES.iter().find(|(option, _)| *option == scored).map(|(_, values)| values.to_vec());
    let values = values.or_else(|| (is_switch(&arg) && arg.get_action().takes_values()).then(|| vec!["true", "false"]));
    let other = if name == scored { name.replace('_', "-") } else { scored };
    let arg = if other == name { arg } else { arg.visible_alias(other) };
    match values {
        Some(values) => with_values(arg, &values),
        None => arg,
    }
}

fn with_values(arg: Arg, values: &[&'static str]) -> Arg {
    arg.value_parser(PossibleValuesParser::new(values.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, read};
    use crate::options::Settings;
    use crate::plan::Kind;

    #[test]
    fn what_is_offered_is_taken() {
        for (option, values) in VALUES {
            for value in values {
                let words = ["oc-netobserv", "flows", &format!("--{option}={value}")].map(Into::into);
                let Ok(Request::Flows(flows)) = read(words) else { panic!("--{option}={value} is no option of flows") };
                assert!(Settings::new(&flows, Kind::Flows).is_ok(), "--{option}={value}");
            }
        }
    }
}
