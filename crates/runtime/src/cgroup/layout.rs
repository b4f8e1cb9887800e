//! Which cgroup hierarchies this machine has, and where they are mounted.

use std::path::PathBuf;
use std::sync::OnceLock;

use fault::Result;
use sys::mount::MountInfo;

/// All hierarchies. Both kinds together are called hybrid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub v1: Vec<Hierarchy>,
    pub v2: Option<Unified>,
}

/// A hierarchy of cgroup v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// `memory`, or `name=systemd` for one without a controller.
    pub controllers: Vec<String>,
    pub mount: PathBuf,
}

/// The hierarchy of cgroup v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unified {
    pub controllers: Vec<String>,
    pub mount: PathBuf,
}

impl Layout {
    /// The machine's, found once.
    pub fn of_this_machine() -> Result<&'static Self> {
        static LAYOUT: OnceLock<Layout> = OnceLock::new();
        if let Some(layout) = LAYOUT.get() {
            return Ok(layout);
        }
        let layout = detect()?;
        Ok(LAYOUT.get_or_init(|| layout))
    }

    /// As far as mounts tell it: not the controllers of v2.
    pub fn from_mounts(mounts: &[MountInfo]) -> Self {
        let mut layout = Self::default();
        for mount in mounts {
            match mount.kind.as_str() {
                "cgroup2" if layout.v2.is_none() => {
                    layout.v2 = Some(Unified { controllers: Vec::new(), mount: mount.target.clone() });
                }
                "cgroup" => layout.add_v1(mount),
                _ => {}
            }
        }
        layout
    }

    fn add_v1(&mut self, mount: &MountInfo) {
        let controllers = controllers(&mount.super_options);
        let is_known = self.v1.iter().any(|other| other.controllers == controllers);
        if !is_known && !controllers.is_empty() {
            self.v1.push(Hierarchy { controllers, mount: mount.target.clone() });
        }
    }

    pub fn hierarchy(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|known| known == controller))
    }

    pub fn has_v1(&self, controller: &str) -> bool {
        self.hierarchy(controller).is_some()
    }

    pub fn has_v2(&self, controller: &str) -> bool {
        self.v2.as_ref().is_some_and(|unified| unified.controllers.iter().any(|known| known == controller))
    }

    /// All mount points, v1 first.
    pub fn mounts(&self) -> impl Iterator<Item = &PathBuf> {
        self.v1.iter().map(|hierarchy| &hierarchy.mount).chain(self.v2.iter().map(|unified| &unified.mount))
    }
}

fn detect() -> Result<Layout> {
    let mut layout = Layout::from_mounts(&sys::mount::mountinfo("self")?);
    if let Some(unified) = &mut layout.v2 {
        let text = sys::fs::read_to_string(unified.mount.join("cgroup.controllers"))?;
        unified.controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
    }
    Ok(layout)
}

fn controllers(super_options: &str) -> Vec<String> {
    let is_controller = |option: &&str| CONTROLLERS.contains(option) || option.starts_with("name=");
    super_options.split(',').filter(is_controller).map(str::to_owned).collect()
}

const CONTROLLERS: &[&str] = &[
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, target: &str, super_options: &str) -> MountInfo {
        MountInfo {
            id: 1,
            parent: 1,
            device: (0, 1),
            root: "/".into(),
            target: target.into(),
            options: "rw".into(),
            tags: Vec::new(),
            kind: kind.into(),
            source: kind.into(),
            super_options: super_options.into(),
        }
    }

    #[test]
    fn hybrid_is_both() {
        let layout = Layout::from_mounts(&[
            mount("tmpfs", "/sys/fs/cgroup", "rw,mode=755"),
            mount("cgroup", "/sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct"),
            mount("cgroup", "/elsewhere", "rw,cpu,cpuacct"),
            mount("cgroup", "/sys/fs/cgroup/systemd", "rw,xattr,name=systemd"),
            mount("cgroup2", "/sys/fs/cgroup/unified", "rw,nsdelegate"),
        ]);
        assert_eq!(layout.v1.len(), 2);
        assert_eq!(layout.hierarchy("cpuacct").unwrap().mount.to_str(), Some("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(layout.has_v1("name=systemd"));
        assert!(layout.v2.is_some());
    }

    #[test]
    fn this_machine_has_some() {
        assert!(Layout::of_this_machine().unwrap().mounts().next().is_some());
    }
}
