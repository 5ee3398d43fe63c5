//! What shells and manual readers see of the command line, from the same source as `--help`.
//!
//! Two kinds of completion: a script for a shell, which completes `oc-netobserv ...`; and the answer to `oc` and `kubectl`,
//! which ask a program called `kubectl_complete-netobserv` about `oc netobserv ...` (kubectl's plugin completion).

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command};
use clap_complete::Shell;

mod manual;

/// The name under which kubectl and oc ask for completions: a link to this program.
pub const ASKED_BY_KUBECTL: &str = "kubectl_complete-netobserv";
/// Shells that a script can be written for.
pub const SHELLS: &str = "bash, elvish, fish, powershell or zsh";

/// Options that take a list of interfaces.
const INTERFACES: [&str; 2] = ["interfaces", "exclude_interfaces"];

/// "Nothing but what is listed", and "no space behind it", as cobra, the library of kubectl, numbers them.
const NO_FILES: u8 = 4;
const NO_SPACE: u8 = 2;

/// The completion script of a shell for a program of this name; `None` for a shell that is not among [`SHELLS`].
#[must_use]
pub fn script(command: Command, program: &str, shell: &str) -> Option<String> {
    // The scripts of clap_complete 4.6 know neither names with a dash (bash) nor --name=value, and no value that depends on the
    // machine: where the shell can ask the program itself, it does.
    let shell: Shell = shell.to_lowercase().parse().ok()?;
    let asking = match shell {
        Shell::Bash => include_str!("completion/bash.sh"),
        Shell::Zsh => include_str!("completion/zsh.zsh"),
        Shell::Fish => include_str!("completion/fish.fish"),
        _ => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut with_switches(command), program, &mut text);
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
    };
    Some(asking.to_owned())
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
    manual::page(page)
}

/// The answer to kubectl: what the last of `words` can become, one to a line, and what the shell does behind it.
#[must_use]
pub fn answer(command: Command, words: &[String]) -> String {
    let found = candidates(&every_spelling(with_switches(command)), words);
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
    let local = before.iter().any(|word| word == "--local" || word == "--local=true");
    if let Some((name, value)) = typed.strip_prefix("--").and_then(|option| option.split_once('=')) {
        let found = values(option(command, name), value, local);
        return found.into_iter().map(|value| format!("--{name}={value}")).collect();
    }
    let awaited = before.last().and_then(|word| match word.strip_prefix("--") {
        Some(name) => option(command, name),
        None => command.get_arguments().find(|arg| arg.get_short().is_some_and(|short| *word == format!("-{short}"))),
    });
    if let Some(awaited) = awaited.filter(|arg| !arg.is_require_equals_set() && arg.get_action().takes_values()) {
        return values(Some(awaited), typed, local);
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

/// What the value of an option can become; interfaces are those of this machine, which a cluster knows nothing of.
fn values(arg: Option<&Arg>, typed: &str, local: bool) -> Vec<String> {
    let Some(arg) = arg else { return Vec::new() };
    if local && arg.get_long().is_some_and(|name| INTERFACES.contains(&name)) {
        let (kept, last) = typed.rsplit_once(',').map_or(("", typed), |(kept, last)| (&typed[..=kept.len()], last));
        return starting_with(last, interfaces()).into_iter().map(|name| format!("{kept}{name}")).collect();
    }
    starting_with(typed, arg.get_possible_values().iter().map(|value| value.get_name().to_owned()))
}

/// Names of the interfaces of this machine; none where the system does not list them as Linux does.
fn interfaces() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// `--name` alone is true.
fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

/// The command line with the values of switches.
fn with_switches(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let is_bare = is_switch(&arg) && arg.get_action().takes_values() && arg.get_possible_values().is_empty();
            if is_bare { arg.value_parser(PossibleValuesParser::new(["true", "false"])) } else { arg }
        })
    })
}

/// The same with options in both spellings: what is typed decides which one is offered.
fn every_spelling(command: Command) -> Command {
    command.mut_subcommands(|command| {
        command.mut_args(|arg| {
            let Some(name) = arg.get_long().map(str::to_owned) else { return arg };
            let other = if name.contains('_') { name.replace('_', "-") } else { name.replace('-', "_") };
            if other == name { arg } else { arg.visible_alias(other) }
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::cli::{Request, read};
    use crate::options::Settings;
    use crate::plan::Kind;

    #[test]
    fn what_is_offered_is_taken() {
        let whole = crate::cli::whole();
        let pages = ["flows", "packets", "metrics"].map(|name| whole.find_subcommand(name).unwrap());
        let mut offered: Vec<(String, Vec<String>)> = Vec::new();
        for arg in pages.iter().flat_map(|page| page.get_arguments()).filter(|arg| arg.get_action().takes_values()) {
            let values = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            offered.extend(arg.get_long().map(|name| (name.to_owned(), values)));
        }
        assert!(offered.iter().filter(|(_, values)| !values.is_empty()).count() > 20, "{offered:?}");
        for (option, values) in offered {
            for value in values {
                let option = format!("--{option}={value}");
                let flows = ["oc-netobserv", "flows", &option].map(Into::into);
                let packets = ["oc-netobserv", "packets", "--all", &option].map(Into::into);
                let metrics = ["oc-netobserv", "metrics", &option].map(Into::into);
                let (Ok(Request::Flows(flows)), Ok(Request::Packets(packets)), Ok(Request::Metrics(metrics))) =
                    (read(flows), read(packets), read(metrics))
                else {
                    panic!("{option} is not an option")
                };
                let all = [(flows, Kind::Flows), (packets, Kind::Packets), (metrics, Kind::Metrics)];
                assert!(all.iter().any(|(words, kind)| Settings::new(words, *kind).is_ok()), "{option}");
            }
        }
    }
}
