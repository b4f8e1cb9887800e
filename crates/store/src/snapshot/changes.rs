//! What a writable layer changes in the layers below it, as `docker diff` tells it.
//!
//! Upper and lower trees are walked together, directory by directory, by handles: what a running container renames
//! meanwhile leads nowhere else. A directory counts as modified when something in it changed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fault::{Kind, Result};
use sys::{fs, xattr};

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute, as a container sees it.
    pub path: PathBuf,
    pub kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    Modified,
    Added,
    Deleted,
}

/// Compares; `lowers` uppermost first.
pub(crate) fn list(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<Change>> {
    let upper = fs::open_at(fs::open_dir(upper)?, ".", &fs::OpenHow::DIRECTORY)?;
    let lowers = lowers.iter().map(fs::open_dir).collect::<Result<Vec<_>>>()?;
    let mut changes = Vec::new();
    compare(&upper, &Lower { dirs: lowers }, Path::new("/"), Below::Seen, &mut changes)?;
    changes.sort();
    Ok(changes)
}

/// The sizes of all regular files, hard links once.
pub(crate) fn tree_size(root: &Path) -> Result<u64> {
    size_of(&fs::open_dir(root)?, &mut HashSet::new())
}

/// The directories that lie below one directory, uppermost first: those that are seen through it.
struct Lower {
    dirs: Vec<OwnedFd>,
}

/// Whether the directories below show through.
#[derive(Clone, Copy, PartialEq)]
enum Below {
    Seen,
    /// The upper directory is opaque.
    Hidden,
}

/// What a name was before.
enum Before {
    Nothing,
    File(fs::Stat),
    Directory(fs::Stat, Lower),
}

/// Compares one directory; true if anything in it changed.
fn compare(
    upper: &OwnedFd,
    lower: &Lower,
    path: &Path,
    below: Below,
    changes: &mut Vec<Change>,
) -> Result<bool> {
    let before = changes.len();
    let mut names = HashSet::new();
    for entry in fs::read_dir_at(upper, ".")? {
        // Gone since we read the directory: as if it had been gone before.
        let Some(stat) = fs::stat_at_if_exists(upper, &entry.name)? else { continue };
        compare_entry(upper, lower, &entry.name, &stat, &path.join(&entry.name), changes)?;
        names.insert(entry.name);
    }
    if below == Below::Hidden {
        for name in lower.names()?.difference(&names) {
            changes.push(Change { path: path.join(name), kind: ChangeKind::Deleted });
        }
    }
    Ok(changes.len() > before)
}

fn compare_entry(
    upper: &OwnedFd,
    lower: &Lower,
    name: &OsStr,
    stat: &fs::Stat,
    path: &Path,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let before = lower.look_up(name)?;
    if is_whiteout(stat) {
        if !matches!(before, Before::Nothing) {
            changes.push(Change { path: path.into(), kind: ChangeKind::Deleted });
        }
        return Ok(());
    }
    if !stat.is_dir() {
        changes.extend(kind_of(&before, stat, false).map(|kind| Change { path: path.into(), kind }));
        return Ok(());
    }
    let Some(dir) = open_dir_at(upper, name)? else { return Ok(()) };
    let below = if is_opaque(upper, name)? { Below::Hidden } else { Below::Seen };
    let empty = Lower { dirs: Vec::new() };
    let inner = if let Before::Directory(_, inner) = &before { inner } else { &empty };
    let changed = compare(&dir, inner, path, below, changes)?;
    changes.extend(kind_of(&before, stat, changed).map(|kind| Change { path: path.into(), kind }));
    Ok(())
}

/// `None` if it is what it was.
fn kind_of(before: &Before, now: &fs::Stat, inside_changed: bool) -> Option<ChangeKind> {
    match before {
        Before::Nothing => Some(ChangeKind::Added),
        Before::Directory(was, _) if now.is_dir() && !inside_changed && same_owner(was, now) => None,
        Before::File(was) if !now.is_dir() && same_owner(was, now) && same_content(was, now) => None,
        _ => Some(ChangeKind::Modified),
    }
}

fn same_owner(one: &fs::Stat, other: &fs::Stat) -> bool {
    (one.mode, one.uid, one.gid, one.rdev) == (other.mode, other.uid, other.gid, other.rdev)
}

/// As Docker compares: a file that was only copied up keeps size and time.
fn same_content(one: &fs::Stat, other: &fs::Stat) -> bool {
    one.size == other.size && one.mtime == other.mtime
}

impl Lower {
    /// What `name` is when only these directories are seen.
    fn look_up(&self, name: &OsStr) -> Result<Before> {
        let mut dirs = Vec::new();
        let mut found = None;
        for dir in &self.dirs {
            let Some(stat) = fs::stat_at_if_exists(dir, name)? else { continue };
            if is_whiteout(&stat) {
                break;
            }
            if !stat.is_dir() {
                if found.is_none() {
                    return Ok(Before::File(stat));
                }
                break;
            }
            found.get_or_insert(stat);
            dirs.extend(open_dir_at(dir, name)?);
            if is_opaque(dir, name)? {
                break;
            }
        }
        Ok(found.map_or(Before::Nothing, |stat| Before::Directory(stat, Self { dirs })))
    }

    /// All names that are seen.
    fn names(&self) -> Result<HashSet<OsString>> {
        let mut names = HashSet::new();
        let mut hidden = HashSet::new();
        for dir in &self.dirs {
            for entry in fs::read_dir_at(dir, ".")? {
                let stat = fs::stat_at(dir, &entry.name)?;
                if hidden.insert(entry.name.clone()) && !is_whiteout(&stat) {
                    names.insert(entry.name);
                }
            }
        }
        Ok(names)
    }
}

/// Overlayfs marks a deleted name with a character device 0:0.
fn is_whiteout(stat: &fs::Stat) -> bool {
    stat.kind() == fs::FileKind::CharDevice && stat.rdev == 0
}

/// Overlayfs marks a directory that hides what lies below with this attribute.
fn is_opaque(dir: &OwnedFd, name: &OsStr) -> Result<bool> {
    Ok(xattr::get_at(dir, name, "trusted.overlay.opaque")?.is_some_and(|value| value == b"y"))
}

/// `None` if it went meanwhile, or became something else.
fn open_dir_at(dir: &OwnedFd, name: &OsStr) -> Result<Option<OwnedFd>> {
    match fs::open_at(dir, name, &fs::OpenHow { no_follow: true, ..fs::OpenHow::DIRECTORY }) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn size_of(dir: &OwnedFd, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir_at(dir, ".")? {
        let Some(stat) = fs::stat_at_if_exists(dir, &entry.name)? else { continue };
        if stat.is_file() && seen.insert((stat.dev, stat.ino)) {
            size += stat.size;
        }
        if stat.is_dir()
            && let Some(inner) = open_dir_at(dir, &entry.name)?
        {
            size += size_of(&inner, seen)?;
        }
    }
    Ok(size)
}

/// The errno of opening what is no directory as one.
const ENOTDIR: i32 = 20;
