//! Which images there are and what they are called: pure data, kept whole in memory and stored by `db`.
//!
//! Names point at images; an image without a name is dangling and stays until it is removed.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use oci::{Descriptor, Digest, Reference};
use serde::{Deserialize, Serialize};

use crate::index::Indexed;
use crate::{ImageId, Layer, Signed};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Catalog {
    pub(crate) images: BTreeMap<ImageId, Entry>,
    /// With a tag, or with a digest alone.
    pub(crate) names: BTreeMap<Reference, ImageId>,
    /// Of the names that stand for an image on several platforms.
    pub(crate) indexes: BTreeMap<Reference, Indexed>,
}

/// What the store remembers of an image beside its config, which is a blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) manifest: Descriptor,
    pub(crate) layers: Vec<Layer>,
    /// The image that a commit was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
    /// When it last got a name here; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tagged: Option<String>,
    /// When it was last used, as far as that was written down; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<String>,
    /// Stays, whatever room it takes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pinned: bool,
    #[serde(default, skip_serializing_if = "Signed::is_empty")]
    pub(crate) signed: Signed,
}

impl Entry {
    /// The sum of the unpacked layers.
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_unpacked).sum()
    }

    /// Naming an image is a use, too.
    pub(crate) fn last_use(&self) -> Option<&String> {
        self.used.as_ref().max(self.tagged.as_ref())
    }

    /// The chain ids of the layers, lowest first (image-spec, config.md, "Layer ChainID").
    pub(crate) fn chain_ids(&self) -> Vec<Digest> {
        chain_ids(self.layers.iter().map(|layer| &layer.diff_id))
    }
}

impl Catalog {
    /// The names of an image, in byte order.
    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<&Reference> {
        self.names.iter().filter(|(_, named)| *named == id).map(|(name, _)| name).collect()
    }

    /// The images committed from this one.
    pub(crate) fn children_of(&self, id: &ImageId) -> impl Iterator<Item = &ImageId> {
        self.images.iter().filter(move |(_, entry)| entry.parent.as_ref() == Some(id)).map(|(child, _)| child)
    }

    /// The repositories of a registry from which images with this blob were pulled, or to which they were pushed.
    pub(crate) fn repositories_with(&self, blob: &Digest, domain: &str) -> Vec<Reference> {
        let has_it = |id: &ImageId| {
            self.images
                .get(id)
                .is_some_and(|entry| entry.layers.iter().any(|layer| layer.blob.digest == *blob))
        };
        let names = self.names.iter().filter(|(name, _)| name.digest().is_some() && name.domain() == domain);
        let mut found: Vec<Reference> =
            names.filter(|(_, id)| has_it(id)).map(|(name, _)| name.repository()).collect();
        found.dedup();
        found
    }

    /// Adds an image; one that is there keeps its parent and its times, and has more that speaks for it.
    pub(crate) fn add(&mut self, id: ImageId, entry: Entry) {
        match self.images.entry(id) {
            Slot::Vacant(slot) => drop(slot.insert(entry)),
            Slot::Occupied(known) => known.into_mut().signed.add(entry.signed),
        }
    }

    /// Gives an image that lost something the manifest and the layers with which it came again.
    pub(crate) fn mend(&mut self, id: &ImageId, again: &Entry) {
        if let Some(entry) = self.images.get_mut(id) {
            entry.manifest = again.manifest.clone();
            entry.layers = again.layers.clone();
        }
    }

    /// Points a name at an image and says which image it pointed at before.
    pub(crate) fn tag(&mut self, name: Reference, id: &ImageId, now: &str) -> Option<ImageId> {
        if let Some(entry) = self.images.get_mut(id) {
            entry.tagged = Some(now.into());
        }
        self.indexes.remove(&name);
        self.names.insert(name, id.clone())
    }

