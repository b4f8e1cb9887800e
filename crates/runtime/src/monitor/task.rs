//! One process that the monitor watches, the container's first or an exec, with its streams, clients and log.
//!
//! ```text
//! stdout, stderr or console --read--> log (first process only)
//!                               \--> clients --stdin--> process
//! ```
//!
//! After every change [`Task::settle`] tells the poll what the task waits for now; that is where back-pressure lies:
//! outputs wait for clients that block, clients' input waits for the process.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use fault::{Error, Result};
use sys::poll::{Interest, Poll, Ready};
use sys::process::{Exit, PidFd};
use sys::time::Timestamp;
use sys::tty::Size;

use super::client::Client;
use super::json_file::JsonFile;
use super::source::{Part, Source, Watch, next_id};
use super::stdio::{Input, Output, OwnEnds, Stream, Taken, console};
use crate::init::Process;
use crate::protocol::{Attachment, LogEnd, Patience, Target};

/// A read that is larger leaves buffers behind that are worth giving back.
const BURST: usize = 2 << 10;

/// What a new task consists of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) target: Target,
    pub(super) process: Process,
    /// Its pipes; not used if the process has a terminal.
    pub(super) pipes: Option<OwnEnds>,
    pub(super) log: Option<JsonFile>,
    pub(super) exit_file: PathBuf,
    pub(super) durable: bool,
    pub(super) stdin_once: bool,
}

/// One watched process.
#[derive(Debug)]
pub(super) struct Task {
    id: u32,
    pub(super) target: Target,
    pub(super) pid: i32,
    pub(super) start_time: u64,
    pub(super) exit_file: PathBuf,
    pub(super) durable: bool,
    pidfd: PidFd,
    watch: Watch,
    console: Option<OwnedFd>,
    stdin: Input,
    stdin_once: bool,
    outputs: Vec<Output>,
    log: Option<JsonFile>,
    clients: BTreeMap<u32, Client>,
    last_client: u32,
    had_burst: bool,
    pub(super) exit: Option<Exit>,
}

impl Task {
    pub(super) fn new(id: u32, parts: Parts) -> Result<Self> {
        let process = parts.process;
        let ends = match (&process.console, parts.pipes) {
            (Some(terminal), _) => console(terminal.as_fd())?,
            (None, Some(pipes)) => pipes,
            (None, None) => return Err(Error::internal("a process without streams")),
        };
        let has_console = process.console.is_some();
        let watch = |part| Watch::new(Source::Task(id, part));
        let mut outputs = vec![Output::new(ends.stdout, Stream::Stdout, watch(Part::Stdout), has_console)?];
        if let Some(stderr) = ends.stderr {
            outputs.push(Output::new(stderr, Stream::Stderr, watch(Part::Stderr), false)?);
        }
        Ok(Self {
            id,
            target: parts.target,
            pid: process.pid,
            start_time: sys::process::start_time(process.pid).unwrap_or(0),
            exit_file: parts.exit_file,
            durable: parts.durable,
            pidfd: process.pidfd,
            watch: watch(Part::Process),
            console: process.console,
            stdin: Input::new(ends.stdin, watch(Part::Stdin))?,
            stdin_once: parts.stdin_once,
            outputs,
            log: parts.log,
            clients: BTreeMap::new(),
            last_client: 0,
            had_burst: false,
            exit: None,
        })
    }

    /// Adds a client; it sees what is written from now on.
    pub(super) fn attach(
        &mut self,
        socket: OwnedFd,
        attachment: &Attachment,
        patience: Patience,
    ) -> Result<()> {
        let id = next_id(&mut self.last_client);
        let watch = Watch::new(Source::Task(self.id, Part::Client(id)));
        let client = Client::new(socket, attachment, patience, self.console.is_some(), watch)?;
        self.clients.insert(id, client);
        Ok(())
    }

    /// Adds a client that has the log up to the end that is told: it sees what comes behind it.
    pub(super) fn attach_behind_log(
        &mut self,
        socket: OwnedFd,
        attachment: &Attachment,
        patience: Patience,
    ) -> Result<LogEnd> {
        let end = self.log.as_ref().ok_or_else(|| Error::unsupported("a process without a log"))?.end()?;
        self.attach(socket, attachment, patience)?;
        if let (Some(log), Some(client)) = (&self.log, self.clients.get_mut(&self.last_client)) {
            let rests = [Stream::Stdout, Stream::Stderr].map(|stream| (stream, log.rest(stream)));
            rests
                .iter()
                .filter(|(_, rest)| !rest.is_empty())
                .for_each(|(stream, rest)| client.send(*stream, rest));
        }
        Ok(end)
    }

    /// For joining its namespaces.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Whether output came in amounts for which buffers had to grow.
    pub(super) fn had_burst(&self) -> bool {
        self.had_burst
    }

    /// Gives back buffers that have grown.
    pub(super) fn slim(&mut self) {
        self.had_burst = false;
        if let Some(log) = &mut self.log {
            log.slim();
        }
    }

    /// Failed writes of the log.
    pub(super) fn log_errors(&self) -> u64 {
        self.log.as_ref().map_or(0, JsonFile::errors)
    }

