//! An exit: recorded first, told second, cleaned up third; then the restart policy speaks.

use std::path::Path;
use std::time::Duration;

use fault::Result;
use runtime::protocol::Exit;
use tokio::time::Instant;

use super::borrowed;
use super::task::Task;
use super::view::View;
use crate::record::MountKind;
use crate::state::{Action, Status};
use crate::{Engine, Record, config, restart};

impl Task {
    /// The monitor told that the process ended.
    pub(super) async fn exited(&mut self, exit: Exit) {
        if let Some(monitor) = self.monitor.take() {
            self.leaving = monitor.dismiss(&self.engine);
        }
        self.forget_answers();
        let ran_for = self.of_view(|view| seconds_between(&view.record.state.started_at, &exit.finished_at));
        let wait = self.next_run(&exit, ran_for);
        let action = if wait.is_some() { Action::ExitForNow } else { Action::Exit };
        let edge = match self.step(action) {
            Ok(edge) => edge,
            Err(error) => return tracing::error!(container = %self.id, %error, "exit ignored"),
        };
        let mut record = self.record();
        apply(&mut record, &exit, edge.to);
        record.restart_count += i64::from(wait.is_some());
        self.execs.end_all(&self.id);
        // First on disk, then known: whoever was told the code finds it after a power loss too.
        let saved = save_exit(&self.engine, &record).await;
        let is_recorded = saved
            .inspect_err(|error| tracing::error!(container = %self.id, %error, "exit not recorded"))
            .is_ok();
        sys::crash::point("container.exit.recorded");
        let settled = record.clone();
        borrowed::tell_returned(&self.engine, &settled);
        let details = [("exitCode", exit.code.to_string()), ("execDuration", ran_for.as_secs().to_string())];
        let change = |view: &mut View| {
            view.record = record;
            view.endpoint = None;
            view.exits += 1;
        };
        self.edit_and_tell(change, edge.events, &details);
        tracing::info!(container = %self.id, code = exit.code, "exited");
        let freed = self.engine.blocking(move |engine| match is_recorded {
            true => let_go(engine, &settled),
            // The exit file stays for the next engine, which has room for it perhaps.
            false => disconnect(engine, &settled),
        });
        if let Err(error) = freed.await {
            tracing::warn!(container = %self.id, %error, "remains of a run not removed");
        }
        self.keep_rootfs_for_now();
        self.due = wait.map(|wait| Instant::now() + wait);
        self.after_exit(&exit).await;
        let is_left = |view: &View| !view.gone && !view.is_running() && view.record.host_config.auto_remove;
        if wait.is_none() && self.of_view(is_left) {
            self.remove_automatically().await;
        }
    }

    fn next_run(&mut self, exit: &Exit, ran_for: Duration) -> Option<Duration> {
        let is_wanted = self.of_view(|view| {
            let record = &view.record;
            restart::wanted(&record.host_config.restart_policy, record.ended(exit.code))
        });
        (is_wanted && !self.stopping.by_user).then(|| self.backoff.next(ran_for))
    }

    /// The monitor died. Its container is not adopted: what is left of it is killed, and the exit is what the exit
    /// file says, or 137.
    pub(super) async fn monitor_lost(&mut self) {
        let record = self.record();
        let exit = self.engine.blocking(move |engine| Ok(end_orphan(engine, &record))).await;
        match exit {
            Ok(exit) => self.exited(exit).await,
            Err(error) => tracing::error!(container = %self.id, %error, "orphan not ended"),
        }
    }

    /// Between two runs of the restart policy: there will be no other.
    pub(super) async fn cancel_restart(&mut self, action: Action) -> Result<()> {
        let edge = self.step(action)?;
        self.due = None;
        let mut record = self.record();
        record.state.status = edge.to;
        save(&self.engine, record.clone()).await?;
        self.edit(|view| view.record = record);
        edge.events.iter().for_each(|event| self.tell(event, &[]));
        self.stopping = Default::default();
        Ok(())
    }
}

