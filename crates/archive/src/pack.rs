//! Packing a tree, or one path in it, into a tar stream.
//!
//! Guarantees: the same tree gives the same bytes; nothing outside the root is read, whoever swaps names for links
//! meanwhile; no link is followed. A file that changes while it is read goes in with the size that it had first, one that
//! the kernel makes up (proc(5), sysfs(5)) with the size that it turns out to have.
//! Sockets are left out, as by Docker.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use fault::{Call, Doing, Error, Kind, Result};
use sys::fs::{self, FileKind, OpenHow, Stat};
use sys::time::Timestamp;
use sys::xattr;

use crate::ignore::Matcher;
use crate::tar::{EntryKind, Header, Writer};
use crate::whiteout::{self, OPAQUE_ATTRIBUTE, OPAQUE_NAME, Whiteouts};

/// What to pack, and how it is named.
#[derive(Clone, Copy, Debug)]
pub struct Pack<'a> {
    /// The file or directory beneath the root; links in it resolve beneath the root, the last one is not followed.
    pub path: &'a Path,
    /// Its name in the archive, as `docker cp` renames; empty for a directory's content without an entry of its own.
    pub name: &'a Path,
    pub whiteouts: Whiteouts,
    pub times: Times,
    /// (uid, gid) of all entries instead of the files' own.
    pub owner: Option<(u32, u32)>,
    /// Leaves out what the rules exclude; paths are matched relative to `path`.
    pub ignore: Option<&'a Matcher>,
}

impl Default for Pack<'_> {
    fn default() -> Self {
        Self {
            path: Path::new(""),
            name: Path::new(""),
            whiteouts: Whiteouts::Keep,
            times: Times::Seconds,
            owner: None,
            ignore: None,
        }
    }
}

/// How exact modification times are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Whole seconds, as Docker: nanoseconds would cost 1 KiB more for each entry.
    #[default]
    Seconds,
    Exact,
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    pub entries: u64,
    /// Bytes of content.
    pub size: u64,
}

/// Appends entries in byte order of their names, directories before their content. The caller finishes the writer.
pub fn pack<W: Write>(root: BorrowedFd<'_>, how: &Pack<'_>, writer: &mut Writer<W>) -> Result<Packed> {
    let mut packing = Packing { how, writer, links: HashMap::new(), done: Packed::default() };
    let Some(name) = how.path.file_name() else {
        let top = fs::open_beneath(root, how.path, &OpenHow::DIRECTORY)?;
        packing.add(&top, OsStr::new("."), Path::new(""), 0)?;
        return Ok(packing.done);
    };
    let above = how.path.parent().unwrap_or(Path::new(""));
    let folder = fs::open_beneath(root, above, &OpenHow { directory: true, ..OpenHow::PATH })?;
    packing.add(&folder, name, Path::new(""), 0)?;
    Ok(packing.done)
}

struct Packing<'a, W> {
    how: &'a Pack<'a>,
    writer: &'a mut Writer<W>,
    /// The first name of each file with several.
    links: HashMap<(u64, u64), PathBuf>,
    done: Packed,
}

