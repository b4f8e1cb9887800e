//! TLS towards registries: the system's roots, and what the operator lays down for a host.
//!
//! ```text
//!   <folder>/<host:port>/*.crt            roots, beside the system's
//!                        *.cert, *.key    what we show of ourselves, in pairs of one name
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault::{Doing, Error, Kind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::OnceCell;

/// Configurations, made when they are first needed: the system's roots take a while to read and room to keep.
#[derive(Debug)]
pub(crate) struct Tls {
    folders: Vec<PathBuf>,
    roots: OnceCell<Arc<RootCertStore>>,
    /// For hosts about which nothing is laid down; shared, so that sessions are resumed.
    verified: OnceCell<Arc<ClientConfig>>,
    unverified: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(crate) fn new(folders: &[PathBuf]) -> Self {
        Self {
            folders: folders.to_vec(),
            roots: OnceCell::new(),
            verified: OnceCell::new(),
            unverified: OnceCell::new(),
        }
    }

    /// For `host:port` as it is written in names. What lies in the folders is read anew each time.
    pub(crate) async fn config(&self, host: &str, verified: bool) -> Result<Arc<ClientConfig>> {
        let laid_down = self.laid_down(host).await?;
        let usual = if verified { &self.verified } else { &self.unverified };
        if laid_down.is_empty() {
            let made = usual.get_or_try_init(async || self.made(LaidDown::default(), verified).await).await?;
            return Ok(Arc::clone(made));
        }
        self.made(laid_down, verified).await.doing(|| format!("TLS for {host}"))
    }

    async fn made(&self, laid_down: LaidDown, verified: bool) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal(format!("tls: {error}")))?;
        let builder = if verified {
            let mut roots = RootCertStore::clone(self.roots().await);
            roots.add_parsable_certificates(laid_down.roots);
            builder.with_root_certificates(roots)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        };
        let config = match laid_down.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::invalid(format!("client certificate: {error}")))?,
        };
        Ok(Arc::new(config))
    }

    async fn roots(&self) -> &RootCertStore {
        let load = async || {
            let mut roots = RootCertStore::empty();
            match tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await {
                Ok(found) => {
                    for error in found.errors {
                        tracing::warn!(%error, "some of the system's root certificates cannot be read");
                    }
                    roots.add_parsable_certificates(found.certs);
                }
                Err(error) => tracing::warn!(%error, "the system's root certificates cannot be read"),
            }
            Arc::new(roots)
        };
        self.roots.get_or_init(load).await
    }

    async fn laid_down(&self, host: &str) -> Result<LaidDown> {
        // A host's name becomes a folder's.
        if self.folders.is_empty() || host.contains('/') || host.starts_with('.') {
            return Ok(LaidDown::default());
        }
        let folders: Vec<PathBuf> = self.folders.iter().map(|folder| folder.join(host)).collect();
        let reading = tokio::task::spawn_blocking(move || {
            let mut all = LaidDown::default();
            folders.iter().try_for_each(|folder| all.read(folder)).map(|()| all)
        });
        reading.await.map_err(|error| Error::internal("reading certificates").with_source(error))?
    }
}

/// What lies in a host's folders.
#[derive(Default)]
struct LaidDown {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl LaidDown {
    fn is_empty(&self) -> bool {
        self.roots.is_empty() && self.identity.is_none()
    }

    /// moby, daemon/pkg/registry/registry.go, `loadTLSConfig`.
    fn read(&mut self, folder: &Path) -> Result<()> {
        let mut names = match sys::fs::read_dir(folder) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            names => names?,
        };
        names.sort();
        for name in &names {
            let path = folder.join(name);
            let beside = |extension: &str| path.with_extension(extension);
            let has = |path: &Path| names.iter().any(|name| folder.join(name) == path);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.roots.extend(certificates(&path)?),
                Some("cert") if !has(&beside("key")) => {
                    return Err(Error::invalid(format!(
                        "missing key {} for client certificate {}. CA certificates must use the extension .crt",
                        shown(&beside("key")),
                        shown(&path)
                    )));
                }
                Some("cert") => self.identity = Some((certificates(&path)?, key(&beside("key"))?)),
                Some("key") if !has(&beside("cert")) => {
                    return Err(Error::invalid(format!(
                        "missing client certificate {} for key {}",
                        shown(&beside("cert")),
                        shown(&path)
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = sys::fs::read_bounded(path, PEM_BYTES_MAX)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let pem = sys::fs::read_bounded(path, PEM_BYTES_MAX)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Why there is no TLS, as Go words what people meet most.
pub(crate) fn words(error: &io::Error, host: &str) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".into(),
            _ => super::dial::words(error),
        };
    };
    let unverified = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match tls {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "http: server gave HTTP response to HTTPS client".into()
        }
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => unverified("certificate signed by unknown authority"),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                unverified("certificate has expired or is not yet valid")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                unverified(&format!("certificate is not valid for {host}"))
            }
            other => unverified(&other.to_string()),
        },
        rustls::Error::AlertReceived(alert) => format!("remote error: tls: {alert:?}"),
        other => format!("tls: {other}"),
    }
}

/// Takes any certificate, for registries that the operator calls insecure; signatures still have to be those of its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A bundle of all public roots is a quarter of it.
const PEM_BYTES_MAX: u64 = 1 << 20;
