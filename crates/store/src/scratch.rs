//! Something half made, mostly in `ingest`: it vanishes unless it is moved to its place.

use std::path::{Path, PathBuf};

use fault::Result;
use sys::fs;

#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Nothing to remove when the value goes.
    settled: bool,
}

impl Scratch {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, settled: false }
    }

    /// For what is worth keeping where it is, too.
    pub(crate) fn lasting(path: PathBuf) -> Self {
        Self { path, settled: true }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames to the final name; `Conflict` if that is taken.
    pub(crate) fn move_to(mut self, place: &Path) -> Result<()> {
        fs::rename_new(&self.path, place)?;
        self.settled = true;
        Ok(())
    }

    /// Renames over whatever has the final name.
    pub(crate) fn replace(mut self, place: &Path) -> Result<()> {
        fs::rename(&self.path, place)?;
        self.settled = true;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        if let Err(error) = fs::remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "left for the next start to sweep");
        }
    }
}
