//! A session without a cluster: the collector and the agent as two children of this program on this machine.
//!
//! The order is what makes it safe: the collector listens before the agent attaches anything to the kernel, and the agent
//! has sent its last flows before the collector is asked to end. All waiting is waiting for one channel of events.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use chrono::Utc;
use netobserv_contract::duration;

use crate::options::{Capture, Keylog, Reading};
use crate::output::{self, Output, OutputError, Repair};
use crate::process::terminal::Terminal;
use crate::process::{Child, Ending, Invocation, ProcessError, Program};

mod endpoint;
mod folder;
mod session;

use endpoint::Endpoint;
pub use endpoint::EndpointError;
use session::{Role, Session};

/// Why a local capture failed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// This machine cannot run the agent.
    #[error("--local needs Linux: eBPF programs in its kernel count the flows")]
    NotLinux,
    /// No place for the files.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// No way for the agent to reach the collector.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A program is missing or cannot be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Ctrl-C could not be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[from] ctrlc::Error),
    /// The collector runs, and nothing can reach it.
    #[error("the collector did not listen within {} s", .0.as_secs())]
    Silent(Duration),
    /// A program ended with an error that it put into words itself.
    #[error("{text}")]
    Reported {
        /// Its words.
        text: String,
        /// 2 for wrong settings, else 1.
        code: u8,
    },
    /// The collector ended with an error and printed it on our terminal.
    #[error("the collector ended with exit code {0}")]
    AlreadyPrinted(u8),
    /// A program died.
    #[error("{title} {ending} in the middle of the capture")]
    Died {
        /// Which one.
        title: &'static str,
        /// How.
        ending: Ending,
    },
    /// A program had to be killed at the end.
    #[error("{title} did not end within {} s and was killed: the last flows may be missing", .after.as_secs())]
    Stuck {
        /// Which one.
        title: &'static str,
        /// Its time.
        after: Duration,
    },
    /// Stopped by a second signal.
    #[error("stopped at once on a second signal: the last flows may be missing")]
    Hurried,
}

impl LocalError {
    /// 3 when a demand is not met, 2 when settings were wrong that only the agent or the collector can judge, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Reported { code, .. } | Self::AlreadyPrinted(code) => *code,
            _ => 1,
        }
    }

    /// The terminal shows the reason already.
    #[must_use]
    pub fn is_said(&self) -> bool {
        matches!(self, Self::AlreadyPrinted(_))
    }
}

/// Names this process to a child, which ends when this program is gone, also by `kill -9`.
const DIE_WITH_PARENT: &str = "NETOBSERV_DIE_WITH_PARENT";
/// Long flows are reported this often.
const WINDOW: &str = "1s";

/// Runs one capture to its end: a limit, a signal, or a program that fails.
///
/// # Errors
///
/// See [`LocalError`]. The files written until then are whole, and no child is left.
pub fn run(capture: &Capture) -> Result<(), LocalError> {
    if !cfg!(target_os = "linux") {
        return Err(LocalError::NotLinux);
    }
    let collector = Program::find("the collector", "netobserv-collector", "NETOBSERV_COLLECTOR_BIN")?;
    let agent = Program::find("the agent", "netobserv-agent", "NETOBSERV_AGENT_BIN")?;
    let lasts = duration::parse(&capture.max_time).unwrap_or_default();
    let endpoint = Endpoint::open(capture.port, lasts)?;
    let output = match (&capture.packets, &capture.metrics) {
        (Some(packets), _) => Output::packets(&capture.output_dir, packets, Utc::now())?,
        (None, Some(_)) => Output::metrics(&capture.output_dir, Utc::now())?,
        (None, None) => Output::prepare(&capture.output_dir, Utc::now())?,
    };
    output::foreign_owner(&capture.output_dir).iter().for_each(|warning| report(warning));
    let of_flows = capture.packets.is_none() && capture.metrics.is_none();
    let has_screen = of_flows && capture.lines.is_none() && !capture.quiet;
    let has_screen = has_screen && std::io::stdout().is_terminal();
    let mut session = Session::new(has_screen)?;
    let capture = &if has_screen { with_all_features(capture) } else { capture.clone() };

    let terminal = Terminal::probe();
    session.start(Role::Collector, Child::start(&collector, &collector_invocation(capture, &endpoint, &output))?);
    let started = capture_with(&agent, &agent_invocation(capture, &endpoint), &endpoint, &mut session);
    session.finish();
    if !session.collector_ended_well() {
        terminal.give_back();
    }
    let result = started.and_then(|()| session.verdict());
    tidy_files(&output, &session, &result, capture.quiet);
    if has_screen && result.is_ok() && output.exists() {
        report(&format!("read them again: oc-netobserv replay {}", output.db().display()));
    }
    result
}

