//! Extracting a tar stream beneath a root, in one pass.
//!
//! Guarantees: nothing outside the root is read, written, linked or followed into, whatever the archive says and
//! whoever renames things in the root meanwhile; modes, owners, attributes and times are the archive's, those of
//! directories too, and with a layer those of the root itself; holes stay holes. Nothing is fsynced: that is one syncfs of the caller.
//! After an error what was made stays; the caller owns the tree. Messages are Docker's where people know them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fault::{Call, Doing, Error, Kind, Result};
use sys::fs::{self, FileKind, OpenHow};
use sys::time::Timestamp;
use sys::xattr;

use crate::tar::{self, Entry, EntryKind, Header};
use crate::whiteout::{self, Whiteouts};

mod folder;
mod name;
mod whiteouts;

use folder::{Folder, Folders};

/// How to extract.
#[derive(Clone, Copy, Debug)]
pub struct Extract<'a> {
    /// The directory that names in the archive are relative to; it must exist. Links in it resolve beneath the root.
    pub into: &'a Path,
    pub whiteouts: Whiteouts,
    /// (uid, gid) for all entries instead of the archive's.
    pub owner: Option<(u32, u32)>,
    /// Refuse to put a file over a directory or a directory over a file, instead of replacing it.
    pub keep_kinds: bool,
    /// Places that are something else to whoever will see the tree; an entry there is an error.
    pub hidden: &'a [PathBuf],
}

impl Default for Extract<'_> {
    fn default() -> Self {
        Self { into: Path::new(""), whiteouts: Whiteouts::Keep, owner: None, keep_kinds: false, hidden: &[] }
    }
}

/// What was extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    pub entries: u64,
    /// Bytes of content, holes included; a file with several names counts once.
    pub size: u64,
    /// Attributes that the file system or the kernel did not take; Docker ignores these as well.
    pub xattrs_skipped: u64,
}

/// Extracts an uncompressed tar stream, and reads the stream to its end, so that a reader that hashes sees all of it.
pub fn extract(stream: impl Read, root: BorrowedFd<'_>, how: &Extract<'_>) -> Result<Extracted> {
    let mut reader = tar::Reader::new(stream);
    let mut extraction = Extraction::new(root, how)?;
    while let Some(mut entry) = reader.next()? {
        extraction.add(&mut entry)?;
    }
    reader.drain()?;
    extraction.finish()
}

struct Extraction<'a> {
    how: Extract<'a>,
    folders: Folders<'a>,
    umask: u32,
    /// Accessed and modified. Directories' times are set last, since every name made in one changes them; of several
    /// entries for one directory the last counts.
    times: BTreeMap<PathBuf, (Timestamp, Timestamp)>,
    layer: whiteouts::Layer,
    done: Extracted,
}

/// An entry's place: the directory that holds it, and its name there.
struct Place<'a> {
    path: &'a Path,
    name: &'a OsStr,
    folder: &'a Folder,
    is_dir: bool,
}

impl<'a> Extraction<'a> {
    fn new(root: BorrowedFd<'a>, how: &Extract<'a>) -> Result<Self> {
        Ok(Self {
            how: *how,
            folders: Folders::new(root, how.into),
            umask: fs::umask()?,
            times: BTreeMap::new(),
            layer: whiteouts::Layer::new(how.whiteouts),
            done: Extracted::default(),
        })
    }

    fn add(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        let path = name::beneath(&entry.header.name)?;
        let Some(name) = path.file_name() else { return self.add_root(&entry.header) };
        self.refuse_hidden(&path)?;
        self.done.entries += 1;
        let folder = self.folders.of(path.parent().unwrap_or(Path::new("")))?;
        let is_dir = entry.header.kind == EntryKind::Directory;
        let place = Place { path: &path, name, folder: &folder, is_dir };
        if self.layer.apply(&place)? {
            self.folders.forget();
            return Ok(());
        }
        match self.make(&place, entry) {
            Err(error) if tar::is_cut(&error) => Err(error),
            result => result.doing(|| format!("extracting {}", path.display())),
        }
    }

    /// `./`, the directory that all goes into. A layer says what it looks like; else it is the caller's. Both as Docker
    /// (moby: `pkg/archive`, `UnpackLayer` and `Unpack`), which would replace it by a file as well.
    fn add_root(&mut self, header: &Header) -> Result<()> {
        if self.how.whiteouts == Whiteouts::Keep {
            return Ok(());
        }
        if header.kind != EntryKind::Directory {
            return Err(Error::invalid("the archive's root is no directory"));
        }
        self.done.entries += 1;
        let folder = self.folders.of(Path::new(""))?;
        let place = Place { path: Path::new(""), name: OsStr::new("."), folder: &folder, is_dir: true };
        self.finish_dir(&place, header, true).doing(|| "extracting the root")?;
        self.folders.forget_all();
        Ok(())
    }

