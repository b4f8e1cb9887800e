//! A further process in a running container: it joins the namespaces of the first one and its cgroup.

use std::os::fd::BorrowedFd;

use fault::{Call, Error};

use crate::cgroup::Cgroup;
use crate::init::{Failure, Process};
use crate::seccomp::Program;

/// What to execute, and where.
#[derive(Debug)]
pub struct ExecLaunch<'a> {
    /// The container's first process, in our pid namespace.
    pub pid: i32,
    pub pidfd: BorrowedFd<'a>,
    pub process: &'a oci::runtime::Process,
    pub cgroup: &'a Cgroup,
    /// The container's filter.
    pub seccomp: Option<&'a Program>,
    /// Standard input, output and error; not used if the process has a terminal.
    pub stdio: [BorrowedFd<'a>; 3],
}

/// Returns when the program is executed. The caller must have a single thread, and reaps the process.
pub fn exec(launch: &ExecLaunch<'_>) -> Result<Process, Failure> {
    crate::init::exec(launch)
}

impl ExecLaunch<'_> {
    pub(crate) fn pidfd_is_alive(&self) -> fault::Result<()> {
        let pidfd = sys::process::PidFd::from_fd(self.pidfd.try_clone_to_owned().call(|| "dup")?);
        if pidfd.has_ended()? { Err(Error::conflict("cannot exec in a stopped container")) } else { Ok(()) }
    }
}
