//! The words as typed. Only their shape is checked here; what a value may be is known by [`crate::options`].

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command, CommandFactory as _, Parser, Subcommand};

use crate::completion;

mod after;
mod called;
mod capture;
mod cluster;
mod examples;
mod filter;
mod images;
mod metrics;
mod packets;
mod pages;
mod processes;
pub(crate) mod values;
mod why;

pub use after::{DiffArgs, ExportArgs, McpArgs, MergeArgs, QueryArgs, RedactArgs, ReplayArgs, ReportArgs, SummaryArgs};
pub(crate) use called::called;
pub use capture::FlowsArgs;
pub use cluster::{AccessArgs, ClusterArgs, CommandArgs};
pub use filter::{FilterArgs, FilterWord};
pub use images::{ImagesArgs, SourceArgs, VersionArgs};
pub use metrics::{DashboardArgs, MetricsArgs};
pub use packets::PacketArgs;
pub use processes::ProcessArgs;
pub use why::{DemandArgs, PolicyArgs, WhyArgs};

/// What the words ask for.
#[derive(Debug)]
pub enum Request {
    /// Print this text.
    Help(String),
    /// Print the version.
    Version(VersionArgs),
    /// List the images of a capture.
    Images(ImagesArgs),
    /// Capture flows.
    Flows(Box<FlowsArgs>),
    /// Capture packets.
    Packets(Box<FlowsArgs>),
    /// Count metrics.
    Metrics(Box<FlowsArgs>),
    /// Show the collector's log.
    Follow(CommandArgs),
    /// End a capture that runs in the background.
    Stop(CommandArgs),
    /// Fetch the files of a capture.
    Copy(CommandArgs),
    /// Remove what a capture has made.
    Cleanup(CommandArgs),
    /// Report what this machine can do.
    Doctor(DoctorArgs),
    /// Report what went wrong in a finished capture.
    Why(Box<WhyArgs>),
    /// Propose or check policies by a finished capture.
    Policy(PolicyArgs),
    /// Summarize a finished capture.
    Summary(SummaryArgs),
    /// Answer a question about a finished capture.
    Query(QueryArgs),
    /// Show a finished capture on the screen.
    Replay(ReplayArgs),
    /// Compare two captures.
    Diff(DiffArgs),
    /// Write a dashboard for metrics.
    Dashboard(DashboardArgs),
    /// Write a report of a finished capture.
    Report(ReportArgs),
    /// Write a finished capture in another format.
    Export(ExportArgs),
    /// Write several captures into one file.
    Merge(MergeArgs),
    /// Write a copy of a capture without addresses, names and payloads.
    Redact(RedactArgs),
    /// Answer an assistant.
    Mcp(McpArgs),
}

/// Words that make no command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// The first word is no command.
    #[error("Unknown command {0}{hint}", hint = hint(similar_command(.0).as_deref()))]
    UnknownCommand(String),
    /// There is no first word.
    #[error("no command given{}", hint(None))]
    NoCommand,
    /// An option that this command does not have.
    #[error("unknown option {word}{}", hint(.similar.as_deref()))]
    UnknownOption {
        /// As typed, without a value.
        word: String,
        /// An option that is spelled nearly like it.
        similar: Option<String>,
    },
    /// A word that is neither an option nor the value of one.
    #[error("unexpected word {0}: options are written --name=value or --name value")]
    UnexpectedWord(String),
    /// An option without its value.
    #[error("{0} needs a value: {0}=VALUE")]
    NoValue(String),
    /// `completion` alone.
    #[error("completion needs a shell: use {}", completion::SHELLS)]
    NoShell,
    /// `completion` for another shell.
    #[error("unsupported shell {0}: use {shells}", shells = completion::SHELLS)]
    UnknownShell(String),
    /// The rest of what a command line can get wrong.
    #[error("{0}")]
    Malformed(String),
}

fn hint(similar: Option<&str>) -> String {
    match similar {
        Some(name) => format!("; did you mean {name}?"),
        None => format!(". Use '{} help' to display options", called()),
    }
}

/// The command that is spelled nearly like `word`.
fn similar_command(word: &str) -> Option<String> {
    let commands = Words::command();
    let distance = |name: &str| strsim::damerau_levenshtein(word, name);
    let nearest = commands.get_subcommands().map(|command| (distance(command.get_name()), command.get_name()));
    nearest.min().filter(|(far, name)| *far <= 2 && *far < name.len() / 2).map(|(_, name)| name.to_owned())
}

#[derive(Debug, Parser)]
#[command(
    name = "oc-netobserv",
    about = "Capture network flows and packets of a cluster or of this machine, on demand, and leave nothing behind",
    after_help = examples::MAIN,
    disable_help_subcommand = true,
    subcommand_required = true
)]
struct Words {
    #[command(subcommand)]
    command: CommandWords,
}

