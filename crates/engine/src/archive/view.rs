//! A container's files as its processes see them.
//!
//! ```text
//! running   one tree: /proc/PID/root, where the kernel has every mount in place
//! stopped   the root that its task holds, and beside it one tree for each volume and bind
//! ```
//!
//! Nothing is mounted for a look, but the places of mounts are made where they are missing, as a start would: the root of a stopped container is the one mount that its upper folder may have.
//! A volume inside another folder is seen when that folder is read; for what is extracted around one, the trees are put
//! together as one mount that is attached nowhere.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault::{Doing, Error, Kind, Result};
use sys::fs::OpenHow;
use sys::mount::{Attributes, Change, Propagation};
use sys::namespace::Kinds;

use super::place::{Last, Missing};
use crate::container::{Command, Container, etc};
use crate::record::{Mount, MountKind, State};
use crate::volume::Use;
use crate::{Engine, Record, pin};

/// All trees of a container.
#[derive(Debug)]
pub(super) struct View {
    /// The root first.
    trees: Vec<Tree>,
    /// Where the kernel's own file systems are mounted; their content is no file of anybody.
    pub(super) kernel_mounts: Vec<PathBuf>,
    /// Volumes whose devices have to stay mounted for the look.
    used: Vec<Use>,
}

/// A part of a container's files under one handle.
#[derive(Debug)]
pub(super) struct Tree {
    /// In the container; absolute, without links.
    pub(super) at: PathBuf,
    pub(super) root: Arc<OwnedFd>,
    read_only: bool,
    /// The name beneath the root, if a single file is mounted.
    file: PathBuf,
}

impl View {
    pub(super) async fn open(engine: &Engine, container: &Arc<Container>) -> Result<Self> {
        match find(engine, container, Self::of_process).await? {
            Found::Running(view) => Ok(view),
            Found::Stopped(root) => {
                let record = container.view().record.clone();
                engine.blocking(move |engine| Self::of_stopped(engine, &record, root)).await
            }
        }
    }

    /// `None` if the process has ended meanwhile.
    fn of_process(state: &State) -> Result<Option<Self>> {
        let Some(process) = pin::first_process(state)? else { return Ok(None) };
        let proc = PathBuf::from(format!("/proc/{}", state.pid));
        let opened = sys::fs::open_dir(proc.join("root"))
            .and_then(|root| Ok((root, sys::mount::mountinfo(&state.pid.to_string())?)));
        // The process was alive all the time, so the pid was its.
        if process.has_ended()? {
            return Ok(None);
        }
        let (root, mounts) = opened?;
        let is_kernels = |kind: &str, at: &Path| KERNEL_KINDS.contains(&kind) || at == Path::new("/dev");
        let kernel_mounts = mounts
            .into_iter()
            .filter(|mount| is_kernels(&mount.kind, &mount.target))
            .map(|mount| mount.target);
        Ok(Some(Self { kernel_mounts: kernel_mounts.collect(), ..Self::of_root(root.into()) }))
    }

    fn of_stopped(engine: &Engine, record: &Record, root: Arc<OwnedFd>) -> Result<Self> {
        let mut view = Self::of_root(root);
        for mount in &record.mounts {
            if mount.kind == MountKind::Volume {
                view.used.extend(used(engine, mount)?);
            }
            if let Some(source) = source(engine, mount)? {
                view.add(&mount.destination, &source, mount.read_only)?;
            }
        }
        let folder = etc::folder(engine, record);
        for name in ENGINE_FILES {
            if sys::fs::exists(folder.join(name))? {
                view.add(&Path::new("/etc").join(name), &folder.join(name), false)?;
            }
        }
        Ok(view)
    }

    pub(super) fn of_root(root: Arc<OwnedFd>) -> Self {
        let root = Tree { at: "/".into(), root, read_only: false, file: PathBuf::new() };
        Self { trees: vec![root], kernel_mounts: Vec::new(), used: Vec::new() }
    }

    /// Puts a folder or file of the host where the container has it.
    pub(super) fn add(&mut self, destination: &Path, source: &Path, read_only: bool) -> Result<()> {
        let place = self.walk(destination, Last::Followed, Missing::Kept)?;
        let tree = Tree { read_only, ..Tree::open(place.path.clone(), source)? };
        place.make(tree.file.as_os_str().is_empty())?;
        self.trees.retain(|other| other.at != tree.at);
        self.trees.push(tree);
        Ok(())
    }

    /// One tree with all others mounted in their places, attached nowhere and seen by nobody else. Kernels before 6.15
    /// cannot do that (`None`).
    pub(super) fn assembled(&self) -> Result<Option<OwnedFd>> {
        let whole = match sys::mount::bind(self.root(), Path::new(""), false) {
            Err(error) if error.errno() == Some(sys::errno::EINVAL) => return Ok(None),
            whole => whole?,
        };
        for tree in self.trees_below(Path::new("/")) {
            let inner = tree.at.strip_prefix("/").unwrap_or(&tree.at);
            let place = sys::fs::open_beneath(&whole, inner, &OpenHow::PATH_NO_FOLLOW)?;
            sys::mount::attach(tree.detached()?.as_fd(), place.as_fd())?;
        }
        Ok(Some(whole))
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.trees[0].root.as_fd()
    }

