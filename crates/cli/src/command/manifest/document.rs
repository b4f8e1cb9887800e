//! Manifests and lists as Docker's client writes and shows them, field by field in its order.

use api::registry::RemoteManifest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use oci::{Descriptor, Digest, Platform, Reference, media_type};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Outcome};
use crate::format;

/// One manifest of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImageManifest {
    pub(super) reference: String,
    pub(super) descriptor: Descriptor,
    /// Byte for byte.
    pub(super) raw: Vec<u8>,
}

/// The fields that are read; what the manifest says stands in `Raw`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    #[serde(rename = "Ref")]
    reference: String,
    descriptor: Descriptor,
    raw: Option<String>,
}

impl ImageManifest {
    pub(super) fn of(name: &Reference, remote: RemoteManifest) -> Outcome<Self> {
        let raw = raw(&remote)?;
        let descriptor = Descriptor { platform: remote.platform, ..remote.descriptor };
        Ok(Self { reference: name.canonical(), descriptor, raw })
    }

    pub(super) fn read(json: &[u8]) -> Result<Self> {
        let stored: Stored =
            serde_json::from_slice(json).map_err(|error| Error::invalid(error.to_string()))?;
        let raw = stored.raw.unwrap_or_default();
        let raw = STANDARD.decode(raw).map_err(|error| Error::invalid(error.to_string()))?;
        if Digest::sha256(&raw) != stored.descriptor.digest {
            return Err(Error::invalid("the manifest has not its digest"));
        }
        Ok(Self { reference: stored.reference, descriptor: stored.descriptor, raw })
    }

    pub(super) fn to_json(&self) -> Result<String> {
        let kind = match self.descriptor.media_type.as_str() {
            media_type::DOCKER_MANIFEST => "SchemaV2Manifest",
            _ => "OCIManifest",
        };
        Ok(format!(
            "{{\"Ref\":{},\"Descriptor\":{},\"Raw\":\"{}\",\"{kind}\":{}}}",
            text(&self.reference),
            text(&self.descriptor),
            STANDARD.encode(&self.raw),
            format::compact(&self.raw)?
        ))
    }

    /// The config and the layers.
    pub(super) fn blobs(&self) -> Outcome<Vec<Digest>> {
        let manifest: oci::Manifest = serde_json::from_slice(&self.raw)
            .map_err(|error| Exit::failure(format!("{}: {error}", self.reference)))?;
        let layers = manifest.layers.into_iter().map(|layer| layer.digest);
        Ok(std::iter::once(manifest.config.digest).chain(layers).collect())
    }
}

pub(super) fn raw(remote: &RemoteManifest) -> Outcome<Vec<u8>> {
    STANDARD.decode(&remote.raw).map_err(|error| Exit::failure(format!("the daemon's answer: {error}")))
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these documents have string keys only")
}

pub(super) fn shown(manifest: &ImageManifest, verbose: bool) -> Outcome<String> {
    if !verbose {
        return indented(&manifest.raw, "\t");
    }
    indented(manifest.to_json()?.as_bytes(), "\t")
}

pub(super) fn list_shown(manifests: &[ImageManifest], verbose: bool) -> Outcome<String> {
    if !verbose {
        return Ok(String::from_utf8_lossy(&list(manifests)?.bytes).into_owned());
    }
    let all = manifests.iter().map(ImageManifest::to_json).collect::<Result<Vec<_>>>()?;
    indented(format!("[{}]", all.join(",")).as_bytes(), "\t")
}

/// Go's indentation by another unit than four blanks; no line of JSON begins within a text.
fn indented(json: &[u8], unit: &str) -> Outcome<String> {
    let lines = format::indent(json)?;
    let line = |line: &str| {
        let rest = line.trim_start_matches(' ');
        unit.repeat((line.len() - rest.len()) / 4) + rest
    };
    Ok(lines.lines().map(line).collect::<Vec<_>>().join("\n"))
}

