//! The command line: words to a checked [`Options`]. Nothing below this file knows clap.

mod look;
pub mod metrics;
pub mod packets;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use netobserv_contract::selector::{Numbered, Term};
use netobserv_query::{Query, QueryError, Used};
use tracing::level_filters::LevelFilter;

use crate::enrich::subnets::Subnets;
use crate::output::Name;
use crate::select::{OnlyNodes, Selections};
use crate::why::Asked;
use crate::why::command::DemandWords;
pub use look::Look;
use metrics::{MetricsOptions, MetricsWords};
use packets::{PacketOptions, PacketWords};
pub(crate) use values::duration;
use values::{file_name, keep_rows, kube, listen, log_level, session, subnets};

/// The programs of the image that `multicall` is.
const IN_THE_POD: &str = "The image has no other program, so this one is also: files, fetch, renew, finish, keylog and keeper (each with --help), tar and sleep.";

/// Receives records from NetObserv agents, shows them and writes JSON and SQLite files, or packets into pcapng files.
#[derive(Debug, Parser)]
#[command(name = "netobserv-collector", version, arg_required_else_help = false, after_help = IN_THE_POD)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    words: Words,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture flows until a limit or a signal
    #[command(name = "get-flows")]
    Flows,
    /// Capture packets until a limit or a signal
    #[command(name = "get-packets")]
    Packets(PacketWords),
    /// Count metrics of the flows until a limit or a signal
    #[command(name = "get-metrics")]
    Metrics(MetricsWords),
}

#[derive(Debug, Args)]
struct Words {
    /// Log level: trace, debug, info, warn, error
    #[arg(long, short, global = true, default_value = "info", value_parser = log_level)]
    loglevel: LevelFilter,
    /// TCP port for agents, on all addresses
    #[arg(long, global = true, default_value_t = 9999)]
    port: u16,
    /// Listen here instead: ADDRESS:PORT, or unix:/path/of/socket
    #[arg(long, global = true, conflicts_with = "port", value_parser = listen)]
    listen: Option<Listen>,
    /// Folder with ca.crt, tls.crt and tls.key: agents need a certificate of the same CA
    #[arg(long, global = true, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Accept agents without encryption and certificates, even from other machines over TCP
    #[arg(long, global = true, conflicts_with = "tls_dir")]
    insecure: bool,
    /// Folder for the files
    #[arg(long, global = true, default_value = "./output")]
    output_dir: PathBuf,
    /// Name of the files without extension, instead of the start time
    #[arg(long, global = true, value_parser = file_name)]
    filename: Option<String>,
    /// Started by a program that has made the files of --filename, empty, and that reports itself when no agent could start
    #[arg(long, global = true, hide = true)]
    child: bool,
    /// End the capture after this time: 30s, 5m, 1h30m; 0 for no limit
    #[arg(long, global = true, default_value = "5m", value_parser = duration)]
    maxtime: Duration,
    /// End the capture when the JSON file reaches this size in bytes; 0 for no limit
    #[arg(long, global = true, default_value_t = 50_000_000)]
    maxbytes: u64,
    /// Options of the capture, joined by |, to record in the files
    #[arg(long, global = true, default_value = "")]
    options: String,
    /// Keep only flows that match this query; if repeated, flows that match any of them
    #[arg(long, global = true, alias = "regexes", value_name = "QUERY", allow_hyphen_values = true)]
    query: Vec<String>,
    /// Records to show: once, so that each packet counts once, or all
    #[arg(long, global = true, default_value = "once", value_name = "WHICH")]
    observations: Observations,
    /// Keep only flows or packets that match this as well; if repeated, all of them
    #[arg(long, global = true, alias = "filter", value_name = "QUERY", allow_hyphen_values = true)]
    require: Vec<String>,
    /// Include the capture's own flows: agents to collector, and collector to API server
    #[arg(long, global = true)]
    own_traffic: bool,
    #[command(flatten)]
    demands: DemandWords,
    /// No screen, even on a terminal: one line per flow on standard output, progress on standard error
    #[arg(long, global = true)]
    no_tui: bool,
    /// Format of these lines: text, json (one object per line), or none; implies --no-tui
    #[arg(long, short, global = true, value_name = "FORMAT")]
    output: Option<Format>,
    /// Print only warnings and errors, and the flows requested with --output
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Flows that the screen keeps for browsing, 0.4 to 1 KB each
    #[arg(long, global = true, default_value_t = 100_000, value_name = "N", value_parser = keep_rows)]
    keep_rows: u32,
    /// Session of this pod: the capture can then be renewed and finished from outside
    #[arg(long, global = true, value_name = "ID", value_parser = session)]
    session: Option<String>,
    /// End the capture after this time without a renewal, instead of when the terminal closes
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, requires = "session")]
    lease: Option<Duration>,
    /// How long finished files are kept before everything is removed
    #[arg(long, global = true, value_name = "TIME", default_value = "1h", value_parser = duration)]
    keep: Duration,
    /// Capture unattended, and stay until the files were kept long enough
    #[arg(long, global = true, requires = "session", conflicts_with = "lease")]
    background: bool,
    /// Report at the end if fewer agents than this sent something
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    expect_nodes: u64,
    /// Add names from the cluster to flows: auto (if there is a cluster) or off
    #[arg(long, global = true, default_value = "auto", value_name = "auto|off", value_parser = kube, action = clap::ArgAction::Set)]
    kube: bool,
    /// Label for addresses of a subnet, NAME=CIDR[,CIDR...]; the longest prefix wins; can be repeated
    #[arg(long, global = true, value_name = "NAME=CIDR", value_parser = subnets)]
    subnets: Vec<String>,
    /// A part of what a rule of the agents names by its number, such as 1:pod=shop/web; can be repeated
    #[arg(long, global = true, value_name = "NUMBER:OPTION=VALUE", allow_hyphen_values = true)]
    select: Vec<Numbered>,
    /// Start even if nothing has the names of --select yet
    #[arg(long, global = true)]
    wait: bool,
    /// Run agents only on the nodes that have something of these selections
    #[arg(long, global = true, value_name = "NUMBER,...", value_delimiter = ',', requires = "session")]
    nodes_of: Vec<u32>,
    /// No colors, as if NO_COLOR were set
    #[arg(long, global = true)]
    no_color: bool,
    /// Type of the terminal, instead of TERM
    #[arg(long, global = true, value_name = "NAME")]
    term: Option<String>,
    /// Locale of the terminal, for its character set, instead of LC_ALL, LC_CTYPE and LANG
    #[arg(long, global = true, value_name = "NAME")]
    locale: Option<String>,
    /// Namespace of the capture, to record in the files
    #[arg(long, short, global = true, default_value = "netobserv-cli")]
    namespace: String,
}

