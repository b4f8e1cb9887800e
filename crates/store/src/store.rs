//! The store itself: where things lie, opening and converging.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fault::{Doing, Error, Result};
use sys::fs;

use crate::budget::Uses;
use crate::catalog::Catalog;
use crate::db::Db;
use crate::lease::Leases;
use crate::partial::Partials;
use crate::scratch::Scratch;
use crate::settle::Unsettled;
use crate::snapshot::{Mounts, init_layer};

/// A handle of an open store; clones share it, and the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    root: PathBuf,
    pub(crate) db: Db,
    pub(crate) leases: Leases,
    pub(crate) unsettled: Unsettled,
    pub(crate) partials: Partials,
    pub(crate) mounts: Mounts,
    pub(crate) uses: Uses,
    /// Makes names in `ingest` and `trash` unique in this process; both are emptied of other processes' names at open.
    scratch_count: AtomicU64,
    /// One sweep at a time: two would stumble over each other's trees.
    sweeping: Mutex<()>,
    /// One writer of the layout's index at a time: the last one must have seen the newest catalog.
    pub(crate) telling: Mutex<()>,
    /// Snapshots are placed by readers, and images leave the catalog under the writer: which snapshots stand over an
    /// image that goes is then known.
    pub(crate) placing: RwLock<()>,
    // Last, so that everything else is closed before another process may come in.
    _lock: fs::Lock,
}

impl Store {
    /// Opens or makes the store at `root`. Whatever an earlier process left half done is undone first.
    ///
    /// `Unavailable` if another process has it open; `Internal` if the database is damaged.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_locked(root).doing(|| format!("opening the image store {}", root.display()))
    }

    fn open_locked(root: &Path) -> Result<Self> {
        for folder in FOLDERS {
            fs::create_dir_all(root.join(folder), 0o700)?;
        }
        let lock = fs::Lock::try_acquire(root.join("lock"))?
            .ok_or_else(|| Error::unavailable("another process has it open"))?;
        discard_ingest(root)?;
        let db = Db::open(&root.join("meta.redb"), &root.join("ingest"))?;
        let inner = Inner {
            root: root.into(),
            db,
            leases: Leases::default(),
            unsettled: Unsettled::default(),
            partials: Partials::default(),
            mounts: Mounts::default(),
            uses: Uses::default(),
            scratch_count: AtomicU64::new(0),
            sweeping: Mutex::new(()),
            telling: Mutex::new(()),
            placing: RwLock::new(()),
            _lock: lock,
        };
        let store = Self { inner: Arc::new(inner) };
        sys::crash::point("store.open.converging");
        init_layer::ensure(&store)?;
        store.rebuild_layers()?;
        store.write_layout();
        if let Err(error) = store.collect() {
            // A snapshot's record that cannot be read: what it stands on is not known, so nothing may go.
            tracing::error!(%error, "nothing was collected");
        }
        store.discard_old_partials()?;
        Ok(store)
    }

    /// Does what nobody waits for: syncs new layers, deletes what was removed and what was begun long ago, writes down which
    /// images were used. Slow; to be called in the background after images or snapshots came or went.
    pub fn sweep(&self) -> Result<()> {
        let _alone = self.inner.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        // On a full disk the one may need the room that the other makes.
        let settled = self.settle();
        self.discard_set_aside()?;
        for name in fs::read_dir(self.path("trash"))? {
            sys::crash::point("store.sweep.one");
            fs::remove_tree(self.path("trash").join(name))?;
        }
        self.inner.db.keep_reserve();
        settled?;
        self.remember_uses()?;
        self.discard_old_partials()
    }

    /// Runs what makes room, repeatable work; once more with the room that the store keeps back if it finds none itself.
    pub fn making_room<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        self.inner.db.making_room(work)
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.inner.root.join(below)
    }

    /// The images and names as they are now.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.inner.db.catalog()
    }

    /// A fresh name in `ingest`; what is made there vanishes with the value unless it is moved away.
    pub(crate) fn scratch(&self, what: &str) -> Scratch {
        Scratch::new(self.path("ingest").join(self.unique(what)))
    }

    /// Takes a file or tree out of sight; `sweep` deletes it. Nothing there is fine.
    pub(crate) fn discard(&self, path: &Path) -> Result<()> {
        self.move_aside(path).map(drop)
    }

    /// The same; says where it is.
    pub(crate) fn move_aside(&self, path: &Path) -> Result<Option<PathBuf>> {
        if !fs::exists(path)? {
            return Ok(None);
        }
        let aside = self.path("trash").join(self.unique("gone"));
        fs::rename(path, &aside)?;
        Ok(Some(aside))
    }

    fn unique(&self, what: &str) -> String {
        let count = self.inner.scratch_count.fetch_add(1, Ordering::Relaxed);
        // `trash` may hold names of earlier processes: the time keeps ours apart from them.
        let now = sys::time::Timestamp::now();
        format!("{what}-{}-{:09}-{count}", now.seconds, now.nanoseconds)
    }
}

/// Nobody else has the store open, so whatever lies in `ingest` has no writer any more.
fn discard_ingest(root: &Path) -> Result<()> {
    let run = sys::time::Timestamp::now();
    for name in fs::read_dir(root.join("ingest"))? {
        let gone = format!("{run}-{}", name.to_string_lossy());
        fs::rename(root.join("ingest").join(&name), root.join("trash").join(gone))?;
    }
    Ok(())
}

const FOLDERS: &[&str] = &["content/blobs/sha256", "layers", "snapshots", "ingest", "partials", "trash"];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{ImageId, Import};

    pub(crate) fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    /// An image of one layer with these files.
    pub(crate) fn image(store: &Store, name: &str, files: &[(&str, &[u8])]) -> ImageId {
        let reference = Some(oci::Reference::parse(name).unwrap());
        store.import(tar(files).as_slice(), &Import { reference, ..Import::default() }).unwrap()
    }

    /// Takes an image out of the catalog, and nothing more yet.
    pub(crate) fn forget(store: &Store, id: &ImageId) {
        let forgotten = store.inner.db.update(|catalog| {
            catalog.remove(id);
            Ok(())
        });
        forgotten.unwrap();
    }

    pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap()
    }
}
