//! Listing directories and removing whole trees, however deep.
//!
//! Neither follows a symbolic link; removal stops with an error at a mount point instead of emptying it.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use fault::{Call, Error, Result};
use rustix::fs::{self as kernel, AtFlags, CWD, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use super::at::place;
use super::{FileKind, OpenHow, open_at, rename_at};

/// A name in a directory; `kind` is what the directory says, [`FileKind::Unknown`] on some file systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub kind: FileKind,
}

/// All names in a directory but `.` and `..`, in byte order.
pub fn read_dir(path: impl AsRef<Path>) -> Result<Vec<OsString>> {
    let entries = entries_of(open_at(CWD, path, &OpenHow::DIRECTORY)?)?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

/// The entries of the directory `name` beside `dir` (`.` for `dir` itself), in byte order.
pub fn read_dir_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<Vec<Entry>> {
    entries_of(open_at(dir, name, &OpenHow { no_follow: true, ..OpenHow::DIRECTORY })?)
}

fn entries_of(dir: OwnedFd) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    each_entry(dir.as_fd(), |name, kind| {
        entries.push(Entry { name: OsString::from_vec(name.to_bytes().to_vec()), kind });
    })?;
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Not inlined, so that its buffer is gone from the stack when a caller descends.
#[inline(never)]
fn each_entry(dir: BorrowedFd<'_>, mut visit: impl FnMut(&CStr, FileKind)) -> Result<()> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); LIST_BUFFER_BYTES];
    let mut list = RawDir::new(dir, &mut buffer);
    while let Some(entry) = list.next() {
        let entry = entry.call(|| format!("getdents {}", place(dir, "")))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            visit(entry.file_name(), entry.file_type().into());
        }
    }
    Ok(())
}

/// Big enough for 300 names of usual length a call, small enough for any thread's stack.
const LIST_BUFFER_BYTES: usize = 16 * 1024;

/// Removes a file, link or whole tree; nothing there is fine. A mount point inside is an error, and what lies
/// beside it may be gone by then.
pub fn remove_tree(path: impl AsRef<Path>) -> Result<()> {
    remove_tree_at(CWD, path)
}

/// [`remove_tree`] beside a directory.
pub fn remove_tree_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let (dir, name) = (dir.as_fd(), name.as_ref());
    match kernel::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // A directory says EISDIR, on some file systems EPERM.
        Err(Errno::ISDIR | Errno::PERM) => remove_directory_at_path(dir, name),
        Err(error) => Err(error).call(|| format!("unlink {}", place(dir, name))),
    }
}

/// The way to the tree may cross mounts, its last name may not: only that is a mount of somebody else's.
fn remove_directory_at_path(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent != Path::new("") => {
            let parent = open_at(dir, parent, &OpenHow { directory: true, ..OpenHow::PATH })?;
            remove_directory(parent.as_fd(), Path::new(name))
        }
        _ => remove_directory(dir, path),
    }
}

fn remove_directory(dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
    let Some(top) = open_inside(dir, name)? else { return Ok(()) };
    empty(top.as_fd())?;
    super::rmdir_at(dir, name)
}

/// Trees may be deeper than descriptors and stack allow: what lies [`DEPTH_MAX`] deep is moved up beside the top
/// and emptied in its turn.
fn empty(top: BorrowedFd<'_>) -> Result<()> {
    let mut removal = Removal { top, moved: VecDeque::new(), count: 0 };
    removal.empty(top, 0)?;
    while let Some(name) = removal.moved.pop_front() {
        if let Some(dir) = open_inside(top, Path::new(&name))? {
            removal.empty(dir.as_fd(), 0)?;
            super::rmdir_at(top, &name)?;
        }
    }
    Ok(())
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    moved: VecDeque<OsString>,
    count: u64,
}

impl Removal<'_> {
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> Result<()> {
        let mut names = Vec::new();
        each_entry(dir, |name, kind| names.push((name.to_owned(), kind)))?;
        for (name, kind) in names {
            let name = Path::new(OsStr::from_bytes(name.to_bytes()));
            if kind == FileKind::Directory || !unlink(dir, name)? {
                self.remove_directory(dir, name, depth)?;
            }
        }
        Ok(())
    }

    fn remove_directory(&mut self, dir: BorrowedFd<'_>, name: &Path, depth: usize) -> Result<()> {
        match kernel::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(Errno::BUSY) => return Err(mount_point(dir, name)),
            Err(error) => return Err(error).call(|| format!("rmdir {}", place(dir, name))),
        }
        if depth >= DEPTH_MAX {
            return self.move_up(dir, name);
        }
        let Some(inner) = open_inside(dir, name)? else { return Ok(()) };
        self.empty(inner.as_fd(), depth + 1)?;
        super::rmdir_at(dir, name)
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
        self.count += 1;
        let new = OsString::from(format!(".removing-{}-{}", std::process::id(), self.count));
        rename_at(dir, name, self.top, &new)?;
        self.moved.push_back(new);
        Ok(())
    }
}

/// False if it was a directory after all.
fn unlink(dir: BorrowedFd<'_>, name: &Path) -> Result<bool> {
    match kernel::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error).call(|| format!("unlink {}", place(dir, name))),
    }
}

/// One descriptor is open for each level; far below the usual limit of 1024.
const DEPTH_MAX: usize = 64;

/// A directory for emptying: `None` if it is gone, an error if it is a mount point.
fn open_inside(dir: BorrowedFd<'_>, name: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match kernel::openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        Ok(inner) => Ok(Some(inner)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::XDEV) => Err(mount_point(dir, name)),
        Err(error) => Err(error).call(|| format!("open {}", place(dir, name))),
    }
}

fn mount_point(dir: BorrowedFd<'_>, name: &Path) -> Error {
    Error::conflict(format!("remove {}: is a mount point", place(dir, name)))
}
