//! What of the root is hidden or protected, and the change to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Doing, Result};
use sys::fs::{self, OpenHow};
use sys::mount::{self, Attributes, Change};

use super::mounts::host;
use super::plan::Plan;

/// Hides the masked paths and protects the read-only ones; those that do not exist need neither.
pub(super) fn protect(plan: &Plan<'_>, root: BorrowedFd<'_>) -> Result<()> {
    for path in &plan.linux.readonly_paths {
        make_read_only(root, path).doing(|| format!("can't make {path:?} read-only"))?;
    }
    let mut empty = None;
    for path in &plan.linux.masked_paths {
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
    mount::pivot_root(root)?;
    if let Some((propagation, beneath)) = plan.propagation {
        mount::set_propagation(root, Path::new(""), propagation, beneath)?;
    }
    if plan.spec.root.as_ref().is_some_and(|root| root.readonly) {
        mount::change(root, &Change { set: Attributes::READ_ONLY, ..Change::default() })?;
    }
    Ok(())
}
