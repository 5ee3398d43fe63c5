//! HTTPS as pods speak it to an API server: a certificate of an authority that they are given, and a token in every request.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// The authority's certificate, as PEM, and what accepts connections in its name at an address.
pub(crate) fn acceptor(address: IpAddr) -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = || KeyPair::generate().expect("random numbers");
    let authority = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
    let own = key();
    let params = CertificateParams::new(vec![address.to_string()]).expect("an address is a name");
    let certificate = params.signed_by(&own, &authority).expect("a certificate");
    let key = PrivateKeyDer::try_from(own.serialize_der()).expect("a key that was just made");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(vec![certificate.der().clone()], key))
        .expect("a certificate with its key");
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}
