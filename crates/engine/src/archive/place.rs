//! Finding a path among a container's trees: links and `..` mean what they mean inside, and mounts are crossed.
//!
//! Every step opens beneath one tree's root, so whoever swaps names for links meanwhile leads us to another place of
//! the same tree at most.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use fault::{Error, Kind, Result};
use sys::fs::{OpenHow, Stat};

use super::view::{Tree, View};

/// What happens to the last name of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A link stays a link.
    Kept,
    Followed,
    /// Followed, and it must be a folder.
    Folder,
}

/// What happens when there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Refused,
    /// The rest of the path is taken as it is.
    Kept,
}

/// A file's place: a tree, and the path without links.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) tree: &'a Tree,
    /// In the container; absolute.
    pub(super) path: PathBuf,
}

impl<'a> Place<'a> {
    /// The path relative to the tree's root.
    pub(super) fn inner(&self) -> PathBuf {
        self.tree.inner(&self.path)
    }

    pub(super) fn root(&self) -> BorrowedFd<'a> {
        self.tree.root.as_fd()
    }

    /// Opens the file itself, a link too, without reading it.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        sys::fs::open_beneath(self.root(), self.inner(), &OpenHow::PATH_NO_FOLLOW)
    }

    /// Makes an empty folder or file here unless there is something, and the folders above it.
    pub(super) fn make(&self, is_folder: bool) -> Result<()> {
        match self.open() {
            Err(error) if error.kind() == Kind::NotFound => {}
            opened => return opened.map(drop),
        }
        let inner = self.inner();
        let (Some(above), Some(name)) = (inner.parent(), inner.file_name()) else { return Ok(()) };
        let above = ensure_folder(self.root(), above)?;
        match is_folder {
            true => sys::fs::mkdir_at(&above, name, 0o755),
            false => sys::fs::open_at(&above, name, &OpenHow::NEW.with_mode(0o644)).map(drop),
        }
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        sys::fs::fstat(self.open()?)
    }
}

impl View {
    /// Follows a path to its place.
    pub(super) fn walk(&self, path: &Path, last: Last, missing: Missing) -> Result<Place<'_>> {
        let mut reached = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                reached.pop();
                continue;
            }
            let next = self.at(reached.join(name));
            let follows = last != Last::Kept || !ahead.is_empty();
            match target(&next, missing)? {
                Some(target) if follows => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Error::invalid(format!("{}: too many links", path.display())));
                    }
                    if target.is_absolute() {
                        reached = "/".into();
                    }
                    names(&target).rev().for_each(|name| ahead.push_front(name));
                }
                _ => reached = next.path,
            }
        }
        let place = self.at(reached);
        if last == Last::Folder && !place.stat()?.is_dir() {
            return Err(not_a_folder(path));
        }
        Ok(place)
    }

    /// The place of a path that has no links.
    pub(super) fn at(&self, path: PathBuf) -> Place<'_> {
        Place { tree: self.tree_of(&path), path }
    }
}

/// Opens a folder beneath a root, made if it is missing.
fn ensure_folder(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let how = OpenHow { directory: true, ..OpenHow::PATH };
    let missing = match sys::fs::open_beneath(root, path, &how) {
        Err(error) if error.kind() == Kind::NotFound => error,
        opened => return opened,
    };
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Err(missing) };
    sys::fs::mkdir_at(ensure_folder(root, above)?, name, 0o755)?;
    sys::fs::open_beneath(root, path, &how)
}

/// Where a place leads, if it is a link.
fn target(place: &Place<'_>, missing: Missing) -> Result<Option<PathBuf>> {
    let file = match place.open() {
        Err(error) if error.kind() == Kind::NotFound && missing == Missing::Kept => return Ok(None),
        Err(error) if sys::fs::is_nowhere(&error) && error.kind() != Kind::NotFound => {
            return Err(not_a_folder(&place.path));
        }
        file => file?,
    };
    if sys::fs::fstat(&file)?.is_symlink() { sys::fs::read_link_at(&file, "").map(Some) } else { Ok(None) }
}

fn not_a_folder(path: &Path) -> Error {
    Error::invalid(format!("lstat {}: not a directory", path.display()))
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// The kernel's own limit (path_resolution(7)).
const LINKS_MAX: usize = 40;
