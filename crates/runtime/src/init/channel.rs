//! What parent and child say to each other between the clone and the exec.
//!
//! ```text
//! child                parent
//! 'W' ---------------> does what only it can (id maps, hooks)
//!     <--------------- 'G'
//! 'L' number --------> the filter's listener has this number in the child
//!     <--------------- 'G' when it is with whom it is for
//! 'R' ---------------> all is set up; only the gate and the exec are left
//! 'E' text ----------> it failed
//! (closed by exec)
//! ```

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use fault::{Call, Error, Result};

/// The child's end.
#[derive(Debug)]
pub(super) struct ChildEnd(UnixStream);

/// The parent's end.
#[derive(Debug)]
pub(super) struct ParentEnd(UnixStream);

/// What the child says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Waiting,
    Listener(RawFd),
    Ready,
    Failed(String),
    /// Executed if it was ready before, else dead.
    Closed,
}

pub(super) fn channel() -> Result<(ParentEnd, ChildEnd)> {
    let (parent, child) = UnixStream::pair().call(|| "socketpair")?;
    Ok((ParentEnd(parent), ChildEnd(child)))
}

impl ChildEnd {
    /// Lets the parent act, and waits until it has.
    pub(super) fn rendezvous(&self) -> Result<()> {
        self.send(b"W")?;
        self.wait_for_parent()
    }

    /// Lets the parent take the listener of the filter that holds already. So nothing but a write and a read is needed,
    /// which every program needs: a descriptor in a message could be what the filter forbids.
    pub(super) fn hand_over(&self, listener: impl AsFd) -> Result<()> {
        let [a, b, c, d] = listener.as_fd().as_raw_fd().to_ne_bytes();
        self.send(&[b'L', a, b, c, d])?;
        self.wait_for_parent()
    }

    fn wait_for_parent(&self) -> Result<()> {
        (&self.0).read_exact(&mut [0]).call(|| "waiting for the parent")
    }

    pub(super) fn ready(&self) -> Result<()> {
        self.send(b"R")
    }

    /// The last words. If the parent is gone there is nobody to tell.
    pub(super) fn fail(&self, error: &Error) {
        self.send(format!("E{}", plain(error)).as_bytes()).ok();
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        (&self.0).write_all(bytes).call(|| "writing to the parent")
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ParentEnd {
    pub(super) fn next(&self) -> Result<Message> {
        let mut kind = [0];
        if (&self.0).read(&mut kind).call(|| "reading from the child")? == 0 {
            return Ok(Message::Closed);
        }
        match kind[0] {
            b'W' => Ok(Message::Waiting),
            b'R' => Ok(Message::Ready),
            b'L' => {
                let mut number = [0; 4];
                (&self.0).read_exact(&mut number).call(|| "reading from the child")?;
                Ok(Message::Listener(RawFd::from_ne_bytes(number)))
            }
            b'E' => {
                let mut text = String::new();
                (&self.0).take(TEXT_BYTES_MAX).read_to_string(&mut text).call(|| "reading from the child")?;
                Ok(Message::Failed(text))
            }
            other => Err(Error::internal(format!("the child said {other}"))),
        }
    }

    pub(super) fn go_on(&self) -> Result<()> {
        (&self.0).write_all(b"G").call(|| "writing to the child")
    }
}

/// The child cannot flood us, should it lose its mind.
const TEXT_BYTES_MAX: u64 = 64 * 1024;

/// An error as Go programs, and so Docker and runc, would write it: `no such file or directory`, without the number.
pub(super) fn plain(error: &Error) -> String {
    let text = error.to_string();
    let Some(errno) = error.errno() else { return text };
    let std_text = std::io::Error::from_raw_os_error(errno).to_string();
    let Some(start) = text.strip_suffix(&std_text) else { return text };
    format!("{start}{}", errno_text(errno))
}

/// The C library's text of an error number in lower case.
pub(super) fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_in_go_words() {
        let (parent, child) = channel().unwrap();
        parent.go_on().unwrap();
        child.hand_over(&parent.0).unwrap();
        child.ready().unwrap();
        child.fail(&Error::io("open /x", std::io::Error::from_raw_os_error(2)));
        drop(child);
        assert_eq!(parent.next().unwrap(), Message::Listener(parent.0.as_raw_fd()));
        assert_eq!(parent.next().unwrap(), Message::Ready);
        assert_eq!(parent.next().unwrap(), Message::Failed("open /x: no such file or directory".into()));
        assert_eq!(parent.next().unwrap(), Message::Closed);
    }
}
