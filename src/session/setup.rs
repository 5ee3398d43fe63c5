//! Makes everything a capture needs, in the order in which each thing finds what it needs.

use std::time::Duration;

use super::{Session, SessionError};
use crate::certificates::Certificates;
use crate::handover::Handover;
use crate::manifest::{self, Document, Stage};
use crate::oc::{Call, OcError};
use crate::plan::{Kind, Monitoring};
use crate::rollout::{self, Least};

/// A setup that failed.
pub(super) struct Failure {
    pub(super) reason: SessionError,
    /// The cluster is as it was.
    pub(super) made_nothing: bool,
}

impl<E: Into<SessionError>> From<E> for Failure {
    fn from(reason: E) -> Self {
        Self { reason: reason.into(), made_nothing: false }
    }
}

/// Makes everything and waits until it runs. Gives the number of nodes that capture.
pub(super) fn run(session: &mut Session<'_>, certificates: &Certificates) -> Result<u64, Failure> {
    make_namespace(session, certificates)?;
    let documents = manifest::documents(&session.plan, certificates)?;
    apply(
        session,
        &documents,
        Stage::Access,
        "creating service account",
        "the service accounts and their permissions",
    )?;
    let monitored =
        session.plan.is_read_by(Monitoring::OpenShift) || session.plan.is_read_by(Monitoring::ServiceMonitor);
    let (line, what) = match monitored {
        true => ("creating service monitor", "the services of the collector and what reads its metrics"),
        false => ("creating collector service", "the service of the collector"),
    };
    apply(session, &documents, Stage::Service, line, what)?;
    let title = match session.plan.command {
        Kind::Flows => "creating flow-capture agents:",
        Kind::Packets => "creating packet-capture agents:",
        Kind::Metrics => "creating metric-capture agents:",
    };
    session.progress.step(title, "Starting the agents");
    session.settings.options_printed.iter().for_each(|line| session.progress.detail(line));
    session.progress.answer(&session.oc.run(&Call::apply("the agents", &of(&documents, Stage::Agents)))?);
    // It starts while the agents do; its lines come in the usual order.
    let started = session.oc.run(&collector_call(session)?)?;
    let timeout = session.settings.access.timeout;
    let (oc, namespace, progress) = (&session.oc, session.plan.namespace.as_str(), session.progress);
    let handover = session.settings.programs.as_ref().map(|programs| Handover::new(oc, namespace, programs, progress));
    let least = if session.plan.only_these_nodes { Least::None } else { Least::One };
    let nodes = rollout::wait(oc, (namespace, &session.plan.session), least, timeout, progress, handover)?;
    session.progress.step(&format!("Running collector {}... ", session.command()), "Starting the collector");
    session.progress.answer(&started);
    let ready =
        session.oc.run(&Call::wait_for_collector(&session.plan.namespace, timeout.max(Duration::from_secs(1))))?;
    session.progress.answer(&ready);
    Ok(nodes)
}

/// The namespace is the lock: of two sessions that both found it absent, one is refused here.
fn make_namespace(session: &mut Session<'_>, certificates: &Certificates) -> Result<(), Failure> {
    let name = session.plan.namespace.clone();
    let documents = manifest::documents(&session.plan, certificates)?;
    session.progress.step(&format!("creating {name} namespace"), &format!("Making namespace {name}"));
    let call = Call::create_namespace(&of(&documents, Stage::Namespace));
    let uid = session.oc.run(&call).map_err(|reason| {
        // It exists, and another user made it a moment ago.
        let made_nothing = matches!(&reason, OcError::Failed(call) if call.text.contains("AlreadyExists"));
        Failure { reason: reason.into(), made_nothing }
    })?;
    let uid = uid.trim();
    if uid.is_empty() || uid.contains(char::is_whitespace) {
        return Err(session.oc.garbage(&call, format!("'{uid}' is not the UID of a namespace")).into());
    }
    session.progress.detail(&format!("namespace/{name} created"));
    session.plan.namespace_uid = Some(uid.to_owned());
    Ok(())
}

fn apply(session: &Session<'_>, documents: &[Document], stage: Stage, line: &str, what: &str) -> Result<(), OcError> {
    session.progress.step(line, &format!("Making {what}"));
    let answer = session.oc.run(&Call::apply(what, &of(documents, stage)))?;
    session.progress.answer(&answer);
    Ok(())
}

fn of(documents: &[Document], stage: Stage) -> Vec<&Document> {
    documents.iter().filter(|document| document.stage == stage).collect()
}

fn collector_call(session: &Session<'_>) -> Result<Call, SessionError> {
    let plan = &session.plan;
    let overrides = manifest::collector_overrides(plan)?.to_string();
    let labels = format!("run=collector,app=netobserv-cli,netobserv.io/session={}", plan.session);
    let policy = plan.images.collector_pull_policy().word();
    let command = plan.pod_command();
    Ok(Call::run_collector(&plan.namespace, &plan.images.collector, policy, &labels, &overrides, &command))
}