    /// The tree that has a path.
    pub(super) fn tree_of(&self, path: &Path) -> &Tree {
        let holding = self.trees.iter().filter(|tree| path.starts_with(&tree.at));
        holding.max_by_key(|tree| tree.at.components().count()).expect("the root holds every path")
    }

    /// The trees that are mounted below a path, outer ones first.
    pub(super) fn trees_below(&self, path: &Path) -> Vec<&Tree> {
        let is_below = |tree: &&Tree| tree.at.starts_with(path) && tree.at != path;
        let mut below: Vec<_> = self.trees.iter().filter(is_below).collect();
        below.sort_by(|one, other| one.at.cmp(&other.at));
        below
    }
}

impl Tree {
    fn open(at: PathBuf, source: &Path) -> Result<Self> {
        let source = sys::fs::canonicalize(source)?;
        if sys::fs::metadata(&source)?.is_dir() {
            let root = sys::fs::open_dir(&source)?.into();
            return Ok(Self { at, root, read_only: false, file: PathBuf::new() });
        }
        let (Some(folder), Some(name)) = (source.parent(), source.file_name()) else {
            return Err(Error::internal(format!("{} has no folder", source.display())));
        };
        Ok(Self { at, root: sys::fs::open_dir(folder)?.into(), read_only: false, file: name.into() })
    }

    /// A clone to be mounted somewhere. Private, so that what is mounted into it does not appear on the host.
    fn detached(&self) -> Result<OwnedFd> {
        let mount = sys::mount::bind(self.root.as_fd(), &self.file, false)?;
        let set = if self.read_only { Attributes::READ_ONLY } else { Attributes::NONE };
        let change = Change { set, propagation: Some(Propagation::Private), ..Change::default() };
        sys::mount::change(mount.as_fd(), &change)?;
        Ok(mount)
    }

    /// A container's path relative to this tree's root.
    pub(super) fn inner(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix(&self.at).unwrap_or(Path::new(""));
        if inside.as_os_str().is_empty() { self.file.clone() } else { self.file.join(inside) }
    }
}

/// `None` if the volume is gone.
fn used(engine: &Engine, mount: &Mount) -> Result<Option<Use>> {
    match engine.volumes().borrow(engine, &mount.name) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        used => used.map(Some),
    }
}

/// What a stopped container has at a mount, as a path of the host. A tmpfs has nothing, a source may be gone.
fn source(engine: &Engine, mount: &Mount) -> Result<Option<PathBuf>> {
    let found = match mount.kind {
        MountKind::Tmpfs => return Ok(None),
        MountKind::Bind => sys::fs::canonicalize(&mount.source),
        MountKind::Volume => {
            engine.volumes().mountpoint(&mount.name).and_then(|data| beneath(&data, &mount.subpath))
        }
    };
    match found {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// A folder inside a volume, without links that lead elsewhere.
fn beneath(volume: &Path, subpath: &str) -> Result<PathBuf> {
    if subpath.is_empty() {
        return Ok(volume.to_owned());
    }
    sys::fs::path_of(&crate::volume::beneath(volume, subpath)?)
}

/// The root of a container without its mounts.
pub(super) async fn bare_root(engine: &Engine, container: &Arc<Container>) -> Result<Arc<OwnedFd>> {
    match find(engine, container, bare_root_of).await? {
        Found::Running(root) => Ok(root.into()),
        Found::Stopped(root) => Ok(root),
    }
}

/// Where a container's files are.
enum Found<T> {
    Running(T),
    /// Its task holds the root.
    Stopped(Arc<OwnedFd>),
}

/// Looks at the process, `None` if it has ended meanwhile, or else at what the task holds. A container that has been
/// started or has ended between the two is looked at again.
async fn find<T: Send + 'static>(
    engine: &Engine,
    container: &Arc<Container>,
    of_process: fn(&State) -> Result<Option<T>>,
) -> Result<Found<T>> {
    let mut views = container.view.clone();
    loop {
        let state = views.borrow_and_update().record.state.clone();
        if state.status.has_process()
            && let Some(found) = engine.blocking(move |_| of_process(&state)).await?
        {
            return Ok(Found::Running(found));
        }
        if let Some(root) = container.ask(Command::Rootfs).await? {
            return Ok(Found::Stopped(root));
        }
        let gone = |_| Error::not_found(format!("No such container: {}", container.id));
        views.changed().await.map_err(gone)?;
    }
}

/// A clone of the root's mount alone, made where that mount is; `None` if the process has ended meanwhile.
fn bare_root_of(state: &State) -> Result<Option<OwnedFd>> {
    let Some(process) = pin::first_process(state)? else { return Ok(None) };
    let cloned = sys::namespace::in_namespace(process.as_fd(), Kinds::MOUNT, || {
        let root = sys::fs::open_dir("/")?;
        sys::mount::bind(root.as_fd(), Path::new(""), false)
    });
    if process.has_ended()? {
        return Ok(None);
    }
    cloned.doing(|| "reaching the root of the container").map(Some)
}

/// Files that a running container has from its engine.
const ENGINE_FILES: &[&str] = &["hostname", "hosts", "resolv.conf"];

const KERNEL_KINDS: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "debugfs",
    "tracefs",
    "securityfs",
];
