//! The certificates of one capture: without one of them, no program can send to it or read it.
//!
//! A certificate authority is made for the capture, signs one certificate for the collector and one for the agents, and
//! is thrown away: nothing can be signed with it later. Keys leave this program on the standard input of
//! `oc apply`, in a `--yaml` file, or, for a capture of this machine, in a folder that only this user can enter.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use crate::plan::Plan;

/// Clocks of nodes and of the user's machine differ.
const BEFORE: Duration = Duration::from_secs(60 * 60);
const AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// No user waits longer, and dates have their limits.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Public.
    pub certificate: String,
    /// Private.
    pub key: String,
}

/// The certificates of a capture, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// Of the authority. Its key is gone.
    pub ca: String,
    /// Server certificate.
    pub collector: Pair,
    /// Client certificate, the same for all agents.
    pub agent: Pair,
}

/// Never the key.
impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).field("key", &"(not shown)").finish()
    }
}

impl Certificates {
    /// Makes them, valid from an hour before `now` until a day after the capture and its files are over.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn new(plan: &Plan, now: SystemTime) -> Result<Self, rcgen::Error> {
        let lasts = plan.max_time.saturating_add(plan.keep);
        Self::make(&plan.session, collector_names(&plan.namespace), lasts, now)
    }

    /// The same for a collector and an agent of one machine, whose capture lasts this long: they meet at 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn local(lasts: Duration, now: SystemTime) -> Result<Self, rcgen::Error> {
        Self::make("local", vec![Ipv4Addr::LOCALHOST.to_string()], lasts, now)
    }

    fn make(session: &str, collector: Vec<String>, lasts: Duration, now: SystemTime) -> Result<Self, rcgen::Error> {
        let from = OffsetDateTime::from(now - BEFORE);
        let until = OffsetDateTime::from(now + lasts.min(LONGEST) + AFTER);
        let params = |name: &str, names: Vec<String>| -> Result<CertificateParams, rcgen::Error> {
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) = (from, until);
            Ok(params)
        };
        let mut authority = params(&format!("netobserv-cli {session}"), Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        Ok(Self {
            ca: authority.pem(),
            collector: sign(params("collector", collector)?, ExtendedKeyUsagePurpose::ServerAuth, &authority)?,
            agent: sign(params("agent", Vec::new())?, ExtendedKeyUsagePurpose::ClientAuth, &authority)?,
        })
    }
}

fn sign(
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> Result<Pair, rcgen::Error> {
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Each name that Kubernetes gives a Service.
fn collector_names(namespace: &str) -> Vec<String> {
    let service = format!("collector.{namespace}");
    vec!["collector".to_owned(), service.clone(), format!("{service}.svc"), format!("{service}.svc.cluster.local")]
}
