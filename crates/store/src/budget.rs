//! A bound on the room that images take: those that were used longest ago go first.
//!
//! An image stays, whatever the bound, while it or another platform that would lose its name with it is pinned, while a container stands on it, while another image that stays
//! was committed from it, and for a while after its last use: whoever has just fetched it is about to run it. When an
//! image was used last is kept in memory and written down by the next sweep or by the next change that the bound asks
//! for: a crash makes an image seem unused for some seconds longer, nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fault::Result;
use oci::Digest;
use sys::time::Timestamp;

use crate::catalog::{Catalog, Entry};
use crate::image::no_such_image;
use crate::{ImageId, Remove, Removed, Store, User};

/// How much room images may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Of blobs and of the files of unpacked layers.
    pub bytes_max: u64,
    /// How long an image stays after its last use, whatever room it takes.
    pub spared_for: Duration,
}

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

    /// Removes images until what is left is within the budget, or nothing more can go.
    pub fn keep_within(
        &self,
        budget: &Budget,
        in_use: &dyn Fn(&ImageId) -> Vec<User>,
    ) -> Result<Vec<Removed>> {
        self.remember_uses()?;
        let fresh = earlier(Timestamp::now(), budget.spared_for).to_string();
        let may_go = |id: &ImageId, entry: &Entry| {
            let is_fresh = entry.last_use().is_some_and(|used| *used > fresh);
            !entry.pinned && !is_fresh && in_use(id).is_empty()
        };
        let may_all_go = |catalog: &Catalog, id: &ImageId| {
            let along = catalog.taken_along(id).into_iter().chain([id]);
            along.into_iter().all(|one| catalog.images.get(one).is_some_and(|entry| may_go(one, entry)))
        };
        let mut removed = Vec::new();
        let catalog = self.catalog();
        for id in surplus(&catalog, budget.bytes_max, &|id, _| may_all_go(&catalog, id)) {
            // Without force: who began to use it meanwhile keeps it.
            let how = Remove { force: false, prune_children: false, in_use };
            sys::crash::point("store.budget.one");
            match self.remove_with_names(&id, may_all_go, &how) {
                Ok(steps) => removed.extend(steps),
                // Those that are gone must be told all the same.
                Err(error) => tracing::warn!(image = %id, %error, "not removed to keep within the budget"),
            }
        }
        Ok(removed)
    }

    /// Writes down when images were used; for nothing to write down nothing is written.
    pub fn remember_uses(&self) -> Result<()> {
        let uses = std::mem::take(&mut *self.inner.uses.lock());
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.inner.db.update(|catalog| {
            for (id, when) in &uses {
                if let Some(entry) = catalog.images.get_mut(id) {
                    entry.used = Some(when.clone());
                }
            }
            Ok(())
        });
        if written.is_err() {
            // What was noted meanwhile is newer.
            let mut noted = self.inner.uses.lock();
            for (id, when) in uses {
                noted.entry(id).or_insert(when);
            }
        }
        written
    }
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(now.seconds.saturating_sub(seconds), now.nanoseconds)
}

/// What has to go, longest unused first: a layer counts once and is free when the last image on it goes, and an image
/// can go once no image is left that was committed from it.
fn surplus(catalog: &Catalog, bytes_max: u64, may_go: &dyn Fn(&ImageId, &Entry) -> bool) -> Vec<ImageId> {
    let mut layers = Layers::of(catalog);
    let mut children: HashMap<&ImageId, usize> = HashMap::new();
    for parent in catalog.images.values().filter_map(|entry| entry.parent.as_ref()) {
        *children.entry(parent).or_default() += 1;
    }
    let key = |id: &'_ ImageId| Some((catalog.images.get(id)?.last_use(), id.clone()));
    let is_last = |id: &ImageId, children: &HashMap<&ImageId, usize>| !children.contains_key(id);
    let free = catalog.images.keys().filter(|id| is_last(id, &children));
    let mut waiting: BTreeSet<_> = free.filter_map(key).collect();
    let mut surplus = Vec::new();
    while layers.bytes > bytes_max
        && let Some((_, id)) = waiting.pop_first()
    {
        let entry = &catalog.images[&id];
        if !may_go(&id, entry) {
            continue;
        }
        layers.release(entry);
        surplus.push(id);
        let Some(parent) = &entry.parent else { continue };
        let Some(count) = children.get_mut(parent) else { continue };
        *count -= 1;
        if *count == 0 {
            children.remove(parent);
            waiting.extend(key(parent));
        }
    }
    surplus
}

