//! Which limits this machine can hold containers to. Pure but for one look at each controller's files.

use api::system::Info;
use fault::Result;
use runtime::cgroup::Layout;

/// What `info` tells of cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// All controllers are in the one hierarchy of v2.
    pub(super) unified: bool,
    memory: bool,
    swap: bool,
    cpu_quota: bool,
    cpu_shares: bool,
    cpu_set: bool,
    pids: bool,
    oom_kill_disable: bool,
}

impl Limits {
    /// Blocks.
    pub(super) fn of_this_machine() -> Result<Self> {
        let layout = Layout::of_this_machine()?;
        let swap = sys::fs::exists("/proc/swaps")?;
        let has_file = |controller: &str, file: &str| {
            let mount = layout.hierarchy(controller).map(|hierarchy| hierarchy.mount.join(file));
            mount.is_some_and(|path| sys::fs::exists(path).unwrap_or(false))
        };
        Ok(Self::of(layout, has_file, swap))
    }

    /// `has_file`: whether a v1 hierarchy's root has a file; kernels leave out what they were built without.
    fn of(layout: &Layout, has_file: impl Fn(&str, &str) -> bool, has_swap: bool) -> Self {
        let v1_or_v2 = |controller: &str, file: &str| has_file(controller, file) || layout.has_v2(controller);
        Self {
            unified: layout.v1.is_empty(),
            memory: v1_or_v2("memory", "memory.limit_in_bytes"),
            swap: has_file("memory", "memory.memsw.limit_in_bytes") || (layout.has_v2("memory") && has_swap),
            cpu_quota: v1_or_v2("cpu", "cpu.cfs_quota_us"),
            cpu_shares: v1_or_v2("cpu", "cpu.shares"),
            cpu_set: v1_or_v2("cpuset", "cpuset.cpus"),
            // The root's own number of processes is not limited, so it lacks the file that children have.
            pids: layout.has_v1("pids") || layout.has_v2("pids"),
            oom_kill_disable: has_file("memory", "memory.oom_control"),
        }
    }

    pub(super) fn fill(self, info: &mut Info) {
        info.cgroup_driver = "cgroupfs".into();
        info.cgroup_version = if self.unified { "2" } else { "1" }.into();
        info.memory_limit = self.memory;
        info.swap_limit = self.swap;
        info.cpu_cfs_period = self.cpu_quota;
        info.cpu_cfs_quota = self.cpu_quota;
        info.cpu_shares = self.cpu_shares;
        info.cpu_set = self.cpu_set;
        info.pids_limit = self.pids;
        info.oom_kill_disable = self.oom_kill_disable;
    }

    /// What is missing, in Docker's words.
    pub(super) fn warnings(self) -> Vec<String> {
        let table = [
            (self.memory, "WARNING: No memory limit support"),
            (self.swap, "WARNING: No swap limit support"),
            (self.oom_kill_disable || self.unified, "WARNING: No oom kill disable support"),
            (self.cpu_quota, "WARNING: No cpu cfs quota support"),
            (self.cpu_quota, "WARNING: No cpu cfs period support"),
            (self.cpu_shares, "WARNING: No cpu shares support"),
            (self.cpu_set, "WARNING: No cpuset support"),
            (self.pids, "WARNING: No pids limit support"),
        ];
        table.into_iter().filter(|(there, _)| !there).map(|(_, words)| words.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::cgroup::{Hierarchy, Unified};

    fn v1(controllers: &[&str]) -> Layout {
        let one =
            |name: &&str| Hierarchy { controllers: vec![(*name).into()], mount: format!("/c/{name}").into() };
        Layout { v1: controllers.iter().map(one).collect(), v2: None }
    }

    fn v2(controllers: &[&str]) -> Layout {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Layout { v1: Vec::new(), v2: Some(Unified { controllers, mount: "/c".into() }) }
    }

    #[test]
    fn v2_has_all_but_the_oom_switch() {
        let limits = Limits::of(&v2(&["memory", "cpu", "cpuset", "pids", "io"]), |_, _| false, true);
        assert!(limits.unified && limits.swap && !limits.oom_kill_disable);
        assert!(limits.warnings().is_empty());
    }

    #[test]
    fn what_is_missing_is_told() {
        let layout = v1(&["memory", "pids"]);
        let limits = Limits::of(
            &layout,
            |controller, file| layout.has_v1(controller) && !file.contains("memsw"),
            true,
        );
        insta::assert_snapshot!(limits.warnings().join("\n"), @r"
        WARNING: No swap limit support
        WARNING: No cpu cfs quota support
        WARNING: No cpu cfs period support
        WARNING: No cpu shares support
        WARNING: No cpuset support
        ");
        let mut info = Info::default();
        limits.fill(&mut info);
        assert_eq!((info.cgroup_version.as_str(), info.memory_limit, info.cpu_set), ("1", true, false));
    }
}
