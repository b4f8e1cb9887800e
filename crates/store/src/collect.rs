//! Garbage collection: what no image, snapshot or lease refers to goes.
//!
//! The roots are read and the rest is taken out of sight while leases are frozen, so nobody can begin to rely on a thing
//! that is just going. Names need no look: an image stays until it is removed, named or not.

use std::collections::HashSet;
use std::ffi::OsString;

use fault::Result;
use oci::Digest;
use sys::fs;

use crate::Store;
use crate::lease::Held;
use crate::snapshot::init_layer;

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
        self.inner.leases.while_frozen(|held| self.collect_but(held))
    }

    fn collect_but(&self, held: &HashSet<Held>) -> Result<Collected> {
        let wanted = self.wanted(held)?;
        let mut collected = Collected::default();
        let blobs = fs::read_dir(self.path("content/blobs/sha256"))?;
        let is_unsettled =
            |held: &Held| matches!(held, Held::Layer(diff_id) if self.inner.unsettled.has(diff_id));
        if blobs.iter().any(|hex| !is_wanted(hex, &wanted, Held::Blob)) && wanted.iter().any(is_unsettled) {
            // A snapshot's tree may lose the blob from which it could be made again.
            self.settle()?;
        }
        for hex in blobs {
            if !is_wanted(&hex, &wanted, Held::Blob) {
                let path = self.path("content/blobs/sha256").join(&hex);
                collected.bytes += fs::lstat(&path)?.size;
                collected.blobs += 1;
                sys::crash::point("store.collect.blob");
                fs::remove_file(&path)?;
            }
        }
        for hex in fs::read_dir(self.path("layers"))? {
            if hex != init_layer::NAME && !is_wanted(&hex, &wanted, Held::Layer) {
                collected.layers += 1;
                sys::crash::point("store.collect.layer");
                self.discard(&self.path("layers").join(&hex))?;
            }
        }
        self.inner.unsettled.forget_but(|diff_id| wanted.contains(&Held::Layer(diff_id.clone())));
        Ok(collected)
    }

    /// Everything that is referred to.
    fn wanted(&self, held: &HashSet<Held>) -> Result<HashSet<Held>> {
        let mut wanted = held.clone();
        for (id, entry) in &self.catalog().images {
            wanted.extend([Held::Blob(id.0.clone()), Held::Blob(entry.manifest.digest.clone())]);
            for layer in &entry.layers {
                wanted.extend([Held::Blob(layer.blob.digest.clone()), Held::Layer(layer.diff_id.clone())]);
            }
        }
        for indexed in self.catalog().indexes.values() {
            wanted.extend(indexed.blobs().cloned().map(Held::Blob));
        }
        for snapshot in self.snapshots()? {
            wanted.extend(snapshot.layers().iter().cloned().map(Held::Layer));
        }
        Ok(wanted)
    }
}

/// What has no digest's name is not ours to keep.
fn is_wanted(hex: &OsString, wanted: &HashSet<Held>, kind: impl Fn(Digest) -> Held) -> bool {
    let digest = hex.to_str().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
    digest.is_some_and(|digest| wanted.contains(&kind(digest)))
}
