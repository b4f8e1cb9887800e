//! The monitor: one small process that starts one container, holds its streams, and knows how it ends.
//!
//! ```text
//! Awaited --Start--> Running --first process ends--> Exited --clients have all, daemon told--> (process ends)
//!    \--daemon gone, or start failed--> (process ends)
//! ```
//!
//! Guarantees: the exit file is in place before anyone is told of an exit; the log has all output by then; a failing log
//! or a slow late client never stops the container; a daemon may come and go at any time. If the monitor dies its
//! container is killed (the first process asks the kernel for that).
//!
//! One thread, one epoll, no waiting anywhere else. After the start it allocates little and gives back what a burst
//! took, because one of it lives beside every container. It knows neither images nor networks nor Docker's API.

mod client;
mod clock;
mod connection;
mod json;
mod json_file;
mod launch;
mod lines;
mod source;
mod stdio;
mod task;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use fault::{Doing, Error, Result};
use sys::poll::{Interest, Poll, Ready};
use sys::signal::SIGKILL;
use sys::time::Timestamp;
use sys::tty::Size;

use self::clock::rfc3339;
use self::connection::Connection;
use self::launch::{Attached, Place, StartFds, launch, launch_exec};
use self::source::{Part, Source, Watch, next_id};
use self::task::{Parts, Task};
use crate::cgroup::Cgroup;
use crate::init::Failure;
use crate::protocol::{
    Attach, Call, Container, Event, Exec, ExecState, Exit, Fds, Frame, Hello, Patience, Request, Running,
    Start, Target, VERSION,
};
use crate::seccomp::Program;

/// Serves the connection until the container's life is over. The calling process must have one thread, and be the
/// container's own: it is the parent of what runs in it.
pub fn run(control: OwnedFd) -> Result<()> {
    let mut monitor = Monitor::new()?;
    monitor.connect(control)?;
    while !monitor.is_over() {
        if monitor.turn()? == Turn::Quiet {
            monitor.slim();
        }
    }
    Ok(())
}

/// What a monitor's environment should hold: the C library's caches of freed memory pay off in programs that allocate all
/// day, and cost a monitor 30 KB for ever (mallopt(3), tunables of glibc).
pub const ENVIRONMENT: &str = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0";

/// The container's first process among the tasks.
const CONTAINER: u32 = 0;

/// One read of a pipe; more than a pipe holds by default, and big enough for the allocator to map it by itself, so that
/// only touched pages count.
const BUFFER_LEN: usize = 256 << 10;

/// How long nothing must happen until memory is given back, so that a busy log keeps its buffers.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Busy,
    Quiet,
}

struct Monitor {
    poll: Poll,
    buffer: Vec<u8>,
    connections: BTreeMap<u32, Connection>,
    last_connection: u32,
    ward: Option<Ward>,
    tasks: BTreeMap<u32, Task>,
    last_task: u32,
    execs: BTreeMap<String, ExecState>,
    /// How the container ended, once it did.
    exit: Option<Exit>,
    /// The exit is in its file, or a daemon knows it.
    is_settled: bool,
    /// There is memory to give back when it gets quiet.
    is_bloated: bool,
}

/// What is held for the running container.
struct Ward {
    id: String,
    started_at: String,
    listener: Option<(OwnedFd, Watch)>,
    cgroup: Cgroup,
    seccomp: Option<Program>,
    /// Reserved ports.
    held: Vec<OwnedFd>,
    /// Kept until the end, so that the daemon finds it whole when it takes the network away.
    _netns: Option<OwnedFd>,
    oom: Option<(File, Watch)>,
    oom_killed: bool,
}

/// An answer to the connection that asked; `None` if the events to all say it.
type Answer = Result<Option<Event>>;

