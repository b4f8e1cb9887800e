//! Indexes: names that stand for an image on several platforms.
//!
//! ```text
//!   name --> image                    the one that was pulled or chosen last: what the name means without a platform
//!        \-> index --> entries        byte for byte, with what lies on the way to its images that are here
//!                  \-> images         all of its images that are here, each an image like others
//! ```
//! The image of another platform needs no name of its own: it stays as long as a name has its index. What an index leads
//! to beyond that is not here, and nothing asks for it.

use std::collections::BTreeSet;

use fault::{Error, Result};
use oci::{Descriptor, Digest, Index, Platform, Reference, media_type};
use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::image::no_such_image;
use crate::lease::{Held, Lease};
use crate::publish::Staged;
use crate::resolve::{lookup_key, resolve};
use crate::{ImageId, Store};

/// What the catalog keeps of a name's index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Indexed {
    pub(crate) index: Descriptor,
    /// The indexes below it that are here.
    #[serde(default)]
    pub(crate) nested: BTreeSet<Digest>,
    /// The images that are here.
    #[serde(default)]
    pub(crate) images: BTreeSet<ImageId>,
}

impl Indexed {
    /// Of the indexes on the way to an image, the uppermost first; `None` if there are none.
    pub(crate) fn of(indexes: &[Document], id: &ImageId) -> Option<Self> {
        let (top, nested) = indexes.split_first()?;
        Some(Self {
            index: top.descriptor.clone(),
            nested: nested.iter().map(|document| document.descriptor.digest.clone()).collect(),
            images: [id.clone()].into(),
        })
    }

    /// All blobs that it needs itself.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        self.nested.iter().chain([&self.index.digest])
    }
}

/// A manifest or an index, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

/// What an image's names stand for on all platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variants {
    /// The index; the manifest if there is only that.
    pub target: Descriptor,
    pub all: Vec<Variant>,
    /// The indexes below it that are here, each before those that it names.
    pub nested: Vec<Descriptor>,
    /// The index leads to further indexes that are not here.
    pub has_more: bool,
}

impl Variants {
    /// Nothing of what the index names is missing.
    pub fn are_whole(&self) -> bool {
        !self.has_more && self.all.iter().all(|variant| variant.is_here)
    }
}

/// One manifest of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub manifest: Descriptor,
    /// The image that it is here.
    pub image: Option<ImageId>,
    /// The manifest and all that it needs is here.
    pub is_here: bool,
}

impl Variant {
    /// What it attests, if it is an attestation and no image (BuildKit's convention).
    pub fn attests(&self) -> Option<&str> {
        let annotations = &self.manifest.annotations;
        let is_attestation =
            annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest");
        is_attestation
            .then(|| annotations.get("vnd.docker.reference.digest").map(String::as_str).unwrap_or_default())
    }
}

impl Store {
    /// What an image is on all platforms, as the first of its names has it.
    pub fn variants(&self, id: &ImageId) -> Result<Variants> {
        let catalog = self.catalog();
        let indexed = catalog.names_of(id).into_iter().find_map(|name| catalog.indexes.get(name));
        self.variants_by(&catalog, id, indexed)
    }

    /// What a name stands for on all platforms. `NotFound` if there is no such name.
    pub fn variants_of(&self, name: &Reference) -> Result<Variants> {
        let catalog = self.catalog();
        let key = lookup_key(name);
        let id = catalog.names.get(&key).ok_or_else(|| no_such_image(key.familiar()))?;
        self.variants_by(&catalog, id, catalog.indexes.get(&key))
    }

    pub(crate) fn variants_by(
        &self,
        catalog: &Catalog,
        id: &ImageId,
        indexed: Option<&Indexed>,
    ) -> Result<Variants> {
        let entry = catalog.images.get(id).ok_or_else(|| no_such_image(id))?;
        let Some(indexed) = indexed else {
            let manifest = entry.manifest.clone();
            let variant = Variant { manifest: manifest.clone(), image: Some(id.clone()), is_here: true };
            return Ok(Variants {
                target: manifest,
                all: vec![variant],
                nested: Vec::new(),
                has_more: false,
            });
        };
        let (seen, found, nested) = (BTreeSet::new(), Vec::new(), Vec::new());
        let mut walk = Walk { store: self, catalog, indexed, seen, found, nested, has_more: false };
        walk.index(&indexed.index, DEPTH_MAX)?;
        let Walk { found, nested, has_more, .. } = walk;
        Ok(Variants { target: indexed.index.clone(), all: found, nested, has_more })
    }

    /// From what people type, and the platform that they want, to an image: of several that run there the best.
    ///
    /// `NotFound`, with dockerd's words, for a platform that is not here.
    pub fn resolve_for(&self, text: &str, platform: Option<&Platform>) -> Result<ImageId> {
        let catalog = self.catalog();
        let id = resolve(&catalog, text)?;
        let Some(platform) = platform else { return Ok(id) };
        let offered = self.offered(&catalog, &id, text)?;
        let best = best(&offered, platform);
        best.ok_or_else(|| lacking(text, &offered, platform))
    }

    /// The same for a platform that has to be just that: what goes to others, or goes for good.
    pub fn resolve_exactly(&self, text: &str, platform: &Platform) -> Result<ImageId> {
        let catalog = self.catalog();
        let id = resolve(&catalog, text)?;
        let offered = self.offered(&catalog, &id, text)?;
        let same = offered.iter().find(|(_, found)| platform.rank(found) == Some(0));
        same.map(|(id, _)| id.clone()).ok_or_else(|| lacking(text, &offered, platform))
    }

