//! The agent's side of TLS: the collector must have a certificate of the session's CA, and gets to see the agent's.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{Error, PemObject},
    },
    version::TLS13,
};

/// TARGET_TLS_CA_CERT_PATH
pub const CA: &str = "TARGET_TLS_CA_CERT_PATH";
/// TARGET_TLS_USER_CERT_PATH
pub const CERTIFICATE: &str = "TARGET_TLS_USER_CERT_PATH";
/// TARGET_TLS_USER_KEY_PATH
pub const KEY: &str = "TARGET_TLS_USER_KEY_PATH";

/// What to show, and what to ask for.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The name that the collector's certificate must have.
    pub name: ServerName<'static>,
    /// The certificates.
    pub config: Arc<ClientConfig>,
}

/// The setting that cannot be used, and why.
pub type Unusable = (&'static str, String);

impl Tls {
    /// Reads the files, in PEM. Without a certificate of its own, an agent is let in by collectors that do not ask for one.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not fit together.
    pub fn read(host: &str, ca: &str, own: Option<(&str, &str)>) -> Result<Self, Unusable> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| ("TARGET_HOST", "a host name or an address is wanted".to_owned()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(CA, ca)? {
            roots.add(certificate).map_err(|error| (CA, error.to_string()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| (CA, error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(CERTIFICATE, certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| (KEY, unreadable(&error)))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| (KEY, error.to_string()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { name, config: Arc::new(config) })
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for Tls {}

fn certificates(setting: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| (setting, unreadable(&error)))?;
    if read.is_empty() { Err((setting, unreadable(&Error::NoItemsFound))) } else { Ok(read) }
}

fn unreadable(error: &Error) -> String {
    format!("a file in PEM form is wanted: {error}")
}
