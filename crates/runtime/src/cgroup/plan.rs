//! From the limits of a specification to the files to write: pure, for cgroup v1, hybrid and v2.
//!
//! A controller that this machine lacks is an error only if one of its limits was asked for; so is a limit that the
//! cgroup version lacks. Limits that the kernel has given up (kernel memory) are ignored, as runc does.

use fault::{Error, Result};
use oci::runtime::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, Memory, Resources, ThrottleDevice, WeightDevice,
};
use sys::cgroup_bpf;

use super::Layout;

/// What to do to a new cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub writes: Vec<Write>,
    /// The device rules for cgroup v2, where no file takes them.
    pub device_program: Option<Vec<cgroup_bpf::Rule>>,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub place: Place,
    pub file: String,
    pub value: String,
}

/// In which hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    V1(&'static str),
    V2,
}

/// The plan for a new cgroup.
pub fn plan(resources: &Resources, layout: &Layout) -> Result<Plan> {
    refuse_unsupported(resources)?;
    let mut planner = Planner { layout, plan: Plan::default() };
    planner.devices(&resources.devices)?;
    if let Some(memory) = &resources.memory {
        planner.memory(memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        planner.cpu(cpu)?;
        planner.cpuset(cpu)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        // As runc: who asks for none gets the one that there has to be.
        planner.both("pids", "pids limit", "pids.max", &number_or_max(if limit == 0 { 1 } else { limit }))?;
    }
    if let Some(block_io) = &resources.block_io {
        planner.block_io(block_io)?;
    }
    planner.hugepages(&resources.hugepage_limits)?;
    planner.network(resources)?;
    planner.rdma(resources)?;
    planner.unified(resources)?;
    Ok(planner.plan)
}

/// What the specification has and no cgroup of ours gets.
fn refuse_unsupported(resources: &Resources) -> Result<()> {
    let memory = resources.memory.as_ref();
    let has_leaf_weight = resources.block_io.as_ref().is_some_and(|block_io| {
        block_io.leaf_weight.is_some()
            || block_io.weight_device.iter().any(|device| device.leaf_weight.is_some())
    });
    refuse(&[
        (
            memory.and_then(|memory| memory.check_before_update) == Some(true),
            "resources.memory.checkBeforeUpdate",
        ),
        (memory.and_then(|memory| memory.use_hierarchy) == Some(false), "resources.memory.useHierarchy off"),
        (has_leaf_weight, "resources.blockIO.leafWeight"),
    ])
}

fn refuse(limits: &[(bool, &str)]) -> Result<()> {
    match limits.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, limit)) => Err(Error::unsupported(limit)),
        None => Ok(()),
    }
}

/// Devices, the file of v1, the key of v2.
type Throttle<'a> = (&'a [ThrottleDevice], &'static str, &'static str);

struct Planner<'a> {
    layout: &'a Layout,
    plan: Plan,
}

