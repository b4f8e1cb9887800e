//! The connection to one monitor: requests out, events in, descriptors along with both.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;

use fault::{Call as _, Doing, Error, Result};
use runtime::protocol::{self, Call, Event, Fds, Inbox, Outbox, Request};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// A connection. Dropping it leaves the monitor and its container as they are, once the container has been started.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
    inbox: Inbox,
    outbox: Outbox,
    calls: u64,
}

impl Link {
    /// Over a connected stream socket.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        let socket = StdStream::from(socket);
        let watched = socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket));
        let socket = watched.call(|| "watching a monitor's socket")?;
        Ok(Self { socket, inbox: Inbox::default(), outbox: Outbox::default(), calls: 0 })
    }

    /// To a monitor that an earlier engine started. A unix socket connects or fails at once.
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        Self::new(sys::socket::connect(sys::socket::Kind::Stream, path)?)
    }

    /// Queues a request, sends as much as fits and tells its number; [`Link::next`] sends the rest.
    pub(crate) fn send(&mut self, request: Request, fds: Fds) -> Result<u64> {
        if self.outbox.len() > OUTBOX_BYTES_MAX {
            return Err(Error::unavailable("the monitor does not listen"));
        }
        self.calls += 1;
        self.outbox.push(&Call { number: self.calls, request }, fds)?;
        self.flush()?;
        Ok(self.calls)
    }

    /// The next event. May be dropped and called again at any time.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(frame) = self.inbox.next_frame().doing(|| "listening to a monitor")? {
                return Event::read(&frame);
            }
            let interest = match self.outbox.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            self.socket.ready(interest).await.call(|| "waiting for a monitor")?;
            self.flush()?;
            self.fill()?;
        }
    }

    /// Sends what fits.
    fn flush(&mut self) -> Result<()> {
        let Self { socket, outbox, .. } = self;
        if outbox.is_empty() {
            return Ok(());
        }
        let sent = socket.try_io(Interest::WRITABLE, || protocol::flush(outbox, &*socket));
        unless_blocked(sent).map(drop).call(|| "sending to a monitor")
    }

    /// Takes what is there.
    fn fill(&mut self) -> Result<()> {
        let Self { socket, inbox, .. } = self;
        let filled = socket.try_io(Interest::READABLE, || protocol::fill(inbox, &*socket));
        match unless_blocked(filled).call(|| "listening to a monitor")? {
            Some(false) => Err(Error::unavailable("the monitor is gone")),
            Some(true) | None => Ok(()),
        }
    }
}

/// `None` where the socket would block.
fn unless_blocked<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// Requests that wait for a monitor that does not read: some of the biggest possible.
const OUTBOX_BYTES_MAX: usize = 4 * protocol::FRAME_LEN_MAX;
