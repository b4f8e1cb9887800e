//! From a request and its descriptors to a started process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Doing, Error, Result};

use super::json_file::JsonFile;
use super::stdio::{OwnEnds, ProcessEnds, null, pipes};
use super::task::Parts;
use crate::cgroup::Cgroup;
use crate::exec::{ExecLaunch, exec};
use crate::init::{Failure, Launch, Rootfs, start};
use crate::protocol::{Attachment, Exec, Fds, Start, Target};
use crate::seccomp::Program;

/// A client that came with a request.
pub(super) type Attached = (OwnedFd, Attachment);

/// The descriptors of a [`Start`].
#[derive(Debug)]
pub(super) struct StartFds {
    rootfs: Option<OwnedFd>,
    mounts: Vec<(usize, OwnedFd)>,
    pub(super) netns: Option<OwnedFd>,
    pub(super) listener: Option<OwnedFd>,
    pub(super) held: Vec<OwnedFd>,
    pub(super) attached: Vec<Attached>,
}

impl StartFds {
    pub(super) fn take(start: &Start, fds: &mut Fds) -> Result<Self> {
        Ok(Self {
            rootfs: start.rootfs.map(|slot| fds.take(slot)).transpose()?,
            mounts: start
                .mounts
                .iter()
                .map(|mount| Ok((mount.mount, fds.take(mount.fd)?)))
                .collect::<Result<_>>()?,
            netns: start.netns.map(|slot| fds.take(slot)).transpose()?,
            listener: start.listener.map(|slot| fds.take(slot)).transpose()?,
            held: start.held.iter().map(|slot| fds.take(*slot)).collect::<Result<_>>()?,
            attached: start
                .attaches
                .iter()
                .map(|attach| Ok((fds.take(attach.socket)?, *attach)))
                .collect::<Result<_>>()?,
        })
    }
}

/// Starts the container's first process.
pub(super) fn launch(
    request: Start,
    fds: &StartFds,
    intent: Option<BorrowedFd<'_>>,
) -> Result<(Parts, Cgroup), Failure> {
    let process =
        request.spec.process.as_ref().ok_or_else(|| ours(Error::invalid("the spec has no process")))?;
    let (theirs, pipes) = streams(process.terminal, request.open_stdin).map_err(ours)?;
    let log = request.log.as_ref().map(JsonFile::open).transpose();
    let log = log.doing(|| "failed to initialize logging driver").map_err(ours)?;
    let root = request.spec.root.as_ref().map(|root| root.path.as_path());
    let rootfs = match (&fds.rootfs, root) {
        (Some(mount), _) => Rootfs::Mount(mount.as_fd()),
        (None, Some(path)) => Rootfs::Path(path),
        (None, None) => return Err(ours(Error::invalid("the spec has no root"))),
    };
    let started = start(&Launch {
        id: &request.id,
        spec: &request.spec,
        bundle: Path::new("/"),
        rootfs,
        mount_fds: &fds.mounts,
        netns: fds.netns.as_ref().map(AsFd::as_fd),
        stdio: theirs.each_ref().map(AsFd::as_fd),
        kept_fds: 0,
        seccomp: request.seccomp.as_ref(),
        gate: None,
        intent,
        dies_with_caller: true,
        keeps_line_ends: false,
        no_pivot: false,
    })?;
    let cgroup = started.cgroup.clone();
    let parts = Parts {
        target: Target::Container,
        process: started,
        pipes,
        log,
        exit_file: request.exit_file,
        durable: request.durable,
        stdin_once: request.stdin_once,
    };
    Ok((parts, cgroup))
}

/// Where an exec goes.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) pid: i32,
    pub(super) pidfd: BorrowedFd<'a>,
    pub(super) cgroup: &'a Cgroup,
    pub(super) seccomp: Option<&'a Program>,
}

/// Starts a further process.
pub(super) fn launch_exec(request: Exec, place: &Place<'_>) -> Result<Parts, Failure> {
    let open_stdin = request.attach.is_some_and(|attach| attach.stdin);
    let (theirs, pipes) = streams(request.process.terminal, open_stdin).map_err(ours)?;
    let process = exec(&ExecLaunch {
        pid: place.pid,
        pidfd: place.pidfd,
        process: &request.process,
        linux: None,
        cgroup: place.cgroup,
        sub_cgroups: &[],
        seccomp: place.seccomp,
        stdio: theirs.each_ref().map(AsFd::as_fd),
        kept_fds: 0,
        keeps_line_ends: false,
        state: None,
    })?;
    Ok(Parts {
        target: Target::Exec(request.exec_id),
        process,
        pipes,
        log: None,
        exit_file: request.exit_file,
        durable: request.durable,
        stdin_once: true,
    })
}

/// A process with a terminal opens its own streams.
fn streams(has_terminal: bool, open_stdin: bool) -> Result<(ProcessEnds, Option<OwnEnds>)> {
    if has_terminal {
        return Ok(([null()?, null()?, null()?], None));
    }
    let (theirs, ours) = pipes(open_stdin)?;
    Ok((theirs, Some(ours)))
}

/// A failure that is not the program's.
fn ours(error: Error) -> Failure {
    Failure { error, exit_code: 128 }
}
