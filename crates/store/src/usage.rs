//! How much room images and snapshots take: as Docker counts (the bytes of their files), and on disk.
//!
//! On disk everything below the store's root is counted once, each file by the blocks that the file system gave for it,
//! so that all parts together are what `du --block-size=1` tells. A layer's tree is counted when it is settled
//! (settle.rs) and only looked up here; what is walked through is what changes: the snapshots' files, on all processors.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fault::{Kind, Result};
use oci::Digest;
use sys::fs;

use crate::catalog::{Catalog, Entry};
use crate::lease::Held;
use crate::load::in_parallel;
use crate::snapshot::init_layer;
use crate::{ImageId, Store};

/// Sizes of unpacked layers, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All layers, each once.
    pub layers: u64,
    pub images: BTreeMap<ImageId, ImageUsage>,
}

/// One image's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageUsage {
    pub size: u64,
    /// The part that other images stand on too.
    pub shared: u64,
}

/// Bytes on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Blobs and trees of all images, each once.
    pub images_total: u64,
    pub images: BTreeMap<ImageId, ImageUsage>,
    /// By key.
    pub snapshots: BTreeMap<String, SnapshotUsage>,
    /// Removed, and not yet deleted.
    pub trash: u64,
    /// Half-fetched, half-written or set aside.
    pub unfinished: u64,
    /// The database, its reserve, records, folders, and layers that only snapshots still need.
    pub rest: u64,
}

/// One snapshot's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotUsage {
    /// Its own changes.
    pub changes: u64,
    /// The trees below, which images may share.
    pub layers: u64,
}

impl DiskUsage {
    /// The whole store.
    pub fn total(&self) -> u64 {
        let snapshots: u64 = self.snapshots.values().map(|snapshot| snapshot.changes).sum();
        self.images_total + snapshots + self.trash + self.unfinished + self.rest
    }
}

impl Store {
    pub fn usage(&self) -> Usage {
        usage(&self.catalog())
    }

    /// What everything takes on disk now; what comes or goes meanwhile may be counted or not.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let catalog = self.catalog();
        let parts = self.parts()?;
        let users = users(&catalog);
        let mut usage = DiskUsage::default();
        for (part, bytes) in &parts {
            let is_of_image = users.contains_key(part);
            *(if is_of_image { &mut usage.images_total } else { &mut usage.rest }) += bytes;
        }
        usage.images =
            catalog.images.iter().map(|(id, entry)| (id.clone(), share(id, entry, &parts, &users))).collect();
        self.count_snapshots(&parts, &mut usage)?;
        usage.trash = fs::allocated_around(self.path("trash"), &[])?;
        for folder in ["ingest", "partials", crate::repair::ASIDE] {
            usage.unfinished += fs::allocated_around(self.path(folder), &[])?;
        }
        usage.rest += self.allocated_elsewhere()?;
        Ok(usage)
    }

    /// Every blob and every layer.
    fn parts(&self) -> Result<HashMap<Held, u64>> {
        let mut parts = HashMap::new();
        let digest = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
        for hex in fs::read_dir(self.path("content/blobs/sha256"))? {
            let Some(blob) = hex.to_str().and_then(digest) else { continue };
            if let Some(stat) = fs::lstat_if_exists(self.blob_path(&blob))? {
                parts.insert(Held::Blob(blob), stat.allocated());
            }
        }
        for hex in fs::read_dir(self.path("layers"))? {
            let Some(diff_id) = hex.to_str().and_then(digest) else { continue };
            let tree = unless_gone(self.allocated_tree(&diff_id))?.unwrap_or_default();
            let around = fs::allocated_around(self.layer_path(&diff_id), &["diff"])?;
            parts.insert(Held::Layer(diff_id), tree + around);
        }
        Ok(parts)
    }

    /// A tree that is not settled yet is walked through.
    fn allocated_tree(&self, diff_id: &Digest) -> Result<u64> {
        match self.layer_record(diff_id)?.and_then(|record| record.tree) {
            Some(tree) => Ok(tree.allocated),
            None => Ok(self.count_tree(diff_id)?.allocated),
        }
    }

    fn count_snapshots(&self, parts: &HashMap<Held, u64>, usage: &mut DiskUsage) -> Result<()> {
        let count = |key: &String| -> Result<(SnapshotUsage, u64)> {
            let place = self.path("snapshots").join(key);
            let changes = unless_gone(fs::tree_usage(place.join("diff")))?.unwrap_or_default().allocated;
            let layers = self.snapshot(key).map(|snapshot| snapshot.layers().to_vec()).unwrap_or_default();
            let layers = layers.into_iter().filter_map(|layer| parts.get(&Held::Layer(layer))).sum();
            Ok((SnapshotUsage { changes, layers }, fs::allocated_around(place, &["diff"])?))
        };
        let keys = self.snapshot_keys()?;
        let counted = in_parallel(&keys, |key| count(key).map(|counted| (key.clone(), counted)))?;
        for (key, (snapshot, around)) in counted {
            usage.snapshots.insert(key, snapshot);
            usage.rest += around;
        }
        Ok(())
    }

    /// The files and folders that hold the rest together.
    fn allocated_elsewhere(&self) -> Result<u64> {
        let counted = ["content", "layers", "snapshots", "trash", "ingest", "partials", crate::repair::ASIDE];
        let mut bytes = fs::allocated_around(self.path(""), &counted)?;
        bytes += fs::allocated_around(self.path("content"), &["blobs"])?;
        for folder in ["content/blobs", "content/blobs/sha256", "layers", "snapshots"] {
            bytes += fs::lstat(self.path(folder))?.allocated();
        }
        Ok(bytes + fs::tree_usage(self.path("layers").join(init_layer::NAME))?.allocated)
    }
}

