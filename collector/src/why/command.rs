//! `why`: what went wrong in a finished capture, and whether it meets what a script demands.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser};
use netobserv_contract::plain;
use netobserv_explain::cluster::Cluster;
use netobserv_explain::demand::{Demands, Pair};
use netobserv_explain::explain::explain;
use netobserv_explain::finding::{Kind, add, adopt};
use netobserv_explain::report::Report;
use netobserv_explain::traffic::Watch;

use super::{Asked, Form, NOT_MET, NotMet, complain, database, print, report, verdict, write_reports};

/// Exit code for a wrong command line.
const USAGE: u8 = 2;

/// What scripts demand, as words.
#[derive(Clone, Debug, Default, Args)]
pub struct DemandWords {
    /// Exit with code 3 when a limit is exceeded: drops>0, dns-errors>1%, rtt-p95>50ms, resets>0, ...
    #[arg(long, global = true, value_name = "LIMITS", value_parser = limits)]
    fail_on: Vec<String>,
    /// Exit with code 3 unless this connection was seen and answered: shop/web -> shop/db:5432
    #[arg(long, global = true, value_name = "CONNECTION", value_parser = expected)]
    expect: Vec<String>,
    /// Exit with code 3 when this connection was seen: ns:shop -> outside
    #[arg(long, global = true, value_name = "CONNECTION", value_parser = forbidden)]
    forbid: Vec<String>,
    /// Report in another form too: junit:FILE, or github for annotations on standard output
    #[arg(long, global = true, value_name = "FORM", value_parser = form)]
    report: Vec<Form>,
}

/// Finds what went wrong in a finished capture.
#[derive(Debug, Parser)]
#[command(name = "why")]
struct Why {
    /// The database of the capture
    #[arg(long, value_name = "FILE.db")]
    from: PathBuf,
    /// Objects of the cluster, as 'oc get pods,services,networkpolicies,... -A -o json' prints them; may be given several times
    #[arg(long, value_name = "FILE")]
    objects: Vec<PathBuf>,
    /// How to print: text or json
    #[arg(long, short, default_value = "text", value_parser = ["text", "json"])]
    output: String,
    #[command(flatten)]
    demands: DemandWords,
    /// Only connections of this end: NAMESPACE/NAME, a process, an address
    client: Option<String>,
    /// ... to this one: the same, with :PORT or without
    #[arg(requires = "client")]
    server: Option<String>,
}

fn limits(text: &str) -> Result<String, String> {
    Demands::default().fail_on(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn expected(text: &str) -> Result<String, String> {
    Demands::default().expect(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn forbidden(text: &str) -> Result<String, String> {
    Demands::default().forbid(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn form(text: &str) -> Result<Form, String> {
    match text.split_once(':') {
        Some(("junit", path)) if !path.is_empty() => Ok(Form::Junit(path.into())),
        None if text == "github" => Ok(Form::Github),
        _ => Err("use junit:FILE or github".into()),
    }
}

impl DemandWords {
    /// The same, read.
    pub fn asked(&self) -> Asked {
        let mut demands = Demands::default();
        // Each was read once, when the command line was.
        self.fail_on.iter().for_each(|text| drop(demands.fail_on(text)));
        self.expect.iter().for_each(|text| drop(demands.expect(text)));
        self.forbid.iter().for_each(|text| drop(demands.forbid(text)));
        Asked { demands, reports: self.report.clone() }
    }
}

/// The program `why`: words to exit code.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    let words = match Why::try_parse_from(std::iter::once("why".into()).chain(words)) {
        Ok(words) => words,
        Err(error) => return usage(&error),
    };
    end(words.run())
}

/// Prints why words are wrong, or the help that they ask for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        print(error.render().to_string().trim_end());
        return end(Ok(()));
    }
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    complain(&lines.join(" "));
    let _ = netobserv_stdio::finish();
    USAGE.into()
}

/// What could not be written is an error too.
pub(crate) fn end(result: anyhow::Result<()>) -> ExitCode {
    let written = netobserv_stdio::finish().context("cannot write standard output");
    let code = match result.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            if error.is::<NotMet>() { NOT_MET.into() } else { ExitCode::FAILURE }
        }
    };
    let _ = netobserv_stdio::finish();
    code
}

/// The objects of a cluster, out of files.
pub(super) fn cluster(paths: &[PathBuf]) -> anyhow::Result<Option<Cluster>> {
    let mut cluster: Option<Cluster> = None;
    for path in paths {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        cluster.get_or_insert_default().add_text(&text).with_context(|| path.display().to_string())?;
    }
    Ok(cluster)
}

impl Why {
    fn run(&self) -> anyhow::Result<()> {
        let cluster = cluster(&self.objects)?;
        let pair = self.client.as_deref().map(|client| Pair::read(client, self.server.as_deref().unwrap_or("any")));
        let mut pair = pair.transpose()?;
        if let Some(pair) = &mut pair {
            database::read(&self.from, |seen| pair.note(seen))?;
        }
        let asked = self.demands.asked();
        let (mut watch, mut demands) = (Watch::default(), asked.demands);
        let end = database::read(&self.from, |seen| {
            demands.add(seen);
            if pair.as_ref().is_none_or(|pair| pair.concerns(seen)) {
                watch.add(seen);
            }
        })?;
        watch.until(end);
        let mut findings = watch.findings();
        let (reported, unknown) = database::reported(&self.from);
        match &cluster {
            Some(cluster) => explain(&mut findings, cluster),
            None => adopt(&mut findings, &reported),
        }
        // They are between nodes, not between the two ends.
        let lost = reported.into_iter().filter(|one| pair.is_none() && one.kind == Kind::LostBetweenNodes);
        add(&mut findings, lost);
        let mut report = report(&watch, &demands, findings);
        let unknown = unknown.filter(|_| cluster.is_none()).unwrap_or_default();
        let new = unknown.split("; ").filter(|gap| !gap.is_empty() && !report.unknown.iter().any(|known| known == gap));
        let new: Vec<_> = new.map(str::to_owned).collect();
        report.unknown.extend(new);
        if watch.records() == 0 {
            report.unknown.push("the capture has no record of this".into());
        }
        self.print(&report)?;
        write_reports(&report, &asked.reports)?;
        verdict(&report)
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        let text = if self.output == "json" { report.json() } else { plain::lines(&report.text()).into_owned() };
        netobserv_stdio::stdout().write(text + "\n").map_err(anyhow::Error::msg)
    }
}