/// The features that a capture with a screen has unless they are switched off.
const FEATURES: [&str; 3] = ["enable_dns", "enable_rtt", "enable_pkt_drop"];

/// What is wrong may be of any kind, and on one machine all features cost little. The agent leaves out what the kernel cannot do.
fn with_all_features(capture: &Capture) -> Capture {
    let added = FEATURES.into_iter().zip(capture.unasked).filter(|(_, unasked)| *unasked).map(|(name, _)| name);
    let typed = Some(capture.typed.as_str()).filter(|typed| !typed.is_empty()).into_iter().chain(added);
    let [dns, rtt, drops] = capture.unasked;
    Capture {
        typed: typed.collect::<Vec<_>>().join("|"),
        dns: capture.dns || dns,
        rtt: capture.rtt || rtt,
        drops: capture.drops || drops,
        ..capture.clone()
    }
}

/// Reports what this machine's kernel can do: the agent checks and prints.
///
/// # Errors
///
/// It cannot be started, or a capture would not work.
pub fn doctor(verbose: bool) -> Result<(), LocalError> {
    if !cfg!(target_os = "linux") {
        return Err(LocalError::NotLinux);
    }
    let agent = Program::find("the agent", "netobserv-agent", "NETOBSERV_AGENT_BIN")?;
    let invocation = Invocation { args: vec!["doctor".into()], verbose, ..Invocation::default() };
    match Child::start(&agent, &invocation)?.wait() {
        Ending::Code(0) => Ok(()),
        Ending::Code(code @ (1 | 2)) => Err(LocalError::AlreadyPrinted(code as u8)),
        ending => Err(LocalError::Died { title: agent.title, ending }),
    }
}

/// Reads a finished capture: the collector looks and speaks.
///
/// # Errors
///
/// It cannot be started, or reports an error or a demand that is not met.
pub fn read(reading: &Reading) -> Result<(), LocalError> {
    let collector = Program::find("the collector", "netobserv-collector", "NETOBSERV_COLLECTOR_BIN")?;
    let invocation = Invocation { args: reading.args.clone(), verbose: reading.verbose, ..Invocation::default() };
    match Child::start(&collector, &invocation)?.wait() {
        Ending::Code(0) => Ok(()),
        Ending::Code(code @ (1..=3)) => Err(LocalError::AlreadyPrinted(code as u8)),
        ending => Err(LocalError::Died { title: collector.title, ending }),
    }
}

/// From the moment the collector listens until something ends the capture.
fn capture_with(
    agent: &Program,
    invocation: &Invocation,
    endpoint: &Endpoint,
    session: &mut Session,
) -> Result<(), LocalError> {
    if session.wait_until_listening(endpoint)? {
        session.start(Role::Agent, Child::start(agent, invocation)?);
        session.wait_for_a_reason_to_end();
    }
    Ok(())
}

