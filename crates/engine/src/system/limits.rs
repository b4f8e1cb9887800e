//! Which limits this machine can hold containers to. Pure but for one look at each controller's files.

use std::sync::OnceLock;

use api::system::Info;
use fault::Result;
use runtime::cgroup::Layout;

/// What `info` tells of cgroups, and what containers may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// All controllers are in the one hierarchy of v2.
    pub(crate) unified: bool,
    pub(crate) memory: bool,
    pub(crate) swap: bool,
    pub(crate) swappiness: bool,
    pub(crate) reservation: bool,
    pub(crate) kernel_memory_tcp: bool,
    pub(crate) oom_kill_disable: bool,
    pub(crate) cpu_quota: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpu_realtime: bool,
    pub(crate) cpu_set: bool,
    pub(crate) pids: bool,
    pub(crate) blkio: Blkio,
}

/// Limits of block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blkio {
    pub(crate) weight: bool,
    pub(crate) weight_device: bool,
    pub(crate) read_bps: bool,
    pub(crate) write_bps: bool,
    pub(crate) read_iops: bool,
    pub(crate) write_iops: bool,
}

impl Limits {
    /// Found once. Blocks.
    pub(crate) fn of_this_machine() -> Result<Self> {
        static LIMITS: OnceLock<Limits> = OnceLock::new();
        if let Some(limits) = LIMITS.get() {
            return Ok(*limits);
        }
        let layout = Layout::of_this_machine()?;
        let swap = sys::fs::exists("/proc/swaps")?;
        let unified = layout.v2.as_ref();
        let has_file = |controller: &str, file: &str| {
            let v1 = layout.hierarchy(controller).map(|hierarchy| &hierarchy.mount);
            let mount = v1.or(unified.map(|unified| &unified.mount));
            mount.is_some_and(|mount| sys::fs::exists(mount.join(file)).unwrap_or(false))
        };
        Ok(*LIMITS.get_or_init(|| Self::of(layout, has_file, swap)))
    }

    /// `has_file`: whether the root of a controller's hierarchy has a file; kernels leave out what they were built without.
    fn of(layout: &Layout, has_file: impl Fn(&str, &str) -> bool, has_swap: bool) -> Self {
        let v1 = |controller: &str, file: &str| layout.has_v1(controller) && has_file(controller, file);
        let v1_or_v2 = |controller: &str, file: &str| v1(controller, file) || layout.has_v2(controller);
        Self {
            unified: layout.v1.is_empty(),
            memory: v1_or_v2("memory", "memory.limit_in_bytes"),
            swap: v1("memory", "memory.memsw.limit_in_bytes") || (layout.has_v2("memory") && has_swap),
            swappiness: v1("memory", "memory.swappiness"),
            reservation: v1_or_v2("memory", "memory.soft_limit_in_bytes"),
            kernel_memory_tcp: v1("memory", "memory.kmem.tcp.limit_in_bytes"),
            oom_kill_disable: v1("memory", "memory.oom_control"),
            cpu_quota: v1_or_v2("cpu", "cpu.cfs_quota_us"),
            cpu_shares: v1_or_v2("cpu", "cpu.shares"),
            cpu_realtime: v1("cpu", "cpu.rt_period_us"),
            cpu_set: v1_or_v2("cpuset", "cpuset.cpus"),
            // The root's own number of processes is not limited, so it lacks the file that children have.
            pids: layout.has_v1("pids") || layout.has_v2("pids"),
            blkio: Blkio::of(layout, has_file),
        }
    }

    pub(crate) fn fill(self, info: &mut Info) {
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
    pub(crate) fn warnings(self) -> Vec<String> {
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

impl Blkio {
    fn of(layout: &Layout, has_file: impl Fn(&str, &str) -> bool) -> Self {
        let file = |name: &str| layout.has_v1("blkio") && has_file("blkio", name);
        let throttles = |name: &str| layout.has_v2("io") || file(&format!("blkio.throttle.{name}_device"));
        // A root of v2 has no weight, but says how weights are reckoned; inside a namespace it is no true root.
        let weighs = layout.has_v2("io") && (has_file("io", "io.cost.qos") || has_file("io", "io.weight"));
        Self {
            weight: weighs || file("blkio.weight"),
            weight_device: weighs || file("blkio.weight_device"),
            read_bps: throttles("read_bps"),
            write_bps: throttles("write_bps"),
            read_iops: throttles("read_iops"),
            write_iops: throttles("write_iops"),
        }
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
        assert!(limits.unified && limits.swap && !limits.oom_kill_disable && !limits.swappiness);
        assert!(limits.blkio.read_bps && !limits.blkio.weight);
        let weighs = |controller: &str, file: &str| (controller, file) == ("io", "io.cost.qos");
        assert!(Limits::of(&v2(&["io"]), weighs, true).blkio.weight_device);
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
