//! Trust in images: signatures on their way between a registry and who signs or verifies, and the daemon's policy. Ours
//! alone.

use oci::Digest;
use serde::{Deserialize, Serialize};

/// Signatures of a manifest, in whatever form `S` they have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Signatures<S> {
    /// What the name stands for in its registry.
    pub digest: Digest,
    pub signatures: Vec<S>,
}

/// The policy as it counts now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Policy {
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Rule {
    pub prefix: String,
    /// `nothing`, `digest`, `signature` or `reject`.
    pub require: String,
    /// Fingerprints of the keys that are accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What the policy says of an image that is here, and what speaks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Trust {
    /// `unasked`, `pinned`, `signed` or `refused`.
    pub verdict: String,
    /// Why it is refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub signatures: Vec<Vouched>,
}

/// A signature that was found with an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Vouched {
    /// Of the manifest or index that was signed.
    pub digest: String,
    /// As the signer called it; not every form says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repository: String,
    /// Fingerprint, if it is a key of the policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
}
