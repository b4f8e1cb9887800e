//! What daemons ask of the monitor, and how it is answered.

use std::os::fd::AsFd;
use std::path::Path;

use fault::{Error, Result};
use sys::signal::SIGKILL;
use sys::tty::Size;

use super::exit::failed;
use super::launch::{Attached, Place, StartFds, launch, launch_exec};
use super::source::next_id;
use super::task::{Parts, Task};
use super::ward::{Ward, running};
use super::{CONTAINER, Monitor};
use crate::cgroup::Cgroup;
use crate::init::Failure;
use crate::protocol::{
    Attach, Call, Event, Exec, ExecState, Fds, Frame, Patience, Request, Running, Start, Target,
};
use crate::seccomp::Program;

/// An answer to the connection that asked; `None` if the events to all say it.
type Answer = Result<Option<Event>>;

impl Monitor {
    pub(super) fn answer(&mut self, mut frame: Frame) -> Option<Event> {
        let (number, answer) = match Call::read(&frame) {
            Ok(call) => (call.number, self.request(call.number, call.request, &mut frame.fds)),
            Err(unreadable) => (unreadable.number?, Err(Error::unsupported(unreadable.message))),
        };
        answer.unwrap_or_else(|error| {
            Some(Event::Failed { number, reason: error.kind().into(), message: error.to_string() })
        })
    }

    fn request(&mut self, number: u64, request: Request, fds: &mut Fds) -> Answer {
        match request {
            Request::Start(start) => self.start(*start, fds).map(|()| None),
            Request::Exec(exec) => self.exec(*exec, fds).map(|()| None),
            Request::Attach(attach) => self.attach(number, &attach, fds).map(Some),
            Request::Resize { target, width, height } => {
                self.task(&target)?.resize(Size { height, width })?;
                Ok(Some(Event::Done { number }))
            }
            Request::Signal { target, signal } => {
                self.task(&target)?.signal(signal)?;
                Ok(Some(Event::Done { number }))
            }
            Request::Forget { exec_id } => {
                self.execs.retain(|id, exec| *id != exec_id || exec.exit.is_none());
                Ok(Some(Event::Done { number }))
            }
        }
    }

    fn start(&mut self, start: Start, fds: &mut Fds) -> Result<()> {
        if self.ward.is_some() || self.exit.is_some() {
            return Err(Error::conflict("this monitor has its container already"));
        }
        let start_fds = StartFds::take(&start, fds)?;
        // Who may not ask never sees that a run was given up.
        self.intent = start_fds.listener.as_ref().and_then(|listener| sys::socket::bound_file(listener).ok());
        sys::crash::point("monitor.start.received");
        let (id, exit_file, durable) = (start.id.clone(), start.exit_file.clone(), start.durable);
        let seccomp = start.seccomp.clone();
        let intent = self.intent.as_ref().map(AsFd::as_fd);
        let started = launch(start, &start_fds, intent).and_then(|(parts, cgroup)| {
            let adopted = self.adopt(id, parts, cgroup.clone(), seccomp, start_fds);
            adopted.map_err(|error| abandon(&cgroup, error))
        });
        match started {
            Ok(running) => {
                sys::crash::point("monitor.started");
                self.tell(&Event::Started(running));
            }
            Err(failure) => self.not_started(&exit_file, durable, &failure),
        }
        self.is_bloated = true;
        Ok(())
    }

    /// Takes charge of the container that was just started.
    fn adopt(
        &mut self,
        id: String,
        parts: Parts,
        cgroup: Cgroup,
        seccomp: Option<Program>,
        mut fds: StartFds,
    ) -> Result<Running> {
        let attached = std::mem::take(&mut fds.attached);
        let task = watched(CONTAINER, parts, attached)?;
        let ward = Ward::new(id, cgroup, seccomp, fds, &self.poll)?;
        let running = running(&ward, &task);
        self.tasks.insert(CONTAINER, task);
        self.ward = Some(ward);
        Ok(running)
    }

    fn not_started(&mut self, exit_file: &Path, durable: bool, failure: &Failure) {
        let exit = failed(failure);
        self.record_end(exit_file, durable, &exit);
        self.exit = Some(exit);
        self.tell(&Event::StartFailed { message: failure.to_string(), exit_code: failure.exit_code });
    }

    fn exec(&mut self, exec: Exec, fds: &mut Fds) -> Result<()> {
        let attached = exec.attach.map(|attach| Ok((fds.take(attach.socket)?, attach))).transpose()?;
        if self.execs.contains_key(&exec.exec_id) {
            return Err(Error::conflict(format!("exec {} exists already", exec.exec_id)));
        }
        let (Some(ward), Some(first)) =
            (&self.ward, self.tasks.get(&CONTAINER).filter(|task| task.exit.is_none()))
        else {
            return Err(Error::conflict("the container is not running"));
        };
        let place = Place {
            pid: first.pid,
            pidfd: first.pidfd(),
            cgroup: &ward.cgroup,
            seccomp: ward.seccomp.as_ref(),
        };
        let (exec_id, exit_file, durable) = (exec.exec_id.clone(), exec.exit_file.clone(), exec.durable);
        match launch_exec(exec, &place) {
            Ok(parts) => {
                let id = next_id(&mut self.last_task);
                let process = parts.process.pid;
                let task = watched(id, parts, attached).inspect_err(|_| {
                    // Not reaped yet, so the pid is still its own.
                    sys::process::kill(process, SIGKILL).ok();
                })?;
                let pid = task.pid;
                self.tasks.insert(id, task);
                self.execs.insert(exec_id.clone(), ExecState { exec_id: exec_id.clone(), pid, exit: None });
                self.tell(&Event::ExecStarted { exec_id, pid });
            }
            Err(failure) => {
                let exit = failed(&failure);
                self.record(&exit_file, durable, &exit);
                self.execs.insert(
                    exec_id.clone(),
                    ExecState { exec_id: exec_id.clone(), pid: 0, exit: Some(exit) },
                );
                let (message, exit_code) = (failure.to_string(), failure.exit_code);
                self.tell(&Event::ExecFailed { exec_id, message, exit_code });
            }
        }
        Ok(())
    }

    fn attach(&mut self, number: u64, attach: &Attach, fds: &mut Fds) -> Result<Event> {
        let Attach { target, attachment, patience, continues_log } = attach;
        let socket = fds.take(attachment.socket)?;
        let task = self.task(target)?;
        if *continues_log {
            let log_end = task.attach_behind_log(socket, attachment, *patience)?;
            return Ok(Event::Attached { number, log_end });
        }
        task.attach(socket, attachment, *patience)?;
        Ok(Event::Done { number })
    }

    /// A task that runs, or has output left.
    fn task(&mut self, target: &Target) -> Result<&mut Task> {
        let task = self.tasks.values_mut().find(|task| task.target == *target);
        task.ok_or_else(|| Error::not_found("process already finished"))
    }
}

/// A process with the clients that came with it.
fn watched(id: u32, parts: Parts, attached: impl IntoIterator<Item = Attached>) -> Result<Task> {
    let mut task = Task::new(id, parts)?;
    for (socket, attachment) in attached {
        task.attach(socket, &attachment, Patience::Block)?;
    }
    Ok(task)
}

/// A container that cannot be watched must not run.
fn abandon(cgroup: &Cgroup, error: Error) -> Failure {
    let killed = cgroup.kill().and_then(|()| cgroup.remove());
    // What failed first matters; a leftover is found by the next start.
    killed.ok();
    Failure { error, exit_code: 128 }
}
