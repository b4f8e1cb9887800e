//! `save`: images as one archive that is Docker's and an OCI image layout at once, as Docker 28 writes it.
//!
//! Blobs go out as they came in, compressed or not, so digests stay.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use archive::tar::{EntryKind, Header, Writer};
use fault::{Doing, Error, Result};
use oci::manifest::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME};
use oci::{Descriptor, Digest, Index, Reference};
use serde::Serialize;

use crate::catalog::{Catalog, Entry};
use crate::content::OCI_LAYOUT;
use crate::image::no_such_image;
use crate::resolve::{by_prefix, lookup_key, whole_id};
use crate::{ImageId, Store};

impl Store {
    /// Writes the images of these names or ids. A name without tag means all its tags.
    ///
    /// Errors with Docker's texts (`No such image: foo`, `reference does not exist`) come before the first byte.
    pub fn save(&self, names: &[String], writer: impl Write) -> Result<()> {
        let lease = self.lease();
        let catalog = self.catalog();
        let chosen = choose(&catalog, names)?;
        for (id, _) in &chosen {
            self.hold_image(&lease, id)?;
        }
        let archive = Archive::plan(&catalog, &chosen)?;
        self.write_archive(&archive, writer).doing(|| "saving images")
    }

    fn write_archive(&self, archive: &Archive, writer: impl Write) -> Result<()> {
        let mut tar = Writer::new(writer);
        for folder in ["blobs/", "blobs/sha256/"] {
            tar.append_bytes(&header(folder, EntryKind::Directory), b"")?;
        }
        for digest in &archive.blobs {
            let header = header(&blob_name(digest), EntryKind::Regular);
            tar.append(&Header { size: self.blob_size(digest)?, ..header }, self.blob_open(digest)?)?;
        }
        for (name, content) in &archive.documents {
            tar.append_bytes(&header(name, EntryKind::Regular), content)?;
        }
        tar.finish()?;
        Ok(())
    }
}

/// The annotations by which an index tells an image's name.
pub(crate) fn name_annotations(name: &Reference) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([(ANNOTATION_IMAGE_NAME.into(), name.canonical())]);
    annotations.extend(name.tag().map(|tag| (ANNOTATION_REF_NAME.into(), tag.into())));
    annotations
}

/// What to save: images in the order they were asked for, each with the names that were asked for.
type Chosen = Vec<(ImageId, Vec<Reference>)>;

fn choose(catalog: &Catalog, names: &[String]) -> Result<Chosen> {
    let mut chosen = Chosen::new();
    for text in names {
        for (id, name) in choose_one(catalog, text)? {
            if !chosen.iter().any(|(known, _)| *known == id) {
                chosen.push((id.clone(), Vec::new()));
            }
            let (_, names) =
                chosen.iter_mut().find(|(known, _)| *known == id).expect("it was pushed just now");
            names.extend(name.filter(|name| !names.contains(name)));
        }
    }
    Ok(chosen)
}

/// moby, image/tarexport/save.go, `parseNames`.
fn choose_one(catalog: &Catalog, text: &str) -> Result<Vec<(ImageId, Option<Reference>)>> {
    if let Some(digest) = whole_id(text) {
        let id = ImageId(digest);
        return if catalog.images.contains_key(&id) { Ok(vec![(id, None)]) } else { Err(no_such_image(id)) };
    }
    let name = Reference::parse(text)?;
    if name.familiar_name() == "sha256" {
        return by_prefix(catalog, text).map(|id| vec![(id, None)]).ok_or_else(|| no_such_image(text));
    }
    if name.is_name_only() {
        let tags =
            catalog.names.iter().filter(|(known, _)| known.repository() == name && known.tag().is_some());
        let tags: Vec<_> = tags.map(|(known, id)| (id.clone(), Some(known.clone()))).collect();
        if !tags.is_empty() {
            return Ok(tags);
        }
        return by_prefix(catalog, text).map(|id| vec![(id, None)]).ok_or_else(|| no_such_image(text));
    }
    let key = lookup_key(&name);
    match catalog.names.get(&key) {
        Some(id) => Ok(vec![(id.clone(), Some(key).filter(|key| key.tag().is_some()))]),
        None => Err(Error::not_found("reference does not exist")),
    }
}

/// The archive to be written.
struct Archive {
    blobs: BTreeSet<Digest>,
    /// In the order of their names, as everything in the archive.
    documents: BTreeMap<&'static str, Vec<u8>>,
}

/// An item of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    layer_sources: BTreeMap<Digest, Descriptor>,
}

impl Archive {
    fn plan(catalog: &Catalog, chosen: &Chosen) -> Result<Self> {
        let mut blobs = BTreeSet::new();
        let (mut items, mut manifests) = (Vec::new(), Vec::new());
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (id, names) in chosen {
            let entry = catalog.images.get(id).ok_or_else(|| no_such_image(id))?;
            blobs.extend([id.0.clone(), entry.manifest.digest.clone()]);
            blobs.extend(entry.layers.iter().map(|layer| layer.blob.digest.clone()));
            items.push(item(id, entry, names));
            manifests.extend(index_entries(entry, names));
            for name in names {
                let top = entry.layers.last().map(|layer| layer.diff_id.hex()).unwrap_or_default();
                let tags = repositories.entry(name.familiar_name()).or_default();
                tags.insert(name.tag().unwrap_or_default().into(), top.into());
            }
        }
        let mut documents = BTreeMap::from([
            ("index.json", json(&Index::new(manifests))),
            ("manifest.json", json(&items)),
            ("oci-layout", OCI_LAYOUT.into()),
        ]);
        if !repositories.is_empty() {
            documents.insert("repositories", json(&repositories));
        }
        Ok(Self { blobs, documents })
    }
}

fn item(id: &ImageId, entry: &Entry, names: &[Reference]) -> Item {
    let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
    Item {
        config: blob_name(&id.0),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: entry.layers.iter().map(|layer| blob_name(&layer.blob.digest)).collect(),
        layer_sources: entry.layers.iter().map(|layer| (layer.diff_id.clone(), layer.blob.clone())).collect(),
    }
}

fn index_entries(entry: &Entry, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![entry.manifest.clone()];
    }
    let named = |name| Descriptor { annotations: name_annotations(name), ..entry.manifest.clone() };
    names.iter().map(named).collect()
}

fn header(name: &str, kind: EntryKind) -> Header {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
    Header { name: name.into(), kind, mode, ..Header::default() }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these documents have string keys only")
}
