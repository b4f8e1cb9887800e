//! Manifests and indexes: kept byte for byte, with what they refer to known.

use std::collections::BTreeMap;

use bytes::Bytes;
use fault::{Kind, Result};
use oci::{Descriptor, Digest, Index, Manifest, media_type};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sys::fs;

use crate::client;
use crate::server::catalog::{Record, View};
use crate::server::failure::{Failure, Outcome};
use crate::server::route::Key;
use crate::server::storage::Storage;
use crate::server::upload::Algorithm;

/// A manifest as it is sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) key: Key,
    /// Further tags.
    pub(crate) tags: Vec<String>,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// A manifest that was pushed.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) subject: Option<Digest>,
}

/// A manifest to be read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) digest: Digest,
    pub(crate) record: Record,
}

impl Storage {
    fn manifest_find(&self, name: &str, key: &Key) -> Outcome<Found> {
        let view = self.catalog.view()?;
        let digest = match key {
            Key::Digest(digest) => digest.clone(),
            Key::Tag(tag) => view.tag(name, tag)?.ok_or_else(|| Failure::manifest_unknown(tag))?,
        };
        let record = view.manifest(name, &digest)?.ok_or_else(|| Failure::manifest_unknown(&digest))?;
        Ok(Found { digest, record })
    }

    /// A manifest and its bytes. Who asks by tag and does not understand lists of platforms gets the manifest for
    /// linux/amd64 of one, as Docker's registry has it for old clients.
    pub(crate) fn manifest_read(
        &self,
        name: &str,
        key: &Key,
        is_fetched: bool,
        accepts: &dyn Fn(&str) -> bool,
    ) -> Outcome<(Found, Vec<u8>)> {
        let found = self.manifest_find(name, key)?;
        let bytes = self.manifest_bytes(&found.digest)?;
        if is_fetched {
            self.used(&fs::open(self.blob_path(&found.digest), &fs::OpenHow::READ)?)?;
        }
        let is_list = media_type::is_index(&found.record.media_type);
        if is_list
            && matches!(key, Key::Tag(_))
            && !accepts(&found.record.media_type)
            && let Some(one) = usual_platform(&bytes, accepts)
        {
            let found = self.manifest_find(name, &Key::Digest(one))?;
            let bytes = self.manifest_bytes(&found.digest)?;
            return Ok((found, bytes));
        }
        Ok((found, bytes))
    }

    fn manifest_bytes(&self, digest: &Digest) -> Outcome<Vec<u8>> {
        match fs::read_bounded(self.blob_path(digest), BYTES_MAX) {
            Err(error) if error.kind() == Kind::NotFound => Err(Failure::manifest_unknown(digest)),
            result => Ok(result?),
        }
    }

    /// Stores a manifest under its digest, and under the tags it was sent to.
    pub(crate) fn manifest_put(&self, name: &str, sent: &Sent) -> Outcome<Put> {
        let record = record(&sent.media_type, &sent.bytes)?;
        let digest = sent.digest()?;
        self.check_manifest(&self.catalog.view()?, name, &digest, &record)?;
        record.needs.iter().chain([&digest]).for_each(|digest| self.promises.give(digest));
        self.write_manifest(&sent.bytes, &digest)?;
        self.catalog.change(|change| {
            // Asked again behind the promises and the writer's lock, where no collection comes between.
            self.check_manifest(&change.before, name, &digest, &record)?;
            change.put_manifest(name, &digest, &record)?;
            sent.all_tags().try_for_each(|tag| Ok(change.put_tag(name, tag, &digest)?))
        })?;
        Ok(Put { digest, media_type: record.media_type, subject: record.subject })
    }

    fn check_manifest(&self, view: &View<'_>, name: &str, digest: &Digest, record: &Record) -> Outcome<()> {
        missing(view, name, record)?;
        let known = view.manifest(name, digest)?.is_some();
        self.check_quotas(view, name, if known { 0 } else { record.size })
    }

    /// A file without a row, until the catalog knows it.
    fn write_manifest(&self, bytes: &[u8], digest: &Digest) -> Result<()> {
        let file = self.path("uploads").join(format!("manifest-{}", self.uploads.unique()?));
        fs::write_atomic(&file, bytes)?;
        sys::crash::point("registry.manifest.written");
        self.settle(&file, digest).inspect_err(|_| drop(fs::remove_file_if_exists(&file)))
    }

