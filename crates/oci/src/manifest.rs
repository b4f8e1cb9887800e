//! An image's manifest and the index above it (image-spec, manifest.md and image-index.md; Docker's schema 2).
//!
//! Both are addressed by the digest of their bytes, so whoever stores one keeps the bytes; these types are for reading
//! and for making new ones. A document that is both at once is refused: its digest would stand for one image here and
//! for another one elsewhere (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::null::{self, Nothing};
use crate::{Descriptor, media_type};

/// One image: its config and its layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "null::default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// An index has them.
    #[serde(default, skip_serializing)]
    pub manifests: Nothing,
}

impl Manifest {
    /// A new OCI manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.into()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
            manifests: Nothing,
        }
    }
}

/// Manifests (or further indexes), mostly one a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null::default")]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// A manifest has one.
    #[serde(default, skip_serializing)]
    pub config: Nothing,
    /// A manifest has them.
    #[serde(default, skip_serializing)]
    pub layers: Nothing,
}

impl Index {
    /// A new OCI index.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            config: Nothing,
            layers: Nothing,
        }
    }
}

/// The annotation of an index entry that carries a full image name, as containerd and Docker write it.
pub const ANNOTATION_IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation of an index entry that carries a tag (image-spec, annotations.md).
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_the_round_trip() {
        let manifest = Manifest::new(
            Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            vec![Descriptor::of(media_type::OCI_LAYER, b"tar")],
        );
        let text = serde_json::to_string(&manifest).unwrap();
        assert!(
            text.starts_with(
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json""#
            )
        );
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    }

    #[test]
    fn a_manifest_that_is_an_index_too_is_refused() {
        let config = serde_json::to_string(&Descriptor::of(media_type::OCI_CONFIG, b"{}")).unwrap();
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[{config}]}}"#);
        let error = serde_json::from_str::<Manifest>(&both).unwrap_err().to_string();
        assert!(error.starts_with("the document is a manifest and an index at once"), "{error}");
        assert!(serde_json::from_str::<Index>(&both).is_err());
        assert!(serde_json::from_str::<Index>(r#"{"schemaVersion":2,"layers":[{}]}"#).is_err());
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":null}}"#);
        assert!(serde_json::from_str::<Manifest>(&manifest).is_ok());
    }

    #[test]
    fn null_lists_read_as_empty() {
        let index: Index = serde_json::from_str(r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
        assert!(index.manifests.is_empty());
    }
}
