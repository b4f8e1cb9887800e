//! Trees are caches of their blobs: an image is acknowledged when its blobs are on disk, its trees follow.
//!
//!     Unsettled --settle (one sync of everything)--> Settled
//!     Unsettled --power lost--> rebuilt from the blob at the next open
//!
//! Waiting for a tree would double what an import has to wait for, and the blob holds all of it. `layer.json` names the
//! boot in which a tree was made until it is settled; a tree of another boot, or without a readable record, is not
//! believed. Settling counts the tree, too, so that nobody else has to. Before a blob goes whose tree stays (a snapshot's, whose image was removed), the tree is settled.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::{Doing, Error, Result};
use oci::Digest;

use crate::Store;
use crate::layer::Record;

/// The trees that a power loss would damage.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    diff_ids: Mutex<HashSet<Digest>>,
}

impl Unsettled {
    pub(crate) fn add(&self, diff_id: &Digest) {
        self.lock().insert(diff_id.clone());
    }

    pub(crate) fn has_any_of(&self, wanted: impl Fn(&Digest) -> bool) -> bool {
        self.lock().iter().any(wanted)
    }

    fn take(&self) -> HashSet<Digest> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.diff_ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Puts all trees on disk and remembers that they are.
    pub(crate) fn settle(&self) -> Result<()> {
        let diff_ids = self.inner.unsettled.take();
        let settled = if diff_ids.is_empty() { Ok(()) } else { self.settle_all(&diff_ids) };
        if settled.is_err() {
            diff_ids.iter().for_each(|diff_id| self.inner.unsettled.add(diff_id));
        }
        settled.doing(|| "syncing layers")
    }

    fn settle_all(&self, diff_ids: &HashSet<Digest>) -> Result<()> {
        self.sync()?;
        for diff_id in diff_ids {
            sys::crash::point("store.settle.one");
            // It may have been collected meanwhile.
            if let Some(record) = self.layer_record(diff_id)? {
                // Now that it is on disk its blocks are all given.
                let tree = Some(self.count_tree(diff_id)?);
                self.write_layer_record(diff_id, &Record { boot: None, tree, ..record })?;
            }
        }
        Ok(())
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
        let tree = self.stage_tree(self.blob_open(blob)?, blob)?;
        if tree.diff_id != *diff_id {
            return Err(Error::internal(format!("blob {blob} is damaged")));
        }
        self.discard(&self.layer_path(diff_id))?;
        sys::crash::point("store.rebuild.discarded");
        self.inner.unsettled.add(diff_id);
        tree.scratch.move_to(&self.layer_path(diff_id))
    }
}
