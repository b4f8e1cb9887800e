//! Trees are caches of their blobs: an image is acknowledged when its blobs are on disk, its trees follow.
//!
//!     Unsettled --settle (one sync of everything)--> Settled
//!     Unsettled --power lost--> rebuilt from the blob at the next open
//!
//! Waiting for a tree would double what an import has to wait for, and the blob holds all of it. `layer.json` names the
//! boot in which a tree was made until it is settled; a tree of another boot, or without a readable record, is not
//! believed. Settling counts the tree, too, so that nobody else has to. Before a blob goes whose
//! tree stays (a snapshot's, whose image was removed), the tree is settled. A tree counts as unsettled from before it has
//! its place until its record is written, so nobody misses it in between.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::{Doing, Error, Kind, Result};
use oci::Digest;

use crate::Store;
use crate::layer::{Record, StagedTree};

/// The trees that a power loss would damage.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<Trees>);

#[derive(Debug, Default)]
struct Trees {
    made: u64,
    /// By diffID, which of all trees it is: another may take its place.
    numbers: HashMap<Digest, u64>,
}

impl Unsettled {
    /// A whole tree is about to get its place.
    pub(crate) fn add(&self, diff_id: &Digest) {
        let mut trees = self.lock();
        trees.made += 1;
        let number = trees.made;
        trees.numbers.insert(diff_id.clone(), number);
    }

    pub(crate) fn has(&self, diff_id: &Digest) -> bool {
        self.lock().numbers.contains_key(diff_id)
    }

    /// Forgets trees that went, or never came to their places.
    pub(crate) fn forget_but(&self, stays: impl Fn(&Digest) -> bool) {
        self.lock().numbers.retain(|diff_id, _| stays(diff_id));
    }

    fn all(&self) -> Vec<(Digest, u64)> {
        self.lock().numbers.iter().map(|(diff_id, number)| (diff_id.clone(), *number)).collect()
    }

