//! The monitor's ends of a process's standard streams: pipes, or a terminal that carries all three.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fault::{Call, Result};
use sys::fs::{Access, OpenHow};
use sys::poll::{Interest, Poll};
use sys::socket::set_nonblocking;

use super::source::Watch;

/// An output of a process. A terminal has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    /// The head of a stdcopy frame: stream, three zeros, length in big endian (moby: `api/pkg/stdcopy`).
    pub(super) fn frame_head(self, len: usize) -> [u8; 8] {
        let [a, b, c, d] = u32::try_from(len).expect("a read is thousands of bytes").to_be_bytes();
        let number = match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        };
        [number, 0, 0, 0, a, b, c, d]
    }
}

/// What the process gets, in the order of the descriptors.
pub(super) type ProcessEnds = [OwnedFd; 3];

/// What the monitor keeps: stdin, if it can be written to, stdout and stderr.
#[derive(Debug)]
pub(super) struct OwnEnds {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: Option<OwnedFd>,
}

/// Pipes for a process without a terminal; a closed stdin reads as empty.
pub(super) fn pipes(open_stdin: bool) -> Result<(ProcessEnds, OwnEnds)> {
    let (stdin, own_stdin) = if open_stdin {
        let (theirs, ours) = io::pipe().call(|| "pipe2")?;
        (theirs.into(), Some(ours.into()))
    } else {
        (null()?, None)
    };
    let (stdout, their_stdout) = io::pipe().call(|| "pipe2")?;
    let (stderr, their_stderr) = io::pipe().call(|| "pipe2")?;
    let own = OwnEnds { stdin: own_stdin, stdout: stdout.into(), stderr: Some(stderr.into()) };
    Ok(([stdin, their_stdout.into(), their_stderr.into()], own))
}

/// The controlling end of a terminal serves as all three.
pub(super) fn console(console: BorrowedFd<'_>) -> Result<OwnEnds> {
    let duplicate = || console.try_clone_to_owned().call(|| "dup");
    Ok(OwnEnds { stdin: Some(duplicate()?), stdout: duplicate()?, stderr: None })
}

/// `/dev/null`
pub(super) fn null() -> Result<OwnedFd> {
    Ok(sys::fs::open("/dev/null", &OpenHow { access: Access::ReadWrite, ..OpenHow::READ })?.into())
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing ever: all writers are gone.
    End,
}

/// The reading end of an output.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stream: Stream,
    file: File,
    watch: Watch,
    is_console: bool,
}

impl Output {
    pub(super) fn new(fd: OwnedFd, stream: Stream, watch: Watch, is_console: bool) -> Result<Self> {
        set_nonblocking(&fd, true)?;
        Ok(Self { stream, file: fd.into(), watch, is_console })
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Taken {
        match self.file.read(buffer) {
            Ok(0) => Taken::End,
            Ok(len) => {
                self.watch.rearm();
                Taken::Bytes(len)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.watch.rearm();
                Taken::Nothing
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Taken::Nothing,
            // EIO: nobody has the terminal open just now (tty_ioctl(4)); a process may open it again.
            Err(_) if self.is_console => Taken::Nothing,
            Err(_) => Taken::End,
        }
    }

    /// At least the bytes that are written and not read yet.
    pub(super) fn held(&self) -> u64 {
        let told = sys::poll::bytes_waiting(&self.file).unwrap_or(0);
        // A terminal tells only of the part that its line discipline has taken over.
        if self.is_console { told.max(CONSOLE_HOLDS_MAX) } else { told }
    }

    /// A terminal without users reports a hang-up all the time, so that it is watched for changes.
    pub(super) fn settle(&mut self, poll: &Poll, wants: bool) -> Result<()> {
        let interest = Interest { edge: self.is_console, ..Interest::READ };
        self.watch.want(poll, &self.file, wants.then_some(interest))
    }
}

/// TTYB_DEFAULT_MEM_LIMIT of the kernel (640 KiB), and the line discipline's page.
const CONSOLE_HOLDS_MAX: u64 = 644 << 10;

/// The writing end of a stdin, with what the process did not take yet.
#[derive(Debug)]
pub(super) struct Input {
    file: Option<File>,
    watch: Watch,
    queue: Vec<u8>,
    /// No client will write any more: close when the queue is empty.
    is_ending: bool,
}

impl Input {
    pub(super) fn new(fd: Option<OwnedFd>, watch: Watch) -> Result<Self> {
        if let Some(fd) = &fd {
            set_nonblocking(fd, true)?;
        }
        Ok(Self { file: fd.map(File::from), watch, queue: Vec::new(), is_ending: false })
    }

    /// Whether clients may write: it is open and nothing waits.
    pub(super) fn is_ready(&self) -> bool {
        self.is_open() && self.queue.is_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some() && !self.is_ending
    }

    /// Only when it [is ready](Self::is_ready), so that the queue stays as small as one read.
    pub(super) fn write(&mut self, poll: &Poll, bytes: &[u8]) -> Result<()> {
        self.queue.extend_from_slice(bytes);
        self.flush(poll)
    }

    pub(super) fn end(&mut self, poll: &Poll) -> Result<()> {
        self.is_ending = true;
        self.flush(poll)
    }

    pub(super) fn flush(&mut self, poll: &Poll) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut is_broken = false;
        while !self.queue.is_empty() {
            match file.write(&self.queue) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The process closed it.
                Err(_) => {
                    is_broken = true;
                    break;
                }
            }
        }
        if is_broken || (self.is_ending && self.queue.is_empty()) { self.close(poll) } else { Ok(()) }
    }

    fn close(&mut self, poll: &Poll) -> Result<()> {
        self.queue = Vec::new();
        match self.file.take() {
            Some(file) => self.watch.want(poll, file.as_fd(), None),
            None => Ok(()),
        }
    }

    pub(super) fn settle(&mut self, poll: &Poll) -> Result<()> {
        let wanted = (!self.queue.is_empty()).then_some(Interest::WRITE);
        match &self.file {
            Some(file) => self.watch.want(poll, file, wanted),
            None => Ok(()),
        }
    }
}
