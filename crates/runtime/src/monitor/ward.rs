//! What the monitor holds for its running container, beside the processes.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;

use fault::Result;
use sys::poll::{Interest, Poll};
use sys::time::Timestamp;

use super::clock::rfc3339;
use super::launch::StartFds;
use super::source::{Source, Watch};
use super::task::Task;
use crate::cgroup::Cgroup;
use crate::protocol::Running;
use crate::seccomp::Program;

/// What is held for the running container.
pub(super) struct Ward {
    pub(super) id: String,
    pub(super) started_at: String,
    pub(super) listener: Option<(OwnedFd, Watch)>,
    pub(super) cgroup: Cgroup,
    pub(super) seccomp: Option<Program>,
    /// Reserved ports.
    pub(super) held: Vec<OwnedFd>,
    /// Kept until the end, so that the daemon finds it whole when it takes the network away.
    _netns: Option<OwnedFd>,
    pub(super) oom: Option<(File, Watch)>,
    pub(super) oom_killed: bool,
}

impl Ward {
    pub(super) fn new(
        id: String,
        cgroup: Cgroup,
        seccomp: Option<Program>,
        fds: StartFds,
        poll: &Poll,
    ) -> Result<Self> {
        let mut listener = fds.listener.map(|listener| (listener, Watch::new(Source::Listener)));
        if let Some((listener, watch)) = &mut listener {
            sys::socket::set_nonblocking(&*listener, true)?;
            watch.want(poll, &*listener, Some(Interest::READ))?;
        }
        let oom = watch_memory(&cgroup, poll);
        let started_at = rfc3339(Timestamp::now());
        Ok(Self {
            id,
            started_at,
            listener,
            cgroup,
            seccomp,
            held: fds.held,
            _netns: fds.netns,
            oom,
            oom_killed: false,
        })
    }

    /// The event that watches memory has come; says whether the kernel has killed.
    pub(super) fn heed_memory(&mut self) -> bool {
        let Some((file, _)) = &mut self.oom else { return false };
        // Resets the event: an eventfd is read out, a file of cgroup v2 is read again from its start.
        let _is_no_file = file.rewind();
        let _is_told_by_the_counter = file.read(&mut [0; 256]);
        let is_v1 = self.cgroup.layout().has_v1("memory");
        // The event of v1 comes before the kill is counted; that of v2 is told for other counters too.
        let has_killed = is_v1 || self.cgroup.oom_kills().is_ok_and(|kills| kills > 0);
        self.oom_killed |= has_killed;
        has_killed
    }
}

/// A machine without a memory controller has no such events.
fn watch_memory(cgroup: &Cgroup, poll: &Poll) -> Option<(File, Watch)> {
    let file = File::from(cgroup.oom_events().ok()?);
    let mut watch = Watch::new(Source::Oom);
    // A file of cgroup v2 can always be read; its events are told as errors.
    let interest = if cgroup.layout().has_v1("memory") { Interest::READ } else { Interest::NONE };
    watch.want(poll, &file, Some(interest)).ok()?;
    Some((file, watch))
}

pub(super) fn running(ward: &Ward, task: &Task) -> Running {
    Running {
        id: ward.id.clone(),
        pid: task.pid,
        start_time: task.start_time,
        started_at: ward.started_at.clone(),
        oom_killed: ward.oom_killed,
        log_errors: task.log_errors(),
    }
}
