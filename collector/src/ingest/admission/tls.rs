//! TLS 1.3 with certificates on both sides, of a CA that was made for this session only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{RootCertStore, ServerConfig};

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or holds something else.
    #[error("cannot read {what} from {}: {why}; --tls-dir names the folder with ca.crt, tls.crt and tls.key", path.display())]
    File {
        /// What is wanted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        why: rustls::pki_types::pem::Error,
    },
    /// They do not fit together.
    #[error("the certificates in {} cannot be used: {why}", dir.display())]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
}

/// What the server does with the files `ca.crt`, `tls.crt` and `tls.key` of a folder.
pub(super) fn server(dir: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |why: String| TlsError::Unusable { dir: dir.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&dir.join("ca.crt"))? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let chain = certificates(&dir.join("tls.crt"))?;
    let path = dir.join("tls.key");
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|why| TlsError::File { what: "a private key", path, why })?;

    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let verifier = verifier.map_err(|error| unusable(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map(|builder| builder.with_client_cert_verifier(verifier))
        .and_then(|builder| builder.with_single_cert(chain, key))
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Every connection shows its certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why| TlsError::File { what: "certificates", path: path.to_owned(), why };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(wrong)?;
    if read.is_empty() { Err(wrong(rustls::pki_types::pem::Error::NoItemsFound)) } else { Ok(read) }
}
