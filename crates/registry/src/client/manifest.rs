//! Manifests and indexes as registries send them: what they are, whether they are what was asked for.
//!
//! A document that could be read in two ways is refused: what one program verifies, another would run (CVE-2021-41190).

use fault::{Error, Result};
use oci::{Descriptor, Digest, media_type};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::client::{Key, Manifest};

impl Manifest {
    /// Checks bytes against what was asked for and what the registry says of them.
    pub(crate) fn checked(key: &Key, told: Told<'_>, bytes: Vec<u8>) -> Result<Self> {
        let digest = Digest::sha256(&bytes);
        let wanted = match key {
            Key::Digest(wanted) => Some(wanted.to_string()),
            // Another algorithm than ours is not compared.
            Key::Tag(_) => told.digest.filter(|told| told.starts_with("sha256:")).map(Into::into),
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != digest.as_str()) {
            return Err(Error::invalid(format!("manifest verification failed for digest {wanted}")));
        }
        let media_type = media_type_of(told.content_type, &bytes)?;
        Ok(Self { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
    }

    /// An index's entries, a manifest's config and layers.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.bytes)
            .map_err(|error| Error::invalid(format!("invalid manifest {}: {error}", self.descriptor.digest)))
    }
}

/// The headers of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

/// The fields by which documents differ.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// What a document is: its own word, else the header's, else its shape; all have to agree.
pub(crate) fn media_type_of(content_type: Option<&str>, bytes: &[u8]) -> Result<String> {
    let shape: Shape = serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("unsupported manifest format: {error}")))?;
    let header = content_type.map(|header| header.split(';').next().unwrap_or_default().trim());
    let header = header.filter(|header| is_known(header) || is_schema_1(header));
    let own = shape.media_type.as_deref().filter(|own| !own.is_empty());
    if let (Some(own), Some(header)) = (own, header)
        && own != header
    {
        return Err(Error::invalid(format!("mediaType in manifest should be '{header}' not '{own}'")));
    }
    let media_type = own.or(header).unwrap_or_else(|| shape.guess());
    let foreign = match () {
        () if media_type::is_manifest(media_type)
            && (shape.manifests.is_some() || shape.fs_layers.is_some()) =>
        {
            "\"manifests\" or \"fsLayers\""
        }
        () if media_type::is_index(media_type)
            && (shape.config.is_some() || shape.layers.is_some() || shape.fs_layers.is_some()) =>
        {
            "\"config\", \"layers\", or \"fsLayers\""
        }
        () => return Ok(media_type.into()),
    };
    Err(Error::invalid(format!("media-type: {media_type:?} should not have {foreign}")))
}

impl Shape {
    fn guess(&self) -> &'static str {
        match (&self.fs_layers, &self.manifests) {
            (Some(_), None) => SCHEMA_1,
            (None, Some(_)) => media_type::OCI_INDEX,
            _ => media_type::OCI_MANIFEST,
        }
    }
}

fn is_known(media_type: &str) -> bool {
    media_type::is_manifest(media_type) || media_type::is_index(media_type)
}

/// The first form of images, without content addresses: nobody pulls it any more.
pub(crate) fn is_schema_1(media_type: &str) -> bool {
    matches!(media_type, SCHEMA_1 | SCHEMA_1_SIGNED)
}

const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA_1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What we ask for.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1, */*;q=0.1";

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    const INDEX: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

    fn kind(content_type: Option<&str>, text: &str) -> Result<String, String> {
        media_type_of(content_type, text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_are_told_apart() {
        let check = |content_type: Option<&str>, text: &str, expected: &str| {
            assert_eq!(kind(content_type, text).unwrap(), expected);
        };
        check(Some(media_type::DOCKER_MANIFEST), MANIFEST, media_type::DOCKER_MANIFEST);
        check(Some("application/vnd.oci.image.index.v1+json; charset=utf-8"), INDEX, media_type::OCI_INDEX);
        check(Some("application/json"), MANIFEST, media_type::OCI_MANIFEST);
        check(None, INDEX, media_type::OCI_INDEX);
        check(None, r#"{"schemaVersion":1,"fsLayers":[]}"#, SCHEMA_1);
        check(Some(SCHEMA_1_SIGNED), r#"{"schemaVersion":1,"fsLayers":[]}"#, SCHEMA_1_SIGNED);
        check(None, r#"{"mediaType":"application/x","manifests":null}"#, "application/x");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let both = r#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#;
        for content_type in [None, Some(media_type::OCI_INDEX), Some(media_type::OCI_MANIFEST)] {
            let words = kind(content_type, both).unwrap_err();
            assert!(words.starts_with("media-type: ") && words.contains("should not have"), "{words}");
        }
        let text = format!(r#"{{"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        let words = kind(Some(media_type::OCI_MANIFEST), &text).unwrap_err();
        assert!(words.starts_with("mediaType in manifest should be '"), "{words}");
        assert!(kind(None, "no").unwrap_err().starts_with("unsupported manifest format"));
    }

    #[test]
    fn bytes_are_those_that_were_asked_for() {
        let checked = |key: &Key, digest: Option<&str>| {
            Manifest::checked(key, Told { content_type: None, digest }, MANIFEST.into())
                .map_err(|error| error.to_string())
        };
        let digest = Digest::sha256(MANIFEST.as_bytes());
        let tag = Key::Tag("latest".into());
        assert_eq!(checked(&Key::Digest(digest.clone()), None).unwrap().descriptor.digest, digest);
        assert!(checked(&tag, Some(digest.as_str())).is_ok() && checked(&tag, None).is_ok());
        assert!(checked(&tag, Some("sha512:00")).is_ok());
        let other = Digest::sha256(b"other");
        let words = format!("manifest verification failed for digest {other}");
        assert_eq!(checked(&Key::Digest(other.clone()), None).unwrap_err(), words);
        assert_eq!(checked(&tag, Some(other.as_str())).unwrap_err(), words);
    }
}
