//! One attached client: a socket that gets a process's output and may give it input.
//!
//! A client that came with the process slows it when it is slow; a later one has a bounded queue and is dropped when it
//! is full (DESIGN 5b), because the log is the truth.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use fault::Result;
use sys::poll::{Interest, Poll};
use sys::socket::set_nonblocking;

use super::source::Watch;
use super::stdio::{Stream, Taken};
use crate::protocol::{Attachment, Patience};

/// What a patient queue may hold: seconds of a fast log, and little for the host.
const QUEUE_MAX: usize = 1 << 20;

/// The monitor's end of an attachment.
#[derive(Debug)]
pub(super) struct Client {
    socket: UnixStream,
    watch: Watch,
    wants_stdout: bool,
    wants_stderr: bool,
    gives_stdin: bool,
    patience: Patience,
    /// Bytes as they come from a terminal, without frames.
    is_raw: bool,
    queue: Vec<u8>,
    sent: usize,
    is_gone: bool,
}

impl Client {
    pub(super) fn new(
        socket: OwnedFd,
        attachment: &Attachment,
        patience: Patience,
        is_raw: bool,
        watch: Watch,
    ) -> Result<Self> {
        set_nonblocking(&socket, true)?;
        Ok(Self {
            socket: socket.into(),
            watch,
            wants_stdout: attachment.stdout,
            wants_stderr: attachment.stderr,
            gives_stdin: attachment.stdin,
            patience,
            is_raw,
            queue: Vec::new(),
            sent: 0,
            is_gone: false,
        })
    }

    /// Closed by the peer, broken, dropped for slowness, or let go: to be removed.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub(super) fn let_go(&mut self) {
        self.is_gone = true;
    }

    pub(super) fn gives_stdin(&self) -> bool {
        self.gives_stdin
    }

    pub(super) fn stop_stdin(&mut self) {
        self.gives_stdin = false;
    }

    pub(super) fn has_queue(&self) -> bool {
        self.sent < self.queue.len()
    }

    /// Whether the process has to wait for it.
    pub(super) fn blocks(&self) -> bool {
        self.patience == Patience::Block && self.has_queue()
    }

    /// Sends output, as far as the socket takes it, and queues the rest.
    pub(super) fn send(&mut self, stream: Stream, bytes: &[u8]) {
        let wants = match stream {
            Stream::Stdout => self.wants_stdout,
            Stream::Stderr => self.wants_stderr,
        };
        if !wants || self.is_gone {
            return;
        }
        let head = stream.frame_head(bytes.len());
        let head: &[u8] = if self.is_raw { &[] } else { &head };
        let sent = if self.has_queue() { 0 } else { self.send_now(head, bytes) };
        self.enqueue(&head[sent.min(head.len())..]);
        self.enqueue(&bytes[sent.saturating_sub(head.len())..]);
        if self.patience == Patience::Drop && self.queue.len() - self.sent > QUEUE_MAX {
            self.is_gone = true;
        }
    }

    fn send_now(&mut self, head: &[u8], bytes: &[u8]) -> usize {
        match self.socket.write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)]) {
            Ok(sent) => sent,
            Err(error) => {
                self.is_gone = !is_temporary(error.kind());
                0
            }
        }
    }

    fn enqueue(&mut self, bytes: &[u8]) {
        if self.sent > self.queue.len() / 2 {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        self.queue.extend_from_slice(bytes);
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        while self.has_queue() && !self.is_gone {
            match self.socket.write(&self.queue[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => self.is_gone = !is_temporary(error.kind()),
            }
        }
        self.queue = Vec::new();
        self.sent = 0;
    }

    /// Input that waits.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Taken {
        match self.socket.read(buffer) {
            Ok(0) => Taken::End,
            Ok(len) => Taken::Bytes(len),
            Err(error) if is_temporary(error.kind()) => Taken::Nothing,
            Err(_) => Taken::End,
        }
    }

    /// Waits for input only if it can be used, and for hang-ups unless there may be unused input before them.
    pub(super) fn settle(&mut self, poll: &Poll, stdin_is_open: bool, stdin_is_ready: bool) -> Result<()> {
        let gives = self.gives_stdin && stdin_is_open;
        let interest = Interest { read: gives && stdin_is_ready, write: self.has_queue(), edge: false };
        let is_parked = gives && !interest.read && !interest.write;
        self.watch.want(poll, &self.socket, (!is_parked && !self.is_gone).then_some(interest))
    }
}

fn is_temporary(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
