//! A bound on the room that images take: those that were used longest ago go first.
//!
//! An image stays, whatever the bound, while it is pinned, while a container stands on it and while another image was
//! committed from it. When an image was used last is kept in memory and written down together with the next change that
//! the bound asks for: a crash makes an image seem unused for longer, nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::Result;
use oci::Digest;

use crate::catalog::{Catalog, Entry};
use crate::image::no_such_image;
use crate::{ImageId, Remove, Removed, Store, User};

/// When images were used, as far as that is not on disk yet; RFC 3339.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<BTreeMap<ImageId, String>>);

impl Uses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ImageId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Notes that an image is being used.
    pub fn used(&self, id: &ImageId) {
        self.inner.uses.lock().insert(id.clone(), sys::time::now_rfc3339_nano());
    }

    /// Keeps an image from being removed by the bound, or lets it go again. `NotFound` if there is no such image.
    pub fn pin(&self, id: &ImageId, pinned: bool) -> Result<()> {
        self.inner.db.update(|catalog| {
            let entry = catalog.images.get_mut(id).ok_or_else(|| no_such_image(id))?;
            entry.pinned = pinned;
            Ok(())
        })
    }

    /// Removes images until what is left takes at most so many bytes, or nothing more can go.
    pub fn keep_within(
        &self,
        bytes_max: u64,
        in_use: &dyn Fn(&ImageId) -> Vec<User>,
    ) -> Result<Vec<Removed>> {
        self.write_uses()?;
        let catalog = self.catalog();
        let may_go = |id: &ImageId, entry: &Entry| {
            !entry.pinned && catalog.children_of(id).next().is_none() && in_use(id).is_empty()
        };
        let mut removed = Vec::new();
        for id in surplus(&catalog, bytes_max, &may_go) {
            // Without force: who began to use it meanwhile keeps it.
            let how = Remove { force: false, prune_children: false, in_use };
            removed.extend(self.remove_with_names(&id, &how)?);
        }
        Ok(removed)
    }

    fn write_uses(&self) -> Result<()> {
        let uses = std::mem::take(&mut *self.inner.uses.lock());
        if uses.is_empty() {
            return Ok(());
        }
        self.inner.db.update(|catalog| {
            for (id, when) in &uses {
                if let Some(entry) = catalog.images.get_mut(id) {
                    entry.used = Some(when.clone());
                }
            }
            Ok(())
        })
    }
}

/// What has to go, longest unused first: a layer counts once, and is free when the last image on it goes.
fn surplus(catalog: &Catalog, bytes_max: u64, may_go: &dyn Fn(&ImageId, &Entry) -> bool) -> Vec<ImageId> {
    let mut users: HashMap<&Digest, (u64, u32)> = HashMap::new();
    for layer in catalog.images.values().flat_map(|entry| &entry.layers) {
        let bytes = layer.blob.size + layer.size_unpacked;
        users.entry(&layer.diff_id).or_insert((bytes, 0)).1 += 1;
    }
    let mut total: u64 = users.values().map(|(bytes, _)| bytes).sum();
    let mut candidates: Vec<_> = catalog.images.iter().filter(|(id, entry)| may_go(id, entry)).collect();
    candidates.sort_by_key(|(_, entry)| entry.last_use());
    let mut surplus = Vec::new();
    for (id, entry) in candidates {
        if total <= bytes_max {
            break;
        }
        for layer in &entry.layers {
            let (bytes, count) = users.get_mut(&layer.diff_id).expect("every layer was counted");
            *count -= 1;
            total -= if *count == 0 { *bytes } else { 0 };
        }
        surplus.push(id.clone());
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{digest, entry};

    /// Images of thirty bytes a layer, used in this order.
    fn catalog(images: &[(&str, &[&str])]) -> Catalog {
        let mut catalog = Catalog::default();
        for (index, (id, layers)) in images.iter().enumerate() {
            let used = Some(format!("2026-01-01T00:00:0{index}Z"));
            catalog.add(ImageId(digest(id)), Entry { used, ..entry(layers) });
        }
        catalog
    }

    fn gone(catalog: &Catalog, bytes_max: u64, kept: &str) -> Vec<String> {
        let may_go = |id: &ImageId, _: &Entry| *id != ImageId(digest(kept));
        surplus(catalog, bytes_max, &may_go).iter().map(|id| id.0.hex()[..1].to_owned()).collect()
    }

    #[test]
    fn the_longest_unused_goes_first_and_only_as_many_as_needed() {
        let catalog = catalog(&[("c", &["1"]), ("a", &["2"]), ("b", &["3"])]);
        assert_eq!(gone(&catalog, 90, "f"), [""; 0]);
        assert_eq!(gone(&catalog, 89, "f"), ["c"]);
        assert_eq!(gone(&catalog, 30, "f"), ["c", "a"]);
        assert_eq!(gone(&catalog, 0, "a"), ["c", "b"]);
    }

    #[test]
    fn a_shared_layer_is_free_with_the_last_image_on_it() {
        let catalog = catalog(&[("c", &["1", "2"]), ("a", &["1"]), ("b", &["3"])]);
        assert_eq!(gone(&catalog, 60, "f"), ["c"]);
        assert_eq!(gone(&catalog, 59, "f"), ["c", "a"]);
    }
}
