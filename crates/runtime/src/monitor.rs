//! The monitor: one small process that starts one container, holds its streams, and knows how it ends.
//!
//! ```text
//! Awaited --Start--> Running --first process ends--> Exited --clients have all, daemon told--> (process ends)
//!    \--daemon gone, or start failed--> (process ends)
//! ```
//!
//! A daemon that gets no answer gives the run up: it removes the name of our socket, then the cgroup. A start that comes to
//! itself later sees that and starts nothing.
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
mod exit;
mod json;
mod json_file;
mod launch;
mod lines;
mod requests;
mod source;
mod stdio;
mod task;
mod ward;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use fault::Result;
use sys::poll::{Poll, Ready};

use self::connection::Connection;
use self::source::{Part, Source, next_id};
use self::task::Task;
use self::ward::{Ward, running};
use crate::protocol::{Container, Event, ExecState, Exit, Hello, VERSION};

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
    /// The file of the socket that we listen on: its name stands for the wish that the container runs.
    intent: Option<OwnedFd>,
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

impl Monitor {
    fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            buffer: vec![0; BUFFER_LEN],
            connections: BTreeMap::new(),
            last_connection: 0,
            intent: None,
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
                Source::Listener => self.accept(),
                Source::Oom => self.heed_memory(),
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
        self.connections
            .retain(|_, connection| connection.settle(&self.poll).is_ok() && !connection.is_closed());
        for task in self.tasks.values_mut() {
            task.settle(&self.poll)?;
        }
        let is_exited = self.exit.is_some();
        self.tasks
            .retain(|id, task| task.has_clients() || task.exit.is_none() || (*id == CONTAINER && !is_exited));
        Ok(())
    }

    fn connect(&mut self, socket: OwnedFd) -> Result<()> {
        let id = next_id(&mut self.last_connection);
        let mut connection = Connection::new(id, socket)?;
        connection.send(&Event::Hello(self.hello()));
        connection.settle(&self.poll)?;
        // A peer that is gone already would never wake us, and has heard of no exit.
        if !connection.is_closed() {
            self.connections.insert(id, connection);
            self.is_settled |= self.exit.is_some();
        }
        Ok(())
    }

    fn accept(&mut self) {
        let Some((listener, _)) = self.ward.as_ref().and_then(|ward| ward.listener.as_ref()) else { return };
        // Else the peer gave up meanwhile, or descriptors are short for now.
        if let Ok(socket) = sys::socket::accept(listener) {
            // A daemon that cannot be watched is no reason to let the container die.
            let connected = self.connect(socket);
            self.tell_trouble(connected);
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

    fn heed_memory(&mut self) {
        if self.ward.as_mut().is_some_and(Ward::heed_memory) {
            self.tell(&Event::Oom);
        }
    }

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
}
