//! The container's mounts: each made detached, given its attributes, then attached beneath the root.
//!
//! Runs in the container's new mount namespace, still with the host's root as `/`, so that sources of the host are
//! named by plain paths and places of the container only beneath the open root.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Call, Doing, Error, Kind, Result};
use sys::fs::{self, FileKind, OpenHow};
use sys::mount::{self, Attributes, Change, Propagation};
use sys::namespace::Kinds;

use super::Rootfs;
use super::options::{AttributeChange, Options};
use super::plan::{MountPlan, Plan, Source};
use crate::cgroup::Cgroup;

/// Attaches the root and returns it: a folder over itself, where hooks look for it, and what comes from outside over `/`,
/// where path lookups from the host's root do not see it.
pub(super) fn attach_root(rootfs: &Rootfs<'_>) -> Result<OwnedFd> {
    // Whatever comes from the host may come in, nothing goes back.
    mount::set_propagation(host(), Path::new("/"), Propagation::Slave, true)?;
    let (root, place) = match rootfs {
        Rootfs::Mount(fd) => (fd.try_clone_to_owned().call(|| "dup")?, Path::new("/")),
        Rootfs::Path(path) => (mount::bind(host(), path, true).doing(|| "preparing rootfs")?, *path),
    };
    mount::attach_at(root.as_fd(), host(), place).doing(|| "attaching the rootfs")?;
    Ok(root)
}

/// The sources that go on exchanging mounts with the host: cloned before [`attach_root`] ends that.
pub(super) fn open_shared_sources(plan: &Plan<'_>, open: &mut BTreeMap<usize, OwnedFd>) -> Result<()> {
    for (index, mount) in plan.mounts.iter().enumerate().filter(|(_, mount)| is_shared(mount)) {
        if let (Source::Host(path), Entry::Vacant(place)) = (&mount.source, open.entry(index)) {
            place.insert(mount::bind(host(), path, mount.options.recursive).doing(|| describe(mount))?);
        }
    }
    Ok(())
}

pub(super) fn is_shared(mount: &MountPlan<'_>) -> bool {
    mount.options.propagation.iter().any(|(how, _)| *how == Propagation::Shared)
}

/// Attaches all mounts in their order. Returns those that become read-only later.
pub(super) fn attach_all(
    plan: &Plan<'_>,
    root: BorrowedFd<'_>,
    cgroup: &Cgroup,
    mut sources: BTreeMap<usize, OwnedFd>,
) -> Result<Vec<OwnedFd>> {
    let mut late = Vec::new();
    for (index, mount) in plan.mounts.iter().enumerate() {
        let attached = attach(plan, mount, root, cgroup, sources.remove(&index)).doing(|| describe(mount))?;
        if mount.read_only_late && mount.options.attributes.set.contains(Attributes::READ_ONLY) {
            late.push(attached);
        }
    }
    Ok(late)
}

pub(super) fn make_read_only(mounts: &[OwnedFd]) -> Result<()> {
    let change = Change { set: Attributes::READ_ONLY, ..Change::default() };
    mounts.iter().try_for_each(|mount| mount::change(mount.as_fd(), &change))
}

pub(super) fn describe(mount: &MountPlan<'_>) -> String {
    format!("error mounting {:?} to rootfs at {:?}", mount.origin, mount.destination)
}

