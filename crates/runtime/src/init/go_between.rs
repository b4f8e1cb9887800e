//! The way into a user namespace that others have made, and which cannot be left again: a process in between joins it,
//! makes the child there as its own sibling, and ends.
//!
//! ```text
//! parent --clone--> go-between: joins --clone, as a sibling--> child
//!   ^----------------- pid, pidfd ---'       (the parent's child)
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fault::{Call, Error, Kind, Result};
use sys::namespace::{self, Kinds};
use sys::process::{CloneArgs, Fork, PidFd};
use sys::socket;

use super::channel::plain;
use super::fork::ExitOnPanic;

/// As clone3(2) inside `joined`, one of which is a user namespace; `be_child` does not return.
pub(super) fn clone_inside(
    joined: &[(Kinds, BorrowedFd<'_>)],
    args: &CloneArgs<'_>,
    be_child: impl FnOnce() -> Result<(i32, PidFd)>,
) -> Result<(i32, PidFd)> {
    let (ours, theirs) = socket::pair(socket::Kind::Stream)?;
    match sys::process::clone3(&CloneArgs::default())? {
        Fork::Parent { pidfd: go_between, .. } => {
            drop(theirs);
            let told = hear(&ours);
            go_between.wait()?;
            told
        }
        Fork::Child => {
            let _never_back = ExitOnPanic;
            drop(ours);
            let args = CloneArgs { namespaces: args.namespaces, cgroup: args.cgroup, sibling: true };
            match join(joined).and_then(|()| sys::process::clone3(&args)) {
                Ok(Fork::Child) => {
                    drop(theirs);
                    be_child().map(drop).ok();
                }
                Ok(Fork::Parent { pid, pidfd }) => tell(&theirs, &pid.to_ne_bytes(), &[pidfd.as_fd()]),
                Err(error) => tell(&theirs, plain(&error).as_bytes(), &[]),
            }
            sys::process::exit_now(0)
        }
    }
}

/// First what only the host's rights can enter; what they cannot enter belongs to the user namespace.
fn join(joined: &[(Kinds, BorrowedFd<'_>)]) -> Result<()> {
    let mut later = Vec::new();
    for (kind, namespace) in joined.iter().filter(|(kind, _)| *kind != Kinds::USER) {
        match namespace::setns(*namespace, *kind) {
            Err(error) if error.kind() == Kind::Denied => later.push((*kind, *namespace)),
            result => result?,
        }
    }
    let users = joined.iter().filter(|(kind, _)| *kind == Kinds::USER).copied();
    users.chain(later).try_for_each(|(kind, namespace)| namespace::setns(namespace, kind))
}

/// If the parent is gone there is nobody to tell; the child notices that as well.
fn tell(parent: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    socket::send_with_fds(parent, bytes, fds).ok();
}

/// A number with a descriptor, or the text of a failure.
fn hear(go_between: &OwnedFd) -> Result<(i32, PidFd)> {
    let (mut buffer, mut fds) = ([0; TEXT_BYTES_MAX], Vec::new());
    let count = socket::recv_with_fds(go_between, &mut buffer, &mut fds).call(|| "recvmsg")?;
    let told = &buffer[..count];
    match (fds.pop(), <[u8; 4]>::try_from(told)) {
        (Some(pidfd), Ok(pid)) => Ok((i32::from_ne_bytes(pid), PidFd::from_fd(pidfd))),
        _ if told.is_empty() => Err(Error::internal("the process that joins the namespaces died")),
        _ => Err(Error::invalid(String::from_utf8_lossy(told).into_owned())),
    }
}

const TEXT_BYTES_MAX: usize = 4096;