/// Writes an exit into a record.
pub(crate) fn apply(record: &mut Record, exit: &Exit, status: Status) {
    let state = &mut record.state;
    state.status = status;
    state.pid = 0;
    state.start_time = 0;
    state.exit_code = exit.code;
    state.oom_killed |= exit.oom_killed;
    state.finished_at.clone_from(&exit.finished_at);
    if let Some(error) = &exit.error {
        state.error.clone_from(error);
    }
}

/// A record, durably unless it is volatile.
pub(super) async fn save(engine: &Engine, record: Record) -> Result<()> {
    engine.blocking(move |engine| record.save(&engine.config().folder(&record.id))).await
}

/// An auto-removed container's exit need not be on disk: its folder goes at once.
async fn save_exit(engine: &Engine, record: &Record) -> Result<()> {
    if record.is_volatile() {
        return Ok(());
    }
    save(engine, record.clone()).await
}

/// Records a container that does not run, and lets go of what its run held. Blocks.
pub(crate) fn settle(engine: &Engine, record: &Record) -> Result<()> {
    record.save(&engine.config().folder(&record.id))?;
    sys::crash::point("container.settle.recorded");
    let_go(engine, record)
}

/// Frees what a run held beside its process: address, ports, devices of volumes, volatile folder. Repeatable; a run
/// without such things is fine. Blocks.
pub(crate) fn let_go(engine: &Engine, record: &Record) -> Result<()> {
    disconnect(engine, record)?;
    let folder = engine.config().run_folder(&record.id);
    if sys::fs::exists(&folder)? {
        sys::fs::remove_tree(&folder)?;
    }
    Ok(())
}

fn disconnect(engine: &Engine, record: &Record) -> Result<()> {
    engine.relays().stop(&record.id);
    engine.networks().disconnect(record.id.as_str())?;
    sys::crash::point("container.settle.disconnected");
    let mut volumes = record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
    volumes.try_for_each(|mount| engine.volumes().leave(&mount.name, record.id.as_str()))
}

/// What the exit file of a run says, if it was written.
pub(crate) fn read_exit(engine: &Engine, record: &Record) -> Option<Exit> {
    exit_in(&config::exit_file(&engine.config().run_folder(&record.id)))
}

/// What an exit file says, of a run or of an exec, if it is there and whole.
pub(crate) fn exit_in(file: &Path) -> Option<Exit> {
    serde_json::from_slice(&sys::fs::read_bounded(file, EXIT_BYTES_MAX).ok()?).ok()
}

/// Ends a container whose monitor is gone. Blocks, at most for the patience.
pub(crate) fn end_orphan(engine: &Engine, record: &Record) -> Exit {
    if let Some(exit) = read_exit(engine, record) {
        return exit;
    }
    let cgroup = record.cgroup(engine.config());
    if let Err(error) = kill_cgroup(&cgroup) {
        tracing::warn!(container = %record.id, %error, "cgroup of an orphan not removed");
    }
    Exit { code: KILLED, finished_at: sys::time::now_rfc3339_nano(), ..Exit::default() }
}

/// Kills all in a cgroup and removes it; none is fine.
pub(crate) fn kill_cgroup(path: &Path) -> Result<()> {
    let cgroup = runtime::cgroup::Cgroup::at(path)?;
    if !cgroup.exists()? {
        return Ok(());
    }
    cgroup.kill()?;
    cgroup.remove()
}

/// Between two RFC 3339 times; zero if one is none.
fn seconds_between(start: &str, end: &str) -> Duration {
    let (Ok(start), Ok(end)) = (start.parse::<jiff::Timestamp>(), end.parse::<jiff::Timestamp>()) else {
        return Duration::ZERO;
    };
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}

/// 128 and SIGKILL.
pub(crate) const KILLED: i32 = 137;

const EXIT_BYTES_MAX: u64 = 64 << 10;
