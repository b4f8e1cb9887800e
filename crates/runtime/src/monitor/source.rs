//! The sources that the monitor waits for, as the numbers that a poll keeps.

use std::os::fd::AsFd;

use fault::Result;
use sys::poll::{Interest, Poll};

/// Who has something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Listener,
    Oom,
    Connection(u32),
    Task(u32, Part),
}

/// A source of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Process,
    Stdin,
    Stdout,
    Stderr,
    Client(u32),
}

/// Ids of tasks, clients and connections have so many bits; they are counted up and start again after a thousand
/// million, when the old ones are long gone.
const ID_BITS: u32 = 30;

pub(super) fn next_id(id: &mut u32) -> u32 {
    *id = (*id + 1) & ((1 << ID_BITS) - 1);
    *id
}

impl Source {
    fn token(self) -> u64 {
        let (kind, task, id) = match self {
            Self::Listener => (0, 0, 0),
            Self::Oom => (1, 0, 0),
            Self::Connection(id) => (2, 0, id),
            Self::Task(task, Part::Process) => (3, task, 0),
            Self::Task(task, Part::Stdin) => (4, task, 0),
            Self::Task(task, Part::Stdout) => (5, task, 0),
            Self::Task(task, Part::Stderr) => (6, task, 0),
            Self::Task(task, Part::Client(id)) => (7, task, id),
        };
        kind << (2 * ID_BITS) | u64::from(task) << ID_BITS | u64::from(id)
    }

    pub(super) fn from_token(token: u64) -> Self {
        let id = |token: u64| (token & ((1 << ID_BITS) - 1)) as u32;
        let (task, client) = (id(token >> ID_BITS), id(token));
        match token >> (2 * ID_BITS) {
            0 => Self::Listener,
            1 => Self::Oom,
            2 => Self::Connection(client),
            3 => Self::Task(task, Part::Process),
            4 => Self::Task(task, Part::Stdin),
            5 => Self::Task(task, Part::Stdout),
            6 => Self::Task(task, Part::Stderr),
            _ => Self::Task(task, Part::Client(client)),
        }
    }
}

/// What the poll knows about one source. It is told only what changed.
#[derive(Debug)]
pub(super) struct Watch {
    token: u64,
    told: Option<Interest>,
    is_stale: bool,
}

impl Watch {
    pub(super) fn new(source: Source) -> Self {
        Self { token: source.token(), told: None, is_stale: false }
    }

    /// Waits for this from now on; `None` waits for nothing, not even for a hang-up.
    pub(super) fn want(&mut self, poll: &Poll, fd: impl AsFd, wanted: Option<Interest>) -> Result<()> {
        if wanted == self.told && !self.is_stale {
            return Ok(());
        }
        match (self.told, wanted) {
            (None, Some(wanted)) => poll.add(fd, self.token, wanted)?,
            (Some(_), Some(wanted)) => poll.modify(fd, self.token, wanted)?,
            (Some(_), None) => poll.remove(fd)?,
            (None, None) => {}
        }
        self.told = wanted;
        self.is_stale = false;
        Ok(())
    }

    /// An edge was used up; the poll shall look again even if nothing changes.
    pub(super) fn rearm(&mut self) {
        self.is_stale = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_tell_sources_apart() {
        let parts = [Part::Process, Part::Stdin, Part::Stdout, Part::Stderr, Part::Client(7)];
        let mut sources = vec![Source::Listener, Source::Oom, Source::Connection(5)];
        sources.extend(parts.map(|part| Source::Task((1 << 30) - 1, part)));
        for source in sources {
            assert_eq!(Source::from_token(source.token()), source);
        }
    }
}
