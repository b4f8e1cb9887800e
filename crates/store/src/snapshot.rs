//! Snapshots: a writable layer of one's own over an image's layers, mounted with overlayfs.
//!
//! A snapshot is a directory with a record; it exists whole or not at all. Nothing is attached to the host's tree: a mount
//! is handed out as a detached descriptor. That it is mounted only once is the holder's matter; as long as the
//! descriptor is held, a repair leaves the trees below where they are. Removing is a rename; [`Store::sweep`] deletes.
//!
//! Making one waits for no disk (decision 0009): its record says nothing that its image does not say, so after a power loss
//! [`Store::snapshot_restore`] makes it anew for whoever remembers key and image. An image leaves the catalog only after
//! the records of its snapshots are on disk.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, Weak};

use fault::{Doing, Error, Kind, Result};
use oci::Digest;
use serde::{Deserialize, Serialize};
use sys::fs::OpenHow;
use sys::{fs, mount};

use crate::{ImageId, Lease, Store};

mod changes;
pub(crate) mod init_layer;

pub use changes::{Change, ChangeKind};

/// A snapshot that exists.
#[derive(Clone, Debug)]
pub struct Snapshot {
    store: Store,
    key: String,
    record: Record,
}

/// How to mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountOptions {
    /// Nothing is synced: after a crash of the machine the writable layer is lost. For what is thrown away anyway.
    pub volatile: bool,
    pub readonly: bool,
}

/// What this process has mounted. Mounting is reading; whoever writes changes what lies below.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    mounting: RwLock<()>,
    held: Mutex<HashMap<String, Weak<OwnedFd>>>,
}

