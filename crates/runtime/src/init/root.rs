//! What of the root is hidden or protected, and the change to it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Doing, Error, Result};
use sys::errno::{EINVAL, EPERM};
use sys::fs::{self, OpenHow};
use sys::mount::{self, Attributes, Change, Propagation};

use super::Rootfs;
use super::mounts::host;
use super::plan::Plan;

/// Hides the masked paths and protects the read-only ones; those that do not exist need neither.
pub(super) fn protect(plan: &Plan<'_>, root: BorrowedFd<'_>) -> Result<()> {
    for path in &plan.linux.readonly_paths {
        make_read_only(root, path).doing(|| format!("can't make {path:?} read-only"))?;
    }
    let mut empty = None;
    let masked: BTreeSet<_> = plan.linux.masked_paths.iter().collect();
    for path in masked {
        mask(root, path, &mut empty).doing(|| format!("can't mask path {path:?}"))?;
    }
    Ok(())
}

fn make_read_only(root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let Some(place) = fs::open_beneath_if_exists(root, path, &OpenHow::PATH)? else { return Ok(()) };
    let tree = mount::bind(place.as_fd(), Path::new(""), true)?;
    mount::change(tree.as_fd(), &Change { set: Attributes::READ_ONLY, ..Change::default() })?;
    mount::attach(tree.as_fd(), place.as_fd())
}

/// The host's /proc and /sys would stay beneath the new root, and who has them in his mount namespace may mount others of
/// their kind without what is masked (the kernel's `mount_too_revealing`).
fn hide_kernel_views(rootfs: &Rootfs<'_>) -> Result<()> {
    let Rootfs::Path(own) = rootfs else { return Err(Error::internal("the plan has refused this")) };
    let is_view = |mount: &&mount::MountInfo| {
        (mount.kind == "proc" || mount.kind == "sysfs") && !mount.target.starts_with(own)
    };
    // Those mounted later first: they may lie on others.
    for view in mount::mountinfo("self")?.iter().rev().filter(is_view) {
        match mount::detach(&view.target) {
            // Mounts that came from a more powerful user namespace stay.
            Err(error) if matches!(error.errno(), Some(EINVAL | EPERM)) => {
                let cover = mount::new_filesystem("tmpfs", Some("tmpfs"), &[], Attributes::READ_ONLY)?;
                mount::attach_at(cover.as_fd(), host(), &view.target)?;
            }
            result => result?,
        }
    }
    Ok(())
}

/// A file is covered by the host's /dev/null, a folder by an empty one, of which all share the first's file system.
fn mask(root: BorrowedFd<'_>, path: &Path, empty: &mut Option<OwnedFd>) -> Result<()> {
    let Some(place) = fs::open_beneath_if_exists(root, path, &OpenHow::PATH)? else { return Ok(()) };
    if !fs::fstat(&place)?.is_dir() {
        let null = mount::bind(host(), Path::new("/dev/null"), false)?;
        return mount::attach(null.as_fd(), place.as_fd());
    }
    match empty {
        Some(first) => {
            let clone = mount::bind(first.as_fd(), Path::new(""), false)?;
            mount::attach(clone.as_fd(), place.as_fd())
        }
        None => {
            let first = mount::new_filesystem("tmpfs", Some("tmpfs"), &[], Attributes::READ_ONLY)?;
            mount::attach(first.as_fd(), place.as_fd())?;
            *empty = Some(first);
            Ok(())
        }
    }
}

/// Leaves the host's tree for good.
pub(super) fn pivot(plan: &Plan<'_>, root: BorrowedFd<'_>) -> Result<()> {
    match plan.no_pivot {
        false => mount::pivot_root(root)?,
        true => {
            hide_kernel_views(plan.rootfs)?;
            // user_namespaces(7): nobody makes one in a root that is not the mount namespace's.
            mount::attach_at(root, host(), Path::new("/"))?;
            mount::change_root(root)?;
        }
    }
    if let Some((propagation, beneath)) = plan.propagation {
        if propagation == Propagation::Shared {
            // With its own copies alone: the host's end here.
            mount::set_propagation(root, Path::new(""), Propagation::Private, false)?;
        }
        mount::set_propagation(root, Path::new(""), propagation, beneath)?;
    }
    if plan.spec.root.as_ref().is_some_and(|root| root.readonly) {
        mount::change(root, &Change { set: Attributes::READ_ONLY, ..Change::default() })?;
    }
    Ok(())
}