/// A valid capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much to log.
    pub log_level: LevelFilter,
    /// Where agents connect.
    pub listen: Listen,
    /// What connections over TCP must show.
    pub security: Security,
    /// Folder below which the files go.
    pub output_dir: PathBuf,
    /// Base name of the files.
    pub filename: Name,
    /// The program that started this one reports when no agent could start.
    pub child: bool,
    /// Longest duration.
    pub max_time: Option<Duration>,
    /// Most bytes of JSON.
    pub max_bytes: Option<u64>,
    /// What an earlier process of this capture has used up of these.
    pub used_bytes: u64,
    /// Options of the capture, as the plugin joined them.
    pub options: String,
    /// Which records are shown.
    pub observations: Observations,
    /// Whether the capture's own traffic is kept.
    pub own_traffic: bool,
    /// Lines of this form instead of a screen; `None` for a screen, if there is a terminal.
    pub lines: Option<Format>,
    /// Nothing is printed but the lines that were asked for, warnings and errors.
    pub quiet: bool,
    /// What the terminal shows.
    pub look: Look,
    /// Flows that the screen keeps.
    pub keep_rows: usize,
    /// Namespace of the capture.
    pub namespace: String,
    /// Session whose pod this is.
    pub session: Option<String>,
    /// The capture ends after this time without a renewal.
    pub lease: Option<Duration>,
    /// How long finished files are kept.
    pub keep: Duration,
    /// No user watches.
    pub background: bool,
    /// Agents that should be heard of.
    pub expect_nodes: u64,
    /// Whether names are asked of the API server.
    pub kube: bool,
    /// Labels of subnets.
    pub subnets: Subnets,
    /// What the agents' rules name.
    pub selections: Selections,
    /// What a capture of packets is to be; None for one of flows.
    pub packets: Option<PacketOptions>,
    /// What is counted instead of written into files; None for captures of flows and packets.
    pub metrics: Option<MetricsOptions>,
    /// What scripts demand of the capture.
    pub asked: Asked,
    /// A flow or packet must match one of these, if there are any.
    pub queries: Vec<Query>,
}

/// What connections over TCP must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// A certificate; those of the collector and its CA are in this folder.
    Tls(PathBuf),
    /// Nothing.
    Plain,
}

/// How a line looks that stands for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Text,
    /// A JSON object.
    Json,
    /// No lines at all: only the progress.
    None,
}

/// Which records are shown on the screen and on standard output; the files have all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Observations {
    /// Those whose packets are counted.
    #[default]
    Once,
    /// Those of packets that another record counts too.
    All,
}

/// Where agents connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// This TCP port of every address.
    Port(u16),
    /// This TCP port of one address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Port(port) => write!(f, "port {port}"),
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is nothing to capture.
#[derive(Debug)]
pub enum NoCapture {
    /// Help or version was asked for: print this, and all is well.
    Asked(String),
    /// The words are wrong: one line.
    Usage(String),
}

