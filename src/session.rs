//! A capture in a cluster from beginning to end: look, set up, capture, copy, clean up. Whatever goes wrong on the way,
//! what was made is removed again, and the reason is the last thing that is output.

use std::ffi::OsStr;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant, SystemTime};

use chrono::Utc;
use serde_json::Value;

use crate::certificates::Certificates;
use crate::cleanup::{self, CleanupError, Kinds};
use crate::copy::{self, CopyError};
use crate::manifest::ManifestError;
use crate::oc::{COLLECTOR, Call, Oc, OcError};
use crate::options::{CopyChoice, Scraper, Settings};
use crate::plan::{MetricsPlan, Monitoring, Plan};
use crate::preflight::{self, Cluster, PreflightError};
use crate::progress::{self, Progress, warn};
use crate::rollout::RolloutError;
use crate::signal::Interrupts;
use crate::terminal::{ask, user_and_host};

mod appearance;
mod capture;
mod connect;
mod keylog;
mod restart;
mod setup;
mod started;
mod watch;
mod yaml;

pub use yaml::YamlError;

/// How long the API server may lag behind a pod's end, and how often the cluster is asked about it.
const NEWS_OF_A_POD: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait for pods when the collector's node does not answer.
const PODS_OF_A_LOST_NODE: Duration = Duration::from_secs(10);

/// Exit code of a capture that does not meet a demand.
const NOT_MET: u8 = 3;

/// Why a session ends without success.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A call failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// There can be no capture.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// The agents or the collector do not start.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// The files did not arrive.
    #[error("{0}; the collector still has them: '{1} netobserv copy' tries again, '{1} netobserv cleanup' gives up")]
    Copy(CopyError, &'static str),
    /// The files are lost.
    #[error("{0}; the pod of the collector is gone, and its files with it")]
    Lost(CopyError),
    /// There is no place for the files.
    #[error("{0}")]
    Folder(CopyError),
    /// Something is left in the cluster.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[from] ctrlc::Error),
    /// Certificates cannot be made.
    #[error("cannot make certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A mistake in a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The YAML cannot be written.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// The collector cannot be reached.
    #[error("the collector no longer responds: {0}; what it captured is out of reach")]
    Unreachable(String),
    /// The capture went well, and does not meet what a script demanded.
    #[error("the capture does not meet what was demanded of it")]
    NotMet,
    /// The capture itself failed.
    #[error("the capture {how}{output}")]
    Capture {
        /// How its program ended.
        how: String,
        /// What it output, and what was tried.
        output: String,
        /// Its exit code.
        code: u8,
    },
}

impl SessionError {
    /// That of the capture where it failed, 3 when it does not meet a demand, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Capture { code, .. } => (*code).max(1),
            Self::NotMet => NOT_MET,
            _ => 1,
        }
    }
}

/// Runs a capture in a cluster. `called_as` is the name of this program, which distinguishes `oc` from `kubectl`.
///
/// # Errors
///
/// See [`SessionError`]. Nothing is left in the cluster, unless the error reports it.
pub fn run(settings: &Settings, called_as: &OsStr) -> Result<(), SessionError> {
    let progress = Progress::new(&settings.access, settings.data_on_stdout);
    settings.printed.iter().for_each(|line| progress.print(line));
    if let Some(target) = settings.yaml {
        return yaml::write(settings, target, called_as, progress);
    }
    if settings.copy != CopyChoice::No && !settings.background {
        copy::check_folder(&settings.output_dir).map_err(SessionError::Folder)?;
    }
    let oc = Oc::find(called_as, &settings.access, Interrupts::listen()?)?;
    progress.step("Setting up... ", "Checking the cluster");
    let result = set_up_and_capture(oc, settings, progress);
    progress::end_steps();
    result
}

fn set_up_and_capture(oc: Oc, settings: &Settings, progress: Progress) -> Result<(), SessionError> {
    let cluster = preflight::probe(&oc, settings, progress)?;
    let plan = plan(settings, &cluster);
    let certificates = Certificates::new(&plan, SystemTime::now())?;
    clear_the_way(&oc, settings, &cluster, progress)?;
    let mut session = Session { oc, settings, plan, progress, has_files: true, is_lost: false };
    let set_up = setup::run(&mut session, &certificates);
    progress::end_steps();
    match set_up {
        Ok(nodes) if settings.background => match started::wait(&session) {
            Ok(()) => {
                session.tell_background(nodes);
                session.tell_dashboard();
                Ok(())
            }
            Err(error) => session.give_up(error.into()),
        },
        Ok(nodes) => session.capture_and_end(nodes),
        Err(error) => session.give_up(error),
    }
}

