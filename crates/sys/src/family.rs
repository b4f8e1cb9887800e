//! What a first process does with its family: fork, reap whoever ended, hand over the terminal.
//!
//! It works under a container's own system call filter, where clone3(2) may not exist.

use std::io;

use fault::{Call, Error, Result};
use rustix::process::{Pid, WaitOptions};

use crate::process::{Exit, thread_count};

/// The child, in the parent; `None` in the child. Fails if the caller has more than one thread.
pub fn fork() -> Result<Option<i32>> {
    if thread_count()? != 1 {
        return Err(Error::internal("fork: the caller has several threads"));
    }
    // SAFETY: the caller has one thread (checked above), so that the child's copy of the memory holds no lock that
    // another thread would have to open.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(pid)),
        _ => Err(io::Error::last_os_error()).call(|| "fork"),
    }
}

/// A child or an adopted grandchild that has ended, as (pid, exit); `None` if all that are left live.
pub fn reap() -> Result<Option<(i32, Exit)>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(rustix::io::Errno::INTR) => {}
            // No child at all.
            Err(rustix::io::Errno::CHILD) => return Ok(None),
            ended => {
                let ended = ended.call(|| "waitpid")?;
                return Ok(ended.and_then(|(pid, status)| Some((pid.as_raw_nonzero().get(), exit(status)?))));
            }
        }
    }
}

/// `None` for a child that was only stopped or traced.
fn exit(status: rustix::process::WaitStatus) -> Option<Exit> {
    let code = status.exit_status().map(|code| Exit { code, signal: None });
    code.or_else(|| {
        status.terminating_signal().map(|signal| Exit { code: 128 + signal, signal: Some(signal) })
    })
}

/// Makes the caller a process group of its own, and the foreground one if stdin is its session's terminal, so that
/// signals of the keyboard reach it and not its parent.
pub fn lead_foreground_group() -> Result<()> {
    rustix::process::setpgid(None, None).call(|| "setpgid")?;
    let own: Pid = rustix::process::getpid();
    match rustix::termios::tcsetpgrp(rustix::stdio::stdin(), own) {
        // Not a terminal, not ours, or no terminal at all.
        Err(rustix::io::Errno::NOTTY | rustix::io::Errno::NXIO | rustix::io::Errno::BADF) => Ok(()),
        result => result.call(|| "tcsetpgrp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_does_not_fork() {
        let error = fork().unwrap_err();
        assert_eq!(error.to_string(), "fork: the caller has several threads");
    }
}