/// Reads the words of the command line, the program's name first.
///
/// # Errors
/// When they ask for help, or are not a valid capture.
pub fn parse(words: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Options, NoCapture> {
    let Cli { command, words } = Cli::try_parse_from(words).map_err(no_capture)?;
    let (packets, metrics) = match command {
        Command::Flows => (None, None),
        Command::Packets(words) => (Some(words.read().map_err(NoCapture::Usage)?), None),
        Command::Metrics(words) => (None, Some(words.read())),
    };
    let only_nodes = OnlyNodes { of: words.nodes_of, namespace: words.namespace.clone() };
    let only_nodes = (!only_nodes.of.is_empty()).then_some(only_nodes);
    let selections = Selections { only_nodes, ..Selections::of(words.select, words.wait) };
    let check = Check { packets: packets.is_some(), selections: &selections };
    let queries = check.queries(&words.query, &words.require)?;
    let listen = words.listen.unwrap_or(Listen::Port(words.port));
    Ok(Options {
        packets,
        metrics,
        security: security(words.tls_dir, words.insecure, &listen)?,
        listen,
        log_level: if words.quiet { words.loglevel.min(LevelFilter::WARN) } else { words.loglevel },
        output_dir: words.output_dir,
        filename: match words.filename {
            Some(name) if words.child => Name::Reserved(name),
            Some(name) => Name::Given(name),
            None => Name::StartTime,
        },
        child: words.child,
        max_time: Some(words.maxtime).filter(|time| !time.is_zero()),
        max_bytes: Some(words.maxbytes).filter(|bytes| *bytes > 0),
        used_bytes: 0,
        options: words.options,
        observations: words.observations,
        own_traffic: words.own_traffic,
        lines: words.output.or(words.quiet.then_some(Format::None)).or(words.no_tui.then_some(Format::Text)),
        quiet: words.quiet,
        look: Look { no_color: words.no_color, term: words.term, locale: words.locale }.or_environment(),
        keep_rows: words.keep_rows as usize,
        namespace: words.namespace,
        session: words.session,
        lease: words.lease,
        keep: words.keep,
        background: words.background,
        expect_nodes: words.expect_nodes,
        kube: words.kube,
        subnets: all_subnets(&words.subnets),
        selections,
        asked: words.demands.asked(),
        queries,
    })
}

impl Options {
    /// Bytes until the limit.
    pub fn bytes_left(&self) -> Option<u64> {
        // A limit of 0 would be none.
        self.max_bytes.map(|most| most.saturating_sub(self.used_bytes).max(1))
    }
}

fn no_capture(error: clap::Error) -> NoCapture {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return NoCapture::Asked(text);
    }
    // The missing words are on the lines below the first.
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    NoCapture::Usage(format!("{}; see netobserv-collector --help", lines.join(" ")))
}

/// How queries are checked.
struct Check<'a> {
    packets: bool,
    selections: &'a Selections,
}

impl Check<'_> {
    /// Read here and not by clap, because the error marks its position on lines of its own.
    fn queries(&self, texts: &[String], required: &[String]) -> Result<Vec<Query>, NoCapture> {
        let read = |option: &'static str| {
            move |text: &String| {
                self.query(text).map_err(|error| NoCapture::Usage(format!("error: --{option}: {error}")))
            }
        };
        let queries = texts.iter().map(read("query")).collect::<Result<Vec<_>, _>>()?;
        let required = required.iter().map(read("require")).collect::<Result<Vec<_>, _>>()?;
        let Some(required) = required.into_iter().reduce(Query::and) else { return Ok(queries) };
        if queries.is_empty() {
            return Ok(vec![required]);
        }
        Ok(queries.into_iter().map(|query| required.clone().and(query)).collect())
    }

    fn query(&self, text: &str) -> Result<Query, QueryError> {
        let query = Query::read(text)?;
        if self.packets {
            query.check_packets()?;
        } else {
            query.check_flows()?;
        }
        let unknown = |term: &Term| self.selections.number(term).is_none();
        query.refuse(|used| match used {
            Used::Name(term) if unknown(term) => {
                Some(format!("{term} has no number: use --select=1:{}={}", term.kind.option(), term.text()))
            }
            _ => None,
        })?;
        Ok(query)
    }
}

/// Without encryption only where no other machine can connect, or where it was asked for.
fn security(dir: Option<PathBuf>, insecure: bool, listen: &Listen) -> Result<Security, NoCapture> {
    let local = match listen {
        Listen::Port(_) => false,
        Listen::Tcp(address) => address.ip().is_loopback(),
        Listen::Unix(_) => true,
    };
    match dir {
        Some(dir) => Ok(Security::Tls(dir)),
        None if local || insecure => Ok(Security::Plain),
        None => Err(NoCapture::Usage(format!(
            "error: agents on other machines reach {listen}: use --tls-dir with the certificates, or --insecure to do without"
        ))),
    }
}

/// Each word is one that [`subnets`] took.
fn all_subnets(words: &[String]) -> Subnets {
    words.iter().fold(Subnets::default(), |mut all, word| {
        let _ = all.add(word);
        all
    })
}

#[cfg(test)]
mod tests;
