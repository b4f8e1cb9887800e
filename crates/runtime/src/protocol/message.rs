//! The messages: one [`Call`] or one [`Event`] is the JSON payload of one frame.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fault::Kind;
use oci::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};

use super::codec::{Frame, Slot};
use crate::seccomp::Program;

/// A request and the number by which it is answered; the daemon counts them, each connection for itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub number: u64,
    pub request: Request,
}

/// What a daemon asks. `Start` is answered by [`Event::Started`] or [`Event::StartFailed`], `Exec` by
/// [`Event::ExecStarted`] or [`Event::ExecFailed`], an `Attach` that continues the log by [`Event::Attached`], all others
/// by [`Event::Done`]; each by [`Event::Failed`] if it makes no sense.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Start(Box<Start>),
    Exec(Box<Exec>),
    Attach(Attach),
    Resize {
        target: Target,
        width: u16,
        height: u16,
    },
    Signal {
        target: Target,
        signal: i32,
    },
    /// The exec's exit is recorded; hellos need not tell it any more.
    Forget {
        exec_id: String,
    },
}

/// Everything that one container needs from outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    pub id: String,
    pub spec: Spec,
    /// The root as a detached mount; absent: `spec.root.path`.
    pub rootfs: Option<Slot>,
    /// Detached mounts that replace the sources of some of the spec's mounts.
    pub mounts: Vec<MountFd>,
    /// The network namespace to join; absent: as the spec says.
    pub netns: Option<Slot>,
    /// A listening socket where later daemons connect.
    pub listener: Option<Slot>,
    /// Descriptors to hold while the container runs (reserved ports); closed before the exit is reported.
    pub held: Vec<Slot>,
    /// Clients from the first byte on; a slow one slows the container.
    pub attaches: Vec<Attachment>,
    /// Absent: nothing is logged.
    pub log: Option<Log>,
    /// Where [`Exit`] is written, as JSON.
    pub exit_file: PathBuf,
    /// Whether exit files are fsynced.
    pub durable: bool,
    /// Give the process a stdin that clients can write to; else it reads `/dev/null`.
    pub open_stdin: bool,
    /// Close stdin when the first client that had it is done.
    pub stdin_once: bool,
    /// The compiled form of `spec.linux.seccomp`, which is ignored when this is here. Execs get it too.
    pub seccomp: Option<Program>,
}

/// A detached mount in the place of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFd {
    /// The index in `spec.mounts`.
    pub mount: usize,
    pub fd: Slot,
}

/// A further process in the running container, in the container's namespaces, cgroup and seccomp filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    pub exec_id: String,
    pub process: Process,
    /// A client from the first byte on. With stdin the process gets one, which closes when the client is done.
    pub attach: Option<Attachment>,
    pub exit_file: PathBuf,
    pub durable: bool,
}

/// One end of a stream socket pair, and what goes through it. Output comes as stdcopy frames (stream, 0, 0, 0, length
/// in big endian, bytes), or raw if the process has a terminal; what the peer writes is raw stdin. The peer's
/// `shutdown(WRITE)` ends stdin. The monitor closes its end when the process ended and all output was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub socket: Slot,
    #[serde(default)]
    pub stdin: bool,
    #[serde(default)]
    pub stdout: bool,
    #[serde(default)]
    pub stderr: bool,
}

/// A further client of a running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    pub target: Target,
    pub attachment: Attachment,
    #[serde(default)]
    pub patience: Patience,
    /// The client has read the log up to [`LogEnd`]: what the process wrote of a line that is not logged yet comes first.
    #[serde(default)]
    pub continues_log: bool,
}

/// Where a log ended when a client joined: after so many bytes of the file with this inode number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogEnd {
    pub inode: u64,
    pub size: u64,
}

/// What happens when a client reads slower than the process writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// The process waits, as with Docker.
    Block,
    /// A bounded buffer fills, then the client is dropped; the log is the truth.
    #[default]
    Drop,
}

