//! Signatures of a manifest, wherever cosign's versions have put them.
//!
//! ```text
//! sha256-<hex>.sig                          claims, as layers of one manifest            (cosign 1, 2)
//! referrers/sha256:<hex>, or sha256-<hex>   manifests with a claim or a bundle as layer  (cosign 2 on request, 3)
//! ```
//! Guarantees: at most so many documents of at most such a size are fetched, and each has its digest. What is fetched is
//! not judged: that is `trust`'s affair.

use oci::{Descriptor, Digest, media_type};
use trust::{ARTIFACT_TYPE, BUNDLE_BYTES_MAX, BUNDLE_TYPE, PAYLOAD_BYTES_MAX, PAYLOAD_TYPE, Signature};

use crate::client::trouble::Trouble;
use crate::client::{Key, Manifest, Repository};

mod attach;

impl Repository {
    /// All signatures that are found for a manifest or an index. What cannot be read is left out if something else can.
    pub async fn signatures(&self, subject: &Digest) -> fault::Result<Vec<Signature>> {
        Ok(self.signatures_of(subject).await?)
    }

    pub(crate) async fn signatures_of(&self, subject: &Digest) -> Result<Vec<Signature>, Trouble> {
        let mut found = Found::default();
        let tagged = self.manifest_of(&Key::Tag(trust::legacy_tag(subject))).await;
        if let Some(manifest) = found.some(tagged) {
            self.gather(&manifest, &mut found).await;
        }
        let listed = self.referrers_of(subject, None).await;
        let referrers = found.some(listed).unwrap_or_default();
        for referrer in referrers.iter().filter(|referrer| may_sign(referrer)).take(MANIFESTS_MAX) {
            let manifest = self.manifest_of(&Key::Digest(referrer.digest.clone())).await;
            if let Some(manifest) = found.some(manifest) {
                self.gather(&manifest, &mut found).await;
            }
        }
        found.all()
    }

    async fn gather(&self, manifest: &Manifest, found: &mut Found) {
        let read = manifest.read::<oci::Manifest>().map_err(Trouble::from);
        let layers = found.some(read).map(|manifest| manifest.layers).unwrap_or_default();
        for layer in &layers {
            if found.signatures.len() >= SIGNATURES_MAX {
                return;
            }
            if layer.size <= bytes_max(&layer.media_type) {
                let signature = self.signature(layer).await;
                let signature = found.some(signature);
                found.signatures.extend(signature);
            }
        }
    }

    async fn signature(&self, layer: &Descriptor) -> Result<Signature, Trouble> {
        let bytes = self.blob_of(layer).await.map_err(|trouble| match trouble {
            Trouble::Ours(error) => Trouble::Ours(error.doing("reading a signature")),
            other => other,
        })?;
        if layer.media_type == BUNDLE_TYPE {
            return Ok(Signature::from_bundle(&bytes)?);
        }
        let annotation = layer.annotations.get(trust::SIGNATURE_ANNOTATION);
        Ok(Signature::from_layer(bytes.into(), annotation.map(String::as_str).unwrap_or_default())?)
    }
}

/// What has come so far, and the first thing that did not.
#[derive(Default)]
struct Found {
    signatures: Vec<Signature>,
    trouble: Option<Trouble>,
}

impl Found {
    /// What is not there is no trouble.
    fn some<T>(&mut self, result: Result<T, Trouble>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(trouble) if trouble.is_not_found() => None,
            Err(trouble) => {
                tracing::debug!(%trouble, "a signature is not readable");
                self.trouble.get_or_insert(trouble);
                None
            }
        }
    }

    fn all(self) -> Result<Vec<Signature>, Trouble> {
        match self.trouble {
            Some(trouble) if self.signatures.is_empty() => Err(trouble),
            _ => Ok(self.signatures),
        }
    }
}

/// Whether a referrer may hold a signature. cosign calls its own by a wrong type in a referrers' tag.
fn may_sign(referrer: &Descriptor) -> bool {
    let predicate = referrer.annotations.get(PREDICATE_ANNOTATION);
    matches!(
        referrer.artifact_type.as_deref(),
        None | Some(ARTIFACT_TYPE | BUNDLE_TYPE | media_type::OCI_EMPTY)
    ) && predicate.is_none_or(|predicate| predicate == trust::PREDICATE_TYPE)
}

/// Zero for a layer that is no signature.
fn bytes_max(media_type: &str) -> u64 {
    match media_type {
        PAYLOAD_TYPE => PAYLOAD_BYTES_MAX as u64,
        BUNDLE_TYPE => BUNDLE_BYTES_MAX as u64,
        _ => 0,
    }
}

/// What a bundle's statement says of its subject; attestations say something else.
const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";
/// Nobody has more keys; whoever may push could put any number there.
const SIGNATURES_MAX: usize = 64;
const MANIFESTS_MAX: usize = 64;