impl Planner<'_> {
    fn write(&mut self, place: Place, file: &str, value: impl ToString) {
        self.plan.writes.push(Write { place, file: file.to_owned(), value: value.to_string() });
    }

    /// Where a controller is; an error that names the limit if nowhere.
    fn place(&self, v1: &'static str, v2: &str, limit: &str) -> Result<Place> {
        if self.layout.has_v1(v1) {
            return Ok(Place::V1(v1));
        }
        if !v2.is_empty() && self.layout.has_v2(v2) {
            return Ok(Place::V2);
        }
        Err(Error::invalid(format!("cannot set {limit}: the cgroup controller {v1:?} is not available")))
    }

    /// A file with the same name and meaning in both versions.
    fn both(&mut self, controller: &'static str, limit: &str, file: &str, value: &str) -> Result<()> {
        let place = self.place(controller, controller, limit)?;
        self.write(place, file, value);
        Ok(())
    }

    fn devices(&mut self, rules: &[DeviceRule]) -> Result<()> {
        if rules.is_empty() {
            return Ok(());
        }
        if self.layout.has_v1("devices") {
            for rule in rules {
                let file = if rule.allow { "devices.allow" } else { "devices.deny" };
                self.write(Place::V1("devices"), file, device_line(rule));
            }
            return Ok(());
        }
        if self.layout.v2.is_none() {
            return Err(Error::invalid("cannot set device rules: no cgroup takes them"));
        }
        self.plan.device_program = Some(rules.iter().map(device_rule).collect::<Result<_>>()?);
        Ok(())
    }

    fn memory(&mut self, memory: &Memory) -> Result<()> {
        if let Some(swap) = memory.swap.filter(|swap| *swap > 0)
            && memory.limit.unwrap_or(-1) > swap
        {
            return Err(Error::invalid("memory+swap limit should be >= memory limit"));
        }
        let asked = [memory.limit, memory.reservation, memory.swap, memory.kernel_tcp];
        let is_asked = asked.iter().any(|value| value.is_some_and(|value| value != 0))
            || memory.swappiness.is_some()
            || memory.disable_oom_killer == Some(true);
        if !is_asked {
            return Ok(());
        }
        match self.place("memory", "memory", "memory limit")? {
            Place::V1(_) => self.memory_v1(memory),
            Place::V2 => self.memory_v2(memory)?,
        }
        Ok(())
    }

    fn memory_v1(&mut self, memory: &Memory) {
        // The limit of memory alone comes first: it may never be above that of memory and swap.
        let limits = [
            ("memory.limit_in_bytes", memory.limit),
            ("memory.memsw.limit_in_bytes", memory.swap),
            ("memory.soft_limit_in_bytes", memory.reservation),
            ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp),
        ];
        for (file, value) in limits {
            if let Some(value) = value.filter(|value| *value != 0) {
                self.write(Place::V1("memory"), file, value);
            }
        }
        if let Some(swappiness) = memory.swappiness {
            self.write(Place::V1("memory"), "memory.swappiness", swappiness);
        }
        if memory.disable_oom_killer == Some(true) {
            self.write(Place::V1("memory"), "memory.oom_control", 1);
        }
    }

    fn memory_v2(&mut self, memory: &Memory) -> Result<()> {
        refuse(&[
            (memory.swappiness.is_some(), "resources.memory.swappiness with cgroup v2"),
            (memory.disable_oom_killer == Some(true), "resources.memory.disableOOMKiller with cgroup v2"),
            (memory.kernel_tcp.is_some_and(|limit| limit != 0), "resources.memory.kernelTCP with cgroup v2"),
        ])?;
        if let Some(swap) = swap_alone(memory)? {
            self.write(Place::V2, "memory.swap.max", number_or_max(swap));
        }
        if let Some(limit) = memory.limit.filter(|limit| *limit != 0) {
            self.write(Place::V2, "memory.max", number_or_max(limit));
        }
        if let Some(reservation) = memory.reservation.filter(|reservation| *reservation != 0) {
            self.write(Place::V2, "memory.low", number_or_max(reservation));
        }
        Ok(())
    }

    fn cpu(&mut self, cpu: &Cpu) -> Result<()> {
        // An idle group has no share, and the kernel refuses to set one.
        let shares = cpu.shares.filter(|shares| *shares != 0 && cpu.idle != Some(1));
        let period = cpu.period.filter(|period| *period != 0);
        let quota = cpu.quota.filter(|quota| *quota != 0);
        let is_asked = shares.is_some() || period.is_some() || quota.is_some() || cpu.burst.is_some();
        let is_realtime =
            cpu.realtime_runtime.is_some_and(|v| v != 0) || cpu.realtime_period.is_some_and(|v| v != 0);
        if !is_asked && !is_realtime && cpu.idle.is_none() {
            return Ok(());
        }
        let place = self.place("cpu", "cpu", "CPU limit")?;
        if place == Place::V2 {
            refuse(&[(is_realtime, "resources.cpu.realtimeRuntime and realtimePeriod with cgroup v2")])?;
            self.cpu_v2(cpu, shares, quota, period);
            return Ok(());
        }
        let values = [
            ("cpu.shares", shares.map(|value| value.to_string())),
            ("cpu.idle", cpu.idle.map(|value| value.to_string())),
            ("cpu.rt_period_us", cpu.realtime_period.filter(|v| *v != 0).map(|value| value.to_string())),
            ("cpu.rt_runtime_us", cpu.realtime_runtime.filter(|v| *v != 0).map(|value| value.to_string())),
            ("cpu.cfs_period_us", period.map(|value| value.to_string())),
            ("cpu.cfs_quota_us", quota.map(|value| value.to_string())),
            ("cpu.cfs_burst_us", cpu.burst.map(|value| value.to_string())),
        ];
        for (file, value) in values {
            if let Some(value) = value {
                self.write(place.clone(), file, value);
            }
        }
        Ok(())
    }

    fn cpu_v2(&mut self, cpu: &Cpu, shares: Option<u64>, quota: Option<i64>, period: Option<u64>) {
        if let Some(shares) = shares {
            self.write(Place::V2, "cpu.weight", weight_of_shares(shares));
        }
        if let Some(idle) = cpu.idle {
            self.write(Place::V2, "cpu.idle", idle);
        }
        if quota.is_some() || period.is_some() {
            let quota = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
            self.write(Place::V2, "cpu.max", format!("{quota} {}", period.unwrap_or(CPU_PERIOD_DEFAULT)));
        }
        if let Some(burst) = cpu.burst {
            self.write(Place::V2, "cpu.max.burst", burst);
        }
    }

    fn cpuset(&mut self, cpu: &Cpu) -> Result<()> {
        for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if !value.is_empty() {
                self.both("cpuset", "the set of CPUs or memory nodes", file, value)?;
            }
        }
        Ok(())
    }

    fn block_io(&mut self, block_io: &BlockIo) -> Result<()> {
        let throttles: [Throttle<'_>; 4] = [
            (&block_io.throttle_read_bps_device, "blkio.throttle.read_bps_device", "rbps"),
            (&block_io.throttle_write_bps_device, "blkio.throttle.write_bps_device", "wbps"),
            (&block_io.throttle_read_iops_device, "blkio.throttle.read_iops_device", "riops"),
            (&block_io.throttle_write_iops_device, "blkio.throttle.write_iops_device", "wiops"),
        ];
        let weight = block_io.weight.filter(|weight| *weight != 0);
        let is_throttled = throttles.iter().any(|(devices, ..)| !devices.is_empty());
        if weight.is_none() && !is_throttled && block_io.weight_device.is_empty() {
            return Ok(());
        }
        match self.place("blkio", "io", "block IO limit")? {
            Place::V1(_) => self.block_io_v1(weight, block_io, &throttles),
            Place::V2 => self.block_io_v2(weight, block_io, &throttles),
        }
        Ok(())
    }

    fn block_io_v1(&mut self, weight: Option<u16>, block_io: &BlockIo, throttles: &[Throttle<'_>]) {
        if let Some(weight) = weight {
            self.write(Place::V1("blkio"), "blkio.weight", weight);
        }
        for WeightDevice { major, minor, weight, .. } in &block_io.weight_device {
            if let Some(weight) = weight {
                self.write(Place::V1("blkio"), "blkio.weight_device", format!("{major}:{minor} {weight}"));
            }
        }
        for (devices, file, _) in throttles {
            for ThrottleDevice { major, minor, rate } in *devices {
                self.write(Place::V1("blkio"), file, format!("{major}:{minor} {rate}"));
            }
        }
    }

    fn block_io_v2(&mut self, weight: Option<u16>, block_io: &BlockIo, throttles: &[Throttle<'_>]) {
        if let Some(weight) = weight {
            self.write(Place::V2, "io.weight", weight_of_blkio(weight));
        }
        for WeightDevice { major, minor, weight, .. } in &block_io.weight_device {
            if let Some(weight) = weight {
                self.write(Place::V2, "io.weight", format!("{major}:{minor} {}", weight_of_blkio(*weight)));
            }
        }
        for (devices, _, key) in throttles {
            for ThrottleDevice { major, minor, rate } in *devices {
                self.write(Place::V2, "io.max", format!("{major}:{minor} {key}={rate}"));
            }
        }
    }

    fn hugepages(&mut self, limits: &[HugepageLimit]) -> Result<()> {
        for HugepageLimit { page_size, limit } in limits {
            if !page_size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Error::invalid(format!("invalid hugepage size {page_size:?}")));
            }
            let place = self.place("hugetlb", "hugetlb", "hugepage limit")?;
            let suffix = if place == Place::V2 { "max" } else { "limit_in_bytes" };
            self.write(place, &format!("hugetlb.{page_size}.{suffix}"), limit);
        }
        Ok(())
    }

    fn network(&mut self, resources: &Resources) -> Result<()> {
        let Some(network) = &resources.network else { return Ok(()) };
        if let Some(class) = network.class_id.filter(|class| *class != 0) {
            let place = self.place("net_cls", "", "network class")?;
            self.write(place, "net_cls.classid", class);
        }
        for priority in &network.priorities {
            let place = self.place("net_prio", "", "network priority")?;
            self.write(place, "net_prio.ifpriomap", format!("{} {}", priority.name, priority.priority));
        }
        Ok(())
    }

    fn rdma(&mut self, resources: &Resources) -> Result<()> {
        for (device, limit) in &resources.rdma {
            let part = |name: &str, value: Option<u32>| {
                value.map(|value| format!(" {name}={value}")).unwrap_or_default()
            };
            let value = format!(
                "{device}{}{}",
                part("hca_handle", limit.hca_handles),
                part("hca_object", limit.hca_objects)
            );
            self.both("rdma", "RDMA limit", "rdma.max", &value)?;
        }
        Ok(())
    }

    fn unified(&mut self, resources: &Resources) -> Result<()> {
        for (file, value) in &resources.unified {
            if self.layout.v2.is_none() {
                return Err(Error::invalid("cannot set unified resources: cgroup v2 is not mounted"));
            }
            if file.contains('/') {
                return Err(Error::invalid(format!(
                    "unified resource {file:?} must be a file name (no slashes)"
                )));
            }
            let controller = file.split('.').next().unwrap_or_default();
            // What has no controller, as cgroup.max.depth, is everywhere.
            if !self.layout.v1.is_empty() && controller != "cgroup" && !self.layout.has_v2(controller) {
                return Err(Error::invalid(format!(
                    "invalid configuration: unified resource {file:?}: cgroup v2 does not have the controller \
                     {controller:?} here"
                )));
            }
            self.write(Place::V2, file, value);
        }
        Ok(())
    }
}

