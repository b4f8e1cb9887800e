//! Sources of mounts that the parent opens, with the host's rights: those that the container's root may not reach, and
//! those whose ids are mapped, which takes rights over their file system (mount_setattr(2)).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use fault::{Call, Doing, Result};
use sys::mount::{self, Change, Propagation};

use super::mounts::{describe, host, is_shared};
use super::plan::{IdMap, MountPlan, Plan, Source};

/// By their index. In the host's mount namespace, but detached: nobody sees them.
pub(super) fn open(plan: &Plan<'_>) -> Result<BTreeMap<usize, OwnedFd>> {
    let mut sources = BTreeMap::new();
    for (index, mount) in plan.mounts.iter().enumerate() {
        let is_out_of_reach = plan.id_maps.is_some() && matches!(mount.source, Source::Host(_));
        if is_out_of_reach || mount.id_map.is_some() {
            sources.insert(index, open_one(plan, mount).doing(|| describe(mount))?);
        }
    }
    Ok(sources)
}

fn open_one(plan: &Plan<'_>, mount: &MountPlan<'_>) -> Result<OwnedFd> {
    let tree = match &mount.source {
        Source::Given(fd) => fd.try_clone_to_owned().call(|| "dup")?,
        Source::Host(path) => mount::bind(host(), path, mount.options.recursive)?,
        Source::Cgroup | Source::FileSystem { .. } => {
            return Err(fault::Error::internal("only clones have sources to open"));
        }
    };
    // Who owns a user namespace gives nothing back to the host.
    if matches!(mount.source, Source::Host(_)) && (plan.id_maps.is_some() || !is_shared(mount)) {
        let change = Change { propagation: Some(Propagation::Slave), recursive: true, ..Change::default() };
        mount::change(tree.as_fd(), &change)?;
    }
    if let Some(IdMap { maps, recursive }) = &mount.id_map {
        let namespace = maps.namespace()?;
        let change = Change { id_map: Some(namespace.as_fd()), recursive: *recursive, ..Change::default() };
        mount::change(tree.as_fd(), &change)?;
    }
    Ok(tree)
}
