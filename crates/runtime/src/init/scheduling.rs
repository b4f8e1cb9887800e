//! How the kernel runs the process: scheduler, priority of its input and output, processors, memory nodes, personality.
//! Planned from the specification's words to the kernel's numbers.

use fault::{Doing, Error, Kind, Result};
use oci::runtime::{self, CpuAffinity, IoPriority, Linux, MemoryPolicy, Personality, Scheduler};
use sys::scheduling;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scheduling {
    scheduler: Option<scheduling::Scheduler>,
    /// Class and level.
    io_priority: Option<(u16, u16)>,
    /// Of an exec, before it is in the cgroup and from then on.
    affinity: Option<Affinity>,
    /// Mode with flags, and nodes.
    memory: Option<(u32, Bits)>,
    personality: Option<u32>,
    /// Whether the container is bound to some processors, which some schedulers do not bear.
    has_cpuset: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Affinity {
    first: Option<Bits>,
    last: Option<Bits>,
}

impl Scheduling {
    /// `linux` holds for every process of the container.
    pub(super) fn plan(process: &runtime::Process, linux: Option<&Linux>) -> Result<Self> {
        let cpu = linux.and_then(|linux| linux.resources.as_ref()).and_then(|limits| limits.cpu.as_ref());
        Ok(Self {
            scheduler: process.scheduler.as_ref().map(scheduler).transpose()?,
            io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
            affinity: process.exec_cpu_affinity.as_ref().map(Affinity::plan).transpose()?,
            memory: linux.and_then(|linux| linux.memory_policy.as_ref()).map(memory_policy).transpose()?,
            personality: linux.and_then(|linux| linux.personality.as_ref()).map(personality).transpose()?,
            has_cpuset: cpu.is_some_and(|cpu| !cpu.cpus.is_empty()),
        })
    }

    /// Before the cgroup is joined, for an exec.
    pub(super) fn apply_first_affinity(&self) -> Result<()> {
        let first = self.affinity.as_ref().and_then(|affinity| affinity.first.as_ref());
        first
            .map_or(Ok(()), |first| scheduling::set_affinity(&first.0))
            .doing(|| "setting initial CPU affinity")
    }

    /// The first word of [`Self::apply_first_affinity`]'s mask.
    pub(super) fn first_affinity(&self) -> Option<u64> {
        let first = self.affinity.as_ref()?.first.as_ref()?;
        first.0.first().copied()
    }

    /// In the cgroup, for an exec: what is wanted, else all that the cgroup gives.
    pub(super) fn apply_last_affinity(&self) -> Result<()> {
        match self.affinity.as_ref().and_then(|affinity| affinity.last.as_ref()) {
            Some(last) => scheduling::set_affinity(&last.0).doing(|| "setting final CPU affinity"),
            None => reset_affinity(),
        }
    }

    /// While the process may still do everything.
    pub(super) fn apply(&self) -> Result<()> {
        if let Some(scheduler) = &self.scheduler {
            self.apply_scheduler(scheduler)?;
        }
        if let Some((class, level)) = self.io_priority {
            scheduling::set_io_priority(class, level)?;
        }
        if let Some((mode, nodes)) = &self.memory {
            scheduling::set_memory_policy(*mode, &nodes.0)?;
        }
        self.personality.map_or(Ok(()), scheduling::set_personality)
    }

    fn apply_scheduler(&self, scheduler: &scheduling::Scheduler) -> Result<()> {
        match scheduling::set_scheduler(scheduler) {
            // sched_setattr(2): a deadline is promised for all processors or not at all.
            Err(error) if error.kind() == Kind::Denied && self.has_cpuset => {
                Err(Error::invalid("process scheduler can't be used together with AllowedCPUs"))
            }
            result => result.doing(|| "setting the process scheduler"),
        }
    }
}

/// The caller of the runtime may be bound to a processor, which is no matter of the container's.
pub(super) fn reset_affinity() -> Result<()> {
    match scheduling::set_affinity(&[u64::MAX; BITS_MAX / 64]) {
        // Some sandboxes forbid the call, and then nobody was bound by it.
        Err(error) if error.kind() == Kind::Denied => Ok(()),
        result => result,
    }
}

impl Affinity {
    fn plan(affinity: &CpuAffinity) -> Result<Self> {
        let bits = |list: &str| {
            let bits = (!list.is_empty()).then(|| Bits::parse(list)).transpose();
            bits.map_err(|error| Error::invalid(format!("invalid CPU affinity {list:?}: {error}")))
        };
        Ok(Self { first: bits(&affinity.initial)?, last: bits(&affinity.last)? })
    }
}

/// A set of small numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bits(Vec<u64>);

/// As many processors and memory nodes as a kernel can be built for, CONFIG_NR_CPUS and NODES_SHIFT.
const BITS_MAX: usize = 8192;

impl Bits {
    /// `0-3,7`, as cpuset(7) has it under "List format".
    fn parse(list: &str) -> Result<Self> {
        let mut bits = Self::default();
        for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(Error::invalid(format!("invalid range {part:?}")));
            }
            (first..=last).for_each(|bit| bits.set(bit));
        }
        Ok(bits)
    }

    fn set(&mut self, bit: usize) {
        let word = bit / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (bit % 64);
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

fn number(text: &str) -> Result<usize> {
    let number = text.trim().parse().ok().filter(|number| *number < BITS_MAX);
    number.ok_or_else(|| Error::invalid(format!("invalid number {text:?}")))
}

/// What a table has for a name.
fn named<T: Copy>(table: &[(&str, T)], name: &str, what: &str) -> Result<T> {
    let found = table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| Error::invalid(format!("invalid {what}: {name:?}")))
}

