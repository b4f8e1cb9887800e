//! TLS for clients: a certificate chain and its key, from PEM files.

use std::path::Path;
use std::sync::Arc;

use fault::{Doing, Error, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

pub(crate) fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor> {
    let certificates =
        certificates(chain).doing(|| format!("reading the certificate {}", chain.display()))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        Error::invalid(format!("reading the private key {}", key.display())).with_source(error)
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| Error::invalid("certificate and key do not go together").with_source(error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = |error| Error::invalid("it is not in PEM form").with_source(error);
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    certificates.collect::<std::result::Result<_, _>>().map_err(unreadable)
}
