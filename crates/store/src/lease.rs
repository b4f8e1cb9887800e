//! Leases: what somebody is working with and no name holds yet, kept from the collector.
//!
//! A lease is taken before the first byte is written and dropped once a name, an image or a snapshot holds the result.
//! It lives in memory: only the process that has the store open can hold one, so it dies with that process by itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::Result;
use oci::Digest;

use crate::catalog::Entry;
use crate::image::no_such_image;
use crate::{ImageId, Layer, Store};

/// Keeps blobs and layers from being collected until it is dropped.
#[derive(Debug)]
pub struct Lease {
    table: Table,
    id: u64,
}

impl Lease {
    pub(crate) fn hold(&self, what: Held) {
        lock(&self.table).held.entry(self.id).or_default().insert(what);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.table).held.remove(&self.id);
    }
}

/// A thing that can be held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Held {
    /// By the digest of its bytes.
    Blob(Digest),
    /// By its diffID.
    Layer(Digest),
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    table: Table,
}

type Table = Arc<Mutex<Rows>>;

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    held: HashMap<u64, HashSet<Held>>,
}

impl Leases {
    fn take(&self) -> Lease {
        let mut rows = lock(&self.table);
        rows.next += 1;
        Lease { table: Arc::clone(&self.table), id: rows.next }
    }

    /// Runs `decide` with all that is held, while nobody can hold anything more: what it then removes, no lease sees.
    pub(crate) fn while_frozen<T>(&self, decide: impl FnOnce(&HashSet<Held>) -> T) -> T {
        let rows = lock(&self.table);
        decide(&rows.held.values().flatten().cloned().collect())
    }
}

/// The rows are whole after any panic: each change is one insertion or removal.
fn lock(table: &Table) -> MutexGuard<'_, Rows> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// A new lease that holds nothing yet.
    pub fn lease(&self) -> Lease {
        self.inner.leases.take()
    }

    /// Holds all of an image, so that whoever removes it meanwhile takes only its names away. `NotFound` if it is gone.
    pub(crate) fn hold_image(&self, lease: &Lease, id: &ImageId) -> Result<Entry> {
        let mut entry = self.entry(id)?;
        loop {
            lease.hold(Held::Blob(id.0.clone()));
            lease.hold(Held::Blob(entry.manifest.digest.clone()));
            for layer in &entry.layers {
                lease.hold(Held::Blob(layer.blob.digest.clone()));
                lease.hold(Held::Layer(layer.diff_id.clone()));
            }
            // Whatever a collection took before the lease held it, it took after it had left the catalog: with the image, or
            // because a push has compressed the layers.
            let now = self.entry(id)?;
            if (&now.manifest, &now.layers) == (&entry.manifest, &entry.layers) {
                return Ok(now);
            }
            entry = now;
        }
    }

    /// Holds a layer that an image here has, rather with this blob than with another. `None` if it is not here, or not all
    /// of it.
    pub(crate) fn hold_layer(
        &self,
        lease: &Lease,
        diff_id: &Digest,
        blob: Option<&Digest>,
    ) -> Result<Option<Layer>> {
        let catalog = self.catalog();
        let layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let same = layers.filter(|layer| layer.diff_id == *diff_id);
        let Some(layer) = same.min_by_key(|layer| blob != Some(&layer.blob.digest)) else { return Ok(None) };
        lease.hold(Held::Layer(diff_id.clone()));
        lease.hold(Held::Blob(layer.blob.digest.clone()));
        // Before it was held it may have been collected.
        let is_here = self.has_layer(diff_id)? && self.blob_exists(&layer.blob.digest)?;
        Ok(is_here.then(|| layer.clone()))
    }

    fn entry(&self, id: &ImageId) -> Result<Entry> {
        self.catalog().images.get(id).cloned().ok_or_else(|| no_such_image(id))
    }
}
