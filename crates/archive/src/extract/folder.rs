//! Handles of the directories that entries go into. Archives list a directory's files together, so the last handle
//! serves nearly always; one openat2 beneath the root gets another.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
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
        match (self.open(path), path.parent(), path.file_name()) {
            (Err(error), Some(parent), Some(name)) if error.kind() == Kind::NotFound => {
                let above = self.open_or_make(parent)?;
                fs::mkdir_at(&above.handle, name, 0o755)?;
                if above.inherits_group {
                    fs::chown_at(&above.handle, name, 0, 0)?;
                }
                fs::chmod_at(&above.handle, name, 0o755)?;
                self.open(path)
            }
            (result, ..) => result,
        }
    }

    fn open(&self, path: &Path) -> Result<Folder> {
        let how = OpenHow { directory: true, ..OpenHow::PATH };
        let handle = fs::open_beneath(self.root, self.into.join(path), &how)?;
        let inherits_group = fs::fstat(&handle)?.mode & 0o2000 != 0;
        Ok(Folder { handle, inherits_group })
    }
}

fn held(slot: &Option<(PathBuf, Rc<Folder>)>, path: &Path) -> Option<Rc<Folder>> {
    let (held, folder) = slot.as_ref()?;
    (held == path).then(|| Rc::clone(folder))
}