fn collector_invocation(capture: &Capture, endpoint: &Endpoint, output: &Output) -> Invocation {
    let mut args: Vec<OsString> = vec![capture.kind().collector_command().into()];
    args.extend(endpoint.collector_args());
    if let Some(base) = output.base() {
        args.extend(["--output-dir".into(), output.root().into(), "--filename".into(), base.into()]);
    }
    args.push("--child".into());
    // Also in a pod the flows of this machine belong to no cluster: none is asked for names.
    args.push("--kube=off".into());
    args.extend(capture.collector_args().into_iter().map(OsString::from));
    if let Some(Keylog::File(path)) = capture.packets.as_ref().and_then(|packets| packets.keylog.as_ref()) {
        args.extend(["--tls-keylog".into(), path.into()]);
    }
    Invocation {
        args,
        env: vec![
            (DIE_WITH_PARENT, std::process::id().to_string().into()),
            ("NETOBSERV_CLI_VERSION", env!("CARGO_PKG_VERSION").into()),
        ],
        quiet: false,
        verbose: capture.verbose,
    }
}

fn agent_invocation(capture: &Capture, endpoint: &Endpoint) -> Invocation {
    let mut env: Vec<(&str, OsString)> = vec![
        ("INTERFACES", capture.interfaces.as_str().into()),
        ("EXCLUDE_INTERFACES", capture.exclude_interfaces.as_str().into()),
        ("REQUIRE_INTERFACES", "true".into()),
        ("CACHE_ACTIVE_TIMEOUT", WINDOW.into()),
        ("SAMPLING", capture.sampling.to_string().into()),
        ("LOG_LEVEL", capture.log_level.as_str().into()),
        ("ENABLE_DNS_TRACKING", capture.dns.to_string().into()),
        ("ENABLE_RTT", feature(capture.rtt, capture.unasked[1])),
        ("ENABLE_PKT_DROPS", feature(capture.drops, capture.unasked[2])),
        ("ENABLE_PKT_TRANSLATION", capture.translations.to_string().into()),
        ("ENABLE_PCA", capture.packets.is_some().to_string().into()),
        ("ENABLE_PROCESS", capture.packets.is_none().to_string().into()),
        (DIE_WITH_PARENT, std::process::id().to_string().into()),
    ];
    env.extend(capture.rules.json.as_ref().map(|rules| ("FLOW_FILTER_RULES", rules.into())));
    env.extend(
        capture.packets.iter().flat_map(|packets| packets.agent_env()).map(|(name, value)| (name, value.into())),
    );
    env.extend(endpoint.target());
    // Its log would run through the table that the collector draws.
    Invocation { args: Vec::new(), env, quiet: !capture.verbose, verbose: capture.verbose }
}

/// One that is on though nothing was typed about it is left out where the kernel cannot do it.
fn feature(on: bool, unasked: bool) -> OsString {
    if on && unasked { "auto".into() } else { on.to_string().into() }
}

/// Leaves whole files, or none when the capture could not begin, and prints their paths.
fn tidy_files(output: &Output, session: &Session, result: &Result<(), LocalError>, quiet: bool) {
    if output.exists() && !session.collector_ended_well() && output.is_of_flows() {
        match output::repair(&output.json()) {
            Ok(Repair::Cut(bytes)) => {
                report(&format!("closed the JSON after its last complete flow, {bytes} bytes cut off"));
            }
            Err(error) if output.json().exists() => {
                report(&format!("cannot repair {}: {error}", output.json().display()));
            }
            Ok(Repair::Whole) | Err(_) => {}
        }
    }
    if matches!(result, Err(LocalError::Reported { .. } | LocalError::AlreadyPrinted(_))) {
        output.discard_empty();
    }
    if quiet {
        return;
    }
    if output.exists() {
        report(&output.to_string());
    } else if result.is_ok() && output.base().is_some() {
        report("ended before anything was captured: there are no files");
    }
}

/// One line about the session. Standard output belongs to the collector.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", netobserv_contract::plain::lines(line));
}
