//! What is known of address translation, and what is not; [`crate::conntrack`] finds it out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use netobserv_wire::pbflow::AgentStatus;
use tracing::warn;

/// Most namespaces that are named with a reason.
const MOST_NAMES: usize = 3;

/// Addresses (IPv4 ones mapped) and ports. An ICMP echo has its identifier, 0 if it is not known, as source port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tuple {
    /// Network order.
    pub src: [u8; 16],
    /// Network order.
    pub dst: [u8; 16],
    /// 0 for protocols without ports.
    pub src_port: u16,
    /// 0 for protocols without ports.
    pub dst_port: u16,
}

/// The other tuple of a flow whose addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translated {
    /// It is the one before translation; else the one after it.
    pub is_origin: bool,
    /// In the direction of the flow.
    pub tuple: Tuple,
    /// The one after it as well, of packets that were seen between the translation of the destination and that of the source.
    pub target: Option<Tuple>,
    /// Of the connection tracking.
    pub zone: u16,
    /// Identifier of an echo.
    pub icmp_id: u16,
    /// The source opened the connection.
    pub source_opened: bool,
    /// The packets are counted in the record of the flow before translation.
    pub duplicate: bool,
}

/// Translations that are not known; shared by the threads that read them and that report.
#[derive(Clone, Default)]
pub struct Unknown(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Why they are not known, and in which namespaces.
    reasons: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Messages that were lost.
    lost: AtomicU64,
    /// Connections beyond the limit.
    refused: AtomicU64,
}

impl Unknown {
    /// Those of a namespace are not known, or not all of them.
    pub fn add(&self, namespace: &str, reason: &str) {
        let mut reasons = self.0.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let namespaces = reasons.entry(reason.to_owned()).or_insert_with(|| {
            warn!("address translations are not known, or not all: {reason} ({namespace})");
            BTreeSet::new()
        });
        namespaces.insert(namespace.to_owned());
    }

    /// So many messages about them were lost.
    pub fn lose(&self, messages: u64) {
        self.0.lost.fetch_add(messages, Relaxed);
    }

    /// So many have found no room so far.
    pub fn refuse(&self, total: u64) {
        self.0.refused.store(total, Relaxed);
    }

    /// Writes all of it into a status.
    pub fn report(&self, status: &mut AgentStatus) {
        let reasons = self.0.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |(reason, namespaces): (&String, &BTreeSet<String>)| format!("{reason} ({})", names(namespaces));
        status.no_translations = reasons.iter().map(text).collect::<Vec<_>>().join("; ");
        status.lost_translations = self.0.lost.load(Relaxed) + self.0.refused.load(Relaxed);
    }
}

fn names(namespaces: &BTreeSet<String>) -> String {
    let mut names: Vec<_> = namespaces.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = format!("{} more", namespaces.len() - names.len());
    names.extend((namespaces.len() > names.len()).then_some(more.as_str()));
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_a_few_namespaces() {
        let unknown = Unknown::default();
        let mut status = AgentStatus::default();
        unknown.report(&mut status);
        assert_eq!((status.no_translations.as_str(), status.lost_translations), ("", 0));
        ["d", "b", "a", "c", "e"].into_iter().for_each(|namespace| unknown.add(namespace, "full"));
        unknown.add("a", "no permission");
        [3, 4].into_iter().for_each(|count| unknown.lose(count));
        [10, 20].into_iter().for_each(|total| unknown.refuse(total));
        unknown.report(&mut status);
        assert_eq!(status.no_translations, "full (a, b, c, 2 more); no permission (a)");
        assert_eq!(status.lost_translations, 27);
    }
}
