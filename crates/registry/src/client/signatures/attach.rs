//! Putting signatures beside what they are about, so that every version of cosign finds them.

use std::collections::BTreeMap;

use bytes::Bytes;
use fault::{Error, Result};
use oci::{Descriptor, Digest, Index, media_type};
use trust::{BUNDLE_TYPE, Form, PAYLOAD_TYPE, PREDICATE_TYPE, SIGNATURE_ANNOTATION, Signature};

use super::{PREDICATE_ANNOTATION, SIGNATURES_MAX};
use crate::client::repository::referrers_tag;
use crate::client::trouble::Trouble;
use crate::client::{Key, Repository};

impl Repository {
    /// Adds signatures to a manifest or an index of this repository: claims under cosign's tag, statements as referrers.
    /// Whatever is there stays.
    pub async fn sign(&self, subject: &Digest, signatures: &[Signature]) -> Result<()> {
        let Some(subject) = self.manifest_head(&Key::Digest(subject.clone())).await? else {
            return Err(Error::not_found(format!("the registry has no manifest {subject}")));
        };
        let (claims, statements): (Vec<_>, Vec<_>) =
            signatures.iter().partition(|signature| signature.form == Form::Claim);
        if !claims.is_empty() {
            self.tag_claims(&subject.digest, &claims).await?;
        }
        for statement in statements {
            self.refer(&subject, statement).await?;
        }
        Ok(())
    }

    async fn tag_claims(&self, subject: &Digest, claims: &[&Signature]) -> Result<(), Trouble> {
        let key = Key::Tag(trust::legacy_tag(subject));
        let mut layers = match self.manifest_of(&key).await {
            Ok(manifest) => manifest.read::<oci::Manifest>()?.layers,
            Err(trouble) if trouble.is_not_found() => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        for claim in claims {
            self.blob_put(Bytes::copy_from_slice(&claim.payload)).await?;
            let mut layer = Descriptor::of(PAYLOAD_TYPE, &claim.payload);
            layer.annotations.insert(SIGNATURE_ANNOTATION.into(), claim.annotation());
            layers.push(layer);
        }
        if layers.len() > SIGNATURES_MAX {
            return Err(Error::conflict(format!("{key} holds {SIGNATURES_MAX} signatures already")).into());
        }
        let config = config(&layers);
        self.blob_put(Bytes::copy_from_slice(&config)).await?;
        let manifest = oci::Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &config), layers);
        self.manifest_put(&key, media_type::OCI_MANIFEST, &json(&manifest)).await?;
        Ok(())
    }

    async fn refer(&self, subject: &Descriptor, statement: &Signature) -> Result<(), Trouble> {
        let bundle = statement.to_bundle();
        for blob in [EMPTY, bundle.as_slice()] {
            self.blob_put(Bytes::copy_from_slice(blob)).await?;
        }
        let manifest = oci::Manifest {
            artifact_type: Some(BUNDLE_TYPE.into()),
            subject: Some(subject.clone()),
            annotations: BTreeMap::from([
                ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
                (PREDICATE_ANNOTATION.to_owned(), PREDICATE_TYPE.to_owned()),
            ]),
            ..oci::Manifest::new(
                Descriptor::of(media_type::OCI_EMPTY, EMPTY),
                vec![Descriptor::of(BUNDLE_TYPE, &bundle)],
            )
        };
        let bytes = json(&manifest);
        let referrer = Descriptor {
            artifact_type: manifest.artifact_type,
            annotations: manifest.annotations,
            ..Descriptor::of(media_type::OCI_MANIFEST, &bytes)
        };
        let key = Key::Digest(referrer.digest.clone());
        let answer = self.manifest_put_of(&key, media_type::OCI_MANIFEST, &bytes).await?;
        match answer.header(SUBJECT) {
            Some(_) => Ok(()),
            None => self.tag_referrer(&subject.digest, referrer).await,
        }
    }

    /// A registry that did not understand the subject lists no referrers: the client has to (distribution-spec, "Pushing
    /// Manifests with Subject").
    async fn tag_referrer(&self, subject: &Digest, referrer: Descriptor) -> Result<(), Trouble> {
        let key = Key::Tag(referrers_tag(subject));
        let mut index = match self.manifest_of(&key).await {
            Ok(manifest) => manifest.read::<Index>()?,
            Err(trouble) if trouble.is_not_found() => Index::new(Vec::new()),
            Err(trouble) => return Err(trouble),
        };
        if index.manifests.iter().any(|known| known.digest == referrer.digest) {
            return Ok(());
        }
        index.manifests.push(referrer);
        self.manifest_put_of(&key, media_type::OCI_INDEX, &json(&index)).await.map(drop)
    }
}

/// An image's config, so that old registries take the claims for an image.
fn config(layers: &[Descriptor]) -> Vec<u8> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    json(&serde_json::json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))
}

fn json(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents of plain structs are always JSON")
}

/// The config of what has none (image-spec, manifest.md, "Guidance for an Empty Descriptor").
const EMPTY: &[u8] = b"{}";
/// By this header a registry says that it will list the manifest as a referrer.
const SUBJECT: &str = "oci-subject";
