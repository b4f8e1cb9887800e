//! Whiteouts while a layer is extracted: turned into overlay's form, or carried out on the lower layers' tree.
//!
//! They speak of lower layers only (OCI layer.md), so what this layer brought itself stays, in whatever order the
//! archive has them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use fault::{Kind, Result};
use sys::fs::{self, FileKind, Stat};
use sys::xattr;

use super::Place;
use crate::whiteout::{Mark, OPAQUE_ATTRIBUTE, Whiteouts};

pub(super) struct Layer {
    whiteouts: Whiteouts,
    /// Only when applying: all that this layer brought, and the directories above.
    brought: HashSet<PathBuf>,
}

impl Layer {
    pub(super) fn new(whiteouts: Whiteouts) -> Self {
        Self { whiteouts, brought: HashSet::new() }
    }

    /// Carries a whiteout out; false if the entry is none and is to be extracted.
    pub(super) fn apply(&mut self, place: &Place<'_>) -> Result<bool> {
        if self.whiteouts == Whiteouts::Keep {
            return Ok(false);
        }
        match (Mark::of(place.name), self.whiteouts) {
            (None, _) => {
                self.remember(place.path);
                return Ok(false);
            }
            (Some(Mark::Bookkeeping), _) => {}
            (Some(Mark::Opaque), Whiteouts::Overlay) => set_opaque(&place.folder.handle, OsStr::new("."))?,
            (Some(Mark::Opaque), _) => self.clear(&place.folder.handle, parent(place.path))?,
            (Some(Mark::Hides(name)), Whiteouts::Overlay) => hide(&place.folder.handle, name)?,
            (Some(Mark::Hides(name)), _) => self.remove(&place.folder.handle, parent(place.path), name)?,
        }
        Ok(true)
    }

    /// A directory that takes the place of a whiteout must keep hiding what is below.
    pub(super) fn replaced(&self, existing: &Stat, place: &Place<'_>) -> Result<()> {
        let was_whiteout = existing.kind() == FileKind::CharDevice && existing.device() == (0, 0);
        if self.whiteouts == Whiteouts::Overlay && was_whiteout && place.is_dir {
            set_opaque(&place.folder.handle, place.name)?;
        }
        Ok(())
    }

    fn remember(&mut self, path: &Path) {
        if self.whiteouts != Whiteouts::Apply {
            return;
        }
        for path in path.ancestors() {
            if !self.brought.insert(path.to_owned()) {
                break;
            }
        }
    }

    fn remove(&self, folder: &OwnedFd, path: &Path, name: &OsStr) -> Result<()> {
        if self.brought.contains(&path.join(name)) { Ok(()) } else { fs::remove_tree_at(folder, name) }
    }

    /// Removes what lower layers left in a directory, and in those within it that this layer brought as well.
    fn clear(&self, folder: &OwnedFd, path: &Path) -> Result<()> {
        for entry in fs::read_dir_at(folder, ".")? {
            let inner = path.join(&entry.name);
            if !self.brought.contains(&inner) {
                fs::remove_tree_at(folder, &entry.name)?;
            } else if fs::stat_at(folder, &entry.name)?.is_dir() {
                let how = fs::OpenHow { no_follow: true, ..fs::OpenHow::DIRECTORY };
                self.clear(&fs::open_at(folder, &entry.name, &how)?, &inner)?;
            }
        }
        Ok(())
    }
}

/// Makes overlay's whiteout. Where this layer brought the name, a directory becomes opaque and a file hides anyway.
fn hide(folder: &OwnedFd, name: &OsStr) -> Result<()> {
    match fs::mknod_at(folder, name, FileKind::CharDevice, 0, (0, 0)) {
        Err(error) if error.kind() == Kind::Conflict => {
            if fs::stat_at(folder, name)?.is_dir() {
                set_opaque(folder, name)
            } else {
                Ok(())
            }
        }
        result => result,
    }
}

fn set_opaque(folder: impl AsFd, name: &OsStr) -> Result<()> {
    xattr::set_at(folder, name, OPAQUE_ATTRIBUTE, b"y")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