impl Monitor {
    fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            buffer: vec![0; BUFFER_LEN],
            connections: BTreeMap::new(),
            last_connection: 0,
            ward: None,
            tasks: BTreeMap::new(),
            last_task: CONTAINER,
            execs: BTreeMap::new(),
            exit: None,
            is_settled: false,
            is_bloated: false,
        })
    }

    /// A spare without a daemon is of no use; after the exit all that is left is to tell it.
    fn is_over(&self) -> bool {
        if self.exit.is_none() {
            return self.ward.is_none() && self.connections.is_empty();
        }
        self.is_settled && self.tasks.is_empty() && !self.connections.values().any(Connection::has_unsent)
    }

    /// Never inlined: the frame of a start is large, and shall be gone when its memory is given back.
    #[inline(never)]
    fn turn(&mut self) -> Result<Turn> {
        let mut ready = Vec::new();
        self.poll.wait(&mut ready, self.is_bloated.then_some(QUIET))?;
        if ready.is_empty() && self.is_bloated {
            return Ok(Turn::Quiet);
        }
        for ready in ready {
            match Source::from_token(ready.token) {
                Source::Listener => self.accept()?,
                Source::Oom => self.out_of_memory(),
                Source::Connection(id) => self.serve(id, &ready),
                Source::Task(id, part) => self.run_task(id, part, &ready),
            }
        }
        self.settle()?;
        Ok(Turn::Busy)
    }

    /// Gives back the memory of a start or a burst of output. Called from the top, where little of the stack is in use.
    fn slim(&mut self) {
        self.is_bloated = false;
        self.buffer = vec![0; BUFFER_LEN];
        self.tasks.values_mut().for_each(Task::slim);
        sys::malloc::trim();
        // It only costs memory if it fails.
        sys::stack::release_unused().ok();
    }

    /// Tells the poll what to wait for, and forgets what is done.
    fn settle(&mut self) -> Result<()> {
        for connection in self.connections.values_mut() {
            connection.settle(&self.poll)?;
        }
        self.connections.retain(|_, connection| !connection.is_closed());
        for task in self.tasks.values_mut() {
            task.settle(&self.poll)?;
        }
        let is_exited = self.exit.is_some();
        self.tasks
            .retain(|id, task| task.has_clients() || task.exit.is_none() || (*id == CONTAINER && !is_exited));
        Ok(())
    }

    // Connections.

    fn connect(&mut self, socket: OwnedFd) -> Result<()> {
        let id = next_id(&mut self.last_connection);
        let mut connection = Connection::new(id, socket)?;
        connection.send(&Event::Hello(self.hello()));
        connection.settle(&self.poll)?;
        // A peer that is gone already would never wake us.
        if !connection.is_closed() {
            self.connections.insert(id, connection);
        }
        self.is_settled |= self.exit.is_some();
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        let Some((listener, _)) = self.ward.as_ref().and_then(|ward| ward.listener.as_ref()) else {
            return Ok(());
        };
        match sys::socket::accept(listener) {
            Ok(socket) => self.connect(socket),
            // The peer gave up meanwhile, or descriptors are short for now.
            Err(_) => Ok(()),
        }
    }

    fn hello(&self) -> Hello {
        let container = match (&self.exit, &self.ward, self.tasks.get(&CONTAINER)) {
            (Some(exit), ..) => Container::Exited(exit.clone()),
            (None, Some(ward), Some(task)) => Container::Running(running(ward, task)),
            _ => Container::Awaited,
        };
        let execs = self.execs.values().cloned().collect();
        Hello { version: VERSION, pid: std::process::id(), container, execs }
    }

    /// Tells all daemons.
    fn tell(&mut self, event: &Event) {
        for connection in self.connections.values_mut() {
            connection.send(event);
        }
    }

    fn tell_trouble(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.tell(&Event::Trouble { message: error.to_string() });
        }
    }

    fn serve(&mut self, id: u32, ready: &Ready) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if ready.write {
            connection.flush();
        }
        if !ready.read && !ready.hangup {
            return;
        }
        for frame in connection.receive() {
            if let Some(answer) = self.answer(frame)
                && let Some(connection) = self.connections.get_mut(&id)
            {
                connection.send(&answer);
            }
        }
    }

    // Requests.

    fn answer(&mut self, mut frame: Frame) -> Option<Event> {
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
        sys::crash::point("monitor.start.received");
        let (id, exit_file, durable) = (start.id.clone(), start.exit_file.clone(), start.durable);
        let seccomp = start.seccomp.clone();
        let started = launch(start, &start_fds).and_then(|(parts, cgroup)| {
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
        self.record(exit_file, durable, &exit);
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

    // The container.

    fn run_task(&mut self, id: u32, part: Part, ready: &Ready) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let handled = task.handle(part, ready, &self.poll, &mut self.buffer);
        let has_ended = part == Part::Process && task.exit.is_some();
        self.is_bloated |= task.had_burst();
        self.tell_trouble(handled);
        if has_ended && id == CONTAINER {
            self.kill_the_rest();
        } else if has_ended {
            self.exec_ended(id);
        }
        let runs = |task: &Task| task.exit.is_none();
        if has_ended && self.exit.is_none() && !self.tasks.values().any(runs) {
            self.container_ended();
        }
    }

    /// With the host's pid namespace, or that of another container, processes outlive the first one.
    fn kill_the_rest(&mut self) {
        let Some(ward) = &self.ward else { return };
        let killed = match ward.cgroup.pids() {
            Ok(pids) if pids.is_empty() => Ok(()),
            _ => ward.cgroup.kill(),
        };
        self.tell_trouble(killed.doing(|| "ending what is left of the container"));
    }

    fn exec_ended(&mut self, id: u32) {
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
    fn container_ended(&mut self) {
        let Some(ward) = &mut self.ward else { return };
        ward.oom_killed |= ward.cgroup.oom_kills().is_ok_and(|kills| kills > 0);
        // Whoever hears of the exit may start the next container on the same ports.
        ward.held.clear();
        let oom_killed = ward.oom_killed;
        let Some((exit, task)) = self.drain(CONTAINER, oom_killed) else { return };
        let (exit_file, durable) = (task.exit_file.clone(), task.durable);
        sys::crash::point("monitor.exit.drained");
        self.record(&exit_file, durable, &exit);
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

    /// Puts an exit file in place. If that fails, the monitor stays until a daemon has heard it.
    fn record(&mut self, exit_file: &Path, durable: bool, exit: &Exit) {
        let written = write_exit(exit_file, durable, exit);
        self.is_settled |= written.is_ok();
        self.tell_trouble(written);
    }

    /// Lets go of what the container had, after its end was told.
    fn leave(&mut self) {
        let Some(ward) = &mut self.ward else { return };
        let forgotten = match &mut ward.oom {
            Some((file, watch)) => watch.want(&self.poll, &*file, None),
            None => Ok(()),
        };
        ward.oom = None;
        let removed = forgotten.and(ward.cgroup.remove());
        self.tell_trouble(removed);
    }

    fn out_of_memory(&mut self) {
        let Some(ward) = &mut self.ward else { return };
        let Some((file, _)) = &mut ward.oom else { return };
        // Resets the event: an eventfd is read out, a file of cgroup v2 is read again from its start.
        let _is_no_file = file.rewind();
        let _is_told_by_the_counter = file.read(&mut [0; 256]);
        let is_v1 = ward.cgroup.layout().has_v1("memory");
        // The event of v1 comes before the kill is counted; that of v2 is told for other counters too.
        if is_v1 || ward.cgroup.oom_kills().is_ok_and(|kills| kills > 0) {
            ward.oom_killed = true;
            self.tell(&Event::Oom);
        }
    }
}

impl Ward {
    fn new(id: String, cgroup: Cgroup, seccomp: Option<Program>, fds: StartFds, poll: &Poll) -> Result<Self> {
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

/// A machine without a memory controller has no such events.
fn watch_memory(cgroup: &Cgroup, poll: &Poll) -> Option<(File, Watch)> {
    let file = File::from(cgroup.oom_events().ok()?);
    let mut watch = Watch::new(Source::Oom);
    // A file of cgroup v2 can always be read; its events are told as errors.
    let interest = if cgroup.layout().has_v1("memory") { Interest::READ } else { Interest::NONE };
    watch.want(poll, &file, Some(interest)).ok()?;
    Some((file, watch))
}

fn running(ward: &Ward, task: &Task) -> Running {
    Running {
        id: ward.id.clone(),
        pid: task.pid,
        start_time: task.start_time,
        started_at: ward.started_at.clone(),
        oom_killed: ward.oom_killed,
        log_errors: task.log_errors(),
    }
}

/// The exit of a process that never was.
fn failed(failure: &Failure) -> Exit {
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