fn attach(
    plan: &Plan<'_>,
    mount: &MountPlan<'_>,
    root: BorrowedFd<'_>,
    cgroup: &Cgroup,
    open: Option<OwnedFd>,
) -> Result<OwnedFd> {
    let tree = match (&mount.source, open) {
        (_, Some(open)) => open,
        (Source::Given(fd), None) => fd.try_clone_to_owned().call(|| "dup")?,
        (Source::Host(path), None) => mount::bind(host(), path, mount.options.recursive)?,
        (Source::Cgroup, None) => return attach_cgroup(plan, mount, root, cgroup),
        (Source::FileSystem { kind, source }, None) => {
            refuse_misplaced_view(kind, root, mount.destination)?;
            let options = with_mode_of_place(kind, &mount.options, root, mount.destination)?;
            let fs = new_filesystem(kind, source, &options, mount.read_only_late)?;
            if mount.options.copy_up {
                super::copy_up::copy_up(root, mount.destination, fs.as_fd())?;
            }
            fs
        }
    };
    if !matches!(mount.source, Source::FileSystem { .. }) {
        change_attributes(&tree, &mount.options)?;
    }
    for (propagation, beneath) in &mount.options.propagation {
        let change = Change { propagation: Some(*propagation), recursive: *beneath, ..Change::default() };
        mount::change(tree.as_fd(), &change)?;
    }
    let target = target(root, mount.destination, &tree)?;
    mount::attach(tree.as_fd(), target.as_fd())
        .map_err(|error| explain_mismatch(error, mount, &tree, &target))?;
    Ok(tree)
}

/// Behind a link of the image the kernel's own views would lie where nobody masks and protects them.
fn refuse_misplaced_view(kind: &str, root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    if kind != "proc" && kind != "sysfs" {
        return Ok(());
    }
    let how = OpenHow { no_follow: true, ..OpenHow::PATH };
    match fs::open_beneath_if_exists(root, path, &how)? {
        Some(place) if !fs::fstat(&place)?.is_dir() => {
            Err(Error::invalid(format!("{kind} must be mounted on ordinary directory, not at {path:?}")))
        }
        _ => Ok(()),
    }
}

/// A tmpfs looks like the folder that it covers, unless it is told how.
fn with_mode_of_place<'a>(
    kind: &str,
    options: &'a Options,
    root: BorrowedFd<'_>,
    path: &Path,
) -> Result<Cow<'a, Options>> {
    if kind != "tmpfs" || options.filesystem.iter().any(|(key, _)| key == "mode") {
        return Ok(Cow::Borrowed(options));
    }
    let Some(place) = fs::open_beneath_if_exists(root, path, &OpenHow::PATH)? else {
        return Ok(Cow::Borrowed(options));
    };
    let mut options = options.clone();
    let mode = fs::fstat(&place)?.permissions();
    options.filesystem.push(("mode".to_owned(), Some(format!("{mode:o}"))));
    Ok(Cow::Owned(options))
}

/// A folder on a file, or the other way round: where mount(2) has ENOTDIR, which Docker's users know, move_mount(2)
/// has EINVAL.
fn explain_mismatch(error: Error, mount: &MountPlan<'_>, tree: &OwnedFd, target: &OwnedFd) -> Error {
    let is_folder = |fd| fs::fstat(fd).is_ok_and(|stat| stat.is_dir());
    if is_folder(tree) == is_folder(target) {
        return error;
    }
    let what = format!("mount src={}, dst={}", mount.origin.display(), mount.destination.display());
    Error::invalid(format!(
        "{what}: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the \
         specified host path exists and is the expected type"
    ))
}

pub(super) fn new_filesystem(
    kind: &str,
    source: &str,
    options: &Options,
    read_only_late: bool,
) -> Result<OwnedFd> {
    let list: Vec<_> =
        options.filesystem.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    // Since Linux 4.7 every devpts is an instance of its own, and the option is not known to the new calls' parser.
    let list: Vec<_> = list.into_iter().filter(|(key, _)| *key != "newinstance").collect();
    let mut attributes = options.attributes.set;
    if read_only_late {
        attributes = attributes.without(Attributes::READ_ONLY);
    }
    mount::new_filesystem(kind, Some(source), &list, attributes)
}

/// Of a clone; a new file system is born with its attributes.
fn change_attributes(tree: &OwnedFd, options: &Options) -> Result<()> {
    let changes = [(options.attributes, false), (options.attributes_beneath, true)];
    for (AttributeChange { set, clear }, recursive) in changes {
        let change = Change { set, clear, recursive, ..Change::default() };
        if !change.is_empty() {
            mount::change(tree.as_fd(), &change)?;
        }
    }
    Ok(())
}