impl<W: Write> Packing<'_, W> {
    /// Adds `name` in `folder`, which is `path` below the packed one, and what it holds.
    fn add(&mut self, folder: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> Result<()> {
        // Gone since it was listed: the tree may be alive.
        let Some(stat) = self.stat(folder, name, path)? else { return Ok(()) };
        let excluded = self.how.ignore.is_some_and(|rules| path != Path::new("") && rules.excludes(path));
        if !excluded {
            self.add_entry(folder, name, path, &stat)
                .doing(|| format!("packing /{}", self.how.path.join(path).display()))?;
        }
        let descends = !excluded || self.how.ignore.is_some_and(|rules| rules.may_include_below(path));
        if stat.is_dir() && descends { self.add_content(folder, name, path, depth) } else { Ok(()) }
    }

    fn stat(&self, folder: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Stat>> {
        if path == Path::new("") {
            return fs::stat_at(folder, name).map(Some);
        }
        fs::stat_at_if_exists(folder, name)
    }

    fn add_content(&mut self, folder: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid(format!("{}: deeper than {DEPTH_MAX} directories", path.display())));
        }
        let how = OpenHow { no_follow: true, ..OpenHow::DIRECTORY };
        let inner = fs::open_at(folder, name, &how)?;
        for entry in fs::read_dir_at(&inner, ".")? {
            self.add(&inner, &entry.name, &path.join(&entry.name), depth + 1)?;
        }
        Ok(())
    }

    fn add_entry(&mut self, folder: &OwnedFd, name: &OsStr, path: &Path, stat: &Stat) -> Result<()> {
        let named = self.named(path);
        let translates = self.how.whiteouts == Whiteouts::Overlay;
        if translates && stat.kind() == FileKind::CharDevice && stat.device() == (0, 0) {
            return self.add_whiteout(&named, stat);
        }
        let Some(kind) = kind_of(stat) else { return Ok(()) };
        if named.as_os_str().is_empty() {
            return if translates { self.add_opaque(folder, name, &named, stat) } else { Ok(()) };
        }
        let mut header = self.header(kind, &named, stat);
        header.xattrs = attributes(folder, name)?;
        match kind {
            EntryKind::Regular => return self.add_file(folder, name, header, stat),
            EntryKind::Symlink => header.link = fs::read_link_at(folder, name)?,
            EntryKind::CharDevice | EntryKind::BlockDevice => header.device = stat.device(),
            _ => {}
        }
        self.append(&header, io::empty())?;
        if translates && stat.is_dir() { self.add_opaque(folder, name, &named, stat) } else { Ok(()) }
    }

    /// Joining an empty path would add a slash.
    fn named(&self, path: &Path) -> PathBuf {
        if path == Path::new("") { self.how.name.to_owned() } else { self.how.name.join(path) }
    }

    fn header(&self, kind: EntryKind, name: &Path, stat: &Stat) -> Header {
        let (uid, gid) = self.how.owner.unwrap_or((stat.uid, stat.gid));
        let mtime = match self.how.times {
            Times::Seconds => Timestamp::new(stat.mtime.seconds, 0),
            Times::Exact => stat.mtime,
        };
        Header {
            name: name.to_owned(),
            kind,
            mode: stat.permissions(),
            uid: uid.into(),
            gid: gid.into(),
            mtime,
            ..Header::default()
        }
    }

    fn add_file(&mut self, folder: &OwnedFd, name: &OsStr, mut header: Header, stat: &Stat) -> Result<()> {
        if stat.nlink > 1 {
            if let Some(first) = self.links.get(&(stat.dev, stat.ino)) {
                header.link.clone_from(first);
                header.kind = EntryKind::HardLink;
                header.xattrs.clear();
                return self.append(&header, io::empty());
            }
            self.links.insert((stat.dev, stat.ino), header.name.clone());
        }
        let how = OpenHow { no_follow: true, nonblock: true, ..OpenHow::READ };
        let file = match fs::open_at(folder, name, &how) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            file => File::from(file?),
        };
        // Somebody may have put a device or fifo there; its content would never end.
        if !fs::fstat(&file)?.is_file() {
            return Ok(());
        }
        if may_be_made_up(stat) {
            // Of a whole folder of them, some cannot be read.
            let content = match made_up(&file) {
                Err(error) if self.how.path.file_name() == Some(name) => return Err(error),
                content => content.unwrap_or_default(),
            };
            header.size = content.len() as u64;
            return self.append(&header, &content[..]);
        }
        header.size = stat.size;
        // A file that shrank is filled with zeros: the header is written already.
        self.append(&header, file.chain(io::repeat(0)))
    }

    fn add_whiteout(&mut self, named: &Path, stat: &Stat) -> Result<()> {
        let hiding = named.with_file_name(whiteout::hiding(named.file_name().unwrap_or_default()));
        let header = Header { mode: 0o600, ..self.header(EntryKind::Regular, &hiding, stat) };
        self.append(&header, io::empty())
    }

    fn add_opaque(&mut self, folder: &OwnedFd, name: &OsStr, named: &Path, stat: &Stat) -> Result<()> {
        if xattr::get_at(folder, name, OPAQUE_ATTRIBUTE)?.as_deref() != Some(b"y") {
            return Ok(());
        }
        let marker = self.header(EntryKind::Regular, &named.join(OPAQUE_NAME), stat);
        self.append(&Header { mode: marker.mode & 0o777, ..marker }, io::empty())
    }

    fn append(&mut self, header: &Header, content: impl Read) -> Result<()> {
        self.done.entries += 1;
        self.done.size += header.size;
        self.writer.append(header, content)
    }
}

/// Whether the size may be none: procfs says 0, sysfs a page, and neither has blocks. Others that look so are small.
fn may_be_made_up(stat: &Stat) -> bool {
    stat.blocks == 0 && stat.size <= PAGE_BYTES
}

const PAGE_BYTES: u64 = 4096;

/// What is there without waiting.
fn made_up(file: &File) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    match file.take(MADE_UP_BYTES_MAX + 1).read_to_end(&mut content) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error).call(|| "read"),
        _ if content.len() as u64 > MADE_UP_BYTES_MAX => Err(Error::invalid(format!(
            "it is longer than {MADE_UP_BYTES_MAX} bytes and does not say how long"
        ))),
        _ => Ok(content),
    }
}

/// It is kept in memory until its size is known. The longest common one, smaps of a large process, stays below.
const MADE_UP_BYTES_MAX: u64 = 16 << 20;

/// `None` for what archives do not hold.
fn kind_of(stat: &Stat) -> Option<EntryKind> {
    Some(match stat.kind() {
        FileKind::Regular => EntryKind::Regular,
        FileKind::Directory => EntryKind::Directory,
        FileKind::Symlink => EntryKind::Symlink,
        FileKind::CharDevice => EntryKind::CharDevice,
        FileKind::BlockDevice => EntryKind::BlockDevice,
        FileKind::Fifo => EntryKind::Fifo,
        FileKind::Socket | FileKind::Unknown => return None,
    })
}

fn attributes(folder: impl AsFd, name: &OsStr) -> Result<BTreeMap<OsString, Vec<u8>>> {
    let mut attributes = BTreeMap::new();
    for attribute in xattr::list_at(&folder, name)? {
        if whiteout::travels(&attribute)
            && let Some(value) = xattr::get_at(&folder, name, &attribute)?
        {
            attributes.insert(attribute, value);
        }
    }
    Ok(attributes)
}

/// One descriptor is open for each level; far below the usual limit of 1024. Docker gives up near 2000, where the
/// path is too long for the kernel.
const DEPTH_MAX: usize = 512;
