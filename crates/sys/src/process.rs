//! Processes: cloned, started, signalled, waited for; always by pidfd.
//!
//! Two ways to make one. [`clone3`] forks the caller, which must have a single thread, so that the child may run
//! ordinary code. [`spawn`] starts a program from a process of any size and any number of threads: it borrows the
//! caller's memory until the exec (`CLONE_VM | CLONE_VFORK`), so that no page table is copied.

use fault::{Call, Error, Result};

use crate::raw::check;

mod clone;
mod exec;
mod pidfd;
mod spawn;

pub use clone::{CloneArgs, Fork, clone3, thread_count};
pub use exec::{
    close_on_exec_from, close_others, default_signals, execve, execve_fd, keep_on_exec, may_execute,
    set_stdio,
};
pub use pidfd::{Exit, PidFd};
pub use spawn::{Command, Program, spawn};

/// Ends the caller at once: no destructors, no buffers flushed. For children of [`clone3`].
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends the caller with SIGKILL.
pub(crate) fn die() -> ! {
    // SAFETY: a signal to ourselves; no memory is passed.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    exit_now(137)
}

/// kill(2), for when no pidfd can be had. `pid` may be negative for a group.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(i64::from(unsafe { libc::kill(pid, signal) })).call(|| format!("kill {pid}"))?;
    Ok(())
}

pub fn setsid() -> Result<()> {
    rustix::process::setsid().call(|| "setsid")?;
    Ok(())
}

/// `signal` comes when the parent's thread ends; 0 is none.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, "prctl PR_SET_PDEATHSIG")
}

/// Whether others of our user may look into us (ptrace, /proc/PID/exe and fd).
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), "prctl PR_SET_DUMPABLE")
}

fn prctl(option: i32, value: libc::c_ulong, what: &'static str) -> Result<()> {
    // SAFETY: the callers pass options that take an integer only.
    check(i64::from(unsafe { libc::prctl(option, value, 0, 0, 0) })).call(|| what)?;
    Ok(())
}

/// When a process began, in clock ticks since boot: with the pid it names a process for good.
pub fn start_time(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read(&path).call(|| format!("read {path}"))?;
    parse_start_time(&text).ok_or_else(|| Error::internal(format!("{path}: no start time")))
}

/// proc_pid_stat(5): field 22; the name (field 2) may hold spaces and brackets.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let text = std::str::from_utf8(&stat[after_name..]).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A name for this boot of the machine.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).call(|| format!("read {path}"))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_are_read_past_odd_names() {
        let stat = b"12 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        assert_eq!(parse_start_time(stat), Some(987_654));
        assert!(start_time(std::process::id() as i32).unwrap() > 0);
    }
}
