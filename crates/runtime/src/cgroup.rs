//! One container's cgroup, in all hierarchies of the machine at once: v1, hybrid and v2.
//!
//! ```text
//! create --> (child) join --> stats, freeze, thaw, signal, kill --> remove
//! ```
//!
//! Joining is the child's own deed: `0` into each `tasks` file of v1, because the kernel then skips the global lock that
//! a move by pid waits for; the v2 hierarchy it is born in. It knows no container, only a path.

mod layout;
mod nested;
mod plan;
mod stats;

use std::io::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fault::{Call, Doing, Error, Kind, Result};
use oci::runtime::Resources;
use sys::errno::{EBUSY, EINVAL, ESRCH};
use sys::fs::{self, Access, OpenHow};
use sys::signal::SIGKILL;

pub use layout::{Hierarchy, Layout, Unified};
pub use nested::SubCgroup;
pub use plan::{Place, Plan, Write, plan};
pub use stats::{BlockIo, BlockIoEntry, Cpu, Memory, Pids, Stats};

/// A cgroup by its path, the same in every hierarchy. Touches nothing until told to.
#[derive(Clone, Debug)]
pub struct Cgroup {
    /// Relative to each hierarchy's mount.
    path: PathBuf,
    layout: &'static Layout,
}

impl Cgroup {
    /// `path` as in `linux.cgroupsPath`: taken from the hierarchies' roots, absolute or not.
    pub fn at(path: &Path) -> Result<Self> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if path.as_os_str().is_empty() || !is_plain {
            return Err(Error::invalid(format!("invalid cgroup path {:?}", path.display())));
        }
        Ok(Self { path: path.to_owned(), layout: Layout::of_this_machine()? })
    }

    /// As the specification and our records write it.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(&self.path)
    }

    pub fn layout(&self) -> &'static Layout {
        self.layout
    }

    /// Its folders, v1 first.
    pub fn folders(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.layout.mounts().map(|mount| mount.join(&self.path))
    }

    /// Its folder in the hierarchy of a v1 controller, else in v2.
    pub fn folder_of(&self, controller: &str) -> Option<PathBuf> {
        let v1 = self.layout.hierarchy(controller).map(|hierarchy| &hierarchy.mount);
        let mount = v1.or(self.layout.v2.as_ref().map(|unified| &unified.mount))?;
        Some(mount.join(&self.path))
    }

    pub fn exists(&self) -> Result<bool> {
        for folder in self.folders() {
            if fs::exists(&folder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes all folders and writes the limits; takes away what it made if that fails. A cgroup that is there already
    /// has to be empty.
    pub fn create(&self, resources: &Resources) -> Result<()> {
        let plan = plan(resources, self.layout)?;
        let is_new = self.create_folders().doing(|| "setting up the cgroup")?;
        if !is_new {
            self.check_idle()?;
        }
        sys::crash::point("runtime.cgroup.created");
        let applied = self.apply(&plan);
        if applied.is_err() {
            // The first failure is what matters; a leftover is found by the next start.
            self.remove().ok();
        }
        applied.doing(|| "setting up the cgroup")
    }

    /// In a cgroup with others a container could not be stopped alone, and in a frozen one it would never start.
    fn check_idle(&self) -> Result<()> {
        let pids = self.pids()?;
        if !pids.is_empty() {
            let count = pids.len();
            return Err(Error::conflict(format!(
                "container's cgroup is not empty: {count} process(es) found"
            )));
        }
        if self.is_frozen()? {
            return Err(Error::conflict("container's cgroup unexpectedly frozen"));
        }
        Ok(())
    }

    /// Changes the limits of a cgroup that exists.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        self.apply(&plan(resources, self.layout)?)
    }

    /// False if one of them was there before.
    fn create_folders(&self) -> Result<bool> {
        let mut is_new = true;
        for folder in self.folders() {
            is_new &= create_folder(&folder)?;
        }
        if let Some(hierarchy) = self.layout.hierarchy("cpuset") {
            inherit_cpuset(&hierarchy.mount, &self.path)?;
        }
        Ok(is_new)
    }

    fn apply(&self, plan: &Plan) -> Result<()> {
        let refused = self.write_all(plan.writes.iter())?;
        // Limits bound each other (memory and swap, quota and period), so what is refused may be fine when the others
        // are there.
        if let Some((_, error)) = self.write_all(refused.iter().map(|(write, _)| *write))?.into_iter().next()
        {
            return Err(error);
        }
        if let (Some(rules), Some(unified)) = (&plan.device_program, &self.layout.v2) {
            let folder = fs::open_dir(unified.mount.join(&self.path))?;
            sys::cgroup_bpf::attach(std::os::fd::AsFd::as_fd(&folder), rules)?;
        }
        Ok(())
    }

    /// Returns what the kernel found invalid, and why.
    fn write_all<'a>(&self, writes: impl Iterator<Item = &'a Write>) -> Result<Vec<(&'a Write, Error)>> {
        let mut open: Option<(PathBuf, std::fs::File)> = None;
        let mut refused = Vec::new();
        for write in writes {
            let path = self.file(write)?;
            if open.as_ref().is_none_or(|(name, _)| *name != path) {
                open = Some((path.clone(), self.open_limit(write, &path)?));
            }
            let Some((_, file)) = &mut open else { continue };
            let written = file
                .write_all(write.value.as_bytes())
                .call(|| format!("write {:?} to {}", write.value, path.display()));
            match written {
                Err(error) if error.errno() == Some(EINVAL) => refused.push((write, error)),
                result => result?,
            }
        }
        Ok(refused)
    }

    fn file(&self, write: &Write) -> Result<PathBuf> {
        let mount = match write.place {
            Place::V1(controller) => self.layout.hierarchy(controller).map(|hierarchy| &hierarchy.mount),
            Place::V2 => self.layout.v2.as_ref().map(|unified| &unified.mount),
        };
        let mount = mount.ok_or_else(|| Error::internal("a cgroup plan for another machine"))?;
        Ok(mount.join(&self.path).join(&write.file))
    }

    /// A file of v2 is missing as long as no ancestor hands its controller down.
    fn open_limit(&self, write: &Write, path: &Path) -> Result<std::fs::File> {
        match open_for_writing(path) {
            Err(error) if error.kind() == Kind::NotFound && write.file.starts_with(BLOCK_WEIGHT) => {
                open_for_writing(&path.with_file_name(write.file.replace(BLOCK_WEIGHT, BLOCK_WEIGHT_OF_BFQ)))
            }
            Err(error) if error.kind() == Kind::NotFound && write.place == Place::V2 => {
                self.enable_controllers()?;
                open_for_writing(path)
            }
            result => result,
        }
    }

    /// Hands all controllers of v2 down to our folder, from the root on.
    fn enable_controllers(&self) -> Result<()> {
        let Some(unified) = &self.layout.v2 else { return Ok(()) };
        let mut folder = unified.mount.clone();
        for part in &self.path {
            for controller in &unified.controllers {
                let file = folder.join("cgroup.subtree_control");
                // One may be refused (threaded, in use by v1); whoever needs it fails at its own file.
                write_value(&file, &format!("+{controller}")).ok();
            }
            folder.push(part);
        }
        Ok(())
    }

    /// For a child of a clone, while it has a single thread: moves it into the v1 hierarchies, in each beneath the
    /// cgroup if `nested` says so.
    pub fn join_v1(&self, nested: &[SubCgroup]) -> Result<()> {
        for hierarchy in &self.layout.v1 {
            let beneath = nested::path_in(nested, &hierarchy.controllers);
            write_value(&hierarchy.mount.join(&self.path).join(beneath).join("tasks"), "0")?;
        }
        Ok(())
    }

    /// The v2 folder to be born in.
    pub fn birthplace(&self, nested: &[SubCgroup]) -> Result<Option<OwnedFd>> {
        let folder = |unified: &Unified| {
            fs::open_dir(unified.mount.join(&self.path).join(nested::path_in(nested, &[])))
        };
        self.layout.v2.as_ref().map(folder).transpose()
    }

    /// All processes in it and beneath.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let Some(folder) = self.main_folder() else { return Ok(Vec::new()) };
        let mut pids = Vec::new();
        collect_pids(&folder, &mut pids)?;
        Ok(pids)
    }

    /// Where to look for members and for the freezer.
    fn main_folder(&self) -> Option<PathBuf> {
        let v1 = ["freezer", "devices", "memory", "pids"].iter().find_map(|name| self.layout.hierarchy(name));
        let mount = match v1 {
            Some(hierarchy) => &hierarchy.mount,
            None => self.layout.mounts().last()?,
        };
        Some(mount.join(&self.path))
    }

    /// Stops all its processes and returns when they stand.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        if let Some(hierarchy) = self.layout.hierarchy("freezer") {
            let file = hierarchy.mount.join(&self.path).join("freezer.state");
            let state = if frozen { "FROZEN" } else { "THAWED" };
            // The kernel gives up now and then while processes are made; writing again helps.
            return until(|| {
                write_value(&file, state)?;
                Ok(fs::read_to_string(&file)?.trim_end() == state)
            });
        }
        let folder =
            self.unified_folder().ok_or_else(|| Error::unsupported("freezing without a freezer cgroup"))?;
        write_value(&folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
        let wanted = if frozen { "frozen 1" } else { "frozen 0" };
        until(|| Ok(fs::read_to_string(folder.join("cgroup.events"))?.lines().any(|line| line == wanted)))
    }

    pub fn is_frozen(&self) -> Result<bool> {
        if let Some(hierarchy) = self.layout.hierarchy("freezer") {
            let file = hierarchy.mount.join(&self.path).join("freezer.state");
            let state = fs::read_to_string_if_exists(file)?;
            return Ok(state.is_some_and(|state| state.trim_end() != "THAWED"));
        }
        let Some(folder) = self.unified_folder() else { return Ok(false) };
        let state = fs::read_to_string_if_exists(folder.join("cgroup.freeze"))?;
        Ok(state.is_some_and(|state| state.trim_end() == "1"))
    }

    fn unified_folder(&self) -> Option<PathBuf> {
        self.layout.v2.as_ref().map(|unified| unified.mount.join(&self.path))
    }

    /// Sends a signal to every process in it. Frozen ones get it when thawed.
    pub fn signal(&self, signal: i32) -> Result<()> {
        for pid in self.pids()? {
            match sys::process::kill(pid, signal) {
                Err(error) if error.errno() != Some(ESRCH) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Kills every process in it, also those that are being made meanwhile.
    pub fn kill(&self) -> Result<()> {
        if let Some(file) = self.unified_folder().map(|folder| folder.join("cgroup.kill"))
            && fs::exists(&file)?
        {
            write_value(&file, "1")?;
            return self.thaw_if_frozen();
        }
        until(|| {
            self.signal(SIGKILL)?;
            self.thaw_if_frozen()?;
            Ok(self.pids()?.is_empty())
        })
    }

    /// A process frozen by v1 does not even die.
    fn thaw_if_frozen(&self) -> Result<()> {
        if self.is_frozen()? { self.thaw() } else { Ok(()) }
    }

    /// Removes its folders and all beneath. Processes that are just ending are waited for.
    pub fn remove(&self) -> Result<()> {
        for folder in self.folders() {
            remove_folder(&folder)?;
        }
        Ok(())
    }

    /// What its processes use.
    pub fn stats(&self) -> Result<Stats> {
        stats::read(self)
    }

    /// How often the kernel has killed in it for want of memory.
    pub fn oom_kills(&self) -> Result<u64> {
        let Some(folder) = self.folder_of("memory") else { return Ok(0) };
        let file = if self.layout.has_v1("memory") { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string_if_exists(folder.join(file))?.unwrap_or_default();
        Ok(stats::keyed(&text).find(|(key, _)| *key == "oom_kill").map_or(0, |(_, value)| value))
    }

    /// A descriptor that tells of memory running out: with v1 an eventfd that becomes readable, with v2 a file that
    /// polls as exceptional. It also fires when the cgroup is removed; [`Cgroup::oom_kills`] has the truth.
    pub fn oom_events(&self) -> Result<OwnedFd> {
        let folder = self
            .folder_of("memory")
            .ok_or_else(|| Error::unsupported("OOM events without a memory cgroup"))?;
        if !self.layout.has_v1("memory") {
            return Ok(fs::open(folder.join("memory.events"), &OpenHow::READ)?.into());
        }
        let control = fs::open(folder.join("memory.oom_control"), &OpenHow::READ)?;
        let event = sys::poll::event()?;
        let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        write_value(&folder.join("cgroup.event_control"), &line)?;
        Ok(event)
    }
}

/// Kernels since 5.0 have weights in the scheduler bfq only, which names the files of v1 for itself.
const BLOCK_WEIGHT: &str = "blkio.weight";
const BLOCK_WEIGHT_OF_BFQ: &str = "blkio.bfq.weight";

/// False if it was there before. Most folders have their parent already, so that is not looked for first.
fn create_folder(folder: &Path) -> Result<bool> {
    match fs::create_dir(folder, 0o755) {
        Err(error) if error.kind() == Kind::NotFound => fs::create_dir_all(folder, 0o755)?,
        Err(error) if error.kind() == Kind::Conflict => return Ok(false),
        result => result?,
    }
    Ok(true)
}

/// A new cpuset of v1 is empty, and nobody can join an empty one, unless its parent has `cgroup.clone_children`: then
/// it begins as a copy. So the ancestors that we fill get it, and the containers after the first find it there.
fn inherit_cpuset(mount: &Path, path: &Path) -> Result<()> {
    let leaf = mount.join(path);
    if !is_blank(&leaf.join("cpuset.cpus"))? {
        return Ok(());
    }
    let mut parent = mount.to_owned();
    for part in path {
        let folder = parent.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if is_blank(&folder.join(file))? {
                write_value(&folder.join(file), fs::read_to_string(parent.join(file))?.trim_end())?;
            }
        }
        if folder != leaf {
            write_value(&folder.join("cgroup.clone_children"), "1")?;
        }
        parent = folder;
    }
    Ok(())
}

fn is_blank(file: &Path) -> Result<bool> {
    Ok(fs::read_to_string(file)?.trim_end().is_empty())
}

fn open_for_writing(path: &Path) -> Result<std::fs::File> {
    fs::open(path, &OpenHow { access: Access::Write, ..OpenHow::READ })
}

pub(crate) fn write_value(path: &Path, value: &str) -> Result<()> {
    open_for_writing(path)?
        .write_all(value.as_bytes())
        .call(|| format!("write {value:?} to {}", path.display()))
}

fn collect_pids(folder: &Path, pids: &mut Vec<i32>) -> Result<()> {
    let Some(text) = fs::read_to_string_if_exists(folder.join("cgroup.procs"))? else { return Ok(()) };
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in child_folders(folder)? {
        collect_pids(&child, pids)?;
    }
    Ok(())
}

fn child_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    // A cgroup folder has two links and one for each folder in it; most have none.
    match fs::lstat_if_exists(folder)? {
        Some(stat) if stat.nlink > 2 => {}
        _ => return Ok(Vec::new()),
    }
    let mut folders = Vec::new();
    for name in fs::read_dir(folder)? {
        let path = folder.join(name);
        if fs::lstat_if_exists(&path)?.is_some_and(|stat| stat.is_dir()) {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn remove_folder(folder: &Path) -> Result<()> {
    until(|| match fs::remove_dir_if_exists(folder) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(EBUSY) => {
            for child in child_folders(folder)? {
                remove_folder(&child)?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    })
    .doing(|| format!("removing cgroup {}", folder.display()))
}

/// Asks again until it is so, for at most two seconds: the kernel tells of the end of a process a little before it
/// has left its cgroup.
fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let mut pause = Duration::from_micros(50);
    let mut waited = Duration::ZERO;
    while !is_so()? {
        if waited >= Duration::from_secs(2) {
            return Err(Error::unavailable("the cgroup is still busy"));
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
