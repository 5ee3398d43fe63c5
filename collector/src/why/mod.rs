//! What went wrong in a capture: records become observations of the library `netobserv-explain`, while a capture runs and out of a
//! finished file.

pub mod command;
pub(crate) mod database;
pub mod policy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use chrono::Utc;
use netobserv_contract::plain;
use netobserv_explain::demand::Demands;
use netobserv_explain::explain::explain;
use netobserv_explain::finding::add;
use netobserv_explain::node::Loss;
use netobserv_explain::observe::{Dns, Drops, Observation, Seen};
use netobserv_explain::report::Report;
use netobserv_explain::scan;
use netobserv_explain::traffic::Watch;
use netobserv_wire::Flow;
use netobserv_wire::field::Side;

use crate::counts::Counts;
use crate::counts::between::Between;
use crate::enrich::Names;

/// The bit of the DNS flags that an answer has.
const RESPONSE: u16 = 0x8000;

/// Exit code when a demand (`--fail-on`, `--expect`, `--forbid`) is not met.
pub const NOT_MET: u8 = 3;

/// A capture that does not meet what was demanded of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotMet(pub String);

/// Where a report goes, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// JUnit's XML into this file.
    Junit(PathBuf),
    /// GitHub's workflow commands on standard output.
    Github,
}

/// What a capture is asked for by scripts.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The demands.
    pub demands: Demands,
    /// The reports.
    pub reports: Vec<Form>,
}

/// Watches a running capture.
#[derive(Clone, Debug)]
pub struct Watcher {
    state: Arc<Mutex<(Watch, Demands)>>,
    reports: Vec<Form>,
    names: Option<Arc<Names>>,
    counts: Option<Arc<Counts>>,
}

impl Watcher {
    /// Watches for what `asked` demands, and for what goes wrong.
    pub fn new(asked: Asked) -> Self {
        Self {
            state: Arc::new(Mutex::new((Watch::default(), asked.demands))),
            reports: asked.reports,
            names: None,
            counts: None,
        }
    }

    /// Explains by the objects of the cluster that these names are made of.
    #[must_use]
    pub fn with_names(mut self, names: Option<Arc<Names>>) -> Self {
        self.names = names;
        self
    }

    /// Reports what was lost between nodes, once these counts have it.
    #[must_use]
    pub fn with_counts(mut self, counts: Arc<Counts>) -> Self {
        self.counts = Some(counts);
        self
    }

    /// Looks at records.
    pub fn look(&self, rows: &[Flow]) {
        let mut state = self.state();
        let (watch, demands) = &mut *state;
        for flow in rows {
            let seen = observation(flow);
            watch.add(&seen);
            demands.add(&seen);
        }
    }

    fn state(&self) -> MutexGuard<'_, (Watch, Demands)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything went wrong so far.
    pub fn has_findings(&self) -> bool {
        !self.state().0.findings().is_empty()
    }

    /// What was found.
    pub fn report(&self) -> Report {
        let mut state = self.state();
        state.0.until(u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default());
        let mut findings = state.0.findings();
        if let Some(cluster) = self.names.as_ref().and_then(|names| names.cluster()) {
            explain(&mut findings, &cluster);
        }
        let lost = self.counts.iter().flat_map(|counts| losses(counts.between()));
        add(&mut findings, lost.map(|loss| loss.finding()));
        let mut report = report(&state.0, &state.1, findings);
        report.unknown.extend(self.names.iter().flat_map(|names| names.undecided()));
        report
    }

    /// Writes the findings into the database, which is complete without them, and the reports that were asked for.
    ///
    /// # Errors
    /// When a report cannot be written.
    pub fn save(&self, report: &Report, db: &Path) -> anyhow::Result<()> {
        if let Err(error) = database::save(db, report) {
            tracing::warn!("{error:#}: they are in what is printed only");
        }
        write_reports(report, &self.reports)
    }
}

/// The findings of a watch with what its demands came to.
fn report(watch: &Watch, demands: &Demands, mut findings: Vec<netobserv_explain::finding::Finding>) -> Report {
    let demands = demands.outcomes(&watch.measures(), &findings);
    scan::group(&mut findings);
    Report { findings, unknown: watch.gaps(), hints: watch.hints(), demands }
}

