//! What a writable layer changes in the layers below it, as `docker diff` tells it.
//!
//! Upper and lower trees are walked together, directory by directory, each opened beneath its root without following a
//! link: what a running container renames meanwhile leads nowhere else. A directory counts as modified when something in
//! it changed.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fault::{Kind, Result};
use sys::errno::{ELOOP, ENOTDIR};
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
    let roots = lowers.iter().map(fs::open_dir).collect::<Result<Vec<_>>>()?;
    let trees = Trees { upper: fs::open_dir(upper)?, lowers: roots };
    let all = (0..lowers.len()).collect();
    let mut found = BTreeMap::new();
    let mut pending = vec![Folder { path: PathBuf::new(), lowers: all, is_opaque: false }];
    while let Some(folder) = pending.pop() {
        trees.compare(&folder, &mut found, &mut pending)?;
    }
    let absolute = |(path, kind)| Change { path: Path::new("/").join(path), kind };
    Ok(found.into_iter().map(absolute).collect())
}

/// By path, relative to the root.
type Found = BTreeMap<PathBuf, ChangeKind>;

struct Trees {
    upper: OwnedFd,
    /// Uppermost first.
    lowers: Vec<OwnedFd>,
}

/// A directory of the upper tree that is still to be compared. It is known by its path, not by a handle: trees are as
/// deep as a container makes them.
struct Folder {
    path: PathBuf,
    /// The lower trees whose directory of that path would be seen through it.
    lowers: Vec<usize>,
    /// What lies below is hidden.
    is_opaque: bool,
}

/// What a name was before.
enum Before {
    Nothing,
    File(fs::Stat),
    /// With the lower trees that make it up.
    Directory(fs::Stat, Vec<usize>),
}

impl Trees {
    fn compare(&self, folder: &Folder, found: &mut Found, pending: &mut Vec<Folder>) -> Result<()> {
        let Some(upper) = open_folder(&self.upper, &folder.path)? else { return Ok(()) };
        let lower = self.lower(folder)?;
        let mut names = HashSet::new();
        for (name, stat) in entries(&upper)? {
            let path = folder.path.join(&name);
            let before = lower.look_up(&name)?;
            if let Some(kind) = kind_of(&before, &stat) {
                add(found, &path, kind);
            }
            if stat.is_dir() {
                let is_opaque = is_opaque(&upper, &name)?;
                let lowers = if let Before::Directory(_, lowers) = before { lowers } else { Vec::new() };
                pending.push(Folder { path, lowers, is_opaque });
            }
            names.insert(name);
        }
        if folder.is_opaque {
            for name in lower.names()?.difference(&names) {
                add(found, &folder.path.join(name), ChangeKind::Deleted);
            }
        }
        Ok(())
    }

    fn lower(&self, folder: &Folder) -> Result<Lower> {
        let mut dirs = Vec::new();
        for index in &folder.lowers {
            let dir = open_folder(&self.lowers[*index], &folder.path)?;
            dirs.extend(dir.map(|dir| (*index, dir)));
        }
        Ok(Lower { dirs })
    }
}

/// A change in a directory is a change of the directory.
fn add(found: &mut Found, path: &Path, kind: ChangeKind) {
    found.insert(path.into(), kind);
    for above in path.ancestors().skip(1).filter(|above| *above != Path::new("")) {
        if found.contains_key(above) {
            break;
        }
        found.insert(above.into(), ChangeKind::Modified);
    }
}

/// `None` if it is what it was. What changes inside a directory is not looked at.
fn kind_of(before: &Before, now: &fs::Stat) -> Option<ChangeKind> {
    match before {
        Before::Nothing if is_whiteout(now) => None,
        _ if is_whiteout(now) => Some(ChangeKind::Deleted),
        Before::Nothing => Some(ChangeKind::Added),
        Before::Directory(was, _) if now.is_dir() && same_owner(was, now) => None,
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

/// The directories that lie below one directory, uppermost first, each with its tree's place.
struct Lower {
    dirs: Vec<(usize, OwnedFd)>,
}

impl Lower {
    /// What `name` is when only these directories are seen.
    fn look_up(&self, name: &OsStr) -> Result<Before> {
        let mut lowers = Vec::new();
        let mut found = None;
        for (index, dir) in &self.dirs {
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
            lowers.push(*index);
            if is_opaque(dir, name)? {
                break;
            }
        }
        Ok(found.map_or(Before::Nothing, |stat| Before::Directory(stat, lowers)))
    }

    /// All names that are seen.
    fn names(&self) -> Result<HashSet<OsString>> {
        let mut names = HashSet::new();
        let mut hidden = HashSet::new();
        for (_, dir) in &self.dirs {
            for (name, stat) in entries(dir)? {
                if hidden.insert(name.clone()) && !is_whiteout(&stat) {
                    names.insert(name);
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

/// What is in a directory; what goes while we look is left out.
fn entries(dir: &OwnedFd) -> Result<Vec<(OsString, fs::Stat)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir_at(dir, ".")? {
        let stat = fs::stat_at_if_exists(dir, &entry.name)?;
        entries.extend(stat.map(|stat| (entry.name, stat)));
    }
    Ok(entries)
}

/// `None` if it went meanwhile, or became something else.
fn open_folder(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    match fs::open_beneath(root, path, &fs::OpenHow { no_links: true, ..fs::OpenHow::DIRECTORY }) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        // No directory any more, or a link.
        Err(error) if matches!(error.errno(), Some(ENOTDIR | ELOOP)) => Ok(None),
        Err(error) => Err(error),
    }
}
