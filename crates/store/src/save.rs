//! `save`: images as one archive that is Docker's and an OCI image layout at once, as Docker 28 writes it.
//!
//! Blobs go out as they came in, compressed or not, so digests stay.

use std::collections::BTreeMap;
use std::io::Write;

use archive::tar::{EntryKind, Header, Writer};
use fault::{Doing, Error, Result};
use oci::manifest::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME};
use oci::{Descriptor, Digest, Index, Platform, Reference, media_type};
use serde::Serialize;

use crate::catalog::{Catalog, Entry};
use crate::content::{OCI_LAYOUT, blob_name};
use crate::image::no_such_image;
use crate::lease::{Held, Lease};
use crate::resolve::{by_prefix, lookup_key, whole_id};
use crate::{ImageId, Store, Variants};

impl Store {
    /// Writes the images of these names or ids, for all platforms that are here or for some. A name without tag means all
    /// its tags.
    ///
    /// Errors with Docker's texts (`No such image: foo`, `reference does not exist`) come before the first byte.
    pub fn save(&self, names: &[String], platforms: &[Platform], writer: impl Write) -> Result<()> {
        let lease = self.lease();
        let mut saved = Vec::new();
        for (id, names) in choose(&self.catalog(), names)? {
            saved.push(self.saved(&lease, &id, names, platforms)?);
        }
        let archive = Archive::plan(&saved);
        self.write_archive(&archive, writer).doing(|| "saving images")
    }

    /// What of an image is to be written; the lease holds it.
    fn saved(
        &self,
        lease: &Lease,
        id: &ImageId,
        names: Vec<Reference>,
        platforms: &[Platform],
    ) -> Result<Saved> {
        let variants = match names.first() {
            Some(name) => self.variants_of(name)?,
            None => self.variants_by(&self.catalog(), id, None)?,
        };
        let mut images = Vec::new();
        for variant in &variants.all {
            if let Some(image) = &variant.image {
                images.push(Kept { named: variant.manifest.clone(), ..self.kept(lease, image)? });
            }
        }
        // What the name means may have come in another form than the index says.
        if !images.iter().any(|image| image.id == *id) {
            images.push(self.kept(lease, id)?);
        }
        if !platforms.is_empty() {
            images = wanted(images, platforms)?;
        }
        let mut target = Target::Manifests;
        if images.len() > 1 {
            target = match platforms.is_empty() && variants.are_whole() {
                true => Target::Index(Box::new(variants.target.clone()), held_indexes(lease, &variants)),
                false => Target::Reduced(reduced(&images)),
            };
        }
        // The older form has one platform for each name.
        let first = images.iter().position(|image| image.id == *id).unwrap_or_default();
        images.swap(0, first);
        Ok(Saved { images, names, target })
    }

    fn kept(&self, lease: &Lease, id: &ImageId) -> Result<Kept> {
        let entry = self.hold_image(lease, id)?;
        let platform = self.image(id)?.config.platform();
        Ok(Kept { id: id.clone(), named: entry.manifest.clone(), entry, platform })
    }

    fn write_archive(&self, archive: &Archive, writer: impl Write) -> Result<()> {
        let mut tar = Writer::new(writer);
        for folder in ["blobs/", "blobs/sha256/"] {
            tar.append_bytes(&header(folder, EntryKind::Directory), b"")?;
        }
        for (digest, made) in &archive.blobs {
            let header = header(&blob_name(digest), EntryKind::Regular);
            if let Some(bytes) = made {
                tar.append_bytes(&header, bytes)?;
                continue;
            }
            tar.append(&Header { size: self.blob_size(digest)?, ..header }, self.blob_open(digest)?)?;
        }
        for (name, content) in &archive.documents {
            tar.append_bytes(&header(name, EntryKind::Regular), content)?;
        }
        tar.finish()?;
        Ok(())
    }
}

/// The digests of an index and of all below it, held.
fn held_indexes(lease: &Lease, variants: &Variants) -> Vec<Digest> {
    let all = variants.nested.iter().chain([&variants.target]);
    let all: Vec<Digest> = all.map(|index| index.digest.clone()).collect();
    all.iter().for_each(|digest| lease.hold(Held::Blob(digest.clone())));
    all
}

/// What is written of one image.
struct Saved {
    /// One for each platform; what its names mean without one is the first.
    images: Vec<Kept>,
    names: Vec<Reference>,
    target: Target,
}

