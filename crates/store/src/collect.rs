//! Garbage collection: what no image, snapshot or lease refers to goes.
//!
//! The roots are read and the rest is taken out of sight while leases are frozen, so nobody can begin to rely on a thing
//! that is just going. What takes the disk's time, syncing and deleting, is done before and after: everybody who creates,
//! pulls or loads waits for a lease. Names need no look: an image stays until it is removed, named or not.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use fault::Result;
use oci::Digest;
use sys::fs;

use crate::catalog::Catalog;
use crate::lease::Held;
use crate::snapshot::init_layer;
use crate::{Snapshot, Store};

/// What a collection took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Of blobs; trees are measured by nobody.
    pub bytes: u64,
    pub blobs: usize,
    pub layers: usize,
}

impl Store {
    /// Takes away what nobody refers to. Trees are only moved aside; [`Store::sweep`] deletes them.
    pub fn collect(&self) -> Result<Collected> {
        for _ in 0..ROUNDS_MAX {
            match self.inner.leases.while_frozen(|held| self.collect_but(held))? {
                Some((collected, blobs)) => {
                    sys::crash::point("store.collect.aside");
                    // A sweep may come first.
                    blobs.into_iter().try_for_each(|blob| fs::remove_file_if_exists(blob).map(drop))?;
                    return Ok(collected);
                }
                None => self.settle()?,
            }
        }
        // Images go faster than the disk takes their trees: what is left goes with the next collection.
        Ok(Collected::default())
    }

    /// What was taken, and where its blobs lie now; `None` if trees have to be settled first.
    fn collect_but(&self, held: &HashSet<Held>) -> Result<Option<(Collected, Vec<PathBuf>)>> {
        let (catalog, snapshots) = (self.catalog(), self.snapshots()?);
        let wanted = wanted(held, &catalog, &snapshots);
        let unwanted = |folder: &str, kind: fn(Digest) -> Held| -> Result<Vec<OsString>> {
            let mut names = fs::read_dir(self.path(folder))?;
            names.retain(|hex| hex != init_layer::NAME && !is_wanted(hex, &wanted, kind));
            Ok(names)
        };
        let (blobs, layers) = (unwanted(BLOBS, Held::Blob)?, unwanted("layers", Held::Layer)?);
        if !blobs.is_empty() && self.has_tree_at_stake(&catalog, &snapshots)? {
            return Ok(None);
        }
        let mut collected = Collected { blobs: blobs.len(), layers: layers.len(), bytes: 0 };
        let mut aside = Vec::new();
        for hex in blobs {
            let path = self.path(BLOBS).join(&hex);
            collected.bytes += fs::lstat(&path)?.size;
            sys::crash::point("store.collect.blob");
            aside.extend(self.move_aside(&path)?);
        }
        for hex in layers {
            sys::crash::point("store.collect.layer");
            self.discard(&self.path("layers").join(&hex))?;
        }
        self.inner.unsettled.forget_but(|diff_id| wanted.contains(&Held::Layer(diff_id.clone())));
        Ok(Some((collected, aside)))
    }

    /// A snapshot's tree may lose the blob from which it could be made again.
    fn has_tree_at_stake(&self, catalog: &Catalog, snapshots: &[Snapshot]) -> Result<bool> {
        let layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let of_images: HashSet<&Digest> = layers.map(|layer| &layer.diff_id).collect();
        for diff_id in snapshots.iter().flat_map(Snapshot::layers) {
            let is_at_stake = !of_images.contains(diff_id) && self.inner.unsettled.has(diff_id);
            if is_at_stake && self.has_layer(diff_id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Everything that is referred to.
fn wanted(held: &HashSet<Held>, catalog: &Catalog, snapshots: &[Snapshot]) -> HashSet<Held> {
    let mut wanted = held.clone();
    for (id, entry) in &catalog.images {
        wanted.extend([Held::Blob(id.0.clone()), Held::Blob(entry.manifest.digest.clone())]);
        for layer in &entry.layers {
            wanted.extend([Held::Blob(layer.blob.digest.clone()), Held::Layer(layer.diff_id.clone())]);
        }
    }
    for indexed in catalog.indexes.values() {
        wanted.extend(indexed.blobs().cloned().map(Held::Blob));
    }
    wanted.extend(snapshots.iter().flat_map(Snapshot::layers).cloned().map(Held::Layer));
    wanted
}

/// What has no digest's name is not ours to keep.
fn is_wanted(hex: &OsString, wanted: &HashSet<Held>, kind: impl Fn(Digest) -> Held) -> bool {
    let digest = hex.to_str().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    digest.is_some_and(|digest| wanted.contains(&kind(digest)))
}

const BLOBS: &str = "content/blobs/sha256";
/// One is enough, unless images are removed all the time.
const ROUNDS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{forget, image, store};

    /// The disk is waited for before leases are frozen, and blobs are deleted after.
    #[test]
    fn while_leases_are_frozen_things_are_only_renamed() {
        let (folder, store) = store();
        let id = image(&store, "app", &[("a", b"1")]);
        let blob = store.image(&id).unwrap().layers[0].blob.digest.clone();
        store.snapshot_create("work", Some(&id)).unwrap();
        forget(&store, &id);
        assert!(store.collect_but(&HashSet::new()).unwrap().is_none());
        assert!(store.blob_exists(&blob).unwrap());
        store.settle().unwrap();
        let (collected, aside) = store.collect_but(&HashSet::new()).unwrap().unwrap();
        assert_eq!((collected.blobs, collected.layers, aside.len()), (3, 0, 3));
        assert!(!store.blob_exists(&blob).unwrap());
        assert!(
            aside.iter().all(|path| path.exists() && path.starts_with(folder.path().join("store/trash")))
        );
    }
}