impl Mounts {
    /// Keeps everybody from mounting until the guard goes.
    pub(crate) fn freeze(&self) -> RwLockWriteGuard<'_, ()> {
        self.mounting.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.held().get(key).is_some_and(|mount| mount.strong_count() > 0)
    }

    fn add(&self, key: &str, mount: impl FnOnce() -> Result<OwnedFd>) -> Result<Arc<OwnedFd>> {
        let _mounting = self.mounting.read().unwrap_or_else(PoisonError::into_inner);
        let mount = Arc::new(mount()?);
        let mut held = self.held();
        held.retain(|_, mount| mount.strong_count() > 0);
        held.insert(key.into(), Arc::downgrade(&mount));
        Ok(mount)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Weak<OwnedFd>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `snapshot.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    version: u32,
    /// As Docker names it.
    driver: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<ImageId>,
    /// DiffIDs, lowest first.
    layers: Vec<Digest>,
}

impl Store {
    /// Makes a snapshot over an image, or over nothing. `Conflict` if the key is taken.
    pub fn snapshot_create(&self, key: &str, image: Option<&ImageId>) -> Result<Snapshot> {
        self.create(key, image).doing(|| format!("creating snapshot {key}"))
    }

    /// Makes a snapshot anew that a power loss took or damaged; what there is of its changes is kept. One that is whole
    /// stays as it is. `NotFound` if it is needed and the image is gone.
    pub fn snapshot_restore(&self, key: &str, image: Option<&ImageId>) -> Result<()> {
        match self.snapshot(key) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::Unsupported => Err(error),
            Err(_) => self.restore(key, image).doing(|| format!("restoring snapshot {key}")),
        }
    }

    /// `NotFound` if there is none, or if its record was lost with the power.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot> {
        check_key(key)?;
        let path = self.snapshot_path(key).join(RECORD);
        let bytes = match fs::read(&path) {
            Ok(bytes) if is_lost(&bytes) => return Err(no_such_snapshot(key)),
            Err(error) if error.kind() == Kind::NotFound => return Err(no_such_snapshot(key)),
            read => read?,
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| Error::internal(format!("{} is damaged: {error}", path.display())))?;
        if record.version != VERSION {
            let (found, path) = (record.version, path.display());
            return Err(Error::unsupported(format!(
                "{path} has version {found}, this program knows {VERSION}"
            )));
        }
        Ok(Snapshot { store: self.clone(), key: key.into(), record })
    }

    /// All snapshots that are whole, in the order of their keys.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let found = self.snapshot_keys()?.into_iter().map(|key| self.snapshot(&key));
        // One may be removed while we look.
        found
            .filter(|found| found.as_ref().err().is_none_or(|error| error.kind() != Kind::NotFound))
            .collect()
    }

    /// The keys of all snapshots, also of those that wait to be restored.
    pub fn snapshot_keys(&self) -> Result<Vec<String>> {
        let keys = fs::read_dir(self.path("snapshots"))?;
        Ok(keys.into_iter().filter_map(|key| key.into_string().ok()).collect())
    }

    /// Takes a snapshot away at once; none of that key is fine. Its files go with the next sweep.
    pub fn snapshot_remove(&self, key: &str) -> Result<()> {
        check_key(key)?;
        sys::crash::point("store.snapshot.remove");
        self.discard(&self.snapshot_path(key)).doing(|| format!("removing snapshot {key}"))
    }

    fn create(&self, key: &str, image: Option<&ImageId>) -> Result<Snapshot> {
        check_key(key)?;
        // From here until the record is in place the image stays in the catalog, and the lease keeps its layers.
        let _placing = self.inner.placing.read().unwrap_or_else(PoisonError::into_inner);
        let lease = self.lease();
        let record = self.draft(&lease, image)?;
        let scratch = self.scratch("snapshot");
        fs::create_dir(scratch.path(), 0o700)?;
        furnish(scratch.path())?;
        fs::write(scratch.path().join(RECORD), record.to_json())?;
        sys::crash::point("store.snapshot.furnished");
        scratch.move_to(&self.snapshot_path(key)).map_err(|error| taken(error, key))?;
        sys::crash::point("store.snapshot.placed");
        Ok(Snapshot { store: self.clone(), key: key.into(), record })
    }

    fn restore(&self, key: &str, image: Option<&ImageId>) -> Result<()> {
        let _placing = self.inner.placing.read().unwrap_or_else(PoisonError::into_inner);
        let record = self.draft(&self.lease(), image)?;
        let place = self.snapshot_path(key);
        fs::create_dir_all(&place, 0o700)?;
        furnish(&place)?;
        sys::crash::point("store.snapshot.refurnished");
        fs::write_swapped(place.join(RECORD), record.to_json(), 0o600)
    }

    /// What a snapshot over this image is.
    fn draft(&self, lease: &Lease, image: Option<&ImageId>) -> Result<Record> {
        let layers = match image {
            Some(id) => self.hold_image(lease, id)?.layers.into_iter().map(|layer| layer.diff_id).collect(),
            None => Vec::new(),
        };
        Ok(Record { version: VERSION, driver: "overlay2".into(), image: image.cloned(), layers })
    }

    /// Puts the records of the snapshots over these images on disk: once the images are gone, nothing else tells their
    /// layers.
    pub(crate) fn settle_snapshots_of(&self, images: &[&ImageId]) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let over = |snapshot: &Snapshot| snapshot.image().is_some_and(|image| images.contains(&image));
        for snapshot in self.snapshots()?.into_iter().filter(over) {
            match snapshot.settle() {
                Err(error) if error.kind() == Kind::NotFound => {}
                settled => settled?,
            }
            sys::crash::point("store.snapshot.settled");
        }
        Ok(())
    }

    fn snapshot_path(&self, key: &str) -> PathBuf {
        self.path("snapshots").join(key)
    }
}

impl Snapshot {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn image(&self) -> Option<&ImageId> {
        self.record.image.as_ref()
    }

    /// The driver's name as Docker shows it.
    pub fn driver(&self) -> &str {
        &self.record.driver
    }

    /// The diffIDs of the layers below, lowest first.
    pub fn layers(&self) -> &[Digest] {
        &self.record.layers
    }

    /// The read-only trees below, uppermost first, as overlayfs takes them; the init layer is the last.
    pub fn lower_dirs(&self) -> Vec<PathBuf> {
        let layers = self.record.layers.iter().rev().map(|diff_id| self.store.layer_path(diff_id));
        let init = self.store.path("layers").join(init_layer::NAME);
        layers.chain([init]).map(|layer| layer.join("diff")).collect()
    }

    /// The snapshot's own changes, with whiteouts in overlay's form.
    pub fn upper(&self) -> PathBuf {
        self.path().join("diff")
    }

    /// Overlayfs's own room.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// A detached mount. The same snapshot must not be mounted twice at once.
    pub fn mount(&self, options: MountOptions) -> Result<Arc<OwnedFd>> {
        self.store.inner.mounts.add(&self.key, || self.mount_now(options))
    }

    fn mount_now(&self, options: MountOptions) -> Result<OwnedFd> {
        let (upper, work, lower) = (self.upper(), self.work(), self.lower_dirs());
        // An earlier volatile mount leaves this mark, and nothing can be mounted beside it (Documentation/filesystems/
        // overlayfs.rst, "Volatile mount"). It warns of what a power loss may have taken; who mounts volatile has said that
        // he throws it away then.
        fs::remove_tree(work.join("work/incompat"))?;
        let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
        mount::overlay(&mount::Overlay {
            lower: &lower,
            upper: Some(&upper),
            work: Some(&work),
            volatile: options.volatile,
            readonly: options.readonly,
        })
        .doing(|| format!("mounting snapshot {}", self.key))
    }

    /// What differs from the layers below, as `docker diff` tells it, sorted by path.
    pub fn changes(&self) -> Result<Vec<Change>> {
        changes::list(&self.upper(), &self.lower_dirs())
    }

    /// Writes the changes as a layer's tar: whiteouts as `.wh.` files (image-spec, layer.md).
    pub fn pack_diff(&self, writer: impl Write) -> Result<()> {
        let root = fs::open_dir(self.upper())?;
        crate::layer::pack(&root, writer).doing(|| format!("packing the changes of {}", self.key))
    }

    /// The size of the snapshot's own files, in bytes.
    pub fn size_rw(&self) -> Result<u64> {
        fs::tree_size(self.upper())
    }

    /// With the layers below.
    pub fn size_root(&self) -> Result<u64> {
        let mut size = self.size_rw()?;
        for diff_id in &self.record.layers {
            size += self.store.layer_size(diff_id)?;
        }
        Ok(size)
    }

    fn settle(&self) -> Result<()> {
        let place = self.path();
        fs::fsync(fs::open(place.join(RECORD), &OpenHow::READ)?)?;
        fs::fsync_dir(place)?;
        fs::fsync_dir(self.store.path("snapshots"))
    }

    fn path(&self) -> PathBuf {
        self.store.snapshot_path(&self.key)
    }
}

impl Record {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record is always JSON")
    }
}

/// The folders of a snapshot, as far as they are missing.
fn furnish(path: &Path) -> Result<()> {
    for (name, mode) in [("work", 0o700), ("diff", 0o755)] {
        if !fs::exists(path.join(name))? {
            fs::create_dir(path.join(name), mode)?;
        }
    }
    Ok(())
}

/// What was written without a sync may be empty after a power loss.
fn is_lost(record: &[u8]) -> bool {
    record.iter().all(|byte| *byte == 0)
}

fn no_such_snapshot(key: &str) -> Error {
    Error::not_found(format!("snapshot {key} not found"))
}

/// A key becomes a directory's name.
fn check_key(key: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || key.starts_with('.') || !key.bytes().all(is_plain) {
        return Err(Error::invalid(format!("invalid snapshot key {key:?}")));
    }
    Ok(())
}

fn taken(error: Error, key: &str) -> Error {
    if error.kind() == Kind::Conflict {
        Error::conflict(format!("snapshot {key} exists already"))
    } else {
        error
    }
}

const RECORD: &str = "snapshot.json";

/// Of [`RECORD`]; docs/formats.md tells it.
const VERSION: u32 = 1;
