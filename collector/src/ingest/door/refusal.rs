//! Connections that were not let in: counted, and told without filling the log.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::{CertificateError, Error};
use tracing::{debug, warn};

use crate::counts::Counts;

/// A reason is told once in so long.
const QUIET: Duration = Duration::from_secs(10);

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    NoCertificate,
    Expired,
    NotYetValid,
    OtherCa,
    BadCertificate,
    /// The peer does not like our certificate.
    RefusedUs,
    OldTls,
    NotTls,
    /// TLS where none is spoken.
    Tls,
    NotHttp2,
    /// It closed the connection before it showed anything: a port scan, or a probe.
    Gone,
    Silent,
    Crowd,
    Full,
    System,
}

impl Refusal {
    /// What went wrong with a handshake.
    pub(super) fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else { return Self::Gone };
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            Error::AlertReceived(_) => Self::RefusedUs,
            Error::PeerIncompatible(_) => Self::OldTls,
            _ => Self::NotTls,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::OtherCa,
            _ => Self::BadCertificate,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::NoCertificate => "it has no certificate: agents need the one of this session",
            Self::Expired => "its certificate has expired: look at the clocks, or start a new session",
            Self::NotYetValid => "its certificate is not valid yet: look at the clocks",
            Self::OtherCa => "its certificate is not of this session's CA",
            Self::BadCertificate => "its certificate cannot be used",
            Self::RefusedUs => {
                "it does not accept this collector's certificate: it has another session's CA, or another name for us"
            }
            Self::OldTls => "it does not speak TLS 1.3",
            Self::NotTls => "it does not speak TLS: agents without it are let in with --insecure only",
            Self::Tls => "it speaks TLS, and this collector was started with --insecure",
            Self::NotHttp2 => "it does not speak HTTP/2",
            Self::Gone => "it went without a word",
            Self::Silent => "it said nothing",
            Self::Crowd => "too many connections say nothing at the same time: the oldest goes",
            Self::Full => "there are too many connections",
            Self::System => "the system has no room for another connection",
        }
    }
}

/// Refused connections of one capture.
pub(super) struct Refusals {
    counts: Arc<Counts>,
    told: Mutex<HashMap<Refusal, Told>>,
}

struct Told {
    at: Instant,
    /// How often since.
    unsaid: u64,
}

impl Refusals {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self { counts, told: Mutex::default() }
    }

    /// Counts one, and tells it unless the reason was told a short while ago.
    pub(super) fn add(&self, peer: Option<SocketAddr>, refusal: Refusal) {
        self.counts.refused_connection();
        let Some(unsaid) = self.unsaid(refusal, Instant::now()) else { return };
        let peer = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
        let more = if unsaid > 0 { format!(" ({unsaid} more like it)") } else { String::new() };
        let line = format!("refused a connection{peer}: {}{more}", refusal.why());
        // The kubelet and its like look whether a port is open.
        if refusal == Refusal::Gone { debug!("{line}") } else { warn!("{line}") }
    }

    /// How many were not told since the last one that was; `None` if this one is not to be told either.
    fn unsaid(&self, refusal: Refusal, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(&refusal) {
            Some(told) if now.duration_since(told.at) < QUIET => {
                told.unsaid += 1;
                None
            }
            earlier => {
                let unsaid = earlier.map_or(0, |told| told.unsaid);
                told.insert(refusal, Told { at: now, unsaid: 0 });
                Some(unsaid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_in_a_while() {
        let (refusals, start) = (Refusals::new(Arc::default()), Instant::now());
        let told = [0, 1, 2, 9, 10, 11, 30]
            .map(|second| refusals.unsaid(Refusal::NotTls, start + Duration::from_secs(second)));
        assert_eq!(told, [Some(0), None, None, None, Some(3), None, Some(1)]);
        assert_eq!(refusals.unsaid(Refusal::Expired, start), Some(0));
    }

    #[test]
    fn every_one_is_counted() {
        let counts = Arc::<Counts>::default();
        let refusals = Refusals::new(counts.clone());
        (0..5).for_each(|_| refusals.add(None, Refusal::Gone));
        assert_eq!(counts.totals().refused_connections, 5);
    }
}