/// Removes what an interrupted session has left, so that the name is free.
fn clear_the_way(oc: &Oc, settings: &Settings, cluster: &Cluster, progress: Progress) -> Result<(), SessionError> {
    let Some(left) = &cluster.left else { return Ok(()) };
    let namespace = settings.access.namespace.as_str();
    progress.print(&format!("removing what session {} of {} left in {namespace}", left.session, left.by));
    let kinds = Kinds { scc: cluster.scc, dashboard: cluster.openshift_monitoring && left.of_metrics };
    Ok(cleanup::session(oc, namespace, &left.session, kinds, settings.access.timeout, progress)?)
}

/// The plan of a session that begins now.
pub(crate) fn plan(settings: &Settings, cluster: &Cluster) -> Plan {
    let id = std::hash::RandomState::new().build_hasher().finish() as u32;
    let subnets = cluster.subnets.iter().map(|subnets| format!("--subnets={subnets}"));
    Plan {
        command: settings.kind,
        namespace: settings.access.namespace.clone(),
        namespace_uid: None,
        session: format!("{id:08x}"),
        started: Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        by: user_and_host(),
        typed: format!("{} {}", settings.kind.word(), settings.typed).trim().to_owned(),
        images: settings.images.clone(),
        node_selector: settings.node_selector.clone(),
        only_these_nodes: settings.only_these_nodes,
        privileged: settings.privileged,
        scc: cluster.scc,
        agent_env: settings.agent_env.clone(),
        collector_args: settings.collector_args.iter().cloned().chain(subnets).collect(),
        max_time: settings.max_time,
        max_bytes: settings.max_bytes,
        keep: settings.keep,
        tls: true,
        background: settings.background,
        metrics: metrics(settings, cluster),
    }
}

/// What is counted, and who reads it on this cluster.
fn metrics(settings: &Settings, cluster: &Cluster) -> Option<MetricsPlan> {
    let wanted = settings.metrics.as_ref()?;
    let monitoring = match wanted.scraper {
        Scraper::OfTheCluster if cluster.openshift_monitoring => Monitoring::OpenShift,
        Scraper::ServiceMonitor => Monitoring::ServiceMonitor,
        Scraper::Annotations => Monitoring::Annotations,
        Scraper::OfTheCluster | Scraper::Off => Monitoring::Off,
    };
    Some(MetricsPlan { counted: wanted.metrics(), monitoring })
}

/// A session under way.
pub(crate) struct Session<'a> {
    pub(crate) oc: Oc,
    pub(crate) settings: &'a Settings,
    pub(crate) plan: Plan,
    pub(crate) progress: Progress,
    /// There is something to copy.
    pub(crate) has_files: bool,
    /// The collector is out of reach.
    pub(crate) is_lost: bool,
}

