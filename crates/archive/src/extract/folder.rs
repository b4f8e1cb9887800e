//! Handles of the directories that entries go into. Archives list a directory's files together, so the last handle
//! serves nearly always; one openat2 beneath the root gets another.

use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use fault::{Kind, Result};
use sys::fs::{self, OpenHow};

/// An open directory beneath the root.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) handle: OwnedFd,
    /// Its setgid bit is set: new names get its group, and new directories the bit.
    pub(super) inherits_group: bool,
}

impl Folder {
    fn of(handle: OwnedFd) -> Result<Self> {
        let inherits_group = fs::fstat(&handle)?.mode & 0o2000 != 0;
        Ok(Self { handle, inherits_group })
    }

    /// Makes a directory that belongs to root.
    fn make_plain(&self, name: &OsStr) -> Result<()> {
        fs::mkdir_at(&self.handle, name, 0o755)?;
        if self.inherits_group {
            fs::chown_at(&self.handle, name, 0, 0)?;
        }
        fs::chmod_at(&self.handle, name, 0o755)
    }

    pub(super) fn same_dir(&self, other: &Self) -> Result<bool> {
        Ok(fs::fstat(&self.handle)?.same_file(&fs::fstat(&other.handle)?))
    }
}

pub(super) struct Folders<'a> {
    root: BorrowedFd<'a>,
    into: &'a Path,
    /// Where the last entry went. Always its parent, so whatever replaced a directory has changed this, too.
    current: Option<(PathBuf, Rc<Folder>)>,
    /// Where the last link or time was looked up; forgotten when anything is removed.
    other: Option<(PathBuf, Rc<Folder>)>,
}

impl<'a> Folders<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, into: &'a Path) -> Self {
        Self { root, into, current: None, other: None }
    }

    /// The directory that an entry goes into; missing ones are made, owned by root with mode 0755 as by Docker.
    pub(super) fn of(&mut self, path: &Path) -> Result<Rc<Folder>> {
        if let Some(folder) = held(&self.current, path) {
            return Ok(folder);
        }
        let folder = Rc::new(self.open_or_make(path)?);
        self.current = Some((path.to_owned(), Rc::clone(&folder)));
        Ok(folder)
    }

    /// A directory that must exist.
    pub(super) fn existing(&mut self, path: &Path) -> Result<Rc<Folder>> {
        if let Some(folder) = held(&self.current, path).or_else(|| held(&self.other, path)) {
            return Ok(folder);
        }
        let folder = Rc::new(self.open(path)?);
        self.other = Some((path.to_owned(), Rc::clone(&folder)));
        Ok(folder)
    }

    /// To be called when something was removed.
    pub(super) fn forget(&mut self) {
        self.other = None;
    }

    /// To be called when the root itself has changed.
    pub(super) fn forget_all(&mut self) {
        (self.current, self.other) = (None, None);
    }

    fn open_or_make(&self, path: &Path) -> Result<Folder> {
        match self.open(path) {
            Err(error) if error.kind() == Kind::NotFound => {
                self.make_all(&self.into.join(path))?;
                self.open(path)
            }
            result => result,
        }
    }

    /// Makes what is missing on the way, where a link leads as well; links are followed as a process would whose root
    /// directory is the root.
    fn make_all(&self, path: &Path) -> Result<()> {
        let mut real = PathBuf::new();
        let mut ahead = steps(path);
        let mut links_left = LINKS_MAX;
        while let Some(step) = ahead.pop() {
            let Some(name) = step else {
                real.pop();
                continue;
            };
            match self.make(&real, &name)? {
                Made::Folder => real.push(name),
                // Opening the path says what is wrong with it.
                Made::Nothing => return Ok(()),
                Made::Link(_) if links_left == 0 => return Ok(()),
                Made::Link(target) => {
                    links_left -= 1;
                    if target.is_absolute() {
                        real.clear();
                    }
                    ahead.extend(steps(&target));
                }
            }
        }
        Ok(())
    }

    /// One name in a directory that no link leads to.
    fn make(&self, parent: &Path, name: &OsStr) -> Result<Made> {
        let how = OpenHow { directory: true, no_links: true, ..OpenHow::PATH };
        let above = Folder::of(fs::open_beneath(self.root, parent, &how)?)?;
        match fs::stat_at_if_exists(&above.handle, name)? {
            None => above.make_plain(name).map(|()| Made::Folder),
            Some(found) if found.is_symlink() => fs::read_link_at(&above.handle, name).map(Made::Link),
            Some(found) if found.is_dir() => Ok(Made::Folder),
            Some(_) => Ok(Made::Nothing),
        }
    }

    fn open(&self, path: &Path) -> Result<Folder> {
        let how = OpenHow { directory: true, ..OpenHow::PATH };
        let handle = fs::open_beneath(self.root, self.into.join(path), &how)?;
        Folder::of(handle)
    }
}

/// What stands where a directory was wanted.
enum Made {
    Folder,
    Link(PathBuf),
    Nothing,
}

/// A path's names, the first one last; `None` is the way up.
fn steps(path: &Path) -> Vec<Option<OsString>> {
    let step = |component| match component {
        Component::Normal(name) => Some(Some(name.to_owned())),
        Component::ParentDir => Some(None),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

/// As many as the kernel follows for one path (path_resolution(7)).
const LINKS_MAX: u32 = 40;

fn held(slot: &Option<(PathBuf, Rc<Folder>)>, path: &Path) -> Option<Rc<Folder>> {
    let (held, folder) = slot.as_ref()?;
    (held == path).then(|| Rc::clone(folder))
}