#[derive(Debug, Subcommand)]
enum CommandWords {
    /// Capture flows into a JSON and an SQLite file
    #[command(after_help = examples::FLOWS)]
    Flows(Box<FlowsArgs>),
    /// Capture packets into a pcapng file
    #[command(after_help = examples::PACKETS)]
    Packets(Box<FlowsArgs>),
    /// Count metrics of the flows, for Prometheus and on the screen
    #[command(after_help = examples::METRICS)]
    Metrics(Box<FlowsArgs>),
    /// Print a dashboard for the metrics, to import into Grafana
    #[command(after_help = examples::DASHBOARD)]
    Dashboard(DashboardArgs),
    /// Show the collector's log of a background capture
    Follow(CommandArgs),
    /// End a background capture; its files stay in the cluster
    Stop(CommandArgs),
    /// Fetch the files of a background capture
    Copy(CommandArgs),
    /// Remove everything that captures created in the cluster
    Cleanup(CommandArgs),
    /// Check which features this machine's kernel supports, and what is missing
    Doctor(DoctorArgs),
    /// Report why a connection fails, or what went wrong in a finished capture
    #[command(after_help = examples::WHY)]
    Why(Box<WhyArgs>),
    /// Propose NetworkPolicies that allow what was captured, or check some
    #[command(after_help = examples::POLICY)]
    Policy(PolicyArgs),
    /// Summarize a finished capture: losses, causes, largest conversations
    #[command(after_help = examples::SUMMARY)]
    Summary(SummaryArgs),
    /// Answer a question about a finished capture: by name, or any SQL
    #[command(after_help = examples::QUERY)]
    Query(QueryArgs),
    /// Show a finished capture on the screen, with a time axis
    #[command(after_help = examples::REPLAY)]
    Replay(ReplayArgs),
    /// Compare two finished captures
    #[command(after_help = examples::DIFF)]
    Diff(DiffArgs),
    /// Write a finished capture as one HTML page
    #[command(after_help = examples::REPORT)]
    Report(ReportArgs),
    /// Write a finished capture as Parquet, CSV or JSON lines
    #[command(after_help = examples::EXPORT)]
    Export(ExportArgs),
    /// Put several captures of one format into one file
    #[command(after_help = examples::MERGE)]
    Merge(MergeArgs),
    /// Copy captures without addresses, names and payloads, for sending them
    #[command(after_help = examples::REDACT)]
    Redact(RedactArgs),
    /// Let an AI assistant read finished captures (Model Context Protocol)
    #[command(after_help = examples::MCP)]
    Mcp(McpArgs),
    /// List the images to mirror for an air-gapped cluster
    Images(ImagesArgs),
    /// Print the version; with -v also the images of a capture
    Version(VersionArgs),
    /// Print a completion script for bash, elvish, fish, powershell or zsh
    Completion {
        /// The shell
        shell: Option<String>,
    },
    /// Print the manual page, or that of a command: oc-netobserv man | man -l -
    Man {
        /// The command
        command: Option<String>,
    },
    /// Print this help, or the options of a command
    Help {
        /// The command to explain
        command: Option<String>,
    },
}

/// Options of `doctor`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct DoctorArgs {
    /// Check this machine; the only choice for now, so --local is optional on Linux
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub local: Option<String>,
    /// Print the program's command line as it is started
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

/// Reads the words; the first one is the name of the program.
///
/// # Errors
///
/// The words make no command line.
pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Request, WordsError> {
    let words: Vec<OsString> = words.into_iter().collect();
    let rest = words.get(1..).unwrap_or_default();
    if let Some(words) = words_to_complete(&words) {
        return Ok(Request::Help(completion::answer(whole(), &words)));
    }
    if asks_for_help(rest) {
        return help(rest.iter().find_map(|word| word.to_str().filter(|w| is_command(w) && *w != "help")));
    }
    if rest.first().is_some_and(|word| word == "--version") {
        return Ok(Request::Version(VersionArgs::default()));
    }
    let typed = rest.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    // A capture records its words; that one was rehearsed before is no part of it.
    let typed: Vec<String> = typed.filter(|word| !is_option(word, "--dry-run")).collect();
    match Words::try_parse_from(words).map_err(|e| explain(&e))?.command {
        CommandWords::Flows(flows) => Ok(Request::Flows(capture_words(flows, typed, false)?)),
        CommandWords::Packets(packets) => Ok(Request::Packets(capture_words(packets, typed, true)?)),
        CommandWords::Metrics(metrics) => Ok(Request::Metrics(capture_words(metrics, typed, false)?)),
        CommandWords::Follow(words) => Ok(Request::Follow(words)),
        CommandWords::Stop(words) => Ok(Request::Stop(words)),
        CommandWords::Copy(words) => Ok(Request::Copy(words)),
        CommandWords::Cleanup(words) => Ok(Request::Cleanup(words)),
        CommandWords::Doctor(doctor) => Ok(Request::Doctor(doctor)),
        CommandWords::Why(why) => Ok(Request::Why(why)),
        CommandWords::Policy(policy) => Ok(Request::Policy(policy)),
        CommandWords::Summary(summary) => Ok(Request::Summary(summary)),
        CommandWords::Query(query) => Ok(Request::Query(query)),
        CommandWords::Replay(replay) => Ok(Request::Replay(replay)),
        CommandWords::Diff(diff) => Ok(Request::Diff(diff)),
        CommandWords::Dashboard(dashboard) => Ok(Request::Dashboard(dashboard)),
        CommandWords::Report(report) => Ok(Request::Report(report)),
        CommandWords::Export(export) => Ok(Request::Export(export)),
        CommandWords::Merge(merge) => Ok(Request::Merge(merge)),
        CommandWords::Redact(redact) => Ok(Request::Redact(redact)),
        CommandWords::Mcp(mcp) => Ok(Request::Mcp(mcp)),
        CommandWords::Images(images) => Ok(Request::Images(images)),
        CommandWords::Version(version) => Ok(Request::Version(version)),
        CommandWords::Help { command } => help(command.as_deref()),
        CommandWords::Completion { shell } => completion_script(shell),
        CommandWords::Man { command } => {
            let page = completion::manual(&whole(), command.as_deref());
            page.map(Request::Help).ok_or(WordsError::UnknownCommand(command.unwrap_or_default()))
        }
    }
}

