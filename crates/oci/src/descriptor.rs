//! What a blob is and how to recognise it: media type, digest, size (image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::null;

/// Points at a blob. Unknown fields are not kept: who needs the exact bytes keeps the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor without the optional parts.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// The descriptor of bytes in memory.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }
}

/// What an image runs on, in Go's words (image-spec, image-index.md, "platform").
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "null::default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "null::default")]
    pub os: String,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "null::default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nulls_and_writes_only_what_is_there() {
        let digest = Digest::sha256(b"");
        let text = format!(
            r#"{{"mediaType":"m","digest":"{digest}","size":0,"urls":null,"annotations":null,"platform":null}}"#
        );
        let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
        assert_eq!(descriptor, Descriptor::of("m", b""));
        let written = serde_json::to_string(&descriptor).unwrap();
        assert_eq!(written, format!(r#"{{"mediaType":"m","digest":"{digest}","size":0}}"#));
    }
}
