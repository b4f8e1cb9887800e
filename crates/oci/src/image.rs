//! An image's config file: what runs, on which layers, made how (image-spec, config.md; Docker's moby/image/spec).
//!
//! Fields that Kogge does not know are kept, so that reading and writing a config loses nothing. Times stay text
//! (RFC 3339), because their exact digits are part of the image's identity.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, Platform, null};

/// The whole config file; its digest is the image's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    #[serde(default, deserialize_with = "null::default")]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
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
    /// RFC 3339, with as many digits as its maker wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Docker's comment on the newest step, as `import` and `commit` take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    #[serde(default, deserialize_with = "null::default")]
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Image {
    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: self.variant.clone(),
        }
    }
}

/// How a container of the image runs unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp`.
    #[serde(default, with = "null::keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(default, with = "null::keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The command line is one string already (Windows).
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Docker's health check; times in nanoseconds, 0 = inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`; empty = inherit.
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers, lowest first, by the digests of their uncompressed tars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    #[serde(default, deserialize_with = "null::default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: layers(), diff_ids: Vec::new() }
    }
}

/// One step of how the image was made, oldest first; steps that made no layer say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, deserialize_with = "null::default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

fn layers() -> String {
    "layers".into()
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker 20 wrote, cut short: nulls everywhere, and fields that only Docker knows.
    const DOCKER: &str = r#"{"architecture":"amd64","config":{"Hostname":"","Env":["PATH=/bin"],"Cmd":["sh"],
        "Image":"","Volumes":null,"Entrypoint":null,"OnBuild":null,"Labels":null,"ExposedPorts":{"80/tcp":{}}},
        "container":"abc","created":"2023-05-18T22:34:17.123456789Z","docker_version":"20.10.23",
        "history":[{"created":"2023-05-18T22:34:17Z","created_by":"/bin/sh -c #(nop) ADD file:1 in / "},
        {"created_by":"CMD","empty_layer":true}],"os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#;

    #[test]
    fn reads_docker_s_nulls() {
        let image: Image = serde_json::from_str(DOCKER).unwrap();
        let config = image.config.unwrap();
        assert_eq!(config.entrypoint, None);
        assert_eq!(config.cmd.unwrap(), ["sh"]);
        assert!(config.exposed_ports.contains("80/tcp"));
        assert!(image.history[1].empty_layer);
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let image: Image = serde_json::from_str(DOCKER).unwrap();
        let written = serde_json::to_value(&image).unwrap();
        assert_eq!(written["container"], "abc");
        assert_eq!(written["docker_version"], "20.10.23");
        assert_eq!(written["config"]["Hostname"], "");
        assert_eq!(written["created"], "2023-05-18T22:34:17.123456789Z");
        assert_eq!(written["config"]["ExposedPorts"], serde_json::json!({"80/tcp": {}}));
    }
}
