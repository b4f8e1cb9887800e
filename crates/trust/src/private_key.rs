//! Private keys that sign: ECDSA over P-256, in cosign's sealed form or as plain PKCS #8.

use std::fmt;

use fault::{Error, Result};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::{PublicKey, sealed};

/// A key to sign with.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    /// PKCS #8, kept to be written down.
    document: Vec<u8>,
}

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Result<Self> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(|_| Error::unavailable("no random bytes from the system"))?;
        Self::from_document(document.as_ref())
    }

    /// Opens a key file. The password counts for sealed ones only. `Denied` if it does not fit.
    pub fn from_pem(text: &str, password: &[u8]) -> Result<Self> {
        let block = pem::parse(text)
            .map_err(|error| Error::invalid("the private key is not in PEM form").with_source(error))?;
        match block.tag() {
            PLAIN => Self::from_document(block.contents()),
            SEALED | SEALED_BEFORE => Self::from_document(&sealed::open(block.contents(), password)?),
            other => Err(Error::invalid(format!("expected a \"{SEALED}\" in PEM form, not a \"{other}\""))),
        }
    }

    /// Whether a key file needs a password.
    pub fn is_sealed(text: &str) -> bool {
        pem::parse(text).is_ok_and(|block| matches!(block.tag(), SEALED | SEALED_BEFORE))
    }

    /// The file that `from_pem` and cosign open with the same password.
    pub fn to_pem(&self, password: &[u8]) -> Result<String> {
        let how = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        Ok(pem::encode_config(&pem::Pem::new(SEALED, sealed::seal(&self.document, password)?), how))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::of_p256_point(self.pair.public_key().as_ref())
    }

    /// The signature of bytes, in ASN.1 form.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| Error::unavailable("no random bytes from the system"))?;
        Ok(signature.as_ref().to_vec())
    }

    fn from_document(document: &[u8]) -> Result<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document, &SystemRandom::new())
            .map_err(|error| Error::invalid(format!("the private key is not one of ECDSA P-256: {error}")))?;
        Ok(Self { pair, document: document.to_vec() })
    }
}

/// Shows whose it is, never the secret.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PrivateKey of {:?}", self.public())
    }
}

const PLAIN: &str = "PRIVATE KEY";
const SEALED: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// What cosign wrote before.
const SEALED_BEFORE: &str = "ENCRYPTED COSIGN PRIVATE KEY";

#[cfg(test)]
mod tests {
    use fault::Kind;

    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_password_only() {
        let key = PrivateKey::generate().unwrap();
        let text = key.to_pem(b"secret").unwrap();
        assert!(PrivateKey::is_sealed(&text));
        let again = PrivateKey::from_pem(&text, b"secret").unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(PrivateKey::from_pem(&text, b"other").unwrap_err().kind(), Kind::Denied);
    }

    /// Made by openssl, unsealed.
    const OF_OPENSSL: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/7CYodstgYUIPEF8
aopbkOERvy+N8PDYViHmyek0xEGhRANCAATLzTN9DchY3g3BUnOV4Yg/iXtWsrKT
JQ5+PrsqG3IWuwccHqpBZDFBz8C+ppfeGgjAOD/NxbYQVYce/bz7Is88
-----END PRIVATE KEY-----
";

    #[test]
    fn a_plain_key_of_openssl_signs() {
        let key = PrivateKey::from_pem(OF_OPENSSL, b"").unwrap();
        assert!(!PrivateKey::is_sealed(OF_OPENSSL));
        assert!(key.public().verifies(b"words", &key.sign(b"words").unwrap()));
    }

    #[test]
    fn what_is_signed_is_verified_and_nothing_else() {
        let key = PrivateKey::generate().unwrap();
        let signature = key.sign(b"words").unwrap();
        assert!(key.public().verifies(b"words", &signature));
        assert!(!key.public().verifies(b"wordz", &signature));
        assert!(!PrivateKey::generate().unwrap().public().verifies(b"words", &signature));
    }

    #[test]
    fn a_seal_that_asks_for_too_much_memory_is_refused() {
        let sealed = r#"{"kdf":{"name":"scrypt","params":{"N":1099511627776,"r":8,"p":1},"salt":""},
            "cipher":{"name":"nacl/secretbox","nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"ciphertext":""}"#;
        let text = pem::encode(&pem::Pem::new(SEALED, sealed.as_bytes()));
        let error = PrivateKey::from_pem(&text, b"").unwrap_err();
        assert_eq!(error.to_string(), "the sealed private key asks for senseless scrypt parameters");
    }
}
