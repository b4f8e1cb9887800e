//! Calls beside a directory's handle. None follows a symbolic link in the last component.
//!
//! Names are meant to be single components: the kernel follows links in earlier ones.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fault::{Call, Result};
use rustix::fs::{self as kernel, AtFlags, CWD, Gid, Mode, RenameFlags, Timestamps, Uid};

use super::FileKind;
use crate::time::Timestamp;

/// Makes a directory; the umask applies.
pub fn mkdir_at(dir: impl AsFd, name: impl AsRef<Path>, mode: u32) -> Result<()> {
    let name = name.as_ref();
    kernel::mkdirat(dir.as_fd(), name, permissions(mode)).call(|| format!("mkdir {}", place(&dir, name)))
}

/// Makes a device, fifo, socket or empty file; `device` is (major, minor), the umask applies.
pub fn mknod_at(
    dir: impl AsFd,
    name: impl AsRef<Path>,
    kind: FileKind,
    mode: u32,
    device: (u32, u32),
) -> Result<()> {
    let name = name.as_ref();
    kernel::mknodat(dir.as_fd(), name, kind.into(), permissions(mode), kernel::makedev(device.0, device.1))
        .call(|| format!("mknod {}", place(&dir, name)))
}

/// Makes the symbolic link `name` that says `target`.
pub fn symlink_at(target: impl AsRef<Path>, dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    kernel::symlinkat(target.as_ref(), dir.as_fd(), name).call(|| format!("symlink {}", place(&dir, name)))
}

/// Gives the file `old` beside `old_dir` a second name; a link is linked itself.
pub fn link_at(
    old_dir: impl AsFd,
    old: impl AsRef<Path>,
    new_dir: impl AsFd,
    new: impl AsRef<Path>,
) -> Result<()> {
    let (old, new) = (old.as_ref(), new.as_ref());
    kernel::linkat(old_dir.as_fd(), old, new_dir.as_fd(), new, AtFlags::empty())
        .call(|| format!("link {} to {}", place(&old_dir, old), place(&new_dir, new)))
}

/// Removes a file or link.
pub fn unlink_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    kernel::unlinkat(dir.as_fd(), name, AtFlags::empty()).call(|| format!("unlink {}", place(&dir, name)))
}

/// Removes an empty directory.
pub(crate) fn rmdir_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    kernel::unlinkat(dir.as_fd(), name, AtFlags::REMOVEDIR).call(|| format!("rmdir {}", place(&dir, name)))
}

/// renameat(2): replaces what has the new name.
pub(crate) fn rename_at(
    old_dir: impl AsFd,
    old: impl AsRef<Path>,
    new_dir: impl AsFd,
    new: impl AsRef<Path>,
) -> Result<()> {
    rename_with(old_dir.as_fd(), old.as_ref(), new_dir.as_fd(), new.as_ref(), RenameFlags::empty())
}

