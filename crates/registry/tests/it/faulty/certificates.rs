//! Certificates for tests, made when they are first needed.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::PrivateKeyDer;

/// A certificate that nobody has signed but itself.
pub(crate) struct SelfSigned {
    pub(crate) server: Arc<rustls::ServerConfig>,
}

pub(crate) fn self_signed() -> &'static SelfSigned {
    static MADE: OnceLock<SelfSigned> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        SelfSigned { server: Arc::new(config) }
    })
}
