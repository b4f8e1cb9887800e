//! One signature: the claim as it was signed, and what the key made of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use oci::{Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::{Payload, PrivateKey, PublicKey};

/// A claim and its signature, as they lie in a registry and in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The signed bytes, exactly. Base64 in JSON.
    #[serde(with = "in_base64")]
    pub payload: Vec<u8>,
    /// ASN.1 for ECDSA, raw for Ed25519. Base64 in JSON.
    #[serde(with = "in_base64")]
    pub signature: Vec<u8>,
}

impl Signature {
    /// Vouches for an image.
    pub fn create(key: &PrivateKey, name: &Reference, digest: &Digest) -> Result<Self> {
        let payload = Payload::new(name, digest).encode();
        let signature = key.sign(&payload)?;
        Ok(Self { payload, signature })
    }

    /// From a layer of a signature's manifest: the layer's blob and the annotation [`SIGNATURE_ANNOTATION`].
    pub fn from_layer(payload: Vec<u8>, annotation: &str) -> Result<Self> {
        let signature = STANDARD
            .decode(annotation)
            .map_err(|error| Error::invalid("the signature is not base64").with_source(error))?;
        Ok(Self { payload, signature })
    }

    /// The annotation's value.
    pub fn annotation(&self) -> String {
        STANDARD.encode(&self.signature)
    }

    /// Which of the keys made it; `None` if it was another.
    pub fn signer<'k>(&self, keys: &'k [PublicKey]) -> Option<&'k PublicKey> {
        keys.iter().find(|key| key.verifies(&self.payload, &self.signature))
    }
}

/// The tag under which signatures of a digest lie beside it, for clients without referrers: `sha256-<hex>.sig`.
pub fn legacy_tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm(), digest.hex())
}

/// Media type of a layer that holds a claim.
pub const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of such a layer: the signature in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Artifact type of a manifest that holds signatures and refers to what is signed.
pub const ARTIFACT_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