/// How many images stand on each blob and layer.
fn users(catalog: &Catalog) -> HashMap<Held, u32> {
    let mut users = HashMap::new();
    for part in catalog.images.iter().flat_map(|(id, entry)| parts_of(id, entry)) {
        *users.entry(part).or_default() += 1;
    }
    users
}

/// Each once: an image may have the same layer twice.
fn parts_of(id: &ImageId, entry: &Entry) -> BTreeSet<Held> {
    let mut parts = BTreeSet::from([Held::Blob(id.0.clone()), Held::Blob(entry.manifest.digest.clone())]);
    for layer in &entry.layers {
        parts.extend([Held::Blob(layer.blob.digest.clone()), Held::Layer(layer.diff_id.clone())]);
    }
    parts
}

fn share(id: &ImageId, entry: &Entry, parts: &HashMap<Held, u64>, users: &HashMap<Held, u32>) -> ImageUsage {
    let mut usage = ImageUsage::default();
    for part in parts_of(id, entry) {
        let bytes = parts.get(&part).copied().unwrap_or_default();
        usage.size += bytes;
        usage.shared += if users.get(&part).is_some_and(|users| *users > 1) { bytes } else { 0 };
    }
    usage
}

fn unless_gone<T>(counted: Result<T>) -> Result<Option<T>> {
    match counted {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        counted => counted.map(Some),
    }
}

fn usage(catalog: &Catalog) -> Usage {
    let mut users: HashMap<&Digest, (u64, u32)> = HashMap::new();
    for layer in catalog.images.values().flat_map(|entry| &entry.layers) {
        users.entry(&layer.diff_id).or_insert((layer.size_unpacked, 0)).1 += 1;
    }
    let image_usage = |entry: &Entry| ImageUsage {
        size: entry.size(),
        shared: entry
            .layers
            .iter()
            .filter(|layer| users[&layer.diff_id].1 > 1)
            .map(|layer| layer.size_unpacked)
            .sum(),
    };
    Usage {
        layers: users.values().map(|(size, _)| size).sum(),
        images: catalog.images.iter().map(|(id, entry)| (id.clone(), image_usage(entry))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{digest, entry};

    #[test]
    fn shared_layers_count_once_in_all_and_show_in_each() {
        let mut catalog = Catalog::default();
        let (one, two) = (ImageId(digest("a")), ImageId(digest("b")));
        catalog.add(one.clone(), entry(&["1", "2"]));
        catalog.add(two, entry(&["1"]));
        let usage = usage(&catalog);
        assert_eq!(usage.layers, 20);
        assert_eq!(usage.images[&one], ImageUsage { size: 20, shared: 10 });
    }
}
