//! The clone, and the parent's side of it until the child has become its program.

use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};

use fault::{Error, Result};
use sys::namespace::{self, Kinds};
use sys::process::{CloneArgs, Fork, PidFd};
use sys::signal::SIGKILL;

use super::channel::{self, ChildEnd, Message, ParentEnd};
use super::go_between;

/// A child on its way, seen from the parent.
#[derive(Debug)]
pub(super) struct Started {
    pid: i32,
    pidfd: PidFd,
    channel: ParentEnd,
}

/// What a child cannot do alone.
#[derive(Debug)]
pub(super) enum Wish {
    /// Id maps, and hooks that see the host.
    Act,
    /// The listener of its filter is to be brought to whom the specification names.
    Listener(OwnedFd),
}

/// Clones the caller inside `joined`. In the child `body` is all that runs.
pub(super) fn fork(
    joined: &[(Kinds, BorrowedFd<'_>)],
    args: &CloneArgs<'_>,
    body: impl FnOnce(&ChildEnd) -> Result<Infallible>,
) -> Result<Started> {
    let (parent_end, child_end) = channel::channel()?;
    // In the child it has to go, or the child would not notice the parent's end.
    let parent_end = Cell::new(Some(parent_end));
    let be_child = || {
        let _never_back = ExitOnPanic;
        drop(parent_end.take());
        let Err(error) = protect_child().and_then(|()| body(&child_end));
        child_end.fail(&error);
        sys::process::exit_now(1)
    };
    let (pid, pidfd) = match joined.iter().any(|(kind, _)| *kind == Kinds::USER) {
        true => go_between::clone_inside(joined, args, be_child),
        false => namespace::visit(joined, || match sys::process::clone3(args)? {
            Fork::Parent { pid, pidfd } => Ok((pid, pidfd)),
            Fork::Child => be_child(),
        }),
    }?;
    let channel = parent_end.take().ok_or_else(|| Error::internal("the channel is the parent's"))?;
    Ok(Started { pid, pidfd, channel })
}

/// A panic must not unwind into the callers' frames, whose copies in the child would then clean up what is the parent's.
pub(super) struct ExitOnPanic;

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        sys::process::exit_now(1);
    }
}

/// Nobody in the container may look into us, who still have the host's descriptors and memory; nor outlive the parent.
fn protect_child() -> Result<()> {
    sys::process::set_dumpable(false)?;
    sys::process::set_parent_death_signal(SIGKILL)?;
    sys::identity::set_umask(0);
    Ok(())
}

impl Started {
    /// Serves the child until it executes its program, or waits at the gate. A child that fails is killed and reaped.
    pub(super) fn watch(
        self,
        fulfil: impl Fn(i32, Wish) -> Result<()>,
        is_gated: bool,
    ) -> Result<(i32, PidFd)> {
        match self.serve(fulfil, is_gated) {
            Ok(()) => Ok((self.pid, self.pidfd)),
            Err(error) => {
                self.pidfd.send_signal(SIGKILL).ok();
                self.pidfd.wait()?;
                Err(error)
            }
        }
    }

    fn serve(&self, fulfil: impl Fn(i32, Wish) -> Result<()>, is_gated: bool) -> Result<()> {
        let mut is_ready = false;
        loop {
            match self.channel.next()? {
                Message::Waiting => {
                    fulfil(self.pid, Wish::Act)?;
                    self.channel.go_on()?;
                }
                Message::Listener(number) => {
                    fulfil(self.pid, Wish::Listener(self.pidfd.descriptor(number)?))?;
                    self.channel.go_on()?;
                }
                Message::Ready if is_gated => return Ok(()),
                Message::Ready => is_ready = true,
                Message::Failed(text) => return Err(Error::invalid(text)),
                Message::Closed if is_ready => return Ok(()),
                Message::Closed => return Err(Error::internal(DIED)),
            }
        }
    }
}

pub(super) const DIED: &str = "container init died before it could execute its program";

/// The first user of a new user namespace.
pub(super) fn become_root_of_namespace() -> Result<()> {
    sys::identity::set_groups(&[])?;
    sys::identity::set_group(0)?;
    sys::identity::set_user(0)?;
    // The change of user has put it back.
    sys::process::set_dumpable(false)?;
    sys::process::set_parent_death_signal(SIGKILL)
}