/// What kubectl and oc want completed when the user presses Tab, whatever it is: `--help` is no question here.
fn words_to_complete(words: &[OsString]) -> Option<Vec<String>> {
    let asked_by_name = Path::new(words.first()?).file_stem()? == completion::ASKED_BY_KUBECTL;
    let asked_by_word = words.get(1).is_some_and(|word| word == "__complete");
    let begin = if asked_by_name { 1 } else { asked_by_word.then_some(2)? };
    Some(words[begin..].iter().map(|word| word.to_string_lossy().into_owned()).collect())
}

fn completion_script(shell: Option<String>) -> Result<Request, WordsError> {
    let shell = shell.ok_or(WordsError::NoShell)?;
    let script = completion::script(whole(), "oc-netobserv", &shell);
    script.map(Request::Help).ok_or(WordsError::UnknownShell(shell))
}

/// Words of a capture with the short form of filters (`tcp,80`) taken apart where the command has one.
fn capture_words(mut words: Box<FlowsArgs>, typed: Vec<String>, short: bool) -> Result<Box<FlowsArgs>, WordsError> {
    words.filter.expand(short).map_err(WordsError::UnexpectedWord)?;
    words.typed = typed;
    Ok(words)
}

/// `--help` is help wherever it stands, also behind options that are wrong: a user who typed it wants no capture.
fn asks_for_help(rest: &[OsString]) -> bool {
    let flag = |word: &OsString| word == "--help" || word == "-h";
    let word_after_command = rest.first().and_then(|w| w.to_str()).is_some_and(is_command)
        && rest.get(1).is_some_and(|word| word.as_os_str() == OsStr::new("help"));
    rest.iter().any(flag) || word_after_command
}

/// Whether a word is this option, in one of its spellings, with a value or without.
fn is_option(word: &str, option: &str) -> bool {
    word.split('=').next().is_some_and(|name| name.replace('_', "-") == option)
}

fn is_command(word: &str) -> bool {
    Words::command().find_subcommand(word).is_some()
}

/// Every command with the options that it shows.
pub(crate) fn whole() -> Command {
    // The text of an option names its values.
    let plain = |arg: clap::Arg| if arg.get_action().takes_values() { arg.hide_possible_values(true) } else { arg };
    pages::arranged(Words::command()).mut_subcommands(|page| page.mut_args(plain))
}

/// The page of one command, or the main page.
fn help(command: Option<&str>) -> Result<Request, WordsError> {
    let mut main = whole();
    main.build();
    let page = match command {
        None | Some("help") => &mut main,
        Some(name) => main.find_subcommand_mut(name).ok_or_else(|| WordsError::UnknownCommand(name.to_owned()))?,
    };
    Ok(Request::Help(page.render_help().to_string()))
}

/// clap's reason in one line, in our words where scripts or people depend on them.
fn explain(error: &clap::Error) -> WordsError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            WordsError::UnknownCommand(context(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => WordsError::NoCommand,
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            // clap finds `--frobnicate` like `--format`.
            let near = |name: &String| strsim::damerau_levenshtein(&argument, name) <= argument.len() / 3;
            let similar = context(ContextKind::SuggestedArg).filter(near);
            WordsError::UnknownOption { word: argument, similar }
        }
        ErrorKind::UnknownArgument => WordsError::UnexpectedWord(argument),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) => {
            WordsError::NoValue(option_name(&argument).to_owned())
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(names)) => names.join(" and "),
                _ => argument,
            };
            WordsError::Malformed(format!("{missing} is missing{}", hint(None)))
        }
        _ => WordsError::Malformed(first_line(&error.to_string())),
    }
}

/// `--sampling` of clap's `--sampling <N>`.
fn option_name(argument: &str) -> &str {
    argument.split([' ', '=', '[']).next().unwrap_or(argument)
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests;
