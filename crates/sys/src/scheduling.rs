//! How the kernel runs the caller: scheduler, priorities, processors, memory nodes, personality.
//!
//! All of it holds for the calling thread and for what it executes and forks later.

use fault::{Call, Result};

use crate::raw::check;

/// What sched_setattr(2) takes, but for the size. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// A `SCHED_*` number.
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

pub fn set_scheduler(scheduler: &Scheduler) -> Result<()> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    };
    // SAFETY: the structure says its size and lives during the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
        .call(|| "sched_setattr")?;
    Ok(())
}

/// `struct sched_attr` of linux/sched/types.h, first version.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Of the caller's process group. `class` is an `IOPRIO_CLASS_*` number.
pub fn set_io_priority(class: u16, level: u16) -> Result<()> {
    let priority = i64::from(class) << IOPRIO_CLASS_SHIFT | i64::from(level);
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, priority) })
        .call(|| "ioprio_set")?;
    Ok(())
}

const IOPRIO_WHO_PGRP: i64 = 2;
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// The processors to run on, bit N of the words being number N; those that the cgroup does not give are left out.
pub fn set_affinity(processors: &[u64]) -> Result<()> {
    // SAFETY: pointer and length are of one slice.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(processors), processors.as_ptr())
    })
    .call(|| "sched_setaffinity")?;
    Ok(())
}

/// Where memory comes from: an `MPOL_*` number with its flags, and the nodes as bits.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // set_mempolicy(2): the kernel counts one bit less than it is told.
    let (pointer, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), size_of_val(nodes) * 8 + 1),
    };
    // SAFETY: the kernel reads at most as many bits as the slice has.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) }).call(|| "set_mempolicy")?;
    Ok(())
}

/// Which system the process sees, a `PER_*` number.
pub fn set_personality(personality: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_personality, personality) }).call(|| "personality")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_moved_to_one_processor() {
        std::thread::spawn(|| {
            set_affinity(&[1]).unwrap();
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("Cpus_allowed_list:\t0\n"));
            set_affinity(&[u64::MAX; 16]).unwrap();
            assert_eq!(set_affinity(&[0]).unwrap_err().errno(), Some(libc::EINVAL));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_becomes_nice() {
        std::thread::spawn(|| {
            set_scheduler(&Scheduler { policy: 3, nice: 7, ..Scheduler::default() }).unwrap();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
            assert_eq!((fields[16], fields[38]), ("7", "3"));
        })
        .join()
        .unwrap();
    }
}
