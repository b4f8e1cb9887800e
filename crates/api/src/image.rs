//! Images: lists, inspect, history, removal, pruning.

use std::collections::BTreeMap;

use oci::{Descriptor, Platform};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Summary {
    /// Containers made from it; -1 if not counted.
    pub containers: i64,
    /// Unix seconds.
    pub created: i64,
    pub id: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub parent_id: String,
    pub repo_digests: Option<Vec<String>>,
    pub repo_tags: Option<Vec<String>>,
    /// Bytes shared with other images; -1 if not counted.
    pub shared_size: i64,
    pub size: i64,
    /// Of all platforms; only if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<ManifestSummary>>,
    /// What the name stands for; together with the manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// `pinned`, `signed` or `refused`, where the policy asks for something. Ours alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trust: String,
}

/// One manifest of an image, for a platform or for what is known of that platform's image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSummary {
    #[serde(rename = "ID")]
    pub id: String,
    pub descriptor: Option<Descriptor>,
    /// Its content is here.
    pub available: bool,
    pub size: ManifestSize,
    /// `image`, `attestation` or `unknown`.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_data: Option<ImageData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation_data: Option<AttestationData>,
}

/// In bytes: the blobs, and these together with what they are unpacked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ManifestSize {
    pub total: i64,
    pub content: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageData {
    pub platform: Platform,
    /// The ids of the containers made from it.
    pub containers: Vec<String>,
    pub size: ImageSize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageSize {
    pub unpacked: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AttestationData {
    /// The digest of the manifest that it is about.
    #[serde(rename = "For")]
    pub about: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Inspect {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    pub docker_version: String,
    pub author: String,
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    pub os: String,
    #[serde(rename = "OsVersion", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    pub size: i64,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: Metadata,
    pub config: Config,
    /// Of all platforms; only if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<ManifestSummary>>,
    /// What the name stands for; together with the manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Descriptor>,
    /// Ours alone: pruning and the budget leave it.
    #[serde(skip_serializing_if = "crate::is_false")]
    pub pinned: bool,
    /// Where the policy asks for something, or signatures have come with the image. Ours alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<crate::trust::Trust>,
}

/// What an image says of the containers made from it. Docker writes it by name, the empty ones of its older fields
/// included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    #[serde(skip_serializing_if = "crate::is_false")]
    pub args_escaped: bool,
    pub cmd: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    #[serde(serialize_with = "null_if_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<crate::container::Healthcheck>,
    #[serde(serialize_with = "null_if_empty")]
    pub labels: BTreeMap<String, String>,
    pub on_build: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    pub user: String,
    #[serde(serialize_with = "null_if_empty")]
    pub volumes: BTreeMap<String, Empty>,
    pub working_dir: String,
}

/// As Go writes a list or map that was never made.
pub(crate) fn null_if_empty<T, S>(collection: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Default + PartialEq + Serialize,
    S: serde::Serializer,
{
    Some(collection).filter(|collection| **collection != T::default()).serialize(serializer)
}

/// The value of a map that is used as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GraphDriver {
    pub data: Option<BTreeMap<String, String>>,
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RootFs {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Metadata {
    pub last_tag_time: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HistoryRow {
    pub comment: String,
    /// Unix seconds.
    pub created: i64,
    pub created_by: String,
    pub id: String,
    pub size: i64,
    pub tags: Option<Vec<String>>,
}

/// What a conversion made. Docker has no such answer: this one and the next are ours alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Converted {
    pub id: String,
    /// The index, if there are several platforms, or the manifest.
    pub descriptor: Option<Descriptor>,
    /// Of the layers, compressed, in bytes.
    pub size_before: i64,
    pub size_after: i64,
}

/// How two images differ.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Difference {
    pub files: Vec<FileChange>,
    pub layers: Vec<LayerUse>,
    pub config: Vec<Setting>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FileChange {
    pub path: String,
    /// `added`, `changed` or `deleted`.
    pub kind: String,
    pub size_before: i64,
    pub size_after: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LayerUse {
    #[serde(rename = "DiffID")]
    pub diff_id: String,
    pub size: i64,
    pub in_first: bool,
    pub in_second: bool,
}

/// A part of the configuration: `Cmd`, `Env.PATH`. Null where an image has none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Setting {
    pub name: String,
    pub before: Option<serde_json::Value>,
    pub after: Option<serde_json::Value>,
}

/// One thing that a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Removed {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub untagged: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deleted: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Pruned {
    pub images_deleted: Option<Vec<Removed>>,
    pub space_reclaimed: u64,
}

/// Query of the list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub all: bool,
    pub digests: bool,
    pub shared_size: bool,
    pub manifests: bool,
    pub filters: crate::filters::Filters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_has_dockers_empty_fields() {
        assert_eq!(
            serde_json::to_string(&Config::default()).unwrap(),
            r#"{"Cmd":null,"Entrypoint":null,"Env":null,"Labels":null,"OnBuild":null,"User":"","Volumes":null,"WorkingDir":""}"#
        );
    }
}
