//! One connection to a daemon: frames in, frames out, never waiting.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use fault::Result;
use sys::poll::{Interest, Poll};
use sys::socket::set_nonblocking;

use super::source::{Source, Watch};
use crate::protocol::{Event, Fds, Frame, Inbox, Outbox, fill, flush};

/// Events that a daemon has not read yet; beyond, it is given up and told everything by the hello of its next
/// connection.
const OUTBOX_MAX: usize = 1 << 20;

/// The monitor's end.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    watch: Watch,
    inbox: Inbox,
    outbox: Outbox,
    is_closed: bool,
}

impl Connection {
    pub(super) fn new(id: u32, socket: OwnedFd) -> Result<Self> {
        set_nonblocking(&socket, true)?;
        let watch = Watch::new(Source::Connection(id));
        Ok(Self { socket, watch, inbox: Inbox::default(), outbox: Outbox::default(), is_closed: false })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.is_closed && !self.outbox.is_empty()
    }

    pub(super) fn send(&mut self, event: &Event) {
        if self.is_closed {
            return;
        }
        let queued = self.outbox.push(event, Fds::default());
        self.is_closed = queued.is_err() || self.outbox.len() > OUTBOX_MAX;
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        if let Err(error) = flush(&mut self.outbox, &self.socket) {
            self.is_closed |= error.kind() != ErrorKind::WouldBlock;
        }
    }

    /// What the daemon asks: all whole frames that one receive brings.
    pub(super) fn receive(&mut self) -> Vec<Frame> {
        match fill(&mut self.inbox, &self.socket) {
            Ok(is_open) => self.is_closed |= !is_open,
            Err(error) => self.is_closed |= error.kind() != ErrorKind::WouldBlock,
        }
        let mut frames = Vec::new();
        loop {
            match self.inbox.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return frames,
                Err(_) => {
                    self.is_closed = true;
                    return frames;
                }
            }
        }
    }

    pub(super) fn settle(&mut self, poll: &Poll) -> Result<()> {
        let interest = Interest { read: true, write: !self.outbox.is_empty(), edge: false };
        self.watch.want(poll, &self.socket, (!self.is_closed).then_some(interest))
    }
}