/// A list to be pushed.
pub(super) struct List {
    pub(super) media_type: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// distribution's form: its order of fields, and its indentation, which makes the digest.
pub(super) fn list(manifests: &[ImageManifest]) -> Outcome<List> {
    let is_oci =
        manifests.first().is_some_and(|first| first.descriptor.media_type == media_type::OCI_MANIFEST);
    let media_type = if is_oci { media_type::OCI_INDEX } else { media_type::DOCKER_INDEX };
    let entries = manifests.iter().map(entry).collect::<Outcome<Vec<Entry<'_>>>>()?;
    let whole = Whole { schema_version: 2, media_type, manifests: entries };
    let bytes = indented(text(&whole).as_bytes(), "   ")?.into_bytes();
    Ok(List { media_type, bytes })
}

fn entry(manifest: &ImageManifest) -> Outcome<Entry<'_>> {
    let Descriptor { media_type, size, digest, platform, .. } = &manifest.descriptor;
    let platform = platform.as_ref().filter(|platform| !platform.os.is_empty());
    let Some(platform) = platform.filter(|platform| !platform.architecture.is_empty()) else {
        return Err(Exit::failure(format!(
            "manifest {} must have an OS and Architecture to be pushed to a registry",
            manifest.reference
        )));
    };
    Ok(Entry { media_type, size: *size, digest, platform })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    platform: &'a Platform,
}

/// Whether Go knows the pair; nothing else goes into a list.
pub(super) fn is_known(os: &str, architecture: &str) -> bool {
    KNOWN.iter().any(|(known, all)| *known == os && all.contains(&architecture))
}

const KNOWN: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    ("linux", &["386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"]),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm", "arm64"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(media_type: &str, platform: &str) -> ImageManifest {
        let raw = format!(r#"{{"schemaVersion":2,  "mediaType":"{media_type}"}}"#).into_bytes();
        let platform = (!platform.is_empty()).then(|| Platform::parse(platform).unwrap());
        let descriptor = Descriptor { platform, ..Descriptor::of(media_type, &raw) };
        ImageManifest { reference: "docker.io/library/a:1".into(), descriptor, raw }
    }

    #[test]
    fn what_is_written_reads_back() {
        for media_type in [media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST] {
            let manifest = manifest(media_type, "linux/arm64");
            let json = manifest.to_json().unwrap();
            assert_eq!(ImageManifest::read(json.as_bytes()).unwrap(), manifest);
            assert_eq!(
                json.contains("\"SchemaV2Manifest\":{\"schemaVersion\":2,\"mediaType\""),
                media_type == media_type::DOCKER_MANIFEST
            );
        }
        let changed =
            manifest(media_type::OCI_MANIFEST, "").to_json().unwrap().replace("\"Raw\":\"e", "\"Raw\":\"f");
        assert!(ImageManifest::read(changed.as_bytes()).is_err());
        assert!(ImageManifest::read(b"{}").is_err());
    }

    #[test]
    fn a_list_has_distribution_s_form() {
        let list_of = |media_type: &str| list(&[manifest(media_type, "linux/arm/v6")]).ok().unwrap();
        let docker = list_of(media_type::DOCKER_MANIFEST);
        let text = String::from_utf8(docker.bytes).unwrap();
        assert!(text.starts_with("{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"application/vnd.docker.distribution.manifest.list.v2+json\",\n   \"manifests\": [\n      {\n         \"mediaType\""), "{text}");
        assert!(text.contains("\"platform\": {\n            \"architecture\": \"arm\",\n            \"os\": \"linux\",\n            \"variant\": \"v6\"\n"), "{text}");
        assert_eq!(list_of(media_type::OCI_MANIFEST).media_type, media_type::OCI_INDEX);
        let error = list(&[manifest(media_type::OCI_MANIFEST, "")]).err().unwrap();
        assert_eq!(
            error.message,
            "manifest docker.io/library/a:1 must have an OS and Architecture to be pushed to a registry"
        );
        assert!(is_known("linux", "s390x") && !is_known("linux", "vax") && !is_known("", "amd64"));
    }
}