/// Which process is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Container,
    Exec(String),
}

/// A log in the form of Docker's json-file driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    pub path: PathBuf,
    /// A file of at least this many bytes is rotated before the next line; absent: never.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included; 0 counts as 1.
    pub max_file: u32,
    /// Written with every line as `attrs`.
    pub attrs: BTreeMap<String, String>,
}

/// What a monitor tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Hello(Hello),
    Started(Running),
    /// `message` is the tail of Docker's text; 126 and 127 are the shell's codes, 128 all else.
    StartFailed {
        message: String,
        exit_code: i32,
    },
    Exited(Exit),
    ExecStarted {
        exec_id: String,
        pid: i32,
    },
    ExecFailed {
        exec_id: String,
        message: String,
        exit_code: i32,
    },
    ExecExited {
        exec_id: String,
        exit: Exit,
    },
    /// The kernel killed a process of the container for want of memory.
    Oom,
    /// Something failed that does not stop the container: the log could not be written (told at the first of a row of
    /// failures), an exit file neither, or a cgroup stays behind.
    Trouble {
        message: String,
    },
    Done {
        number: u64,
    },
    /// What the client gets follows the log's end seamlessly.
    Attached {
        number: u64,
        log_end: LogEnd,
    },
    Failed {
        number: u64,
        reason: Reason,
        message: String,
    },
    /// From a newer monitor.
    #[serde(other)]
    Unknown,
}

/// The first event of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: u32,
    /// The monitor's own.
    pub pid: u32,
    pub container: Container,
    /// Those that run, and those that exited and were not forgotten, sorted by id.
    #[serde(default)]
    pub execs: Vec<ExecState>,
}

/// How far the container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// No `Start` yet.
    Awaited,
    Running(Running),
    Exited(Exit),
}

/// A running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Running {
    pub id: String,
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: with the boot id it tells processes with the same pid apart.
    pub start_time: u64,
    /// RFC 3339 with nanoseconds.
    pub started_at: String,
    pub oom_killed: bool,
    /// Writes to the log that failed so far.
    pub log_errors: u64,
}

/// One exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecState {
    pub exec_id: String,
    pub pid: i32,
    /// Absent while it runs.
    pub exit: Option<Exit>,
}

/// How a process ended; also the content of an exit file. Where nothing was started, `pid` is 0 and `error` says why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// As a shell counts: 128 and the signal's number for a killed one.
    pub code: i32,
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds.
    pub finished_at: String,
    pub pid: i32,
    pub start_time: u64,
    pub boot_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub log_errors: u64,
}

/// The kind of a failure, as [`fault::Kind`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    NotFound,
    Conflict,
    Invalid,
    Unsupported,
    #[serde(other)]
    Internal,
}

impl From<Kind> for Reason {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::NotFound => Self::NotFound,
            Kind::Conflict | Kind::Unchanged => Self::Conflict,
            Kind::Invalid => Self::Invalid,
            Kind::Unsupported => Self::Unsupported,
            Kind::Denied | Kind::Unauthorized | Kind::Unavailable | Kind::Internal => Self::Internal,
        }
    }
}

impl From<Reason> for Kind {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NotFound => Self::NotFound,
            Reason::Conflict => Self::Conflict,
            Reason::Invalid => Self::Invalid,
            Reason::Unsupported => Self::Unsupported,
            Reason::Internal => Self::Internal,
        }
    }
}

/// A call that this version cannot read; it can be answered if at least its number could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub number: Option<u64>,
    pub message: String,
}

impl Call {
    pub fn read(frame: &Frame) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Numbered {
            number: u64,
        }
        serde_json::from_slice(&frame.payload).map_err(|error| Unreadable {
            number: serde_json::from_slice::<Numbered>(&frame.payload).ok().map(|call| call.number),
            message: format!("request not understood: {error}"),
        })
    }
}

