//! `cleanup`: finds what there is to remove, from any machine, and asks before it touches what belongs to another person.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use chrono::Utc;
use serde_json::Value;

use super::{CLUSTER_ROLES, CleanupError, Kinds, SCC, session};
use crate::oc::{Call, Oc, OcError, SESSION};
use crate::options::Access;
use crate::plan::DEFAULT_NAMESPACE;
use crate::preflight::NamespaceOwner;
use crate::progress::{Progress, warn};
use crate::signal::Interrupts;
use crate::terminal::{ask, user_and_host};

/// Why the cluster is not clean.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A call failed.
    #[error(transparent)]
    Oc(#[from] OcError),
    /// Something is left.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[from] ctrlc::Error),
    /// It belongs to another person.
    #[error("namespace {namespace} is in use. {holder}; use --force to remove it anyway")]
    InUse {
        /// The namespace.
        namespace: String,
        /// Who has it.
        holder: String,
    },
}

/// Removes everything of the sessions in one namespace.
///
/// # Errors
///
/// See [`CommandError`].
pub fn cleanup(access: &Access, called_as: &OsStr) -> Result<(), CommandError> {
    let oc = Oc::find(called_as, access, Interrupts::listen()?)?;
    let (progress, namespace) = (Progress::new(access, false), access.namespace.as_str());
    let (scc, openshift) = kind_of_cluster(&oc)?;
    let found: Option<Value> = oc.json(&Call::held_namespace(namespace, &user_and_host()))?;
    let holder = found.as_ref().and_then(NamespaceOwner::of);
    match (&found, &holder) {
        (Some(_), None) => {
            warn(&format!("namespace {namespace} was not created by this program and is left unchanged"));
        }
        (_, Some(holder)) => may_go(&oc, access, holder)?,
        (None, None) => {}
    }
    let mut dashboard = holder.as_ref().is_some_and(|holder| holder.of_metrics);
    let mut sessions: BTreeSet<String> = holder.into_iter().map(|holder| holder.session).collect();
    sessions.extend(of_cluster_objects(&oc, namespace, scc)?);
    if openshift && found.is_none() {
        // Those who capture no metrics need no right to look there.
        let left =
            oc.json(&Call::dashboards()).ok().flatten().map_or_else(BTreeSet::new, |list| named(&list, namespace));
        dashboard = !left.is_empty();
        sessions.extend(left);
    }
    if sessions.is_empty() {
        progress.print("nothing to clean up");
        return Ok(());
    }
    progress.print("Copy skipped");
    let mut outcome = Ok(());
    for id in sessions {
        let kinds = Kinds { scc, dashboard: openshift && dashboard };
        outcome = outcome.and(session(&oc, namespace, &id, kinds, access.timeout, progress));
    }
    Ok(outcome?)
}

/// Whether it has security context constraints, and whether it is OpenShift.
fn kind_of_cluster(oc: &Oc) -> Result<(bool, bool), OcError> {
    let call = Call::api_groups();
    let list: Value = oc.json(&call)?.unwrap_or_default();
    let groups = list["groups"].as_array().ok_or_else(|| oc.garbage(&call, "there are no groups"))?;
    let has = |name: &str| groups.iter().any(|group| group["name"] == name);
    Ok((has("security.openshift.io"), has("config.openshift.io")))
}

/// Sessions of other people are removed only on request.
fn may_go(oc: &Oc, access: &Access, holder: &NamespaceOwner) -> Result<(), CommandError> {
    let namespace = access.namespace.as_str();
    if access.force || holder.going || holder.by == user_and_host() {
        return Ok(());
    }
    // One that has just begun may have nothing that works yet.
    if !holder.is_young(Utc::now()) && !holder.is_alive(oc, namespace)? {
        return Ok(());
    }
    let question = format!("{}. Remove it anyway? [yes/no] ", holder.description());
    if ask(&question, false, oc.interrupts()) {
        return Ok(());
    }
    Err(CommandError::InUse { namespace: namespace.to_owned(), holder: holder.description() })
}

/// Sessions that have left cluster-wide objects under the names that belong to this namespace.
fn of_cluster_objects(oc: &Oc, namespace: &str, scc: bool) -> Result<BTreeSet<String>, OcError> {
    let kinds = if scc { format!("{CLUSTER_ROLES},{SCC}") } else { CLUSTER_ROLES.to_owned() };
    let call = Call::cluster_objects(&kinds);
    let list: Value = oc.json(&call)?.unwrap_or_default();
    if list["items"].is_array() {
        Ok(named(&list, namespace))
    } else {
        Err(oc.garbage(&call, "there is no list of items"))
    }
}

/// Sessions of those in a list whose name belongs to this namespace.
fn named(list: &Value, namespace: &str) -> BTreeSet<String> {
    let name =
        if namespace == DEFAULT_NAMESPACE { namespace.to_owned() } else { format!("{DEFAULT_NAMESPACE}-{namespace}") };
    let items = list["items"].as_array().into_iter().flatten();
    let ours = items.filter(|item| item["metadata"]["name"].as_str() == Some(&name));
    ours.filter_map(|item| item["metadata"]["labels"][SESSION].as_str().map(str::to_owned)).collect()
}