/// The layers of the images that are left.
struct Layers<'c> {
    /// Their bytes, and how many images stand on each.
    users: HashMap<&'c Digest, (u64, u32)>,
    bytes: u64,
}

impl<'c> Layers<'c> {
    fn of(catalog: &'c Catalog) -> Self {
        let mut users: HashMap<&Digest, (u64, u32)> = HashMap::new();
        for layer in catalog.images.values().flat_map(|entry| &entry.layers) {
            let bytes = layer.blob.size.saturating_add(layer.size_unpacked);
            users.entry(&layer.diff_id).or_insert((bytes, 0)).1 += 1;
        }
        let bytes = users.values().fold(0u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
        Self { users, bytes }
    }

    fn release(&mut self, entry: &Entry) {
        for layer in &entry.layers {
            let (bytes, count) = self.users.get_mut(&layer.diff_id).expect("every layer was counted");
            *count -= 1;
            self.bytes = self.bytes.saturating_sub(if *count == 0 { *bytes } else { 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn a_parent_goes_after_its_last_child() {
        let mut catalog = catalog(&[("c", &["1"]), ("a", &["1", "2"]), ("b", &["3"])]);
        catalog.images.get_mut(&ImageId(digest("a"))).unwrap().parent = Some(ImageId(digest("c")));
        assert_eq!(gone(&catalog, 60, "f"), ["a"]);
        assert_eq!(gone(&catalog, 0, "f"), ["a", "c", "b"]);
        assert_eq!(gone(&catalog, 0, "a"), ["b"]);
    }

    /// An image: when it was used, its layers, which earlier image it was committed from, whether it must stay.
    type Drawn = (u8, Vec<u8>, Option<usize>, bool);

    fn drawn(images: &[Drawn]) -> (Catalog, BTreeSet<ImageId>) {
        let id = |index: usize| ImageId(Digest::sha256(&[u8::try_from(index).unwrap()]));
        let (mut catalog, mut staying) = (Catalog::default(), BTreeSet::new());
        for (index, (used, layers, parent, stays)) in images.iter().enumerate() {
            let layers: BTreeSet<String> = layers.iter().map(|layer| format!("{layer:02x}")).collect();
            let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
            let parent = parent.filter(|_| index > 0).map(|parent| id(parent % index));
            let used = Some(format!("2026-01-01T00:00:{used:02}Z"));
            catalog.add(id(index), Entry { used, parent, ..entry(&layers) });
            staying.extend(stays.then(|| id(index)));
        }
        (catalog, staying)
    }

    /// Those that may go now, longest unused first.
    fn free(catalog: &Catalog, staying: &BTreeSet<ImageId>) -> Vec<ImageId> {
        let is_free = |id: &&ImageId| !staying.contains(id) && catalog.children_of(id).next().is_none();
        let mut free: Vec<ImageId> = catalog.images.keys().filter(is_free).cloned().collect();
        free.sort_by_key(|id| (catalog.images[id].last_use().cloned(), id.clone()));
        free
    }

    proptest! {
        #[test]
        fn each_that_goes_is_free_and_the_longest_unused_and_none_goes_in_vain(
            images in prop::collection::vec(
                (0u8..60, prop::collection::vec(0u8..8, 0..4), prop::option::of(0usize..12), any::<bool>()),
                0..12,
            ),
            bytes_max in 0u64..300,
        ) {
            let (mut catalog, staying) = drawn(&images);
            let before = catalog.clone();
            for id in surplus(&before, bytes_max, &|id, _| !staying.contains(id)) {
                prop_assert!(Layers::of(&catalog).bytes > bytes_max, "gone in vain: {id}");
                prop_assert_eq!(free(&catalog, &staying).into_iter().next(), Some(id.clone()));
                catalog.remove(&id);
            }
            let fits = Layers::of(&catalog).bytes <= bytes_max;
            prop_assert!(fits || free(&catalog, &staying).is_empty());
        }
    }
}
