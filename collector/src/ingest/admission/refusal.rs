//! Connections that were not let in: counted, and reported without filling the log.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::{CertificateError, Error};
use tracing::{debug, warn};

use crate::counts::Counts;
use crate::ingest::quiet::{Quiet, more_like_it};

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
    TooMany,
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
            Self::Expired => "its certificate has expired: check the clocks, or start a new session",
            Self::NotYetValid => "its certificate is not valid yet: check the clocks",
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
            Self::Silent => "it sent nothing",
            Self::Crowd => "too many idle connections: closing the oldest",
            Self::Full => "there are too many connections",
            Self::TooMany => "there are too many connections from this address",
            Self::System => "the system has no room for another connection",
        }
    }
}

/// Refused connections of one capture.
pub(super) struct Refusals {
    counts: Arc<Counts>,
    printed: Quiet<Refusal>,
}

impl Refusals {
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self { counts, printed: Quiet::default() }
    }

    /// Counts one, and reports it unless the reason was reported a short while ago.
    pub(super) fn add(&self, peer: Option<SocketAddr>, refusal: Refusal) {
        self.counts.refused_connection();
        let Some(unsaid) = self.printed.left_out(refusal, Instant::now()) else { return };
        let peer = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
        let more = more_like_it(unsaid);
        let line = format!("refused a connection{peer}: {}{more}", refusal.why());
        // The kubelet and its like look whether a port is open.
        if refusal == Refusal::Gone { debug!("{line}") } else { warn!("{line}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_counted() {
        let counts = Arc::<Counts>::default();
        let refusals = Refusals::new(counts.clone());
        (0..5).for_each(|_| refusals.add(None, Refusal::Gone));
        assert_eq!(counts.totals().refused_connections, 5);
    }
}