    /// Takes a tree out once its record is written, unless there is another in its place.
    fn settled(&self, diff_id: &Digest, number: u64, write: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut trees = self.lock();
        if trees.numbers.get(diff_id) == Some(&number) {
            write()?;
            trees.numbers.remove(diff_id);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Trees> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Puts all trees on disk and remembers that they are.
    pub(crate) fn settle(&self) -> Result<()> {
        self.settle_all(&self.inner.unsettled.all()).doing(|| "syncing layers")
    }

    fn settle_all(&self, trees: &[(Digest, u64)]) -> Result<()> {
        if trees.is_empty() {
            return Ok(());
        }
        self.sync()?;
        for (diff_id, number) in trees {
            sys::crash::point("store.settle.one");
            match self.settle_one(diff_id, *number) {
                // Collected meanwhile.
                Err(error) if error.kind() == Kind::NotFound => {}
                settled => settled?,
            }
        }
        Ok(())
    }

    fn settle_one(&self, diff_id: &Digest, number: u64) -> Result<()> {
        // Without a record it is still on its way to its place.
        let Some(record) = self.layer_record(diff_id)? else { return Ok(()) };
        // Now that it is on disk its blocks are all given.
        let tree = Some(self.count_tree(diff_id)?);
        let record = Record { boot: None, tree, ..record };
        self.inner.unsettled.settled(diff_id, number, || self.write_layer_record(diff_id, &record))
    }

    /// At open: believes the trees of this boot and those that were settled, and makes the others anew.
    pub(crate) fn rebuild_layers(&self) -> Result<()> {
        let boot = sys::process::boot_id()?;
        let catalog = self.catalog();
        let layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let layers: BTreeMap<_, _> = layers.map(|layer| (&layer.diff_id, &layer.blob.digest)).collect();
        for (diff_id, blob) in layers {
            match self.layer_record(diff_id)? {
                Some(Record { boot: None, .. }) => {}
                Some(Record { boot: Some(made), .. }) if made == boot => self.inner.unsettled.add(diff_id),
                _ => self.try_rebuild(diff_id, blob),
            }
        }
        Ok(())
    }

    /// One damaged image must not keep all others from being used; `verify` names it.
    fn try_rebuild(&self, diff_id: &Digest, blob: &Digest) {
        match self.rebuild_layer(diff_id, blob) {
            Ok(()) => {
                tracing::warn!(layer = %diff_id, "unpacked again: not all was on disk when the power went");
            }
            Err(error) => {
                tracing::error!(layer = %diff_id, %error, "lost with the power, and not unpacked again");
            }
        }
    }

    pub(crate) fn rebuild_layer(&self, diff_id: &Digest, blob: &Digest) -> Result<()> {
        self.replace_tree(self.remade_tree(diff_id, blob)?)
    }

    pub(crate) fn remade_tree(&self, diff_id: &Digest, blob: &Digest) -> Result<StagedTree> {
        let tree = self.stage_tree(self.blob_open(blob)?, blob)?;
        if tree.diff_id != *diff_id {
            return Err(Error::internal(format!("blob {blob} is damaged")));
        }
        Ok(tree)
    }

    pub(crate) fn replace_tree(&self, tree: StagedTree) -> Result<()> {
        let diff_id = &tree.diff_id;
        // First, so that nobody takes the new tree for the old one, which may just be settled.
        self.inner.unsettled.add(diff_id);
        self.discard(&self.layer_path(diff_id))?;
        sys::crash::point("store.rebuild.discarded");
        tree.scratch.move_to(&self.layer_path(diff_id))
    }
}

#[cfg(test)]
mod tests {
    use crate::publish;
    use crate::store::tests::{forget, image, store, tar};

    /// A removal while a sweep waits for the disk.
    #[test]
    fn a_tree_is_unsettled_until_its_record_is_written() {
        let (_folder, store) = store();
        let id = image(&store, "app", &[("a", b"1")]);
        let diff_id = store.image(&id).unwrap().layers[0].diff_id.clone();
        store.snapshot_create("work", Some(&id)).unwrap();
        let being_settled = store.inner.unsettled.all();
        forget(&store, &id);
        assert!(store.inner.unsettled.has(&diff_id));
        store.collect().unwrap();
        assert_eq!(store.layer_record(&diff_id).unwrap().unwrap().boot, None);
        store.settle_all(&being_settled).unwrap();
        assert!(store.inner.unsettled.all().is_empty());
    }

    #[test]
    fn a_tree_on_its_way_is_not_forgotten() {
        let (_folder, store) = store();
        let staged = store.stage_layer(&mut tar(&[("a", b"1")]).as_slice()).unwrap();
        let (lease, diff_id) = (store.lease(), staged.tree.diff_id.clone());
        staged.hold(&lease);
        store.inner.unsettled.add(&diff_id);
        store.settle().unwrap();
        store.collect().unwrap();
        publish::settle(staged.tree.scratch, &store.layer_path(&diff_id)).unwrap();
        assert!(store.inner.unsettled.has(&diff_id));
        store.settle().unwrap();
        assert_eq!(store.layer_record(&diff_id).unwrap().unwrap().boot, None);
    }

    #[test]
    fn a_tree_that_took_another_s_place_is_settled_by_itself() {
        let (_folder, store) = store();
        let id = image(&store, "app", &[("a", b"1")]);
        let layer = store.image(&id).unwrap().layers[0].clone();
        let being_settled = store.inner.unsettled.all();
        store.rebuild_layer(&layer.diff_id, &layer.blob.digest).unwrap();
        store.settle_all(&being_settled).unwrap();
        assert!(store.layer_record(&layer.diff_id).unwrap().unwrap().boot.is_some());
        store.settle().unwrap();
        assert!(store.layer_record(&layer.diff_id).unwrap().unwrap().boot.is_none());
    }

    #[test]
    fn what_went_is_not_waited_for() {
        let (_folder, store) = store();
        let id = image(&store, "app", &[("a", b"1")]);
        forget(&store, &id);
        store.collect().unwrap();
        assert!(store.inner.unsettled.all().is_empty());
    }
}
