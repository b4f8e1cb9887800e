//! How processes end: drained, put on file, told; and what is then let go.

use std::os::fd::OwnedFd;
use std::path::Path;

use fault::{Doing, Error, Result};
use sys::time::Timestamp;

use super::clock::rfc3339;
use super::task::Task;
use super::{CONTAINER, Monitor};
use crate::init::Failure;
use crate::protocol::{Event, Exit, Target};

impl Monitor {
    /// With the host's pid namespace, or that of another container, processes outlive the first one.
    pub(super) fn kill_the_rest(&mut self) {
        let Some(ward) = &self.ward else { return };
        let killed = match ward.cgroup.pids() {
            Ok(pids) if pids.is_empty() => Ok(()),
            _ => ward.cgroup.kill(),
        };
        self.tell_trouble(killed.doing(|| "ending what is left of the container"));
    }

    pub(super) fn exec_ended(&mut self, id: u32) {
        let Some((exit, task)) = self.drain(id, false) else { return };
        let (exit_file, durable) = (task.exit_file.clone(), task.durable);
        let Target::Exec(exec_id) = task.target.clone() else { return };
        self.record(&exit_file, durable, &exit);
        if let Some(state) = self.execs.get_mut(&exec_id) {
            state.exit = Some(exit.clone());
        }
        self.tell(&Event::ExecExited { exec_id, exit });
    }

    /// The last process of the container has ended.
    pub(super) fn container_ended(&mut self) {
        let Some(ward) = &mut self.ward else { return };
        ward.oom_killed |= ward.cgroup.oom_kills().is_ok_and(|kills| kills > 0);
        // Whoever hears of the exit may start the next container on the same ports.
        ward.held.clear();
        let oom_killed = ward.oom_killed;
        let Some((exit, task)) = self.drain(CONTAINER, oom_killed) else { return };
        let (exit_file, durable) = (task.exit_file.clone(), task.durable);
        sys::crash::point("monitor.exit.drained");
        self.record_end(&exit_file, durable, &exit);
        sys::crash::point("monitor.exit.recorded");
        self.exit = Some(exit.clone());
        self.is_settled |= !self.connections.is_empty();
        self.tell(&Event::Exited(exit));
        self.leave();
    }

    /// Reads what the process left behind and says how it ended.
    fn drain(&mut self, id: u32, oom_killed: bool) -> Option<(Exit, &Task)> {
        let task = self.tasks.get_mut(&id)?;
        let drained = task.drain(&self.poll, &mut self.buffer);
        self.tell_trouble(drained);
        let task = self.tasks.get(&id)?;
        let exit = Exit {
            code: task.exit?.code,
            oom_killed,
            finished_at: rfc3339(Timestamp::now()),
            pid: task.pid,
            start_time: task.start_time,
            boot_id: sys::process::boot_id().unwrap_or_default(),
            error: None,
            log_errors: task.log_errors(),
        };
        Some((exit, task))
    }

    /// Puts the container's exit file in place. If that fails, the monitor stays until a daemon has heard it. Of a run that
    /// was given up nobody wants to hear, and the file may be the next run's.
    pub(super) fn record_end(&mut self, exit_file: &Path, durable: bool, exit: &Exit) {
        self.is_settled |= self.is_given_up() || self.record(exit_file, durable, exit);
    }

    /// Puts an exit file in place; whether that could be done.
    pub(super) fn record(&mut self, exit_file: &Path, durable: bool, exit: &Exit) -> bool {
        let written = write_exit(exit_file, durable, exit);
        let is_written = written.is_ok();
        self.tell_trouble(written);
        is_written
    }

    /// A daemon that got no answer has taken our socket's name away.
    fn is_given_up(&self) -> bool {
        let has_name = |intent: &OwnedFd| sys::fs::fstat(intent).is_ok_and(|stat| stat.nlink > 0);
        self.intent.as_ref().is_some_and(|intent| !has_name(intent))
    }

    /// Lets go of what the container had, after its end was told.
    pub(super) fn leave(&mut self) {
        let Some(ward) = &mut self.ward else { return };
        let forgotten = match &mut ward.oom {
            Some((file, watch)) => watch.want(&self.poll, &*file, None),
            None => Ok(()),
        };
        ward.oom = None;
        let removed = forgotten.and(ward.cgroup.remove());
        self.tell_trouble(removed);
    }
}

/// The exit of a process that never was.
pub(super) fn failed(failure: &Failure) -> Exit {
    Exit {
        code: failure.exit_code,
        finished_at: rfc3339(Timestamp::now()),
        boot_id: sys::process::boot_id().unwrap_or_default(),
        error: Some(failure.to_string()),
        ..Exit::default()
    }
}

fn write_exit(exit_file: &Path, durable: bool, exit: &Exit) -> Result<()> {
    let content =
        serde_json::to_vec(exit).map_err(|error| Error::internal("exit file").with_source(error))?;
    if durable {
        sys::fs::write_atomic(exit_file, content)
    } else {
        sys::fs::write_swapped(exit_file, content, 0o600)
    }
}
