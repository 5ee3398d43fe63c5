//! `netobserv-agent`: everything is set in the environment (see [`netobserv_agent::settings`]). The one argument that there
//! is, `doctor`, asks what this kernel can do.

use std::{
    io::{IsTerminal, Write as _},
    process::ExitCode,
};

use netobserv_agent::{
    agent, doctor,
    error::AgentError,
    settings::{self, Settings},
};

/// The process that started the agent as a child which must not outlive it.
const DIE_WITH_PARENT: &str = "NETOBSERV_DIE_WITH_PARENT";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("doctor") => return examine(),
        Some("help" | "--help" | "-h") => return print(&help()),
        Some("version" | "--version" | "-V") => {
            return print(concat!("netobserv-agent ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Some(word) => {
            eprintln!("error: unknown argument {word}: see netobserv-agent --help");
            return ExitCode::from(2);
        }
    }
    let settings = match Settings::read(
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
    ) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    init_log(settings.log_level);
    if let Ok(parent) = std::env::var(DIE_WITH_PARENT)
        && !tie_to(&parent)
    {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(AgentError::from).and_then(|runtime| runtime.block_on(agent::run(settings)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Success when flows can be captured.
fn examine() -> ExitCode {
    let report = doctor::examine();
    let written = print(&report.to_string());
    if report.good { written } else { ExitCode::FAILURE }
}

fn help() -> String {
    let settings = settings::list();
    format!(
        "Captures flows or packets on this machine with eBPF, and sends them to a collector\n\n\
         Usage: netobserv-agent            capture until SIGTERM, as set in the environment\n       \
         netobserv-agent doctor     report what this kernel can do\n       \
         netobserv-agent --help     print this text\n       \
         netobserv-agent --version  print the version\n\n\
         Environment [default]:\n{settings}\n\
         Capturing needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN. Exit code: 0, 1 for a failure, 2 for a wrong setting.\n"
    )
}

/// A reader that has gone away (`| head -1`) has seen enough.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write standard output: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// To standard error, coloured on a terminal only. The libraries' own debug lines would drown ours.
fn init_log(level: tracing::Level) {
    let filter = tracing_subscriber::EnvFilter::new(format!("warn,netobserv_agent={level}"));
    let dumb = std::env::var_os("TERM").is_some_and(|term| term.is_empty() || term == "dumb");
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() && !dumb;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_target(false)
        .init();
}

/// Asks for SIGTERM when the parent ends. False if it has ended already.
fn tie_to(parent: &str) -> bool {
    // A failure leaves things as they were, which is all that can be done.
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM);
    nix::unistd::getppid().to_string() == parent
}