    /// The same for a name that stands for an index; other images of the same index stay with the name.
    pub(crate) fn tag_indexed(
        &mut self,
        name: Reference,
        id: &ImageId,
        indexed: &Indexed,
        now: &str,
    ) -> Option<ImageId> {
        let known = self.indexes.remove(&name).filter(|known| known.index.digest == indexed.index.digest);
        let mut indexed = indexed.clone();
        if let Some(known) = known {
            indexed.nested.extend(known.nested);
            indexed.images.extend(known.images);
        }
        indexed.images.insert(id.clone());
        let before = self.tag(name.clone(), id, now);
        self.indexes.insert(name, indexed);
        before
    }

    /// With an index or without.
    pub(crate) fn tag_as(
        &mut self,
        name: Reference,
        id: &ImageId,
        indexed: Option<&Indexed>,
        now: &str,
    ) -> Option<ImageId> {
        match indexed {
            Some(indexed) => self.tag_indexed(name, id, indexed, now),
            None => self.tag(name, id, now),
        }
    }

    /// The index of a name, if that means this image.
    pub(crate) fn index_of(&self, name: &Reference, id: &ImageId) -> Option<Indexed> {
        self.indexes.get(name).filter(|_| self.names.get(name) == Some(id)).cloned()
    }

    /// Takes a name away; says whether it was there.
    pub(crate) fn untag(&mut self, name: &Reference) -> bool {
        self.indexes.remove(name);
        self.names.remove(name).is_some()
    }

    /// An index that has a name leads to it.
    pub(crate) fn is_indexed(&self, id: &ImageId) -> bool {
        self.indexed_by(id).next().is_some()
    }

    /// The names of the indexes that lead to it, in byte order.
    pub(crate) fn indexed_by(&self, id: &ImageId) -> impl Iterator<Item = &Reference> {
        self.indexes.iter().filter(move |(_, indexed)| indexed.images.contains(id)).map(|(name, _)| name)
    }

    /// The images that lose their last name with this one's: other platforms of its indexes.
    pub(crate) fn taken_along(&self, id: &ImageId) -> Vec<&ImageId> {
        let indexes = self.names_of(id).into_iter().filter_map(|name| self.indexes.get(name));
        let others: BTreeSet<&ImageId> =
            indexes.flat_map(|indexed| &indexed.images).filter(|other| *other != id).collect();
        let is_kept = |other: &ImageId| {
            let is_other_s = |name: &Reference| self.names.get(name) != Some(id);
            !self.names_of(other).is_empty() || self.indexed_by(other).any(is_other_s)
        };
        others.into_iter().filter(|other| self.images.contains_key(*other) && !is_kept(other)).collect()
    }

    /// Removes an image and its names.
    pub(crate) fn remove(&mut self, id: &ImageId) {
        self.images.remove(id);
        self.names.retain(|_, named| named != id);
        self.indexes.retain(|name, _| self.names.contains_key(name));
        for indexed in self.indexes.values_mut() {
            indexed.images.remove(id);
        }
    }
}

/// `ChainID(L0) = L0; ChainID(L0|…|Ln) = SHA256(ChainID(L0|…|Ln-1) + " " + Ln)`.
pub(crate) fn chain_ids<'a>(diff_ids: impl IntoIterator<Item = &'a Digest>) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::new();
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A digest that begins with these digits.
    pub(crate) fn digest(hex: &str) -> Digest {
        format!("sha256:{hex:0<64}").parse().unwrap()
    }

    /// An entry with layers of these diffIDs, ten bytes each.
    pub(crate) fn entry(diff_ids: &[&str]) -> Entry {
        let layer = |hex: &&str| {
            let blob = Descriptor::new(oci::media_type::OCI_LAYER, digest(hex), 20);
            Layer { blob, diff_id: digest(hex), size_unpacked: 10 }
        };
        let manifest = Descriptor::of(oci::media_type::OCI_MANIFEST, b"{}");
        Entry {
            manifest,
            layers: diff_ids.iter().map(layer).collect(),
            parent: None,
            tagged: None,
            used: None,
            pinned: false,
            signed: Signed::default(),
        }
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let (lower, upper) = (digest("a"), digest("b"));
        let chain = chain_ids([&lower, &upper]);
        assert_eq!(chain, [lower.clone(), Digest::sha256(format!("{lower} {upper}").as_bytes())]);
    }
}
