//! Room for what is asked for now: what was fetched and not asked for the longest goes first.
//!
//! When something was asked for last is its file's time of change. What our own repositories have, too, stays.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fault::Result;
use oci::Digest;
use sys::fs;
use sys::time::Timestamp;

use super::Cache;
use crate::server::failure::Outcome;
use crate::server::storage::Storage;

/// A blob or a manifest that upstream registries have, too.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    digest: Digest,
    size: u64,
    /// Seconds since 1970.
    used: i64,
}

impl Cache {
    pub(super) async fn room_made(&self) {
        let (storage, covers) = (Arc::clone(&self.storage), self.covering());
        let Some(bytes_max) = self.bytes_max else { return };
        let made = tokio::task::spawn_blocking(move || storage.evict(bytes_max, &covers)).await;
        match made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(bytes) => self.bytes.store(bytes, Ordering::Relaxed),
            Err(failure) => tracing::warn!(error = ?failure, "no room was made"),
        }
    }

    /// The same, blocking, when the folder is opened.
    pub(super) fn make_room(&self) -> Outcome<()> {
        let Some(bytes_max) = self.bytes_max else { return Ok(()) };
        let bytes = self.storage.evict(bytes_max, &self.covering())?;
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn covering(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let upstreams = Arc::clone(&self.upstreams);
        move |name| upstreams.covers(name)
    }
}

impl Storage {
    /// Somebody asked for it.
    pub(crate) fn used(&self, file: &File) -> Result<()> {
        let changed = fs::fstat(file)?.mtime;
        let time = Timestamp::now();
        if time.seconds.saturating_sub(changed.seconds) >= USED_SECONDS {
            fs::set_times(file, time, time)?;
        }
        Ok(())
    }

    /// Takes away what was fetched from upstream registries until it has so many bytes at most; how many it has then.
    fn evict(&self, bytes_max: u64, covers: &dyn Fn(&str) -> bool) -> Outcome<u64> {
        let kept = self.kept(covers)?;
        let bytes: u64 = kept.iter().map(|one| one.size).sum();
        if bytes <= bytes_max {
            return Ok(bytes);
        }
        let (going, left) = plan(kept, bytes_max / 10 * 9);
        let mark = self.promises.mark();
        for batch in going.chunks(BATCH) {
            let going: HashSet<&Digest> = batch.iter().collect();
            self.drop_everywhere(&going, covers)?;
            for digest in batch {
                if let Some(removed) = self.promises.unless_given(digest, mark, || self.remove_file(digest)) {
                    removed?;
                }
            }
        }
        tracing::info!(count = going.len(), bytes = bytes - left, "made room");
        Ok(left)
    }

    fn kept(&self, covers: &dyn Fn(&str) -> bool) -> Outcome<Vec<Kept>> {
        let view = self.catalog.view()?;
        let blobs = view.links()?.into_iter().map(|(name, digest, link)| (name, digest, link.size));
        let manifests =
            view.manifests()?.into_iter().map(|(name, digest, record)| (name, digest, record.size));
        let mut all: HashMap<Digest, (u64, bool)> = HashMap::new();
        for (name, digest, size) in blobs.chain(manifests) {
            let (_, is_fetched) = all.entry(digest).or_insert((size, true));
            *is_fetched &= covers(&name);
        }
        let mut kept = Vec::new();
        for (digest, (size, _)) in all.into_iter().filter(|(_, (_, is_fetched))| *is_fetched) {
            // A row without a file is of no use to anybody.
            let used = fs::lstat_if_exists(self.blob_path(&digest))?.map_or(0, |stat| stat.mtime.seconds);
            kept.push(Kept { digest, size, used });
        }
        Ok(kept)
    }

    fn drop_everywhere(&self, going: &HashSet<&Digest>, covers: &dyn Fn(&str) -> bool) -> Outcome<()> {
        self.catalog.change(|change| {
            for (name, digest, _) in change.before.links()? {
                if going.contains(&digest) && covers(&name) {
                    change.unlink(&name, &digest)?;
                }
            }
            for (name, digest, _) in change.before.manifests()? {
                if going.contains(&digest) && covers(&name) {
                    change.remove_manifest(&name, &digest)?;
                }
            }
            Ok(())
        })
    }
}

/// Which go so that so many bytes are left at most, the longest unused first; and how many are left then.
fn plan(mut kept: Vec<Kept>, bytes_max: u64) -> (Vec<Digest>, u64) {
    kept.sort_by(|one, other| (one.used, &one.digest).cmp(&(other.used, &other.digest)));
    let mut left: u64 = kept.iter().map(|one| one.size).sum();
    let mut going = Vec::new();
    for one in kept {
        if left <= bytes_max {
            break;
        }
        left -= one.size;
        going.push(one.digest);
    }
    (going, left)
}

/// Finer would be a write for every read.
const USED_SECONDS: i64 = 60;
/// What one transaction takes; pushes wait for it.
const BATCH: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let one = |name: &str, size, used| Kept { digest: Digest::sha256(name.as_bytes()), size, used };
        let kept = vec![one("new", 10, 30), one("old", 10, 10), one("middle", 10, 20)];
        let (going, left) = plan(kept.clone(), 20);
        assert_eq!((going, left), (vec![Digest::sha256(b"old")], 20));
        let (going, left) = plan(kept.clone(), 5);
        assert_eq!((going.len(), left), (3, 0));
        assert_eq!(plan(kept, 30), (Vec::new(), 30));
    }
}
