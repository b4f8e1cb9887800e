//! What a daemon and a monitor say to each other over a unix stream socket.
//!
//! ```text
//! daemon                                     monitor
//!   |  <------------------------- Hello         |   first on every connection, the state included
//!   |  Start (spec, fds) ------------------>    |
//!   |  <------------------------- Started       |   or StartFailed, and the monitor ends
//!   |  Exec, Attach, Resize, Signal -------->   |   any number, from any connection
//!   |  <--- ExecStarted, Done, Oom, ExecExited  |
//!   |  <------------------------- Exited        |   the exit file is in place by then; the monitor ends
//! ```
//!
//! Guarantees: decoding foreign bytes never panics and holds at most one frame; every request is answered once (see
//! [`Request`]). Events about the container and its execs go to every connection, answers to the one that asked.
//!
//! The protocol is versioned and only ever grows: unknown fields are ignored, new fields have defaults, an unknown
//! request is answered by [`Event::Failed`], an unknown event reads as [`Event::Unknown`] and is to be skipped. Nothing
//! here does more I/O than one `sendmsg` or `recvmsg`, so that an async caller can drive it from readiness.

mod codec;
mod message;

pub use codec::{FRAME_LEN_MAX, Fds, Frame, Inbox, Outbox, Slot, fill, flush};
pub use message::{
    Attach, Attachment, Call, Container, Event, Exec, ExecState, Exit, Hello, Log, LogEnd, MountFd, Patience,
    Reason, Request, Running, Start, Target, Unreadable,
};

/// Told in the hello. It counts up when a request or an event gains a meaning that an old peer must know about.
pub const VERSION: u32 = 1;

/// The descriptor at which a monitor finds the connection of the daemon that started it.
pub const CONTROL_FD: i32 = 3;