    /// All images that a text stands for, one a platform; the one that it means without a platform is the first.
    pub(crate) fn all_of(&self, text: &str) -> Result<Vec<ImageId>> {
        let catalog = self.catalog();
        let id = resolve(&catalog, text)?;
        Ok(self.offered(&catalog, &id, text)?.into_iter().map(|(id, _)| id).collect())
    }

    /// The images that a text may mean, by their platforms; the one that it means without a platform is the first.
    fn offered(&self, catalog: &Catalog, id: &ImageId, text: &str) -> Result<Vec<(ImageId, Platform)>> {
        let named = Reference::parse(text).ok().map(|name| lookup_key(&name));
        let named = named.filter(|name| catalog.names.get(name) == Some(id));
        let indexed = named.and_then(|name| catalog.indexes.get(&name));
        let others = indexed.into_iter().flat_map(|indexed| &indexed.images).filter(|other| *other != id);
        let mut offered = Vec::new();
        for one in [id].into_iter().chain(others) {
            offered.push((one.clone(), self.image(one)?.config.platform()));
        }
        Ok(offered)
    }

    /// Holds and stages the indexes that are not here yet.
    pub(crate) fn stage_indexes(&self, lease: &Lease, indexes: &[Document]) -> Result<Vec<Staged>> {
        let mut staged = Vec::new();
        for document in indexes {
            let digest = Digest::sha256(&document.bytes);
            if digest != document.descriptor.digest {
                return Err(Error::invalid(format!(
                    "index has digest {digest}, expected {}",
                    document.descriptor.digest
                )));
            }
            lease.hold(Held::Blob(digest.clone()));
            if !self.blob_exists(&digest)? {
                staged.push(Staged::Blob(self.stage_document(&document.bytes)?));
            }
        }
        Ok(staged)
    }
}

/// A look at all entries of an index and of the indexes below it.
struct Walk<'a> {
    store: &'a Store,
    catalog: &'a Catalog,
    indexed: &'a Indexed,
    seen: BTreeSet<Digest>,
    found: Vec<Variant>,
    nested: Vec<Descriptor>,
    has_more: bool,
}

impl Walk<'_> {
    fn index(&mut self, index: &Descriptor, depth: u32) -> Result<()> {
        let bytes = self.store.blob_read(&index.digest)?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| Error::internal(format!("index {} cannot be read: {error}", index.digest)))?;
        for entry in index.manifests {
            if !self.seen.insert(entry.digest.clone()) {
                continue;
            }
            let is_index = media_type::is_index(&entry.media_type);
            if is_index && depth > 0 && self.indexed.nested.contains(&entry.digest) {
                self.nested.push(entry.clone());
                self.index(&entry, depth - 1)?;
            } else if is_index || self.found.len() == VARIANTS_MAX {
                self.has_more = true;
            } else {
                let variant = self.variant(entry)?;
                self.found.push(variant);
            }
        }
        Ok(())
    }

    fn variant(&self, manifest: Descriptor) -> Result<Variant> {
        let is_it = |id: &&ImageId| {
            self.catalog.images.get(id).is_some_and(|entry| entry.manifest.digest == manifest.digest)
        };
        let image = self.indexed.images.iter().find(is_it).cloned();
        Ok(Variant { is_here: image.is_some(), image, manifest })
    }
}

/// The image that runs best on a platform.
fn best(offered: &[(ImageId, Platform)], wanted: &Platform) -> Option<ImageId> {
    let ranked = offered.iter().filter_map(|(id, platform)| Some((wanted.rank(platform)?, id)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, id)| id.clone())
}

/// moby, daemon/images/image.go for one platform, daemon/containerd/image.go for several.
fn lacking(text: &str, offered: &[(ImageId, Platform)], wanted: &Platform) -> Error {
    let wanted = wanted.clone().normalized();
    Error::not_found(match offered {
        [(_, found)] => format!(
            "image with reference {text} was found but its platform ({}) does not match the specified platform ({wanted})",
            found.clone().normalized()
        ),
        _ => format!(
            "image with reference {text} was found but does not provide the specified platform ({wanted})"
        ),
    })
}

/// An index in an index is common, more is a loop.
pub(crate) const DEPTH_MAX: u32 = 3;
/// No image is made for more platforms; what a longer list names beyond is told as missing.
pub(crate) const VARIANTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::digest;

    #[test]
    fn the_best_of_what_is_here_is_chosen() {
        let offered: Vec<(ImageId, Platform)> =
            [("a", "linux/amd64"), ("b", "linux/arm/v6"), ("c", "linux/arm64")]
                .into_iter()
                .map(|(hex, platform)| (ImageId(digest(hex)), Platform::parse(platform).unwrap()))
                .collect();
        let check = |wanted: &str, hex: Option<&str>| {
            let found = best(&offered, &Platform::parse(wanted).unwrap());
            assert_eq!(found, hex.map(|hex| ImageId(digest(hex))), "{wanted}");
        };
        check("linux/amd64", Some("a"));
        check("linux/amd64/v3", Some("a"));
        check("linux/arm64/v8", Some("c"));
        check("linux/arm/v7", Some("b"));
        check("linux/arm/v5", None);
        check("linux/s390x", None);
        let words = |offered: &[(ImageId, Platform)]| {
            lacking("x", offered, &Platform::parse("linux/s390x").unwrap()).to_string()
        };
        assert_eq!(
            words(&offered[..1]),
            "image with reference x was found but its platform (linux/amd64) does not match the specified platform \
             (linux/s390x)"
        );
        assert_eq!(
            words(&offered),
            "image with reference x was found but does not provide the specified platform (linux/s390x)"
        );
    }
}
