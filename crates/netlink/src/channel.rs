//! Sends a batch and reads what the kernel says to it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use fault::{Error, Result};
use sys::errno::EAGAIN;
use sys::netlink::{Protocol, Socket};

use crate::wire::{Batch, Message, NLM_F_DUMP_INTR, array, attributes, messages};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK_TLVS: u16 = 0x200;
/// The error number and the header of the refused message; its body is left out (NETLINK_CAP_ACK).
const ERROR_HEAD_BYTES: usize = 20;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A dump that a change interrupted is asked for again, this often.
const DUMP_ATTEMPTS_MAX: usize = 10;

/// A netlink socket on which one batch at a time is exchanged. It stays in the namespace where it was opened.
#[derive(Debug)]
pub struct Channel {
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    socket: Socket,
    /// Kept between exchanges, so that its pages are touched once.
    answer: Vec<u8>,
}

impl Channel {
    /// In the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Result<Self> {
        Ok(Self::over(Socket::open(protocol)?))
    }

    /// In another network namespace.
    pub fn open_in(netns: BorrowedFd<'_>, protocol: Protocol) -> Result<Self> {
        Ok(Self::over(Socket::open_in(netns, protocol)?))
    }

    fn over(socket: Socket) -> Self {
        Self { line: Mutex::new(Line { socket, answer: Vec::new() }) }
    }

    /// Has a batch carried out. The error is the first that its step does not tolerate; rtnetlink has then still done
    /// the other steps, nf_tables none of them.
    pub fn commit(&self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut acknowledged = 0;
        let mut failed = None;
        self.exchange(batch, |message| {
            let Some(refusal) = refusal(&message) else { return };
            match refusal {
                Refusal { error: 0, .. } => acknowledged += 1,
                Refusal { error, .. } if batch.tolerates(message.sequence, error) => acknowledged += 1,
                other => failed = failed.take().or(Some(other.named(batch.intent(message.sequence)))),
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None if acknowledged < batch.acknowledgements() => {
                Err(Error::internal(format!("{}: the kernel did not answer", batch.intent(1))))
            }
            None => Ok(()),
        }
    }

    /// Sends one request for data and hands each message of the answer to `parse`.
    pub(crate) fn dump<T>(&self, batch: &Batch, parse: impl Fn(&Message<'_>) -> Option<T>) -> Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS_MAX {
            let mut found = Vec::new();
            let mut failed = None;
            let mut interrupted = false;
            self.exchange(batch, |message| {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match refusal(&message) {
                    Some(Refusal { error: 0, .. }) => {}
                    Some(other) => failed = Some(other.named(batch.intent(1))),
                    None => found.extend(parse(&message)),
                }
            })?;
            match failed {
                Some(error) => return Err(error),
                None if interrupted => {}
                None => return Ok(found),
            }
        }
        Err(Error::unavailable(format!("{}: it keeps changing", batch.intent(1))))
    }

    /// Sends, then reads until the kernel has no more to say: all answers are there when `send` returns, and a dump
    /// goes on while it is read.
    fn exchange(&self, batch: &Batch, mut each: impl FnMut(Message<'_>)) -> Result<()> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let Line { socket, answer } = &mut *line;
        socket.send(batch.bytes()).map_err(|error| error.doing(batch.intent(1).to_string()))?;
        loop {
            match socket.receive(answer) {
                Ok(()) => messages(answer).for_each(&mut each),
                Err(error) if is_drained(&error) => return Ok(()),
                Err(error) => {
                    discard(socket, answer);
                    return Err(error.doing(batch.intent(1).to_string()));
                }
            }
        }
    }
}

/// What is left of a failed exchange must not be taken for an answer to the next one.
fn discard(socket: &Socket, answer: &mut Vec<u8>) {
    for _ in 0..LEFTOVERS_MAX {
        if socket.receive(answer).is_err_and(|error| is_drained(&error)) {
            return;
        }
    }
}

/// More datagrams than a socket's receive buffer holds.
const LEFTOVERS_MAX: usize = 1 << 16;

fn is_drained(error: &Error) -> bool {
    error.errno() == Some(EAGAIN)
}

/// An acknowledgement (error 0) or the reason why not.
#[derive(Debug, PartialEq, Eq)]
struct Refusal<'a> {
    error: i32,
    /// The kernel's own words, where it has any.
    text: Option<&'a str>,
}

impl Refusal<'_> {
    fn named(&self, intent: &str) -> Error {
        let source = io::Error::from_raw_os_error(self.error);
        match self.text {
            Some(text) => Error::io(format!("{intent}: {text}"), source),
            None => Error::io(intent.to_string(), source),
        }
    }
}

fn refusal<'a>(message: &Message<'a>) -> Option<Refusal<'a>> {
    if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
        return None;
    }
    let error = array(message.payload, 0).map_or(0, i32::from_ne_bytes).saturating_neg();
    let head = if message.kind == NLMSG_ERROR { ERROR_HEAD_BYTES } else { 4 };
    let tail = message.payload.get(head..).filter(|_| message.flags & NLM_F_ACK_TLVS != 0);
    let text = attributes(tail.unwrap_or_default())
        .find(|attribute| attribute.kind == NLMSGERR_ATTR_MSG)
        .and_then(|attribute| attribute.text());
    Some(Refusal { error, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::NLM_F_ACK;
    use proptest::prelude::*;

    #[test]
    fn an_exchange_that_overflows_leaves_nothing_to_the_next() {
        const NLMSG_NOOP: u16 = 1;
        let channel = Channel::open(Protocol::Route).unwrap();
        let mut batch = Batch::default();
        // Their acknowledgements are more than the receive buffer takes.
        for _ in 0..13_000 {
            batch.push("doing nothing", NLMSG_NOOP, NLM_F_ACK, &[], |_| {});
        }
        let error = channel.commit(&batch).unwrap_err().to_string();
        assert_eq!(error, "doing nothing: recv netlink: No buffer space available (os error 105)");
        let mut one = Batch::default();
        one.push("doing nothing", NLMSG_NOOP, NLM_F_ACK, &[], |_| {});
        let mut answers = 0;
        channel.exchange(&one, |_| answers += 1).unwrap();
        assert_eq!(answers, 1);
    }

    proptest! {
        #[test]
        fn refusals_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..80), flags: u16) {
            for kind in [NLMSG_ERROR, NLMSG_DONE] {
                refusal(&Message { kind, flags, sequence: 1, payload: &payload });
            }
        }
    }
}
