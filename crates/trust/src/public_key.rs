//! Public keys, as `PUBLIC KEY` in PEM.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use oci::Digest;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use crate::der::{self, Algorithm};

/// A key that signatures are verified with: ECDSA over P-256 or P-384, or Ed25519.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The point, or the Ed25519 key.
    key: Vec<u8>,
}

impl PublicKey {
    /// `Invalid` for what is no key, `Unsupported` for a kind that is not known here (RSA).
    pub fn from_pem(text: &str) -> Result<Self> {
        let block = pem::parse(text)
            .map_err(|error| Error::invalid("the public key is not in PEM form").with_source(error))?;
        if block.tag() != TAG {
            return Err(Error::invalid(format!(
                "expected a \"{TAG}\" in PEM form, not a \"{}\"",
                block.tag()
            )));
        }
        match der::split(block.contents()) {
            Some((algorithm, key)) => Ok(Self { algorithm, key: key.to_vec() }),
            None => Err(Error::unsupported("public keys other than ECDSA P-256, ECDSA P-384 and Ed25519")),
        }
    }

    pub(crate) fn of_p256_point(point: &[u8]) -> Self {
        Self { algorithm: Algorithm::EcdsaP256, key: point.to_vec() }
    }

    pub fn to_pem(&self) -> String {
        let how = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new(TAG, self.der()), how)
    }

    /// The digest of its DER form, by which a key is spoken of.
    pub fn fingerprint(&self) -> Digest {
        Digest::sha256(&self.der())
    }

    /// The same in cosign's writing.
    pub(crate) fn hint(&self) -> String {
        STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &self.der()))
    }

    /// Whether the holder of the private key signed these bytes.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            Algorithm::EcdsaP384 => &signature::ECDSA_P384_SHA256_ASN1,
            Algorithm::Ed25519 => &signature::ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature).is_ok()
    }

    fn der(&self) -> Vec<u8> {
        [self.algorithm.head(), self.key.as_slice()].concat()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PublicKey({:?}, {})", self.algorithm, self.fingerprint().short())
    }
}

const TAG: &str = "PUBLIC KEY";

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, made by openssl.
    const KEYS: [&str; 3] = [
        "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEy80zfQ3IWN4NwVJzleGIP4l7VrKy
kyUOfj67KhtyFrsHHB6qQWQxQc/AvqaX3hoIwDg/zcW2EFWHHv28+yLPPA==
-----END PUBLIC KEY-----
",
        "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEM4k66B6ZUgAnfAQOCY4AqzPeW+HmjSsf
Lw1fe5qdhLPHsMGTRTtMF/qxYUVY+OofZJ8Py/gtMP3pWkNXAtbVeL1U0m+cPrPZ
M5vYWG45axwnV+rzyOsproJy1myIyBHs
-----END PUBLIC KEY-----
",
        "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAvJ1IMXZv389uoW/phvK11F72q5L+eOBClIZQVK5sPOM=
-----END PUBLIC KEY-----
",
    ];

    #[test]
    fn a_key_in_pem_comes_back_as_it_was() {
        for text in KEYS {
            let key = PublicKey::from_pem(text).unwrap();
            assert_eq!(key.to_pem(), text);
            assert_eq!(PublicKey::from_pem(&text.replace('\n', "\r\n")).unwrap(), key);
        }
    }

    #[test]
    fn what_openssl_signed_is_verified() {
        let signature = "MEUCIHDHaIBp82AgNeoISrsBN1q5EFnt69e9guogZ66FnBGLAiEArMjg7fcgFOQkBAmljEPCLikDNtmYRcn3qW3v43hxNPY=";
        let signature = STANDARD.decode(signature).unwrap();
        let key = PublicKey::from_pem(KEYS[0]).unwrap();
        assert!(key.verifies(b"words", &signature));
        assert!(!key.verifies(b"other words", &signature));
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let refused = |text: &str| PublicKey::from_pem(text).unwrap_err().to_string();
        assert!(refused("hello").starts_with("the public key is not in PEM form"));
        assert_eq!(
            refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "expected a \"PUBLIC KEY\" in PEM form, not a \"CERTIFICATE\""
        );
        assert_eq!(
            refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            "not supported: public keys other than ECDSA P-256, ECDSA P-384 and Ed25519"
        );
    }
}
