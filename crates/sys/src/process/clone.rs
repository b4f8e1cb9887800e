//! Forking the caller, which must have a single thread, so that the child may run ordinary code.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use fault::{Call, Error, Result};

use super::PidFd;
use crate::namespace::Kinds;
use crate::raw::check;

/// The identity of a child to be made by [`clone3`].
#[derive(Debug, Default)]
pub struct CloneArgs<'a> {
    /// Namespaces to be born in.
    pub namespaces: Kinds,
    /// A cgroup v2 folder to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Make a sibling instead of a child: the caller's parent becomes its parent.
    pub sibling: bool,
}

/// The two sides after [`clone3`].
#[derive(Debug)]
pub enum Fork {
    Parent {
        /// As seen in the caller's pid namespace.
        pid: i32,
        pidfd: PidFd,
    },
    Child,
}

/// Forks the caller, the child's memory being a copy. Fails if the caller has more than one thread: the child
/// would inherit locks that nobody ever opens.
pub fn clone3(args: &CloneArgs<'_>) -> Result<Fork> {
    if thread_count()? != 1 {
        return Err(Error::internal("clone3: the caller has several threads"));
    }
    let mut pidfd: RawFd = -1;
    let mut flags = libc::CLONE_PIDFD as u64 | u64::from(args.namespaces.bits());
    // clone(2): with CLONE_PARENT the exit signal is the caller's own and must not be given.
    let mut exit_signal = libc::SIGCHLD as u64;
    if args.sibling {
        flags |= libc::CLONE_PARENT as u64;
        exit_signal = 0;
    }
    let mut cgroup = 0;
    if let Some(fd) = args.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = fd.as_raw_fd() as u64;
    }
    let raw =
        RawCloneArgs { flags, pidfd: &raw mut pidfd as u64, exit_signal, cgroup, ..RawCloneArgs::default() };
    // SAFETY: without CLONE_VM and without a stack the call behaves as fork(2); the caller has one thread (checked
    // above), so no lock of the allocator or of std is held in the child's copy. `raw` and `pidfd` outlive the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw, size_of::<RawCloneArgs>()) })
        .call(|| "clone3")?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: with CLONE_PIDFD the kernel has put a new descriptor there, which nobody else owns.
    let pidfd = PidFd::from_fd(unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Fork::Parent { pid: pid as i32, pidfd })
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct RawCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The number of threads of the calling process: the links of its task folder, less `.` and its own name.
pub fn thread_count() -> Result<u64> {
    let stat = rustix::fs::stat("/proc/self/task").call(|| "stat /proc/self/task")?;
    Ok(u64::from(stat.st_nlink as u32).saturating_sub(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clone3_refuses_a_caller_with_threads() {
        let (_stop, wait) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || wait.recv().is_err());
        assert!(clone3(&CloneArgs::default()).is_err());
    }
}
