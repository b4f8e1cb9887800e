//! Opening files: by path, beside a directory, and beneath a root that nothing can lead out of.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fault::{Call, Result};
use rustix::fs::{self as kernel, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::at::place;

/// What an opened descriptor is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// `O_PATH`: names the file without opening it; good for `*_at` calls and `/proc/self/fd`.
    Path,
    #[default]
    Read,
    Write,
    ReadWrite,
}

/// Whether opening may make the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Create {
    #[default]
    Never,
    IfMissing,
    /// `O_EXCL`: fails if the name is taken, by a dangling link too.
    New,
}

/// How to open; the default reads an existing file and follows links. All descriptors are close-on-exec.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenHow {
    pub access: Access,
    pub create: Create,
    /// Permissions of a created file, less the umask.
    pub mode: u32,
    pub directory: bool,
    pub truncate: bool,
    pub append: bool,
    /// Do not follow a link in the last component. With [`Access::Path`] the link itself is opened, else it is an error.
    pub no_follow: bool,
    /// Do not wait for the other end of a fifo or for a device.
    pub nonblock: bool,
    /// Only for [`open_beneath`]: any symbolic link on the way is an error.
    pub no_links: bool,
    /// Only for [`open_beneath`]: crossing into another mount is an error.
    pub no_mounts: bool,
    /// Only for [`open_beneath`]: what leads out of the root is an error (EXDEV), instead of ending at the root.
    pub no_escape: bool,
}

impl OpenHow {
    pub const READ: Self = Self {
        access: Access::Read,
        create: Create::Never,
        mode: 0,
        directory: false,
        truncate: false,
        append: false,
        no_follow: false,
        nonblock: false,
        no_links: false,
        no_mounts: false,
        no_escape: false,
    };
    /// A handle of a directory, to be read or given to `*_at` calls.
    pub const DIRECTORY: Self = Self { directory: true, ..Self::READ };
    /// A handle of whatever has the name, links followed.
    pub const PATH: Self = Self { access: Access::Path, ..Self::READ };
    /// A handle of whatever has the name, a link itself included.
    pub const PATH_NO_FOLLOW: Self = Self { no_follow: true, ..Self::PATH };
    /// Makes a file that must not exist yet.
    pub const NEW: Self =
        Self { access: Access::Write, create: Create::New, mode: 0o666, no_follow: true, ..Self::READ };

    #[must_use]
    pub const fn with_mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    fn flags(&self) -> OFlags {
        let mut flags = OFlags::CLOEXEC | self.access_flag() | self.create_flag();
        flags.set(OFlags::DIRECTORY, self.directory);
        flags.set(OFlags::TRUNC, self.truncate);
        flags.set(OFlags::APPEND, self.append);
        flags.set(OFlags::NOFOLLOW, self.no_follow);
        flags.set(OFlags::NONBLOCK, self.nonblock);
        // A terminal opened by a daemon must not become its controlling one; O_PATH takes no such flag.
        flags.set(OFlags::NOCTTY, self.access != Access::Path);
        flags
    }

    fn access_flag(&self) -> OFlags {
        match self.access {
            Access::Path => OFlags::PATH,
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        }
    }

    fn create_flag(&self) -> OFlags {
        match self.create {
            Create::Never => OFlags::empty(),
            Create::IfMissing => OFlags::CREATE,
            Create::New => OFlags::CREATE | OFlags::EXCL,
        }
    }

    /// openat2(2) refuses a mode without `O_CREAT`, and bits outside 07777.
    fn create_mode(&self) -> Mode {
        match self.create {
            Create::Never => Mode::empty(),
            _ => Mode::from_raw_mode(self.mode & 0o7777),
        }
    }

    fn resolve(&self) -> ResolveFlags {
        let root = if self.no_escape { ResolveFlags::BENEATH } else { ResolveFlags::IN_ROOT };
        let mut resolve = root | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, self.no_links);
        resolve.set(ResolveFlags::NO_XDEV, self.no_mounts);
        resolve
    }
}

/// open(2).
pub fn open(path: impl AsRef<Path>, how: &OpenHow) -> Result<File> {
    open_at(CWD, path, how).map(File::from)
}

/// A directory's handle that `*_at` calls work on, opened with `O_PATH`; links are followed.
pub fn open_dir(path: impl AsRef<Path>) -> Result<OwnedFd> {
    open_at(CWD, path, &OpenHow { directory: true, ..OpenHow::PATH })
}

/// openat(2). `name` may have several components, and links in it are followed wherever they lead: give names from
/// outside to [`open_beneath`].
pub fn open_at(dir: impl AsFd, name: impl AsRef<Path>, how: &OpenHow) -> Result<OwnedFd> {
    let name = name.as_ref();
    kernel::openat(dir.as_fd(), name, how.flags(), how.create_mode())
        .call(|| format!("open {}", place(&dir, name)))
}

/// Opens `path` as a process whose root directory is `root` would: absolute paths, absolute links and `..` stay
/// beneath `root`, whatever is renamed meanwhile; the magic links of /proc are refused (openat2(2)).
pub fn open_beneath(root: impl AsFd, path: impl AsRef<Path>, how: &OpenHow) -> Result<OwnedFd> {
    let path = path.as_ref();
    let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let attempt = || kernel::openat2(root.as_fd(), named, how.flags(), how.create_mode(), how.resolve());
    retried(attempt).call(|| format!("openat2 {}", place(&root, path)))
}

/// As [`open_beneath`]; `None` if there is no such file, or no folder on the way to it. Cheaper than an error, which
/// asks the kernel for the root's name.
pub fn open_beneath_if_exists(
    root: impl AsFd,
    path: impl AsRef<Path>,
    how: &OpenHow,
) -> Result<Option<OwnedFd>> {
    let path = path.as_ref();
    let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let attempt = || kernel::openat2(root.as_fd(), named, how.flags(), how.create_mode(), how.resolve());
    match retried(attempt) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        result => result.call(|| format!("openat2 {}", place(&root, path))).map(Some),
    }
}

/// openat2(2) says EAGAIN when a rename elsewhere made its `..` check inconclusive; a few tries always suffice
/// unless somebody renames on purpose.
fn retried(mut attempt: impl FnMut() -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    for _ in 1..BENEATH_ATTEMPTS_MAX {
        match attempt() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    attempt()
}

const BENEATH_ATTEMPTS_MAX: u32 = 128;
