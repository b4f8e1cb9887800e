//! The folder that is served, and what its verbs share.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::{Doing, Error, Result};
use oci::Digest;
use sys::fs;

use crate::server::catalog::{self, Catalog, View};
use crate::server::config::{Config, Quota};
use crate::server::failure::{Failure, Outcome};
use crate::server::promise::Promises;
use crate::server::upload::Uploads;

#[derive(Debug)]
pub(crate) struct Storage {
    root: PathBuf,
    pub(crate) catalog: Catalog,
    pub(crate) uploads: Uploads,
    pub(crate) promises: Promises,
    collecting: Mutex<()>,
    quotas: Vec<Quota>,
    // Last, so that everything else is closed before another process may come in.
    _lock: fs::Lock,
}

impl Storage {
    /// Opens or makes the folder. `Unavailable` if another process serves it.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        Self::open_locked(config).doing(|| format!("opening the registry {}", config.root.display()))
    }

    fn open_locked(config: &Config) -> Result<Self> {
        let root = &config.root;
        for folder in FOLDERS {
            fs::create_dir_all(root.join(folder), 0o700)?;
        }
        let lock = fs::Lock::try_acquire(root.join("lock"))?
            .ok_or_else(|| Error::unavailable("another process serves it"))?;
        if !catalog::exists(root)? {
            fs::write_atomic(root.join("oci-layout"), OCI_LAYOUT)?;
        }
        Ok(Self {
            catalog: Catalog::open(&root.join(catalog::FILE))?,
            uploads: Uploads::new(root.join("uploads"), root.join("hashes")),
            promises: Promises::default(),
            collecting: Mutex::default(),
            quotas: config.quotas.clone(),
            root: root.clone(),
            _lock: lock,
        })
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Gives a whole file its name among the blobs; one that is there already is the same. Who relies on it then has
    /// promised it before.
    pub(crate) fn settle(&self, file: &Path, digest: &Digest) -> Result<()> {
        let place = self.blob_path(digest);
        if fs::exists(&place)? {
            return fs::remove_file(file);
        }
        fs::rename_durable(file, &place)?;
        sys::crash::point("registry.blob.renamed");
        Ok(())
    }

    /// Refuses what would grow a repository beyond a quota.
    pub(crate) fn check_quotas(&self, view: &View<'_>, name: &str, more: u64) -> Outcome<()> {
        let quotas: Vec<&Quota> = self.quotas.iter().filter(|quota| quota.covers(name)).collect();
        if quotas.is_empty() || more == 0 {
            return Ok(());
        }
        let sizes = view.sizes()?;
        for quota in quotas {
            let held: u64 = sizes.iter().filter(|(name, _)| quota.covers(name)).map(|(_, bytes)| bytes).sum();
            if held.saturating_add(more) > quota.bytes_max {
                let whose = if quota.prefix.is_empty() { "the registry" } else { &quota.prefix };
                return Err(Failure::denied(format!(
                    "quota of {whose} exceeded: {held} of {} bytes are taken, {more} more were to come",
                    quota.bytes_max
                )));
            }
        }
        Ok(())
    }

    /// Held by the one collection that runs.
    pub(crate) fn collecting(&self) -> MutexGuard<'_, ()> {
        self.collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    u64::try_from(sys::time::Timestamp::now().seconds).unwrap_or(0)
}

const FOLDERS: &[&str] = &["blobs/sha256", "blobs/sha512", "uploads", "hashes"];
const OCI_LAYOUT: &str = r#"{"imageLayoutVersion": "1.0.0"}"#;