    fn refuse_hidden(&self, path: &Path) -> Result<()> {
        match self.how.hidden.iter().find(|hidden| path.starts_with(hidden)) {
            Some(hidden) => {
                let (path, hidden) = (path.display(), hidden.display());
                Err(Error::unsupported(format!("extracting {path} beneath what is mounted at {hidden}")))
            }
            None => Ok(()),
        }
    }

    fn make(&mut self, place: &Place<'_>, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        match entry.header.kind {
            EntryKind::Regular => self.make_file(place, entry),
            EntryKind::Directory => self.make_dir(place, &entry.header),
            EntryKind::HardLink => self.make_link(place, &entry.header),
            EntryKind::Symlink => self.make_symlink(place, &entry.header),
            EntryKind::CharDevice => self.make_node(place, FileKind::CharDevice, &entry.header),
            EntryKind::BlockDevice => self.make_node(place, FileKind::BlockDevice, &entry.header),
            EntryKind::Fifo => self.make_node(place, FileKind::Fifo, &entry.header),
            EntryKind::Other(flag) => Err(Error::invalid(format!("unhandled tar header type {flag}"))),
        }
    }

    fn make_file(&mut self, place: &Place<'_>, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        // Setuid bits come after the content and the owner, which would take them away.
        let mode = entry.header.mode & 0o777;
        let how = OpenHow::NEW.with_mode(mode);
        let file = File::from(self.replacing(place, || fs::open_at(&place.folder.handle, place.name, &how))?);
        fill(&file, entry)?;
        // Holes of a few entries can add up to more than there are numbers.
        self.done.size = self.done.size.saturating_add(entry.header.size);
        let (uid, gid) = self.owner(&entry.header)?;
        if self.needs_owner(place, uid, gid) {
            fs::fchown(&file, uid, gid)?;
        }
        for (attribute, value) in &entry.header.xattrs {
            self.attribute(attribute, || xattr::fset(&file, attribute, value))?;
        }
        if self.needs_mode(place, &entry.header) {
            fs::fchmod(&file, entry.header.mode)?;
        }
        let (accessed, modified) = times(&entry.header);
        fs::set_times(&file, accessed, modified)
    }

    fn make_dir(&mut self, place: &Place<'_>, header: &Header) -> Result<()> {
        let existing = self.mkdir(place, header.mode & 0o777)?;
        self.finish_dir(place, header, existing)
    }

    fn finish_dir(&mut self, place: &Place<'_>, header: &Header, existing: bool) -> Result<()> {
        let (uid, gid) = self.owner(header)?;
        if existing || self.needs_owner(place, uid, gid) {
            fs::chown_at(&place.folder.handle, place.name, uid, gid)?;
        }
        self.attributes_by_name(place, header)?;
        if existing || self.needs_mode(place, header) {
            fs::chmod_at(&place.folder.handle, place.name, header.mode)?;
        }
        let (accessed, modified) = times(header);
        self.times.insert(place.path.to_owned(), (accessed, modified));
        Ok(())
    }

    /// Makes a directory and says whether it was there before.
    fn mkdir(&mut self, place: &Place<'_>, mode: u32) -> Result<bool> {
        let folder = &place.folder.handle;
        let mut existing = false;
        self.replacing(place, || match fs::mkdir_at(folder, place.name, mode) {
            Err(error) if error.kind() == Kind::Conflict && fs::stat_at(folder, place.name)?.is_dir() => {
                existing = true;
                Ok(())
            }
            result => result,
        })?;
        Ok(existing)
    }

    /// Another name for what an earlier entry made; it has that entry's metadata, as with GNU tar.
    fn make_link(&mut self, place: &Place<'_>, header: &Header) -> Result<()> {
        let target = name::hard_link_target(&header.link, self.how.into)?;
        let name = target.file_name().ok_or_else(|| Error::invalid("hard link to the root"))?;
        let folder = self.folders.existing(target.parent().unwrap_or(Path::new("")))?;
        if folder.same_dir(place.folder)? && name == place.name {
            return Ok(());
        }
        self.replacing(place, || fs::link_at(&folder.handle, name, &place.folder.handle, place.name))
    }

    fn make_symlink(&mut self, place: &Place<'_>, header: &Header) -> Result<()> {
        name::check_symlink(place.path, &header.link, self.how.into)?;
        self.replacing(place, || fs::symlink_at(&header.link, &place.folder.handle, place.name))?;
        self.finish_by_name(place, header, false)
    }

    fn make_node(&mut self, place: &Place<'_>, kind: FileKind, header: &Header) -> Result<()> {
        let device = if kind == FileKind::Fifo { (0, 0) } else { header.device };
        let make = || fs::mknod_at(&place.folder.handle, place.name, kind, header.mode & 0o777, device);
        self.replacing(place, make)?;
        self.finish_by_name(place, header, self.needs_mode(place, header))
    }

    fn finish_by_name(&mut self, place: &Place<'_>, header: &Header, needs_mode: bool) -> Result<()> {
        let folder = &place.folder.handle;
        let (uid, gid) = self.owner(header)?;
        if self.needs_owner(place, uid, gid) {
            fs::chown_at(folder, place.name, uid, gid)?;
        }
        self.attributes_by_name(place, header)?;
        if needs_mode {
            fs::chmod_at(folder, place.name, header.mode)?;
        }
        let (accessed, modified) = times(header);
        fs::set_times_at(folder, place.name, accessed, modified)
    }

    fn attributes_by_name(&mut self, place: &Place<'_>, header: &Header) -> Result<()> {
        for (attribute, value) in &header.xattrs {
            let set = || xattr::set_at(&place.folder.handle, place.name, attribute, value);
            self.attribute(attribute, set)?;
        }
        Ok(())
    }

    /// Sets an attribute if it may come from an archive and the file system takes it.
    fn attribute(&mut self, attribute: &OsStr, set: impl FnOnce() -> Result<()>) -> Result<()> {
        if !whiteout::travels(attribute) {
            return Ok(());
        }
        match set() {
            Err(error) if xattr::is_refused(&error) => {
                self.done.xattrs_skipped += 1;
                Ok(())
            }
            result => result,
        }
    }

    /// Makes something; if the name is taken, removes what has it and tries again.
    fn replacing<T>(&mut self, place: &Place<'_>, mut make: impl FnMut() -> Result<T>) -> Result<T> {
        match make() {
            Err(error) if error.kind() == Kind::Conflict => {}
            result => return result,
        }
        let existing = fs::stat_at(&place.folder.handle, place.name)?;
        self.check_kinds(place, existing.is_dir())?;
        fs::remove_tree_at(&place.folder.handle, place.name)?;
        self.folders.forget();
        let made = make()?;
        self.layer.replaced(&existing, place)?;
        Ok(made)
    }

    fn check_kinds(&self, place: &Place<'_>, was_dir: bool) -> Result<()> {
        if !self.how.keep_kinds || was_dir == place.is_dir {
            return Ok(());
        }
        let into = name::shown(self.how.into);
        let path = into.join(place.path);
        Err(Error::invalid(if was_dir {
            format!("cannot overwrite directory {path:?} with non-directory {into:?}")
        } else {
            format!("cannot overwrite non-directory {path:?} with directory {into:?}")
        }))
    }

    fn owner(&self, header: &Header) -> Result<(u32, u32)> {
        match self.how.owner {
            Some(owner) => Ok(owner),
            None => Ok((id(header.uid)?, id(header.gid)?)),
        }
    }

    /// New files belong to root, or to the group of a directory that hands it down.
    fn needs_owner(&self, place: &Place<'_>, uid: u32, gid: u32) -> bool {
        (uid, gid) != (0, 0) || place.folder.inherits_group
    }

    fn needs_mode(&self, place: &Place<'_>, header: &Header) -> bool {
        header.mode & (self.umask | 0o7000) != 0 || place.folder.inherits_group
    }

    /// Sets the times of directories, and tells what was done.
    fn finish(mut self) -> Result<Extracted> {
        for (path, (accessed, modified)) in std::mem::take(&mut self.times) {
            match self.set_dir_times(&path, accessed, modified) {
                // A later entry put something else there, or a whiteout took it.
                Err(error) if fs::is_nowhere(&error) => {}
                result => result?,
            }
        }
        Ok(self.done)
    }

    fn set_dir_times(&mut self, path: &Path, accessed: Timestamp, modified: Timestamp) -> Result<()> {
        let folder = self.folders.existing(path.parent().unwrap_or(Path::new("")))?;
        fs::set_times_at(&folder.handle, path.file_name().unwrap_or(OsStr::new(".")), accessed, modified)
    }
}

/// Writes the content where it belongs; what the archive does not store stays a hole.
fn fill(file: &File, entry: &mut Entry<'_, impl Read>) -> Result<()> {
    let mut end = 0;
    while let Some((offset, bytes)) = entry.next_chunk()? {
        file.write_all_at(bytes, offset).call(|| "write")?;
        end = offset + bytes.len() as u64;
    }
    if end < entry.header.size { fs::set_size(file, entry.header.size) } else { Ok(()) }
}

/// (accessed, modified): as Docker, the access is not before the modification.
fn times(header: &Header) -> (Timestamp, Timestamp) {
    (header.atime.unwrap_or(header.mtime).max(header.mtime), header.mtime)
}

/// A user or group; some writers store ids above 2^31 as negative numbers. -1 means "leave" to the kernel.
fn id(value: i64) -> Result<u32> {
    let id = u32::try_from(value).ok().or_else(|| i32::try_from(value).ok().map(i32::cast_unsigned));
    id.filter(|id| *id != u32::MAX).ok_or_else(|| Error::invalid(format!("owner {value} is out of range")))
}
