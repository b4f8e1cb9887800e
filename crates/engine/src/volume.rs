//! (being written by E2) Volumes of the local driver.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use fault::{Error, Result};

/// All volumes. Every method blocks.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
}

/// What a container asks of a volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) name: &'a str,
    /// Empty means `local`.
    pub(crate) driver: &'a str,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Made for one container; gets the label `com.docker.volume.anonymous`.
    pub(crate) anonymous: bool,
}

impl Volumes {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned() })
    }

    /// Makes the volume durably unless it is there; its folder on the host (`<root>/<name>/_data`).
    pub(crate) fn ensure(&self, wish: &Wish<'_>) -> Result<PathBuf> {
        let _being_written = (&wish.driver, &wish.options, &wish.labels, wish.anonymous);
        let path = self.root.join(wish.name).join("_data");
        sys::fs::create_dir_all(&path, 0o755)?;
        Ok(path)
    }

    /// Fills an *empty* volume with what the root file system has at `path`, folder's owner and mode included; nothing
    /// there is fine, a volume that is not empty stays as it is.
    pub(crate) fn populate(&self, name: &str, rootfs: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let _being_written = (self, name, rootfs, path);
        Ok(())
    }

    /// Removes an anonymous volume with its container; one that is gone, or that another container uses, is fine.
    pub(crate) fn remove_anonymous(&self, engine: &crate::Engine, name: &str) -> Result<()> {
        let _being_written = (self, engine, name);
        Err(Error::unsupported("being written"))
    }
}