/// The place for a mount, made if missing: a folder for a folder, else a file.
fn target(root: BorrowedFd<'_>, path: &Path, tree: &OwnedFd) -> Result<OwnedFd> {
    match fs::open_beneath_if_exists(root, path, &OpenHow::PATH)? {
        Some(target) => Ok(target),
        None if fs::fstat(tree)?.is_dir() => folder(root, path),
        None => file(root, path),
    }
}

/// Opens a folder beneath the root, made with its parents if missing.
pub(super) fn folder(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let how = OpenHow { directory: true, ..OpenHow::PATH };
    if let Some(folder) = fs::open_beneath_if_exists(root, path, &how)? {
        return Ok(folder);
    }
    let (parent, name) = split(path)?;
    let parent = folder(root, parent)?;
    match fs::mkdir_at(&parent, name, 0o755) {
        Err(error) if error.kind() != Kind::Conflict => return Err(error),
        _ => {}
    }
    fs::open_beneath(root, path, &how)
}

/// Opens a file beneath the root, made empty if missing.
pub(super) fn file(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let (parent, name) = split(path)?;
    let parent = folder(root, parent)?;
    match fs::mknod_at(&parent, name, FileKind::Regular, 0o755, (0, 0)) {
        Err(error) if error.kind() != Kind::Conflict => return Err(error),
        _ => {}
    }
    fs::open_beneath(root, path, &OpenHow::PATH)
}

pub(super) fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| Error::invalid(format!("{:?} is no place beneath the root", path.display())))
}

/// The container's own cgroup, by clones of its folders: with v1 a tmpfs that has one folder a hierarchy.
fn attach_cgroup(
    plan: &Plan<'_>,
    mount: &MountPlan<'_>,
    root: BorrowedFd<'_>,
    cgroup: &Cgroup,
) -> Result<OwnedFd> {
    let layout = cgroup.layout();
    let target = folder(root, mount.destination)?;
    if let (true, Some(unified)) = (layout.v1.is_empty(), &layout.v2) {
        let is_private = plan.new.contains(Kinds::CGROUP);
        let source =
            if is_private { unified.mount.join(relative(&cgroup.path())) } else { unified.mount.clone() };
        let tree = cgroup_folder(&source, mount)?;
        mount::attach(tree.as_fd(), target.as_fd())?;
        return Ok(tree);
    }
    let options = [("mode", Some("755"))];
    // Read-only once the hierarchies have their folders.
    let attributes = mount.options.attributes.set.without(Attributes::READ_ONLY);
    let tmpfs = mount::new_filesystem("tmpfs", Some("tmpfs"), &options, attributes)?;
    mount::attach(tmpfs.as_fd(), target.as_fd())?;
    for hierarchy in &layout.v1 {
        let (_, name) = split(&hierarchy.mount)?;
        fs::mkdir_at(&tmpfs, name, 0o755)?;
        let tree = cgroup_folder(&hierarchy.mount.join(relative(&cgroup.path())), mount)?;
        mount::attach_at(tree.as_fd(), tmpfs.as_fd(), Path::new(name))?;
        for controller in hierarchy.controllers.iter().filter(|_| hierarchy.controllers.len() > 1) {
            if name != controller.as_str() {
                fs::symlink_at(name, &tmpfs, controller)?;
            }
        }
    }
    Ok(tmpfs)
}

fn cgroup_folder(source: &Path, mount: &MountPlan<'_>) -> Result<OwnedFd> {
    let tree = mount::bind(host(), source, false)?;
    let AttributeChange { set, clear } = mount.options.attributes;
    let propagation = Some(Propagation::Private);
    mount::change(tree.as_fd(), &Change { set, clear, propagation, ..Change::default() })?;
    Ok(tree)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Plain paths are the host's.
pub(super) fn host() -> BorrowedFd<'static> {
    mount::current_folder()
}
