//! Mounts by the descriptor-based calls: made or cloned *detached*, given their attributes, then attached in one step.
//!
//! A detached mount is visible to nobody until it is attached, and goes away with its descriptor. It may be sent to
//! another process and attached in that one's mount namespace.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Call, Result};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::raw::{c_string, check};

mod attributes;
mod filesystem;
mod info;
mod overlay;
mod words;

pub use attributes::{Attributes, Change, Propagation, change, set_propagation};
pub use filesystem::new_filesystem;
pub use info::{MountInfo, mountinfo, parse_mountinfo};
pub use overlay::{Overlay, overlay};
pub use words::Words;

/// Whether nothing can be written through the mount that holds `path`.
pub fn is_read_only(path: &Path) -> Result<bool> {
    let stat = rustix::fs::statvfs(path).call(|| format!("statvfs {}", path.display()))?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The working folder as a descriptor: with it, paths mean what they mean everywhere else.
pub fn current_folder() -> BorrowedFd<'static> {
    CWD
}

/// A detached clone of the mount at a path, or of the descriptor itself if the path is empty.
pub fn bind(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
    rustix::mount::open_tree(dir, path, flags).call(|| format!("open_tree {}", path.display()))
}

/// Attaches a detached mount onto an open file or folder.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).call(|| "move_mount")
}

/// Attaches a detached mount at a path; links on the way are followed, so the path must not be the container's.
pub fn attach_at(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    rustix::mount::move_mount(mount, "", dir, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call(|| format!("move_mount {}", path.display()))
}

/// mount(2), for what the newer calls lack. `flags` are `MS_*`.
pub(crate) fn mount_legacy(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> Result<()> {
    let (raw_source, raw_target, raw_kind, raw_data) =
        (c_string(source)?, c_string(target)?, c_string(kind)?, c_string(data)?);
    // SAFETY: all four strings end in NUL and live during the call.
    let result = unsafe {
        libc::mount(
            raw_source.as_ptr(),
            raw_target.as_ptr(),
            raw_kind.as_ptr(),
            flags,
            raw_data.as_ptr().cast(),
        )
    };
    check(i64::from(result)).call(|| format!("mount {kind} at {}", target.display()))?;
    Ok(())
}

/// Takes a mount and all beneath out of sight; it ends when the last user is gone.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .call(|| format!("umount {}", path.display()))
}

/// umount2(2) without flags: fails with EBUSY while in use.
pub fn unmount(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::NOFOLLOW).call(|| format!("umount {}", path.display()))
}

/// Makes the mount `root` the root and working directory of the caller, and leaves the old root beneath it. Weaker than
/// [`pivot_root`], for where that cannot be had.
pub fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).call(|| "fchdir to the new root")?;
    rustix::process::chroot(".").call(|| "chroot")?;
    rustix::process::chdir("/").call(|| "chdir /")
}

/// Makes an open folder the working directory of the caller.
pub fn enter(folder: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(folder).call(|| "fchdir")
}

/// Makes the mount `root`, which must be attached in the caller's mount namespace, the root and working directory of
/// the caller, and takes the old root out of the namespace.
pub fn pivot_root(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).call(|| "fchdir to the new root")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up stacked on the new one, under ".".
    rustix::process::pivot_root(".", ".").call(|| "pivot_root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "umount of the old root")?;
    rustix::process::chdir("/").call(|| "chdir /")
}