    /// The digest of a manifest that is here.
    pub(crate) fn manifest_held(&self, name: &str, key: &Key) -> Outcome<Option<Digest>> {
        match self.manifest_find(name, key) {
            Ok(found) => Ok(Some(found.digest)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Keeps what another registry has, with or without what it refers to.
    pub(crate) fn manifest_keep(&self, name: &str, key: &Key, manifest: &client::Manifest) -> Outcome<()> {
        let digest = &manifest.descriptor.digest;
        let record = record(&manifest.descriptor.media_type, &manifest.bytes)?;
        self.promises.give(digest);
        self.write_manifest(&manifest.bytes, digest)?;
        self.catalog.change(|change| {
            change.put_manifest(name, digest, &record)?;
            match key {
                Key::Tag(tag) => Ok(change.put_tag(name, tag, digest)?),
                Key::Digest(_) => Ok(()),
            }
        })
    }

    pub(crate) fn tag_forget(&self, name: &str, tag: &str) -> Outcome<()> {
        if self.catalog.view()?.tag(name, tag)?.is_some() {
            self.catalog.change(|change| Ok(change.remove_tag(name, tag)?))?;
        }
        Ok(())
    }

    /// Takes away a tag, or a manifest with all its tags.
    pub(crate) fn manifest_delete(&self, name: &str, key: &Key) -> Outcome<()> {
        let removed = self.catalog.change(|change| {
            Ok(match key {
                Key::Tag(tag) => change.remove_tag(name, tag)?,
                Key::Digest(digest) => change.remove_manifest(name, digest)?,
            })
        })?;
        match (removed, key) {
            (true, _) => Ok(()),
            (false, Key::Tag(tag)) => Err(Failure::manifest_unknown(tag)),
            (false, Key::Digest(digest)) => Err(Failure::manifest_unknown(digest)),
        }
    }
}

impl Sent {
    fn all_tags(&self) -> impl Iterator<Item = &String> {
        let tag = match &self.key {
            Key::Tag(tag) => Some(tag),
            Key::Digest(_) => None,
        };
        tag.into_iter().chain(&self.tags)
    }

    /// Of the bytes, by the algorithm that the client chose.
    fn digest(&self) -> Outcome<Digest> {
        let Key::Digest(wanted) = &self.key else { return Ok(Digest::sha256(&self.bytes)) };
        let digest = Algorithm::of(wanted)?.digest(&self.bytes);
        if *wanted != digest {
            return Err(Failure::digest_invalid(format!("the manifest has digest {digest}, not {wanted}")));
        }
        Ok(digest)
    }
}

fn usual_platform(list: &[u8], accepts: &dyn Fn(&str) -> bool) -> Option<Digest> {
    let list: Index = serde_json::from_slice(list).ok()?;
    let is_usual = |one: &Descriptor| {
        let platform = one.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == "amd64")
            && accepts(&one.media_type)
    };
    list.manifests.into_iter().find(is_usual).map(|one| one.digest)
}

/// That everything a manifest stands on is in its repository. What it refers to as its subject need not be.
fn missing(view: &View<'_>, name: &str, record: &Record) -> Outcome<()> {
    for digest in &record.needs {
        if view.link(name, digest)?.is_none() && view.manifest(name, digest)?.is_none() {
            return Err(Failure::manifest_blob_unknown(digest));
        }
    }
    Ok(())
}

/// Reads a manifest of a type that is known.
pub(crate) fn record(sent_type: &str, bytes: &[u8]) -> Outcome<Record> {
    let declared: Declared = document(bytes)?;
    let media_type = match (sent_type.split(';').next().unwrap_or_default().trim(), declared.media_type) {
        ("" | "application/json", Some(declared)) => declared,
        ("" | "application/json", None) => return Err(Failure::manifest_invalid("no media type is given")),
        (sent, Some(declared)) if sent != declared => {
            return Err(Failure::manifest_invalid(format!("sent as {sent}, but it says to be {declared}")));
        }
        (sent, _) => sent.to_owned(),
    };
    if declared.schema_version != 2 {
        return Err(Failure::manifest_invalid(format!(
            "schema version {} is not supported, only 2 is",
            declared.schema_version
        )));
    }
    let size = bytes.len() as u64;
    match media_type.as_str() {
        name if media_type::is_manifest(name) => Ok(of_manifest(media_type, size, document(bytes)?)),
        name if media_type::is_index(name) => Ok(of_index(media_type, size, document(bytes)?)),
        other => Err(Failure::manifest_invalid(format!("media type {other} is not supported"))),
    }
}

fn of_manifest(media_type: String, size: u64, manifest: Manifest) -> Record {
    // Layers with addresses of their own need not be here (image-spec, descriptor.md, "urls").
    let layers = manifest.layers.iter().filter(|layer| layer.urls.is_empty());
    let needs = std::iter::once(&manifest.config).chain(layers).map(|blob| blob.digest.clone()).collect();
    let artifact_type = manifest.artifact_type.filter(|name| !name.is_empty());
    Record {
        artifact_type: artifact_type.or(Some(manifest.config.media_type)),
        ..referring(media_type, size, needs, manifest.subject, manifest.annotations)
    }
}

fn of_index(media_type: String, size: u64, index: Index) -> Record {
    let needs = index.manifests.iter().map(|manifest| manifest.digest.clone()).collect();
    Record {
        artifact_type: index.artifact_type,
        ..referring(media_type, size, needs, index.subject, index.annotations)
    }
}

fn referring(
    media_type: String,
    size: u64,
    needs: Vec<Digest>,
    subject: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
) -> Record {
    // Only a list of referrers shows annotations.
    let annotations = if subject.is_some() { annotations } else { BTreeMap::new() };
    let subject = subject.map(|subject| subject.digest);
    Record { media_type, size, needs, subject, artifact_type: None, annotations }
}

/// What every kind of manifest says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declared {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
}

fn document<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::manifest_invalid(format!("manifest invalid: {error}")))
}

/// What the specification wants registries to take at least.
pub(crate) const BYTES_MAX: u64 = 4 << 20;
