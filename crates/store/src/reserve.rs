//! Room that is kept back on the disk, so that something can still be removed when the rest of it is full.

use std::path::PathBuf;

use fault::Error;
use sys::fs;

#[derive(Debug)]
pub(crate) struct Reserve(PathBuf);

impl Reserve {
    pub(crate) fn at(path: PathBuf) -> Self {
        let reserve = Self(path);
        reserve.keep();
        reserve
    }

    /// Lays it by unless it is there. Without room for it there is none; the next time perhaps.
    pub(crate) fn keep(&self) {
        if fs::exists(&self.0).unwrap_or(true) {
            return;
        }
        // Not zeros, which some file systems do not store.
        if let Err(error) = fs::write(&self.0, vec![b'.'; BYTES]) {
            tracing::debug!(%error, "no room is kept back");
            self.spend();
        }
    }

    /// Gives the room away; whether there was any.
    pub(crate) fn spend(&self) -> bool {
        fs::remove_file_if_exists(&self.0).unwrap_or(false)
    }
}

/// Whether it was for want of room.
pub(crate) fn is_full(error: &Error) -> bool {
    error.errno() == Some(ENOSPC)
}

/// Of Linux.
const ENOSPC: i32 = 28;

/// A transaction of the catalog writes a few dozen pages of 4 KiB.
const BYTES: usize = 256 << 10;
