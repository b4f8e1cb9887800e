//! What a file is: the kernel's `stat` with plain integers, and the room on a file system.

use std::os::fd::AsFd;
use std::path::Path;

use fault::{Call, Result};
use rustix::fs::{self as kernel, AtFlags, CWD};

use super::at::place;
use crate::time::Timestamp;

/// A file's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    Regular,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
    Unknown,
}

impl FileKind {
    /// The kind in the upper bits of a `st_mode`.
    pub fn from_mode(mode: u32) -> Self {
        kernel::FileType::from_raw_mode(mode).into()
    }

    /// The bits that stand for this kind in a `st_mode`.
    pub fn mode(self) -> u32 {
        kernel::FileType::from(self).as_raw_mode()
    }
}

impl From<kernel::FileType> for FileKind {
    fn from(kind: kernel::FileType) -> Self {
        match kind {
            kernel::FileType::RegularFile => Self::Regular,
            kernel::FileType::Directory => Self::Directory,
            kernel::FileType::Symlink => Self::Symlink,
            kernel::FileType::CharacterDevice => Self::CharDevice,
            kernel::FileType::BlockDevice => Self::BlockDevice,
            kernel::FileType::Fifo => Self::Fifo,
            kernel::FileType::Socket => Self::Socket,
            _ => Self::Unknown,
        }
    }
}

impl From<FileKind> for kernel::FileType {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Regular => Self::RegularFile,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::Symlink,
            FileKind::CharDevice => Self::CharacterDevice,
            FileKind::BlockDevice => Self::BlockDevice,
            FileKind::Fifo => Self::Fifo,
            FileKind::Socket => Self::Socket,
            FileKind::Unknown => Self::Unknown,
        }
    }
}

/// A file's metadata. `mode` has kind and permissions, `size` and `blocks` are in bytes and in 512-byte units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub ino: u64,
    pub dev: u64,
    pub rdev: u64,
    pub nlink: u64,
    pub blocks: u64,
}

impl Stat {
    pub fn kind(&self) -> FileKind {
        FileKind::from_mode(self.mode)
    }

    /// The lower twelve bits: setuid, setgid, sticky, rwxrwxrwx.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// The bytes that the file system gave for it: `blocks` are of 512 bytes, whatever its own are (stat(2)).
    pub fn allocated(&self) -> u64 {
        self.blocks.saturating_mul(512)
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == FileKind::Directory
    }

    pub fn is_file(&self) -> bool {
        self.kind() == FileKind::Regular
    }

    pub fn is_symlink(&self) -> bool {
        self.kind() == FileKind::Symlink
    }

    /// Which device node this is: (major, minor).
    pub fn device(&self) -> (u32, u32) {
        (kernel::major(self.rdev), kernel::minor(self.rdev))
    }

    /// Whether both name the same inode.
    pub fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

#[expect(clippy::unnecessary_cast, reason = "the fields' widths differ between architectures")]
impl From<kernel::Stat> for Stat {
    fn from(stat: kernel::Stat) -> Self {
        Self {
            mode: stat.st_mode as u32,
            uid: stat.st_uid as u32,
            gid: stat.st_gid as u32,
            size: stat.st_size as u64,
            atime: Timestamp::new(stat.st_atime as i64, stat.st_atime_nsec as u32),
            mtime: Timestamp::new(stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            ctime: Timestamp::new(stat.st_ctime as i64, stat.st_ctime_nsec as u32),
            ino: stat.st_ino as u64,
            dev: stat.st_dev as u64,
            rdev: stat.st_rdev as u64,
            nlink: stat.st_nlink as u64,
            blocks: stat.st_blocks as u64,
        }
    }
}

/// stat(2): follows symbolic links.
pub fn metadata(path: impl AsRef<Path>) -> Result<Stat> {
    let path = path.as_ref();
    kernel::stat(path).map(Stat::from).call(|| format!("stat {}", path.display()))
}

/// lstat(2): a symbolic link is described itself.
pub fn lstat(path: impl AsRef<Path>) -> Result<Stat> {
    stat_at(CWD, path)
}

/// fstat(2): works on any descriptor, those opened with `O_PATH` too.
pub fn fstat(file: impl AsFd) -> Result<Stat> {
    kernel::fstat(file.as_fd()).map(Stat::from).call(|| format!("fstat {}", place(&file, "")))
}

/// fstatat(2) without following a link at the end of `name`.
pub fn stat_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<Stat> {
    let name = name.as_ref();
    kernel::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
        .map(Stat::from)
        .call(|| format!("lstat {}", place(&dir, name)))
}

/// Whether a name is there; a dangling link counts. Only "no such file" is a no, other failures are errors.
pub fn exists(path: impl AsRef<Path>) -> Result<bool> {
    Ok(lstat_if_exists(path)?.is_some())
}

/// lstat(2), with `None` if nothing has that name.
pub fn lstat_if_exists(path: impl AsRef<Path>) -> Result<Option<Stat>> {
    stat_at_if_exists(CWD, path)
}

/// [`stat_at`], with `None` if nothing has that name.
pub fn stat_at_if_exists(dir: impl AsFd, name: impl AsRef<Path>) -> Result<Option<Stat>> {
    let name = name.as_ref();
    match kernel::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).call(|| format!("lstat {}", place(&dir, name))),
    }
}

/// The room on a file system, in bytes; `available` is what an unprivileged user may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    pub free: u64,
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// statvfs(3) of the file system that holds `path`.
pub fn space(path: impl AsRef<Path>) -> Result<Space> {
    let path = path.as_ref();
    let found = kernel::statvfs(path).call(|| format!("statvfs {}", path.display()))?;
    Ok(Space {
        total: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bfree.saturating_mul(found.f_frsize),
        available: found.f_bavail.saturating_mul(found.f_frsize),
        inodes: found.f_files,
        inodes_free: found.f_ffree,
    })
}

/// The magic number of the file system that holds `path` (statfs(2) `f_type`; names in magic.h).
pub fn filesystem_magic(path: impl AsRef<Path>) -> Result<u64> {
    let path = path.as_ref();
    let found = kernel::statfs(path).call(|| format!("statfs {}", path.display()))?;
    Ok(u64::try_from(found.f_type).unwrap_or_default())
}