impl Event {
    pub fn read(frame: &Frame) -> fault::Result<Self> {
        serde_json::from_slice(&frame.payload)
            .map_err(|error| fault::Error::invalid("event of a monitor").with_source(error))
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::super::codec::{Fds, Inbox, Outbox};
    use super::*;

    fn frame(json: &str) -> Frame {
        Frame { payload: json.into(), fds: Fds::default() }
    }

    fn carried(message: &impl Serialize) -> Frame {
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        outbox.push(message, Fds::default()).unwrap();
        inbox.push(outbox.front().unwrap().0, []);
        inbox.next_frame().unwrap().unwrap()
    }

    #[test]
    fn calls_survive_the_way() {
        let slot = Fds::default().put(std::fs::File::open("/dev/null").unwrap());
        let attachment = Attachment { socket: slot, stdin: true, stdout: true, stderr: false };
        let target = Target::Exec("e1".into());
        let start = Start {
            id: "c1".into(),
            rootfs: Some(slot),
            mounts: vec![MountFd { mount: 3, fd: slot }],
            attaches: vec![attachment],
            log: Some(Log { max_size: Some(10), ..Log::default() }),
            seccomp: Some(Program { instructions: vec![(6, 0, 0, 0x7fff_0000)], flags: 4 }),
            ..Start::default()
        };
        let requests = [
            Request::Start(Box::new(start)),
            Request::Exec(Box::new(Exec { attach: Some(attachment), ..Exec::default() })),
            Request::Attach(Attach {
                target: target.clone(),
                attachment,
                patience: Patience::Block,
                continues_log: true,
            }),
            Request::Resize { target: target.clone(), width: 80, height: 24 },
            Request::Signal { target: Target::Container, signal: 15 },
            Request::Forget { exec_id: "e1".into() },
        ];
        for (number, request) in (0..).zip(requests) {
            let call = Call { number, request };
            assert_eq!(Call::read(&carried(&call)).unwrap(), call);
        }
    }

    #[test]
    fn events_survive_the_way() {
        let exit = Exit { code: 137, oom_killed: true, error: Some("x".into()), ..Exit::default() };
        let exec = ExecState { exec_id: "e".into(), pid: 2, exit: Some(exit.clone()) };
        let container = Container::Running(Running { pid: 1, ..Running::default() });
        let events = [
            Event::Hello(Hello { version: 1, pid: 1, container, execs: vec![exec] }),
            Event::Started(Running::default()),
            Event::StartFailed { message: "m".into(), exit_code: 127 },
            Event::Exited(exit.clone()),
            Event::ExecStarted { exec_id: "e".into(), pid: 1 },
            Event::ExecFailed { exec_id: "e".into(), message: "m".into(), exit_code: 126 },
            Event::ExecExited { exec_id: "e".into(), exit },
            Event::Oom,
            Event::Trouble { message: "m".into() },
            Event::Done { number: 1 },
            Event::Attached { number: 1, log_end: LogEnd { inode: 2, size: 3 } },
            Event::Failed { number: 1, reason: Reason::Conflict, message: "m".into() },
        ];
        for event in events {
            assert_eq!(Event::read(&carried(&event)).unwrap(), event);
        }
    }

    #[test]
    fn newer_peers_are_understood_as_far_as_possible() {
        assert_eq!(Event::read(&frame(r#"{"event":"teleported","to":"mars"}"#)).unwrap(), Event::Unknown);
        let done = Event::read(&frame(r#"{"event":"done","number":4,"mood":"good"}"#)).unwrap();
        assert_eq!(done, Event::Done { number: 4 });

        let unreadable = Call::read(&frame(r#"{"number":7,"request":{"teleport":{}}}"#)).unwrap_err();
        assert_eq!(unreadable.number, Some(7));
        assert_eq!(Call::read(&frame("[")).unwrap_err().number, None);
    }
}