/// Renames, and fails if the new name is taken.
pub fn rename_new(old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<()> {
    rename_with(CWD, old.as_ref(), CWD, new.as_ref(), RenameFlags::NOREPLACE)
}

/// Swaps two names atomically.
pub fn exchange(old: impl AsRef<Path>, new: impl AsRef<Path>) -> Result<()> {
    rename_with(CWD, old.as_ref(), CWD, new.as_ref(), RenameFlags::EXCHANGE)
}

fn rename_with(
    old_dir: rustix::fd::BorrowedFd<'_>,
    old: &Path,
    new_dir: rustix::fd::BorrowedFd<'_>,
    new: &Path,
    flags: RenameFlags,
) -> Result<()> {
    kernel::renameat_with(old_dir, old, new_dir, new, flags)
        .call(|| format!("rename {} to {}", place(old_dir, old), place(new_dir, new)))
}

/// What a symbolic link says.
pub fn read_link_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<PathBuf> {
    let name = name.as_ref();
    let target = kernel::readlinkat(dir.as_fd(), name, Vec::new())
        .call(|| format!("readlink {}", place(&dir, name)))?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

/// Changes the owner of a file or of a link itself. The kernel clears setuid and setgid bits and file capabilities.
pub fn chown_at(dir: impl AsFd, name: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
    let name = name.as_ref();
    let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    kernel::chownat(dir.as_fd(), name, user, group, AtFlags::SYMLINK_NOFOLLOW)
        .call(|| format!("lchown {}", place(&dir, name)))
}

/// Changes the owner of an open file; not for `O_PATH` handles.
pub fn fchown(file: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    kernel::fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .call(|| format!("fchown {}", place(&file, "")))
}

/// Changes the permissions of an open file; not for `O_PATH` handles.
pub fn fchmod(file: impl AsFd, mode: u32) -> Result<()> {
    kernel::fchmod(file.as_fd(), permissions(mode)).call(|| format!("fchmod {}", place(&file, "")))
}

/// Changes permissions by name; a link has none, and is an error (EOPNOTSUPP). Needs /proc, for fchmodat(2) would
/// follow a link that somebody swaps in, and fchmodat2(2) is young (Linux 6.6).
pub fn chmod_at(dir: impl AsFd, name: impl AsRef<Path>, mode: u32) -> Result<()> {
    let name = name.as_ref();
    let handle = super::open_at(&dir, name, &super::OpenHow::PATH_NO_FOLLOW)?;
    kernel::chmodat(CWD, proc_path(&handle), permissions(mode), AtFlags::empty())
        .call(|| format!("chmod {}", place(&dir, name)))
}

/// Sets the times of a file or of a link itself.
pub fn set_times_at(
    dir: impl AsFd,
    name: impl AsRef<Path>,
    accessed: Timestamp,
    modified: Timestamp,
) -> Result<()> {
    let name = name.as_ref();
    kernel::utimensat(dir.as_fd(), name, &timestamps(accessed, modified), AtFlags::SYMLINK_NOFOLLOW)
        .call(|| format!("utimensat {}", place(&dir, name)))
}

/// Sets the times of an open file.
pub fn set_times(file: impl AsFd, accessed: Timestamp, modified: Timestamp) -> Result<()> {
    kernel::futimens(file.as_fd(), &timestamps(accessed, modified))
        .call(|| format!("futimens {}", place(&file, "")))
}

/// ftruncate(2): a longer size leaves a hole.
pub fn set_size(file: impl AsFd, size: u64) -> Result<()> {
    kernel::ftruncate(file.as_fd(), size).call(|| format!("ftruncate {}", place(&file, "")))
}

/// A second descriptor of the same open file, close-on-exec.
pub fn duplicate(file: impl AsFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(file.as_fd(), 3).call(|| "duplicate a descriptor")
}

/// The name through which this process can reach an open file again, `O_PATH` handles included. Needs /proc.
pub fn proc_path(file: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

/// Where a handle points now, as the kernel prints it; only for people, since it may have moved.
pub fn path_of(file: impl AsFd) -> Result<PathBuf> {
    read_link_at(CWD, proc_path(file))
}

/// `name` beside `dir` in words, for errors.
pub(crate) fn place(dir: impl AsFd, name: impl AsRef<Path>) -> String {
    let name = name.as_ref();
    if dir.as_fd().as_raw_fd() == CWD.as_raw_fd() {
        return name.display().to_string();
    }
    // Two bare calls, not path_of: an error's text must not make errors of its own.
    let base = kernel::readlink(proc_path(&dir), Vec::new()).unwrap_or_default();
    let inside = name.strip_prefix("/").unwrap_or(name);
    PathBuf::from(OsString::from_vec(base.into_bytes())).join(inside).display().to_string()
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

fn timestamps(accessed: Timestamp, modified: Timestamp) -> Timestamps {
    Timestamps { last_access: accessed.into(), last_modification: modified.into() }
}