/// The kernel's own, in microseconds.
const CPU_PERIOD_DEFAULT: u64 = 100_000;

fn number_or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Version 2 counts swap alone, the specification swap and memory together.
fn swap_alone(memory: &Memory) -> Result<Option<i64>> {
    match (memory.limit.unwrap_or(0), memory.swap.unwrap_or(0)) {
        (-1, 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some(-1)),
        (limit, swap) if limit > 0 => Ok(Some(swap - limit)),
        _ => Err(Error::invalid("unable to set swap limit without memory limit")),
    }
}

/// 2..=262144 becomes 1..=10000, on a straight line.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// 10..=1000 becomes 1..=10000.
fn weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

/// `c 1:3 rwm`, `a *:* rwm`
fn device_line(rule: &DeviceRule) -> String {
    let number = |value: Option<i64>| match value {
        Some(value) if value >= 0 => value.to_string(),
        _ => "*".to_owned(),
    };
    let kind = rule.kind.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("a");
    // Other letters say nothing, as with runc.
    let access: String = rule.access.chars().filter(|letter| "rwm".contains(*letter)).collect();
    let access = if access.is_empty() { "rwm" } else { &access };
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

fn device_rule(rule: &DeviceRule) -> Result<cgroup_bpf::Rule> {
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => None,
        Some("b") => Some(cgroup_bpf::DeviceKind::Block),
        Some("c") => Some(cgroup_bpf::DeviceKind::Character),
        Some(other) => return Err(Error::invalid(format!("invalid device type: {other}"))),
    };
    let may = |letter| rule.access.is_empty() || rule.access.contains(letter);
    let access = cgroup_bpf::Access { read: may('r'), write: may('w'), mknod: may('m') };
    Ok(cgroup_bpf::Rule {
        allow: rule.allow,
        kind,
        major: number(rule.major),
        minor: number(rule.minor),
        access,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use oci::runtime::{DeviceRule, Pids};

    use super::super::layout::{Hierarchy, Unified};
    use super::*;

    fn v1(controllers: &[&str]) -> Layout {
        let hierarchy = |name: &&str| Hierarchy {
            controllers: vec![(*name).to_owned()],
            mount: format!("/sys/fs/cgroup/{name}").into(),
        };
        Layout { v1: controllers.iter().map(hierarchy).collect(), v2: None }
    }

    fn unified(controllers: &[&str]) -> Option<Unified> {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Some(Unified { controllers, mount: "/sys/fs/cgroup".into() })
    }

    fn everything() -> Resources {
        let json = r#"{
            "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            "memory": {"limit": 104857600, "swap": 209715200, "reservation": 1048576},
            "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 100},
            "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]
        }"#;
        serde_json::from_str(json).unwrap()
    }

    fn check(layout: &Layout) -> String {
        let plan = plan(&everything(), layout).unwrap();
        let mut text = String::new();
        for Write { place, file, value } in &plan.writes {
            let place = if let Place::V1(controller) = place { *controller } else { "unified" };
            writeln!(text, "{place}/{file} = {value}").unwrap();
        }
        if let Some(rules) = plan.device_program {
            writeln!(text, "{} device rules as a program", rules.len()).unwrap();
        }
        text
    }

    #[test]
    fn v1_writes_its_own_words() {
        let layout = v1(&["devices", "memory", "cpu", "cpuset", "pids", "blkio", "hugetlb"]);
        insta::assert_snapshot!(check(&layout), @r"
        devices/devices.deny = a *:* rwm
        devices/devices.allow = c 1:3 rwm
        memory/memory.limit_in_bytes = 104857600
        memory/memory.memsw.limit_in_bytes = 209715200
        memory/memory.soft_limit_in_bytes = 1048576
        cpu/cpu.shares = 512
        cpu/cpu.cfs_period_us = 100000
        cpu/cpu.cfs_quota_us = 50000
        cpuset/cpuset.cpus = 0-1
        cpuset/cpuset.mems = 0
        pids/pids.max = 100
        blkio/blkio.weight = 500
        blkio/blkio.throttle.read_bps_device = 8:0 1000
        hugetlb/hugetlb.2MB.limit_in_bytes = 4194304
        ");
    }

    #[test]
    fn hybrid_takes_each_controller_where_it_is() {
        let v1_has = ["devices", "memory", "cpu", "cpuset", "pids", "blkio"];
        let hybrid = Layout { v2: unified(&["hugetlb"]), ..v1(&v1_has) };
        let all_v1 = v1(&[&v1_has[..], &["hugetlb"]].concat());
        let elsewhere =
            check(&all_v1).replace("hugetlb/hugetlb.2MB.limit_in_bytes", "unified/hugetlb.2MB.max");
        assert_eq!(check(&hybrid), elsewhere);
    }

    #[test]
    fn v2_translates() {
        let layout =
            Layout { v1: Vec::new(), v2: unified(&["memory", "cpu", "cpuset", "pids", "io", "hugetlb"]) };
        insta::assert_snapshot!(check(&layout), @r"
        unified/memory.swap.max = 104857600
        unified/memory.max = 104857600
        unified/memory.low = 1048576
        unified/cpu.weight = 20
        unified/cpu.max = 50000 100000
        unified/cpuset.cpus = 0-1
        unified/cpuset.mems = 0
        unified/pids.max = 100
        unified/io.weight = 4950
        unified/io.max = 8:0 rbps=1000
        unified/hugetlb.2MB.max = 4194304
        2 device rules as a program
        ");
    }

    #[test]
    fn a_missing_controller_matters_only_if_asked_for() {
        let none = Layout::default();
        assert_eq!(plan(&Resources::default(), &none).unwrap(), Plan::default());
        let pids = Resources { pids: Some(Pids { limit: Some(5) }), ..Resources::default() };
        let error = plan(&pids, &none).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"cannot set pids limit: the cgroup controller "pids" is not available"#
        );
    }

    #[test]
    fn what_is_not_written_is_refused() {
        let check = |json: &str, layout: &Layout, field: &str| {
            let message = plan(&serde_json::from_str(json).unwrap(), layout).unwrap_err().to_string();
            assert_eq!(message, format!("not supported: resources.{field}"));
        };
        let all_v1 = v1(&["memory", "cpu", "blkio"]);
        check(r#"{"memory":{"checkBeforeUpdate":true}}"#, &all_v1, "memory.checkBeforeUpdate");
        check(r#"{"memory":{"useHierarchy":false}}"#, &all_v1, "memory.useHierarchy off");
        check(r#"{"blockIO":{"leafWeight":10}}"#, &all_v1, "blockIO.leafWeight");
        let device = r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}}"#;
        check(device, &all_v1, "blockIO.leafWeight");

        let v2 = Layout { v1: Vec::new(), v2: unified(&["memory", "cpu"]) };
        check(r#"{"memory":{"swappiness":10}}"#, &v2, "memory.swappiness with cgroup v2");
        check(r#"{"memory":{"disableOOMKiller":true}}"#, &v2, "memory.disableOOMKiller with cgroup v2");
        check(r#"{"memory":{"kernelTCP":1000}}"#, &v2, "memory.kernelTCP with cgroup v2");
        let realtime = "cpu.realtimeRuntime and realtimePeriod with cgroup v2";
        check(r#"{"cpu":{"realtimeRuntime":10}}"#, &v2, realtime);
    }

    #[test]
    fn files_are_named_by_names_only() {
        let message = |json: &str| {
            let layout = Layout { v1: Vec::new(), v2: unified(&["hugetlb"]) };
            plan(&serde_json::from_str(json).unwrap(), &layout).unwrap_err().to_string()
        };
        let unified = message(r#"{"unified":{"../memory.max":"1"}}"#);
        assert_eq!(unified, r#"unified resource "../memory.max" must be a file name (no slashes)"#);
        let page_size = message(r#"{"hugepageLimits":[{"pageSize":"/../../x","limit":1}]}"#);
        assert_eq!(page_size, r#"invalid hugepage size "/../../x""#);
    }

    #[test]
    fn unlimited_is_written_as_each_version_has_it() {
        let resources = Resources {
            memory: Some(Memory { limit: Some(-1), swap: Some(-1), ..Memory::default() }),
            pids: Some(Pids { limit: Some(-1) }),
            ..Resources::default()
        };
        let values = |layout: &Layout| -> Vec<String> {
            plan(&resources, layout).unwrap().writes.into_iter().map(|write| write.value).collect()
        };
        assert_eq!(values(&v1(&["memory", "pids"])), ["-1", "-1", "max"]);
        let v2 = Layout { v1: Vec::new(), v2: unified(&["memory", "pids"]) };
        assert_eq!(values(&v2), ["max", "max", "max"]);
    }

    #[test]
    fn absent_device_numbers_mean_all() {
        assert_eq!(device_line(&DeviceRule { major: Some(-1), ..DeviceRule::default() }), "a *:* rwm");
    }
}
