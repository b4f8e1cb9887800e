//! One signature: the claim as it was signed, and what the key made of it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use oci::{Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::{Payload, PrivateKey, PublicKey, statement};

/// A claim and its signature, as they lie in a registry and in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    #[serde(default)]
    pub form: Form,
    /// The claim or the statement, exactly. Base64 in JSON.
    #[serde(with = "in_base64")]
    pub payload: Vec<u8>,
    /// ASN.1 for ECDSA, raw for Ed25519. Base64 in JSON.
    #[serde(with = "in_base64")]
    pub signature: Vec<u8>,
    /// By which key its maker says that it was made. Proves nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_hint: String,
}

/// What was signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A [`Payload`], by itself.
    #[default]
    Claim,
    /// A statement of in-toto, in an envelope.
    Statement,
}

impl Signature {
    /// Vouches for an image in both forms, so that cosign's versions find the one that they look for.
    pub fn create(key: &PrivateKey, name: &Reference, digest: &Digest) -> Result<[Self; 2]> {
        Ok([Self::claim(key, name, digest)?, Self::statement(key, digest)?])
    }

    pub(crate) fn claim(key: &PrivateKey, name: &Reference, digest: &Digest) -> Result<Self> {
        let payload = Payload::new(name, digest).encode();
        let signature = key.sign(&payload)?;
        Ok(Self { form: Form::Claim, payload, signature, key_hint: String::new() })
    }

    pub(crate) fn statement(key: &PrivateKey, digest: &Digest) -> Result<Self> {
        let payload = statement::encode(digest);
        let signature = key.sign(&statement::signed_bytes(&payload))?;
        Ok(Self { form: Form::Statement, payload, signature, key_hint: key.public().hint() })
    }

    /// From a layer of a signature's manifest: the layer's blob and the annotation [`SIGNATURE_ANNOTATION`].
    pub fn from_layer(payload: Vec<u8>, annotation: &str) -> Result<Self> {
        let signature = STANDARD
            .decode(annotation)
            .map_err(|error| Error::invalid("the signature is not base64").with_source(error))?;
        Ok(Self { form: Form::Claim, payload, signature, key_hint: String::new() })
    }

    /// The annotation's value.
    pub fn annotation(&self) -> String {
        STANDARD.encode(&self.signature)
    }

    /// Which of the keys made it; `None` if it was another.
    pub fn signer<'k>(&self, keys: &'k [PublicKey]) -> Option<&'k PublicKey> {
        let message = match self.form {
            Form::Claim => Cow::Borrowed(&self.payload),
            Form::Statement => Cow::Owned(statement::signed_bytes(&self.payload)),
        };
        keys.iter().find(|key| key.verifies(&message, &self.signature))
    }

    /// The manifest that it vouches for, if it was made by somebody who may. `Invalid` for what says nothing of an image.
    pub fn digest(&self) -> Result<Digest> {
        match self.form {
            Form::Claim => Ok(Payload::decode(&self.payload)?.digest),
            Form::Statement => statement::decode(&self.payload),
        }
    }

    /// The repository as the signer called it; empty where it was not said.
    pub fn repository(&self) -> String {
        match self.form {
            Form::Claim => Payload::decode(&self.payload).map(|claim| claim.repository).unwrap_or_default(),
            Form::Statement => String::new(),
        }
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
