//! A start, from the stored intent to the running process, and its way back when it fails.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use fault::{Error, Kind, Result};
use runtime::protocol::{Event, Request, Running};
use tokio::time::Instant;

use super::prepare::{self, Peers, Prepared, Wish};
use super::task::Task;
use super::{borrowed, exit};
use crate::monitors::Monitor;
use crate::restart::Backoff;
use crate::state::{Action, Status};

impl Task {
    /// Starts the process, by a user's or the restart policy's wish.
    pub(super) async fn start(&mut self, action: Action) -> Result<()> {
        let edge = self.step(action)?;
        if action == Action::Start {
            self.forget_restarts();
        }
        match self.launch().await {
            Ok(running) => {
                self.settle_running(running, edge.to);
                borrowed::tell_taken(&self.engine, &self.record());
                edge.events.iter().for_each(|event| self.tell(event, &[]));
                self.engine.monitors().prepare(&self.engine);
                Ok(())
            }
            Err(failure) => Err(self.start_failed(failure).await),
        }
    }

    /// A user's start begins anew, as with Docker.
    fn forget_restarts(&mut self) {
        self.backoff = Backoff::default();
        self.edit(|view| {
            view.record.restart_count = 0;
            view.record.manually_stopped = false;
        });
    }

    /// Everything that blocks happens in one hop, while a spare monitor is taken.
    async fn launch(&mut self) -> Result<Running, Failure> {
        let wish = Wish {
            record: self.record(),
            rootfs: self.rootfs.clone(),
            peers: Peers::find(
                &self.engine,
                &self.id,
                &self.of_view(|view| view.record.host_config.clone()),
            )?,
        };
        let prepare = self.engine.blocking(move |engine| {
            crate::trust::admit_again(engine, &wish.record)?;
            prepare::prepare(engine, wish)
        });
        let (prepared, monitor) = tokio::join!(prepare, self.engine.monitors().take(&self.engine));
        let mut monitor = match monitor {
            Ok(monitor) => monitor,
            Err(error) => return Err(error.into()),
        };
        let started = match prepared {
            Ok(prepared) => self.hand_over(&mut monitor, prepared).await,
            Err(error) => Err(error.into()),
        };
        match started {
            Ok(_) => self.monitor = Some(monitor),
            Err(_) => self.leaving = monitor.dismiss(&self.engine),
        }
        started
    }

    async fn hand_over(&mut self, monitor: &mut Monitor, prepared: Prepared) -> Result<Running, Failure> {
        // The last run's monitor removes the cgroup, which has the same name as ours.
        if let Some(leaving) = self.leaving.take() {
            drop(tokio::time::timeout(LEAVE_PATIENCE, leaving).await);
        }
        let Prepared { mut start, mut fds, rootfs, endpoint, joined } = prepared;
        self.rootfs = rootfs;
        self.rootfs_due = None;
        self.edit(|view| view.endpoint = endpoint);
        start.attaches = self.joiners.drain(..).map(|joiner| joiner.into_attachment(&mut fds)).collect();
        monitor.link.send(Request::Start(Box::new(start)), fds)?;
        sys::crash::point("container.start.sent");
        let running = answer(monitor).await;
        drop(joined);
        let running = running?;
        sys::crash::point("container.start.started");
        Ok(running)
    }

    fn settle_running(&mut self, running: Running, status: Status) {
        let boot_id = self.engine.boot_id().to_owned();
        let cgroup = self.of_view(|view| view.record.next_cgroup(self.engine.config()));
        self.stopping.by_user = false;
        self.edit(|view| {
            let state = &mut view.record.state;
            state.status = status;
            state.run += 1;
            state.pid = running.pid;
            state.start_time = running.start_time;
            state.boot_id = boot_id;
            state.cgroup = cgroup;
            state.exit_code = 0;
            state.error.clear();
            state.oom_killed = running.oom_killed;
            state.started_at = running.started_at;
        });
        tracing::info!(container = %self.id, pid = running.pid, "started");
    }

    /// Undoes what the start made, records why, and removes a container that was to be removed after its run.
    async fn start_failed(&mut self, failure: Failure) -> Error {
        let mut record = self.record();
        record.state.run += 1;
        record.state.error = failure.error.to_string();
        match record.state.status {
            // The code of the run before stays, as with dockerd.
            Status::Restarting => record.state.status = Status::Exited,
            _ => record.state.exit_code = failure.exit_code,
        }
        self.edit(|view| {
            view.record = record.clone();
            view.endpoint = None;
        });
        self.keep_rootfs_for_now();
        let undone = self.engine.blocking(move |engine| exit::settle(engine, &record));
        if let Err(error) = undone.await {
            tracing::warn!(container = %self.id, %error, "failed start not undone");
        }
        if self.of_view(|view| view.record.host_config.auto_remove) {
            self.remove_automatically().await;
        }
        failure.error
    }

    /// The wait of the restart policy is over.
    pub(super) async fn restart_by_policy(&mut self) {
        if let Err(error) = self.start(Action::Due).await {
            tracing::warn!(container = %self.id, %error, "restart by policy failed");
        }
    }

    /// The root file system of a container that does not run, mounted by nobody else; `None` if its process has it.
    pub(super) async fn rootfs(&mut self) -> Result<Option<Arc<OwnedFd>>> {
        if self.rootfs.is_some() || self.monitor.is_some() {
            return Ok(self.rootfs.clone());
        }
        let id = self.id.clone();
        let volatile = self.of_view(|view| view.record.is_volatile());
        let mounted = self.engine.blocking(move |engine| prepare::mount(engine, &id, volatile)).await?;
        self.rootfs = Some(mounted.clone());
        self.keep_rootfs_for_now();
        Ok(Some(mounted))
    }

    /// From now on the root of a container that does not run is let go when nobody needed it for a while.
    pub(super) fn keep_rootfs_for_now(&mut self) {
        self.rootfs_due = self.rootfs.as_ref().map(|_| Instant::now() + self.engine.config().root_kept_for);
    }

    /// Unmounts the root, unless somebody still looks into it: it must not be mounted a second time beside that.
    pub(super) fn let_rootfs_go(&mut self) {
        self.rootfs_due = None;
        match self.rootfs.take() {
            Some(rootfs) if self.monitor.is_some() => self.rootfs = Some(rootfs),
            Some(rootfs) if Arc::strong_count(&rootfs) > 1 => {
                self.rootfs = Some(rootfs);
                self.keep_rootfs_for_now();
            }
            rootfs => self.unmount_later(rootfs),
        }
    }
}

/// A monitor ends right after its container, unless a client of the last run still has output to read.
const LEAVE_PATIENCE: Duration = Duration::from_millis(500);

/// Why a start failed, and the code that a shell would give.
#[derive(Debug)]
struct Failure {
    error: Error,
    exit_code: i32,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, exit_code: 128 }
    }
}

async fn answer(monitor: &mut Monitor) -> Result<Running, Failure> {
    loop {
        match monitor.link.next().await? {
            Event::Started(running) => return Ok(running),
            Event::StartFailed { message, exit_code } => return Err(refused(&message, exit_code)),
            Event::Failed { reason, message, .. } => return Err(Error::new(reason.into(), message).into()),
            _ => {}
        }
    }
}

/// In Docker's words, which clients take apart to find their own exit code.
fn refused(message: &str, exit_code: i32) -> Failure {
    let text = format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: \
         runc create failed: unable to start container process: error during container init: {message}"
    );
    let kind = if matches!(exit_code, 126 | 127) { Kind::Invalid } else { Kind::Internal };
    Failure { error: Error::new(kind, text), exit_code }
}