    /// Nothing to do without a terminal, as with Docker.
    pub(super) fn resize(&self, size: Size) -> Result<()> {
        match &self.console {
            Some(console) => sys::tty::set_size(console, size),
            None => Ok(()),
        }
    }

    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        if self.exit.is_some() {
            return Err(Error::not_found("process already finished"));
        }
        self.pidfd.send_signal(signal)
    }

    /// One source is ready. An error is the log's.
    pub(super) fn handle(&mut self, part: Part, ready: &Ready, poll: &Poll, buffer: &mut [u8]) -> Result<()> {
        match part {
            Part::Process => {
                if self.exit.is_none() {
                    self.exit = self.pidfd.try_wait()?;
                }
                Ok(())
            }
            Part::Stdin => self.stdin.flush(poll),
            Part::Stdout => self.pump(Stream::Stdout, poll, buffer).1,
            Part::Stderr => self.pump(Stream::Stderr, poll, buffer).1,
            Part::Client(id) => self.client(id, ready, poll, buffer),
        }
    }

    /// Reads an output once and passes it on; says how many bytes that were.
    fn pump(&mut self, stream: Stream, poll: &Poll, buffer: &mut [u8]) -> (usize, Result<()>) {
        let Some(place) = self.outputs.iter().position(|output| output.stream == stream) else {
            return (0, Ok(()));
        };
        match self.outputs[place].read(buffer) {
            Taken::Bytes(len) => {
                self.had_burst |= len > BURST;
                (len, self.pass_on(stream, &buffer[..len]))
            }
            Taken::Nothing => (0, Ok(())),
            Taken::End => {
                let forgotten = self.outputs.remove(place).settle(poll, false);
                (0, forgotten.and(self.finish_log(stream)))
            }
        }
    }

    fn pass_on(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        let logged = match &mut self.log {
            Some(log) => log.write(stream, bytes, Timestamp::now()),
            None => Ok(()),
        };
        for client in self.clients.values_mut() {
            client.send(stream, bytes);
        }
        logged
    }

    fn finish_log(&mut self, stream: Stream) -> Result<()> {
        match &mut self.log {
            Some(log) => log.finish(stream, Timestamp::now()),
            None => Ok(()),
        }
    }

    fn client(&mut self, id: u32, ready: &Ready, poll: &Poll, buffer: &mut [u8]) -> Result<()> {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        if ready.write {
            client.flush();
        }
        let reads = client.gives_stdin() && self.stdin.is_ready();
        if reads && (ready.read || ready.hangup) {
            match client.read(buffer) {
                Taken::Bytes(len) => return self.stdin.write(poll, &buffer[..len]),
                Taken::Nothing => {}
                Taken::End => self.client_ended(id, poll)?,
            }
        } else if ready.hangup {
            client.let_go();
        }
        Ok(())
    }

    /// A client has no more input. As with Docker it ends the process's stdin if the first client shall, but never
    /// that of a terminal; a client whose end means nothing is let go.
    fn client_ended(&mut self, id: u32, poll: &Poll) -> Result<()> {
        let ends_stdin = self.stdin_once && self.console.is_none();
        if let Some(client) = self.clients.get_mut(&id) {
            client.stop_stdin();
            if !ends_stdin {
                client.let_go();
            }
        }
        if ends_stdin { self.stdin.end(poll) } else { Ok(()) }
    }

    /// The process has ended: passes on what it wrote, and lets clients go that have it all. Only what is in the pipes
    /// now is read, because a foreign process may keep the other end open for ever, and write as fast as we read.
    pub(super) fn drain(&mut self, poll: &Poll, buffer: &mut [u8]) -> Result<()> {
        let mut result = Ok(());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = self.outputs.iter().find(|output| output.stream == stream).map_or(0, Output::held);
            while left > 0 {
                let (taken, passed) = self.pump(stream, poll, buffer);
                result = result.and(passed);
                left = if taken == 0 { 0 } else { left.saturating_sub(taken as u64) };
            }
            result = result.and(self.finish_log(stream));
        }
        for mut output in self.outputs.drain(..) {
            result = result.and(output.settle(poll, false));
        }
        result.and(self.stdin.end(poll))
    }

    /// Brings the poll in line with what the task waits for.
    pub(super) fn settle(&mut self, poll: &Poll) -> Result<()> {
        self.watch.want(poll, &self.pidfd, self.exit.is_none().then_some(Interest::READ))?;
        self.stdin.settle(poll)?;
        let (is_open, is_ready) = (self.stdin.is_open(), self.stdin.is_ready());
        for client in self.clients.values_mut() {
            if self.exit.is_some() && self.outputs.is_empty() && !client.has_queue() {
                client.let_go();
            }
            // A socket that cannot be waited for is as good as closed.
            if client.settle(poll, is_open, is_ready).is_err() {
                client.let_go();
            }
        }
        self.clients.retain(|_, client| !client.is_gone());
        let is_blocked = self.clients.values().any(Client::blocks);
        self.outputs.iter_mut().try_for_each(|output| output.settle(poll, !is_blocked))
    }
}