/// An image as it is held: a push may give it other blobs meanwhile, and these stay.
#[derive(Clone, Debug, PartialEq)]
struct Kept {
    id: ImageId,
    entry: Entry,
    /// Its manifest as an index names it.
    named: Descriptor,
    platform: Platform,
}

/// What the archive's own index points at.
enum Target {
    /// The manifest of the only platform.
    Manifests,
    /// The index as it came, because all that it names is written; the digests of those below it.
    Index(Box<Descriptor>, Vec<Digest>),
    /// An index of what is written.
    Reduced(Vec<u8>),
}

/// For each platform its image (moby, daemon/containerd/image_exporter.go, for the words).
fn wanted(images: Vec<Kept>, platforms: &[Platform]) -> Result<Vec<Kept>> {
    let mut all: Vec<Kept> = Vec::new();
    for wanted in platforms {
        let Some(found) = images.iter().find(|one| wanted.rank(&one.platform) == Some(0)) else {
            return Err(Error::not_found(format!("no suitable export target found for platform {wanted}")));
        };
        if !all.contains(found) {
            all.push(found.clone());
        }
    }
    Ok(all)
}

fn reduced(images: &[Kept]) -> Vec<u8> {
    let entry = |Kept { named, platform, .. }: &Kept| Descriptor {
        platform: named.platform.clone().or_else(|| Some(platform.clone())),
        ..named.clone()
    };
    json(&Index::new(images.iter().map(entry).collect()))
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
    /// Those that are made for the archive have their bytes here, all others lie in the store.
    blobs: BTreeMap<Digest, Option<Vec<u8>>>,
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
    fn plan(saved: &[Saved]) -> Self {
        let mut blobs = BTreeMap::new();
        let (mut items, mut manifests) = (Vec::new(), Vec::new());
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for Saved { images, names, target } in saved {
            for Kept { id, entry, .. } in images {
                blobs.extend(blobs_of(id, entry).map(|digest| (digest, None)));
            }
            let Some(Kept { id, entry, .. }) = images.first() else { continue };
            items.push(item(id, entry, names));
            let target = match target {
                Target::Manifests => entry.manifest.clone(),
                Target::Index(index, all) => {
                    blobs.extend(all.iter().map(|digest| (digest.clone(), None)));
                    Descriptor::clone(index)
                }
                Target::Reduced(bytes) => {
                    let index = Descriptor::of(media_type::OCI_INDEX, bytes);
                    blobs.insert(index.digest.clone(), Some(bytes.clone()));
                    index
                }
            };
            manifests.extend(index_entries(&target, names));
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
        Self { blobs, documents }
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

fn blobs_of(id: &ImageId, entry: &Entry) -> impl Iterator<Item = Digest> {
    let layers = entry.layers.iter().map(|layer| layer.blob.digest.clone());
    layers.chain([id.0.clone(), entry.manifest.digest.clone()])
}

fn index_entries(target: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![target.clone()];
    }
    let named = |name| Descriptor { annotations: name_annotations(name), ..target.clone() };
    names.iter().map(named).collect()
}

fn header(name: &str, kind: EntryKind) -> Header {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
    Header { name: name.into(), kind, mode, ..Header::default() }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these documents have string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{image, store};

    /// A push compresses the layers between the choice and the lease, and again while the archive is written.
    #[test]
    fn what_is_written_is_what_is_held() {
        let (_folder, store) = store();
        let id = image(&store, "app", &[("a", b"1")]);
        let lease = store.lease();
        let (chosen, names) = choose(&store.catalog(), &["app:latest".into()]).unwrap().remove(0);
        let before = store.saved(&lease, &chosen, names.clone(), &[]).unwrap();
        store.image_compress(&store.lease(), &id).unwrap();
        store.collect().unwrap();
        let after = store.saved(&lease, &chosen, names, &[]).unwrap();
        let layer = |saved: &Saved| saved.images[0].entry.layers[0].blob.digest.clone();
        assert_ne!(layer(&before), layer(&after));
        for saved in [before, after] {
            let digest = layer(&saved);
            let archive = Archive::plan(&[saved]);
            assert!(archive.blobs.contains_key(&digest));
            store.write_archive(&archive, std::io::sink()).unwrap();
        }
    }
}
