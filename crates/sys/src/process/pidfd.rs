//! A handle to one process, and how that ended.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use fault::{Call, Error, Result};

use crate::raw::check;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 + signal as a shell reports it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    fn exited(code: i32) -> Self {
        Self { code, signal: None }
    }

    fn killed(signal: i32) -> Self {
        Self { code: 128 + signal, signal: Some(signal) }
    }
}

/// A handle to one process, which never comes to mean another one.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    pub fn open(pid: i32) -> Result<Self> {
        let raw = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| Error::invalid(format!("{pid} is not a process id")))?;
        let fd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .call(|| format!("pidfd_open {pid}"))?;
        Ok(Self(fd))
    }

    /// Takes a pidfd that came from elsewhere, for example over a socket.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Signal 0 asks only whether the process lives.
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        // SAFETY: a null siginfo means "as kill(2)"; no memory is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        check(result).call(|| format!("pidfd_send_signal {signal}"))?;
        Ok(())
    }

    /// A copy of a descriptor of the process's, by its number there.
    pub fn descriptor(&self, number: RawFd) -> Result<OwnedFd> {
        // SAFETY: no memory is passed.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        let copy = check(result).call(|| format!("pidfd_getfd {number}"))?;
        // SAFETY: the call returns a new descriptor, which nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
    }

    /// Waits for the end of a child and reaps it.
    pub fn wait(&self) -> Result<Exit> {
        loop {
            match self.waitid(libc::WEXITED | WALL) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(error) if error.errno() == Some(libc::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reaps a child if it has ended.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        self.waitid(libc::WEXITED | libc::WNOHANG | WALL)
    }

    fn waitid(&self, options: i32) -> Result<Option<Exit>> {
        // SAFETY: siginfo_t is plain data, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is valid for writes during the call.
        let result =
            unsafe { libc::waitid(libc::P_PIDFD, self.0.as_raw_fd() as libc::id_t, &raw mut info, options) };
        check(i64::from(result)).call(|| "waitid")?;
        // SAFETY: waitid fills the SIGCHLD part of the union, or leaves it zero when nothing has ended.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        Ok((pid != 0).then(|| match info.si_code {
            libc::CLD_EXITED => Exit::exited(status),
            _ => Exit::killed(status),
        }))
    }

    /// Whether the process has ended (reaped or not).
    pub fn has_ended(&self) -> Result<bool> {
        let mut fds = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
            .call(|| "poll pidfd")?;
        Ok(ready > 0)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.0
    }
}

/// Also wait for children that were cloned with another signal than SIGCHLD.
const WALL: i32 = libc::__WALL;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::*;
    use crate::process::{Command, Program, spawn};

    #[test]
    fn a_killed_child_has_the_shells_code() {
        let args = ["sh", "-c", "exec sleep 60"].map(OsStr::new);
        let program = Program::Path(Path::new("/bin/sh"));
        let child = spawn(&Command { program, args: &args, env: &[], fds: &[], session: true }).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.send_signal(libc::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap(), Exit { code: 137, signal: Some(9) });
    }
}
