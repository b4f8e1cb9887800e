//! Registries: who asks them, logins, searches, what a name stands for.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use fault::{Error, Result};
use oci::{Descriptor, Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::filters::Filters;

/// The header that carries [`AuthConfig`].
pub const AUTH_HEADER: &str = "x-registry-auth";

/// What a client knows of a user at a registry.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub struct AuthConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serveraddress: String,
    /// A refresh token that stands for the password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identitytoken: String,
    /// A token for the registry itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub registrytoken: String,
}

impl AuthConfig {
    /// The header's value: JSON in base64url (RFC 4648, section 5).
    pub fn to_header(&self) -> String {
        let json = serde_json::to_vec(self).expect("strings are JSON");
        URL_SAFE.encode(json)
    }

    /// An empty header is nobody.
    pub fn from_header(value: &str) -> Result<Self> {
        if value.is_empty() {
            return Ok(Self::default());
        }
        let broken = |why: String| Error::invalid(format!("invalid X-Registry-Auth header: {why}"));
        let json = URL_SAFE.decode(value).map_err(|error| broken(error.to_string()))?;
        crate::from_slice(&json).map_err(|error| broken(error.to_string()))
    }
}

/// Shows no secret.
impl fmt::Debug for AuthConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

/// Clients write the padding; some leave it out.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The answer to a login.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Authenticated {
    /// To be kept in place of the password; mostly empty.
    pub identity_token: String,
    pub status: String,
}

/// Shows no secret.
impl fmt::Debug for Authenticated {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Authenticated").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Query of a search.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    pub term: String,
    /// 1 to 100; 0 takes the engine's own.
    pub limit: i64,
    pub filters: Filters,
}

/// A repository that a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    pub star_count: i64,
    pub is_official: bool,
    pub name: String,
    /// Always false: there are no automated builds any more.
    pub is_automated: bool,
    pub description: String,
}

/// What a name stands for in its registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Distribution {
    pub descriptor: Descriptor,
    pub platforms: Option<Vec<Platform>>,
}

/// A manifest or index as a registry has it. Docker has no such answer: this one and the next are ours alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoteManifest {
    pub descriptor: Descriptor,
    /// Byte for byte, in base64.
    pub raw: String,
    /// Of a manifest: what its configuration says.
    pub platform: Option<Platform>,
}

/// What is to be stored under a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewManifest {
    pub media_type: String,
    /// Byte for byte, in base64.
    pub raw: String,
    /// Blobs that it needs and other repositories of the registry have.
    #[serde(default)]
    pub mounts: Vec<BlobMount>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BlobMount {
    pub digest: Digest,
    /// The repository, without its registry.
    pub from: String,
}

/// Under which digest a manifest was stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoredManifest {
    pub digest: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_survive_the_header() {
        let config = AuthConfig { username: "me".into(), password: "ü?>".into(), ..AuthConfig::default() };
        assert_eq!(AuthConfig::from_header(&config.to_header()).unwrap(), config);
        assert_eq!(AuthConfig::from_header("").unwrap(), AuthConfig::default());
        assert_eq!(AuthConfig::default().to_header(), "e30=");
        assert_eq!(AuthConfig::from_header("e30").unwrap(), AuthConfig::default());
    }

    #[test]
    fn a_broken_header_is_told() {
        for header in ["*", "e3", "InRleHQi"] {
            let error = AuthConfig::from_header(header).unwrap_err().to_string();
            assert!(error.starts_with("invalid X-Registry-Auth header: "), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = AuthConfig {
            username: "me".into(),
            password: "secret".into(),
            identitytoken: "secret".into(),
            registrytoken: "secret".into(),
            ..AuthConfig::default()
        };
        assert!(!format!("{config:?}").contains("secret"));
        let answer = Authenticated { identity_token: "secret".into(), status: "ok".into() };
        assert!(!format!("{answer:?}").contains("secret"));
    }
}
