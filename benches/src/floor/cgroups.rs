//! One cgroup in every hierarchy of the machine, made and removed for each run.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use fault::Result;
use runtime::cgroup::Layout;
use sys::fs;

/// The parent folders.
pub(crate) struct Cgroups {
    v1: Vec<PathBuf>,
    v2: Option<PathBuf>,
}

impl Cgroups {
    pub(crate) fn under(parent: &Path) -> Result<Self> {
        let layout = Layout::of_this_machine()?;
        let place = |mount: &PathBuf| mount.join(parent.strip_prefix("/").unwrap_or(parent));
        let parents = Self {
            v1: layout.v1.iter().map(|hierarchy| place(&hierarchy.mount)).collect(),
            v2: layout.v2.as_ref().map(|unified| place(&unified.mount)),
        };
        for folder in parents.v1.iter().chain(&parents.v2) {
            fs::create_dir_all(folder, 0o755)?;
            inherit_cpuset(folder)?;
        }
        Ok(parents)
    }

    pub(crate) fn create(&self) -> Result<Joined> {
        let joined = Joined {
            v1: self.v1.iter().map(|parent| parent.join(NAME)).collect(),
            v2: self.v2.as_ref().map(|parent| parent.join(NAME)),
        };
        for folder in joined.v1.iter().chain(&joined.v2) {
            fs::create_dir(folder, 0o755)?;
        }
        Ok(joined)
    }
}

const NAME: &str = "container";

/// An empty cpuset takes no process. With this switch children copy their parent's (cpuset(7), clone_children).
fn inherit_cpuset(folder: &Path) -> Result<()> {
    if !fs::exists(folder.join("cpuset.mems"))? || !fs::exists(folder.join("cgroup.clone_children"))? {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(folder);
    if fs::read_to_string(folder.join("cpuset.mems"))?.trim().is_empty() {
        inherit_cpuset(parent)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            fs::write(folder.join(file), fs::read(parent.join(file))?)?;
        }
    }
    fs::write(folder.join("cgroup.clone_children"), "1")
}

/// One run's folders.
pub(crate) struct Joined {
    v1: Vec<PathBuf>,
    v2: Option<PathBuf>,
}

impl Joined {
    /// The v2 folder to be born in.
    pub(crate) fn birthplace(&self) -> Result<Option<OwnedFd>> {
        self.v2.as_ref().map(fs::open_dir).transpose()
    }

    /// By the single-threaded child itself, through `tasks`: the kernel then takes no global lock.
    pub(crate) fn join_v1(&self) -> Result<()> {
        self.v1.iter().try_for_each(|folder| fs::write(folder.join("tasks"), "0"))
    }

    pub(crate) fn remove(&self) -> Result<()> {
        self.v1.iter().chain(&self.v2).try_for_each(fs::remove_dir)
    }
}
