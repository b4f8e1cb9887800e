//! Snapshots: a writable layer of one's own over an image's layers, mounted with overlayfs.
//!
//! A snapshot is a directory with a record; it exists whole or not at all. Nothing is attached to the host's tree: a mount
//! is handed out as a detached descriptor. Whether it is mounted now, and that it is mounted only once, is the holder's
//! matter. Removing is a rename; [`Store::sweep`] deletes.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fault::{Call, Doing, Error, Kind, Result};
use oci::Digest;
use serde::{Deserialize, Serialize};
use sys::fs::OpenHow;
use sys::{fs, mount};

use crate::{ImageId, Store};

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

/// Whether a new snapshot survives power loss from its first moment.
#[derive(Clone, Copy, PartialEq)]
enum Durability {
    Synced,
    Unsynced,
}

impl Store {
    /// Makes a snapshot over an image, or over nothing. `Conflict` if the key is taken.
    pub fn snapshot_create(&self, key: &str, image: Option<&ImageId>) -> Result<Snapshot> {
        self.create(key, image, Durability::Synced).doing(|| format!("creating snapshot {key}"))
    }

    /// The same without a sync, for what need not survive power loss.
    pub fn snapshot_create_volatile(&self, key: &str, image: Option<&ImageId>) -> Result<Snapshot> {
        self.create(key, image, Durability::Unsynced).doing(|| format!("creating snapshot {key}"))
    }

    /// `NotFound` if there is none.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot> {
        check_key(key)?;
        let path = self.snapshot_path(key).join("snapshot.json");
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            Kind::NotFound => Error::not_found(format!("snapshot {key} not found")),
            _ => error,
        })?;
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| Error::internal(format!("{} is damaged: {error}", path.display())))?;
        if record.version != VERSION {
            let (found, path) = (record.version, path.display());
            return Err(Error::internal(format!("{path} has version {found}, this program knows {VERSION}")));
        }
        Ok(Snapshot { store: self.clone(), key: key.into(), record })
    }

    /// All snapshots, in the order of their keys.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let keys = fs::read_dir(self.path("snapshots"))?;
        let found = keys.iter().map(|key| self.snapshot(&key.to_string_lossy()));
        // One may be removed while we look.
        found
            .filter(|found| found.as_ref().err().is_none_or(|error| error.kind() != Kind::NotFound))
            .collect()
    }

    /// Takes a snapshot away at once; none of that key is fine. Its files go with the next sweep.
    pub fn snapshot_remove(&self, key: &str) -> Result<()> {
        check_key(key)?;
        sys::crash::point("store.snapshot.remove");
        self.discard(&self.snapshot_path(key)).doing(|| format!("removing snapshot {key}"))
    }

    fn create(&self, key: &str, image: Option<&ImageId>, durability: Durability) -> Result<Snapshot> {
        check_key(key)?;
        // Until the record is in place, a lease keeps the layers.
        let lease = self.lease();
        let layers = match image {
            Some(id) => self.hold_image(&lease, id)?.layers.into_iter().map(|layer| layer.diff_id).collect(),
            None => Vec::new(),
        };
        let record = Record { version: VERSION, driver: "overlay2".into(), image: image.cloned(), layers };
        let scratch = self.scratch("snapshot");
        let file = furnish(scratch.path(), &record)?;
        sys::crash::point("store.snapshot.furnished");
        let place = self.snapshot_path(key);
        scratch.move_to(&place).map_err(|error| taken(error, key))?;
        sys::crash::point("store.snapshot.placed");
        if durability == Durability::Synced {
            self.sync_placed(&file, &place)?;
        }
        Ok(Snapshot { store: self.clone(), key: key.into(), record })
    }

    /// All syncs come last, in one go: on a file system with a journal the first then commits everything, and the others
    /// find nothing to do. Until the caller is answered a snapshot may be lost.
    fn sync_placed(&self, file: &File, place: &Path) -> Result<()> {
        fs::fsync(file)?;
        fs::fsync_dir(place)?;
        fs::fsync_dir(self.path("snapshots"))
    }

    /// What was made without a sync may be empty after a power loss; it is no snapshot then.
    pub(crate) fn discard_lost_snapshots(&self) -> Result<()> {
        for key in fs::read_dir(self.path("snapshots"))? {
            let path = self.path("snapshots").join(&key);
            let record = fs::read_to_string_if_exists(path.join("snapshot.json"))?.unwrap_or_default();
            if record.trim_matches('\0').is_empty() {
                tracing::warn!(key = %key.display(), "snapshot was lost with the power");
                self.discard(&path)?;
            }
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
    pub fn mount(&self, options: MountOptions) -> Result<OwnedFd> {
        let (upper, work, lower) = (self.upper(), self.work(), self.lower_dirs());
        // An earlier volatile mount leaves this mark; within one boot nothing was lost, so it may go
        // (Documentation/filesystems/overlayfs.rst, "Volatile mount").
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
        changes::tree_size(&self.upper())
    }

    /// With the layers below.
    pub fn size_root(&self) -> Result<u64> {
        let mut size = self.size_rw()?;
        for diff_id in &self.record.layers {
            size += self.store.layer_size(diff_id)?;
        }
        Ok(size)
    }

    fn path(&self) -> PathBuf {
        self.store.snapshot_path(&self.key)
    }
}

/// The folders and the record of a snapshot to be.
fn furnish(path: &Path, record: &Record) -> Result<File> {
    fs::create_dir(path, 0o700)?;
    fs::create_dir(path.join("work"), 0o700)?;
    fs::create_dir(path.join("diff"), 0o755)?;
    let json = serde_json::to_vec(record).expect("a record is always JSON");
    let path = path.join("snapshot.json");
    let mut file = fs::open(&path, &OpenHow::NEW)?;
    file.write_all(&json).call(|| format!("write {}", path.display()))?;
    Ok(file)
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

/// Of `snapshot.json`; docs/formats.md tells it.
const VERSION: u32 = 1;
