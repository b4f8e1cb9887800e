//! Starts monitors, and keeps one ready, so that the start of a program is off a container's start.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::{Call, Doing, Result};
use sys::errno::ECHILD;
use sys::process::{Command, PidFd, Program};
use tokio::sync::oneshot;

use crate::Engine;
use crate::link::Link;
use crate::readiness;

/// A monitor and the connection to it.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) link: Link,
    /// Also of one that an earlier engine started, if it could be found.
    process: Option<PidFd>,
}

/// Resolves when a monitor has ended, and with it has let go of the container's cgroup.
pub(crate) type Ending = oneshot::Receiver<()>;

impl Monitor {
    /// One that an earlier engine started.
    pub(crate) fn met_again(link: Link, pid: u32) -> Self {
        let mut monitor = Self::silent(link);
        monitor.is_known(pid);
        monitor
    }

    /// One that an earlier engine started, and that has not told who it is.
    pub(crate) fn silent(link: Link) -> Self {
        Self { link, process: None }
    }

    /// It tells at last.
    pub(crate) fn is_known(&mut self, pid: u32) {
        self.process = i32::try_from(pid).ok().and_then(|pid| PidFd::open(pid).ok());
    }

    /// Lets go of a monitor whose work is done: closes the connection, and reaps it if it is our child.
    pub(crate) fn dismiss(self, engine: &Engine) -> Option<Ending> {
        drop(self.link);
        let process = self.process?;
        let (ended, ending) = oneshot::channel();
        engine.tasks().spawn(async move {
            reap(process).await;
            drop(ended);
        });
        Some(ending)
    }
}

/// Where containers get their monitors.
#[derive(Debug)]
pub(crate) struct Monitors {
    spare: Mutex<Spare>,
}

#[derive(Debug)]
enum Spare {
    None,
    /// One is being started.
    Coming,
    Ready(Monitor),
    /// The engine ends.
    Closed,
}

impl Monitors {
    pub(crate) fn new() -> Self {
        Self { spare: Mutex::new(Spare::None) }
    }

    /// The ready one, or a fresh one.
    pub(crate) async fn take(&self, engine: &Engine) -> Result<Monitor> {
        let spare = {
            let mut place = self.lock();
            match std::mem::replace(&mut *place, Spare::None) {
                Spare::Ready(monitor) => Some(monitor),
                other => {
                    *place = other;
                    None
                }
            }
        };
        match spare {
            Some(monitor) if monitor.is_alive() => Ok(monitor),
            _ => start(engine).await,
        }
    }

    /// Sees to it that one is ready next time. Returns at once.
    pub(crate) fn prepare(&self, engine: &Engine) {
        let mut place = self.lock();
        if !matches!(*place, Spare::None) {
            return;
        }
        *place = Spare::Coming;
        drop(place);
        let held = engine.clone();
        engine.tasks().spawn(async move {
            let started = start(&held).await.inspect_err(|error| tracing::warn!(%error, "no spare monitor"));
            held.monitors().put(started.ok());
        });
    }

    /// Lets the spare one go for good.
    pub(crate) fn close(&self) {
        *self.lock() = Spare::Closed;
    }

    fn put(&self, monitor: Option<Monitor>) {
        let mut place = self.lock();
        if matches!(*place, Spare::Coming) {
            *place = monitor.map_or(Spare::None, Spare::Ready);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor {
    fn is_alive(&self) -> bool {
        self.process.as_ref().is_none_or(|process| process.has_ended().is_ok_and(|ended| !ended))
    }
}

async fn start(engine: &Engine) -> Result<Monitor> {
    let (near, process) = engine.blocking(|engine| spawn(&engine.config().runtime)).await?;
    Ok(Monitor { link: Link::new(near)?, process: Some(process) })
}

/// Its standard streams are nobody's: it outlives us, and tells everything over the link.
fn spawn(program: &std::path::Path) -> Result<(OwnedFd, PidFd)> {
    let (near, far) = sys::socket::pair(sys::socket::Kind::Stream)?;
    let null = File::options().read(true).write(true).open("/dev/null").call(|| "open /dev/null")?;
    let null = null.as_fd();
    let process = sys::process::spawn(&Command {
        program: Program::Path(program),
        args: &[OsStr::new("kogge-runtime"), OsStr::new("monitor")],
        env: &[OsStr::new(runtime::monitor::ENVIRONMENT)],
        fds: &[(null, 0), (null, 1), (null, 2), (far.as_fd(), runtime::protocol::CONTROL_FD)],
        session: true,
    })
    .doing(|| "starting a monitor")?;
    Ok((near, process))
}

/// Waits for the end of a child, without a thread.
async fn reap(process: PidFd) {
    let ended = async {
        let watched = readiness::watch(process)?;
        let _ready = watched.readable().await.call(|| "epoll_wait pidfd")?;
        watched.get_ref().0.try_wait().map(drop).or_else(strangers)
    };
    if let Err(error) = ended.await {
        tracing::warn!(%error, "monitor not reaped");
    }
}

/// Another engine's child is reaped by whoever adopted it.
fn strangers(error: fault::Error) -> Result<()> {
    if error.errno() == Some(ECHILD) { Ok(()) } else { Err(error) }
}