fn scheduler(wanted: &Scheduler) -> Result<scheduling::Scheduler> {
    let flags = wanted
        .flags
        .iter()
        .try_fold(0, |all, flag| Ok::<_, Error>(all | named(SCHEDULER_FLAGS, flag, "scheduler flag")?))?;
    Ok(scheduling::Scheduler {
        policy: named(POLICIES, &wanted.policy, "scheduler policy")?,
        flags,
        nice: wanted.nice,
        priority: u32::try_from(wanted.priority)
            .map_err(|_| Error::invalid(format!("invalid scheduler priority: {}", wanted.priority)))?,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
    })
}

/// linux/sched.h
const POLICIES: &[(&str, u32)] = &[
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const SCHEDULER_FLAGS: &[(&str, u64)] = &[
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

fn io_priority(wanted: &IoPriority) -> Result<(u16, u16)> {
    let class = named(IO_CLASSES, &wanted.class, "ioPriority class")?;
    match u16::try_from(wanted.priority) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Error::invalid(format!("invalid ioPriority priority: {}", wanted.priority))),
    }
}

/// linux/ioprio.h
const IO_CLASSES: &[(&str, u16)] =
    &[("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

fn memory_policy(wanted: &MemoryPolicy) -> Result<(u32, Bits)> {
    let mode = named(MEMORY_MODES, &wanted.mode, "memory policy mode")?;
    let flags = wanted
        .flags
        .iter()
        .try_fold(0, |all, flag| Ok::<_, Error>(all | named(MEMORY_FLAGS, flag, "memory policy flag")?))?;
    let nodes = Bits::parse(&wanted.nodes).map_err(|error| {
        Error::invalid(format!("invalid memory policy nodes {:?}: {error}", wanted.nodes))
    })?;
    let takes_none = wanted.mode == "MPOL_DEFAULT" || wanted.mode == "MPOL_LOCAL";
    if takes_none && nodes.len() > 0 {
        return Err(Error::invalid(format!(
            "invalid memory policy: {} mode requires 0 nodes but got {}",
            wanted.mode,
            nodes.len()
        )));
    }
    Ok((mode | flags, nodes))
}

/// linux/mempolicy.h
const MEMORY_MODES: &[(&str, u32)] = &[
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

const MEMORY_FLAGS: &[(&str, u32)] = &[
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// config-linux.md, "Personality": there are no flags yet.
fn personality(wanted: &Personality) -> Result<u32> {
    match wanted.flags.first() {
        Some(flag) => Err(Error::invalid(format!("invalid personality flag: {flag:?}"))),
        None => named(&[("LINUX", 0), ("LINUX32", 8)], &wanted.domain, "personality domain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_bits() {
        assert_eq!(Bits::parse("0-2, 5").unwrap(), Bits(vec![0b10_0111]));
        assert_eq!(Bits::parse("64").unwrap(), Bits(vec![0, 1]));
        assert_eq!(Bits::parse("").unwrap().len(), 0);
        for bad in ["a", "3-1", "1-", "-1", "0-9876543210", "8192"] {
            assert!(Bits::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flag_given_twice_counts_once() {
        let twice = vec!["SCHED_FLAG_RECLAIM".to_owned(); 2];
        let wanted =
            Scheduler { policy: "SCHED_RR".into(), flags: twice, priority: 3, ..Scheduler::default() };
        let planned = scheduler(&wanted).unwrap();
        assert_eq!((planned.policy, planned.flags, planned.priority), (2, 2, 3));
    }

    #[test]
    fn words_that_the_kernel_does_not_have_are_refused() {
        let message = |json: &str, linux: &str| {
            let linux = serde_json::from_str(linux).unwrap();
            Scheduling::plan(&serde_json::from_str(json).unwrap(), Some(&linux)).unwrap_err().to_string()
        };
        let of_process = |json: &str| message(json, "{}");
        let of_linux = |json: &str| message("{}", json);
        assert_eq!(of_process(r#"{"scheduler":{"policy":"FIFO"}}"#), r#"invalid scheduler policy: "FIFO""#);
        assert_eq!(of_process(r#"{"ioPriority":{"class":"BE"}}"#), r#"invalid ioPriority class: "BE""#);
        assert_eq!(
            of_process(r#"{"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}"#),
            "invalid ioPriority priority: 8"
        );
        assert_eq!(
            of_process(r#"{"execCPUAffinity":{"final":"x"}}"#),
            r#"invalid CPU affinity "x": invalid number "x""#
        );
        assert_eq!(of_linux(r#"{"personality":{"domain":"BSD"}}"#), r#"invalid personality domain: "BSD""#);
        assert_eq!(of_linux(r#"{"memoryPolicy":{}}"#), r#"invalid memory policy mode: """#);
        assert_eq!(
            of_linux(r#"{"memoryPolicy":{"mode":"MPOL_LOCAL","nodes":"0-7"}}"#),
            "invalid memory policy: MPOL_LOCAL mode requires 0 nodes but got 8"
        );
    }
}