impl Session<'_> {
    /// After a setup that failed: everything goes, and the reason stays.
    fn give_up(mut self, error: setup::Failure) -> Result<(), SessionError> {
        if error.made_nothing {
            return Err(error.reason);
        }
        self.oc.shield();
        self.progress.print("Copy skipped");
        if let Err(left) = self.clean_up() {
            warn(&format!("error: {left}"));
        }
        Err(error.reason)
    }

    /// The capture, and everything behind it.
    fn capture_and_end(mut self, nodes: u64) -> Result<(), SessionError> {
        self.tell_dashboard();
        let captured = capture::run(&mut self, nodes);
        self.oc.shield();
        if !self.has_files {
            self.progress.print("Copy skipped");
        } else if let Err(error) = self.copy() {
            captured.err().into_iter().for_each(|error| warn(&format!("error: {error}")));
            return self.keep_the_files(error);
        }
        let cleaned = self.clean_up();
        match (captured, cleaned) {
            (Err(error), Err(left)) => {
                warn(&format!("error: {left}"));
                Err(error)
            }
            (captured, cleaned) => captured.and(cleaned),
        }
    }

    /// The files are worth more than a tidy cluster: the agents go, the collector waits for another try.
    fn keep_the_files(self, error: SessionError) -> Result<(), SessionError> {
        if self.collector_is_gone(&error) {
            self.clean_up().err().into_iter().for_each(|error| warn(&format!("error: {error}")));
            return Err(match error {
                SessionError::Copy(error, _) => SessionError::Lost(error),
                other => other,
            });
        }
        let namespace = Some(self.plan.namespace.as_str());
        let delete = Call::delete("daemonset", namespace, &self.plan.session, self.settings.access.timeout);
        self.oc.run(&delete).err().into_iter().for_each(|error| warn(&format!("error: {error}")));
        Err(error)
    }

    /// As the cluster reports; when it does not, the collector may be there. A pod that has just ended cannot be reached, and
    /// the cluster hears of it from the node a moment later.
    fn collector_is_gone(&self, error: &SessionError) -> bool {
        let start = Instant::now();
        let unreached = matches!(error, SessionError::Copy(CopyError::Oc(_), _));
        loop {
            let workload: Result<Option<Value>, OcError> = self.oc.json(&Call::workload(&self.plan.namespace));
            let Ok(Some(list)) = workload else { return false };
            let runs = |item: &Value| item["metadata"]["name"] == COLLECTOR && item["status"]["phase"] == "Running";
            let gone = list["items"].as_array().is_some_and(|items| !items.iter().any(runs));
            let again = !gone && unreached && start.elapsed() < NEWS_OF_A_POD;
            if !again || self.oc.rest(LOOK, "check whether the collector is still there").is_err() {
                return gone;
            }
        }
    }

    fn copy(&mut self) -> Result<(), SessionError> {
        let wanted = match self.settings.copy {
            CopyChoice::Yes => true,
            CopyChoice::No => false,
            CopyChoice::Ask => {
                let yes = ask("Copy the capture output locally? [yes/no] ", true, self.oc.interrupts());
                // A Ctrl-C here is an answer.
                self.oc.shield();
                if !yes {
                    self.progress.print("copy skipped");
                }
                yes
            }
        };
        if !wanted {
            return Ok(());
        }
        self.progress.print("Copying collector output files...");
        let copied = copy::run(&self.oc, &self.plan.namespace, &self.settings.output_dir, self.progress);
        copied.map_err(|error| SessionError::Copy(error, self.oc.name()))
    }

    fn clean_up(&self) -> Result<(), SessionError> {
        let timeout = self.settings.access.timeout;
        let plan = &self.plan;
        // What runs on a node that does not answer never ends, as far as the cluster knows.
        let timeout = if self.is_lost { timeout.min(PODS_OF_A_LOST_NODE) } else { timeout };
        let kinds = Kinds { scc: plan.scc, dashboard: plan.is_read_by(Monitoring::OpenShift) };
        Ok(cleanup::session(&self.oc, &plan.namespace, &plan.session, kinds, timeout, self.progress)?)
    }

    /// Where the metrics are shown, apart from the screen.
    fn tell_dashboard(&self) {
        if self.plan.is_read_by(Monitoring::OpenShift) {
            let name = self.plan.cluster_name();
            self.progress.print(&format!(
                "Open the console at /monitoring/dashboards/{name} to see the metrics: Observe > Dashboards > NetObserv / On Demand"
            ));
        }
    }

    /// The words that scripts of the original match.
    fn tell_background(&self, nodes: u64) {
        let (cli, (time, bytes)) = (self.oc.name(), &self.settings.limits);
        let namespace = match self.plan.namespace.as_str() {
            crate::plan::DEFAULT_NAMESPACE => String::new(),
            other => format!(" -n {other}"),
        };
        let limits = match self.plan.metrics {
            Some(_) => time.clone(),
            None => format!("{time} or reaching {bytes} bytes"),
        };
        for line in [
            "Background capture started. Use:".to_owned(),
            format!(" - '{cli} netobserv follow{namespace}' to see the capture progress"),
            format!(" - '{cli} netobserv copy{namespace}' to copy the generated files locally"),
            format!(" - '{cli} netobserv cleanup{namespace}' to remove the netobserv components"),
            String::new(),
            format!("Capture ends automatically in {limits}"),
        ] {
            self.progress.print(&line);
        }
        if nodes == 0 && !self.settings.only_these_nodes {
            warn("no node captures yet");
        }
    }

    /// The collector's sub-command.
    pub(crate) fn command(&self) -> &'static str {
        self.plan.command.collector_command()
    }
}
