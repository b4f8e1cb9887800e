//! What is signed: a small JSON document that names an image, in the "simple signing" form that cosign and podman share.

use fault::{Error, Result};
use oci::{Digest, Reference};
use serde::{Deserialize, Serialize};

/// The claim "this digest is an image of that name".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The repository as the signer called it. Informative: an image keeps its signatures when it is copied elsewhere.
    pub repository: String,
    /// Of the manifest or index.
    pub digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct Document {
    critical: Critical,
    #[serde(default)]
    optional: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: Digest,
}

impl Payload {
    pub fn new(name: &Reference, digest: &Digest) -> Self {
        Self { repository: name.canonical_name(), digest: digest.clone() }
    }

    /// The bytes to sign.
    pub fn encode(&self) -> Vec<u8> {
        let document = Document {
            critical: Critical {
                identity: Identity { docker_reference: self.repository.clone() },
                image: Image { docker_manifest_digest: self.digest.clone() },
                kind: KIND.into(),
            },
            optional: None,
        };
        serde_json::to_vec(&document).expect("plain structs are always JSON")
    }

    /// Reads bytes that somebody signed. `Invalid` for what makes no claim about an image.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > BYTES_MAX {
            return Err(Error::invalid(format!("the signed claim is larger than {BYTES_MAX} bytes")));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|error| {
            Error::invalid("the signed claim is not one about an image").with_source(error)
        })?;
        let Critical { identity, image, kind } = document.critical;
        if ![KIND, KIND_OF_PODMAN].contains(&kind.as_str()) {
            return Err(Error::invalid(format!("the signed claim is of another type, \"{kind}\"")));
        }
        Ok(Self { repository: identity.docker_reference, digest: image.docker_manifest_digest })
    }
}

const KIND: &str = "cosign container image signature";
const KIND_OF_PODMAN: &str = "atomic container signature";
/// A claim has some 250 bytes; annotations of its maker may add to it.
pub const BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload() -> Payload {
        let name = Reference::parse("registry.example/app:1").unwrap();
        Payload::new(&name, &Digest::sha256(b"manifest"))
    }

    #[test]
    fn the_bytes_are_those_of_cosign() {
        let digest = Digest::sha256(b"manifest");
        let text = String::from_utf8(payload().encode()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"registry.example/app"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        assert_eq!(Payload::decode(text.as_bytes()).unwrap(), payload());
    }

    #[test]
    fn claims_about_something_else_are_refused() {
        let text = String::from_utf8(payload().encode()).unwrap();
        for (from, to) in [("cosign container", "other"), ("sha256:", "md5:"), ("critical", "criticism")] {
            assert!(Payload::decode(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(Payload::decode(&bytes));
        }
    }
}