/// What was lost between each two nodes.
fn losses(all: &[Between]) -> Vec<Loss> {
    let mut pairs = BTreeMap::<(&str, &str), Loss>::new();
    for between in all {
        let pair = (between.from.as_str(), between.to.as_str());
        let (from, to) = (pair.0.to_owned(), pair.1.to_owned());
        let loss = pairs.entry(pair).or_insert_with(|| Loss { from, to, ..Loss::default() });
        loss.sent += between.sent;
        loss.lost += between.lost();
    }
    pairs.into_values().filter(|loss| loss.lost > 0).collect()
}

/// An error when a demand is not met.
///
/// # Errors
/// [`NotMet`], with the demands.
pub fn verdict(report: &Report) -> anyhow::Result<()> {
    let unmet: Vec<_> = report.demands.iter().filter(|one| !one.met).collect();
    let lines: Vec<_> = unmet.iter().map(|one| format!("{} ({})", one.demand, one.found)).collect();
    if lines.is_empty() { Ok(()) } else { Err(NotMet(format!("not met: {}", lines.join(", "))).into()) }
}

/// Prints a line on standard error.
fn complain(line: &str) {
    let _ = netobserv_stdio::stderr().write(format!("{}\n", plain::lines(line)));
}

/// Prints a line on standard output. Whether that works is asked at the end.
fn print(line: &str) {
    let _ = netobserv_stdio::stdout().write(format!("{}\n", plain::lines(line)));
}

fn write_reports(report: &Report, forms: &[Form]) -> anyhow::Result<()> {
    for form in forms {
        match form {
            Form::Junit(path) => {
                std::fs::write(path, report.junit()).with_context(|| format!("cannot write {}", path.display()))?;
            }
            // Whether that works is asked at the end.
            Form::Github => drop(netobserv_stdio::stdout().write(plain::lines(&report.github()).into_owned())),
        }
    }
    Ok(())
}

/// A record in plain values.
pub fn observation(flow: &Flow) -> Observation<'_> {
    Observation {
        start_ms: flow.start_ms,
        end_ms: flow.end_ms,
        src: end(flow, Side::Src),
        dst: end(flow, Side::Dst),
        protocol: flow.proto,
        icmp: flow.icmp_type.map(|kind| (kind, flow.icmp_code.unwrap_or_default())),
        packets: flow.packets,
        flags: flow.flags.unwrap_or_default(),
        rtt_ns: flow.rtt_ns,
        sampling: flow.sampling,
        dns: flow.dns.as_ref().map(|dns| Dns {
            errno: dns.errno,
            // Without an answer they are those of the query.
            answered: dns.flags.is_some_and(|flags| flags & RESPONSE != 0),
            rcode: &dns.rcode,
            name: &dns.name,
            latency_us: dns.latency_us.or(dns.latency_ms.map(|ms| ms * 1_000)).unwrap_or_default(),
        }),
        drops: flow.drops.as_ref().map(|drops| Drops {
            packets: drops.packets,
            flags: drops.flags,
            cause: &drops.cause,
            causes: &drops.causes,
        }),
        duplicate: flow.duplicate.is_some(),
        conversation: flow.conversation.map_or(0, |conversation| conversation.id),
        from_client: flow.conversation.and_then(|conversation| conversation.from_client),
    }
}

fn end(flow: &Flow, side: Side) -> Seen<'_> {
    let (address, port) = match side {
        Side::Src => (flow.src_addr, flow.src_port),
        Side::Dst => (flow.dst_addr, flow.dst_port),
    };
    let process = flow.processes.as_ref().map_or("", |both| match side {
        Side::Src => &both.src.comm,
        Side::Dst => &both.dst.comm,
    });
    let seen = Seen { address, port, process, ..Seen::default() };
    match flow.holder(side) {
        Some(holder) => Seen {
            kind: &holder.kind,
            namespace: &holder.namespace,
            name: &holder.name,
            owner: &holder.owner_name,
            ..seen
        },
        None => seen,
    }
}
