//! Stop, kill, pause: a signal goes out, and what follows waits for the exit.

use std::time::Duration;

use fault::{Error, Result};
use runtime::protocol::Exit;
use tokio::time::Instant;

use super::task::{Answer, Task, tell};
use super::{exit, removal, signal};
use crate::state::Action;
use crate::{Record, Status, restart};

/// A stop, or a restart.
#[derive(Debug)]
pub(crate) struct Order {
    /// Seconds until SIGKILL; `None` means the container's own, negative for ever.
    pub(crate) timeout: Option<i64>,
    pub(crate) signal: Option<i32>,
    /// Start again afterwards.
    pub(crate) restart: bool,
    pub(crate) answer: Answer<()>,
}

/// An exit that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    /// When patience ends: SIGKILL first, then an error.
    pub(super) deadline: Option<Instant>,
    /// SIGKILL was sent.
    killed: bool,
    /// A user wants it to end, so no restart policy speaks.
    pub(super) by_user: bool,
    /// What to do after the exit.
    after: Vec<After>,
}

#[derive(Debug)]
enum After {
    Stopped(Answer<()>),
    Killed(Answer<()>),
    Restart(Answer<()>),
    Remove(removal::Order),
}

impl Stopping {
    /// Of a container that an earlier engine was asked to stop.
    pub(super) fn met_again(record: &Record) -> Self {
        Self { by_user: record.manually_stopped, ..Self::default() }
    }
}

impl Task {
    pub(super) async fn stop(&mut self, order: Order) {
        let status = self.of_view(|view| view.record.state.status);
        if order.restart && !status.is_up() {
            let started = self.start_again().await;
            return tell(order.answer, started);
        }
        if let Err(error) = self.step(Action::Stop) {
            return tell(order.answer, Err(error));
        }
        self.stopping.by_user = true;
        self.note_stop(status).await;
        if status == Status::Restarting {
            let ended = self.cancel_restart(Action::Stop).await;
            let answer = match (ended, order.restart) {
                (Ok(()), true) => self.start_again().await,
                (ended, _) => ended,
            };
            return tell(order.answer, answer);
        }
        let signal = order.signal.unwrap_or_else(|| self.stop_signal());
        let patience = self.patience(order.timeout);
        self.send_signal(signal).await;
        self.stopping.killed = false;
        self.stopping.deadline = patience.map(|patience| Instant::now() + patience);
        self.stopping.after.push(match order.restart {
            true => After::Restart(order.answer),
            false => After::Stopped(order.answer),
        });
    }

    /// Sends any signal. Without a signal of its own to stop, any one counts as a wish to end, as with Docker; with one,
    /// only `unless-stopped` minds the others. A SIGKILL is answered when the container has ended.
    pub(super) async fn kill(&mut self, signal: i32, answer: Answer<()>) {
        if let Err(error) = self.step(Action::Kill) {
            return tell(answer, Err(error));
        }
        let status = self.of_view(|view| view.record.state.status);
        let own = self.of_view(|view| view.record.config.stop_signal.clone());
        let policy = self.of_view(|view| view.record.host_config.restart_policy.name.clone());
        let is_end = own.is_empty() || signal == signal::KILL || signal == self.stop_signal();
        self.stopping.by_user |= is_end;
        if is_end || policy == "unless-stopped" {
            self.note_stop(status).await;
        }
        if status == Status::Restarting {
            // There is nobody to take another signal, which is no error, as with Docker.
            let ended = if is_end { self.cancel_restart(Action::Kill).await } else { Ok(()) };
            return tell(answer, ended);
        }
        self.send_signal(signal).await;
        if signal == signal::KILL {
            self.expect_death(After::Killed(answer));
        } else {
            tell(answer, Ok(()));
        }
    }

    fn expect_death(&mut self, after: After) {
        self.stopping.killed = true;
        self.stopping.deadline = Some(Instant::now() + KILL_PATIENCE);
        self.stopping.after.push(after);
    }

    /// Kills now; the removal follows the exit.
    pub(super) async fn kill_then_remove(&mut self, order: removal::Order) {
        self.stopping.by_user = true;
        self.note_stop(self.of_view(|view| view.record.state.status)).await;
        self.send_signal(signal::KILL).await;
        self.expect_death(After::Remove(order));
    }

    /// A signal to the first process; a frozen one is thawed so that it can act on it.
    async fn send_signal(&mut self, signal: i32) {
        self.tell("kill", &[("signal", signal.to_string())]);
        self.signal(signal, None);
        if self.of_view(|view| view.record.state.status) == Status::Paused
            && let Err(error) = self.freeze(Action::Unpause).await
        {
            tracing::warn!(container = %self.id, %error, "not thawed");
        }
    }

    /// Before the signal, so that the next engine does not take the end for one that the restart policy minds. What
    /// has no policy need not wait for the disk, and a restart that is cancelled is recorded anyway.
    async fn note_stop(&mut self, status: Status) {
        let record = self.record();
        if record.manually_stopped {
            return;
        }
        self.edit(|view| view.record.manually_stopped = true);
        if status == Status::Restarting || !restart::has_policy(&record.host_config.restart_policy) {
            return;
        }
        if let Err(error) = exit::save(&self.engine, self.record()).await {
            tracing::warn!(container = %self.id, %error, "stop not recorded");
        }
        sys::crash::point("container.stop.noted");
    }

    fn stop_signal(&self) -> i32 {
        let own = self.of_view(|view| view.record.config.stop_signal.clone());
        if own.is_empty() { signal::TERM } else { signal::parse(&own).unwrap_or(signal::TERM) }
    }

    /// `None` means for ever.
    fn patience(&self, asked: Option<i64>) -> Option<Duration> {
        let own = self.of_view(|view| view.record.config.stop_timeout);
        let seconds = asked.or(own).unwrap_or(STOP_SECONDS);
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }

    pub(super) fn stop_deadline_passed(&mut self) {
        if !self.stopping.killed {
            self.tell("kill", &[("signal", signal::KILL.to_string())]);
            self.signal(signal::KILL, None);
            self.stopping.killed = true;
            self.stopping.deadline = Some(Instant::now() + KILL_PATIENCE);
            return;
        }
        self.stopping.deadline = None;
        for after in self.stopping.after.drain(..) {
            after.refuse("tried to kill container, but did not receive an exit event");
        }
    }

    /// The container ended and its exit is recorded: now what was asked for can go on.
    pub(super) async fn after_exit(&mut self, _exit: &Exit) {
        let stopping = std::mem::take(&mut self.stopping);
        for after in stopping.after {
            match after {
                After::Stopped(answer) => {
                    self.tell("stop", &[]);
                    tell(answer, Ok(()));
                }
                After::Killed(answer) => tell(answer, Ok(())),
                After::Restart(answer) => {
                    self.tell("stop", &[]);
                    let started = self.start_again().await;
                    tell(answer, started);
                }
                After::Remove(order) => Box::pin(self.remove(order)).await,
            }
        }
    }

    /// The second half of a restart.
    async fn start_again(&mut self) -> Result<()> {
        self.start(Action::Start).await?;
        self.tell("restart", &[]);
        Ok(())
    }

    /// Freezes or thaws the container's cgroup.
    pub(super) async fn freeze(&mut self, action: Action) -> Result<()> {
        let edge = self.step(action)?;
        let cgroup = self.of_view(|view| view.cgroup(self.engine.config()));
        let thaw = action == Action::Unpause;
        let frozen = self.engine.blocking(move |_| {
            let cgroup = runtime::cgroup::Cgroup::at(&cgroup)?;
            if thaw { cgroup.thaw() } else { cgroup.freeze() }
        });
        frozen.await.map_err(|error| {
            let verb = if thaw { "unpause" } else { "pause" };
            error.doing(format!("cannot {verb} container {}", self.id))
        })?;
        self.edit(|view| view.record.state.status = edge.to);
        edge.events.iter().for_each(|event| self.tell(event, &[]));
        Ok(())
    }
}

impl After {
    fn refuse(self, reason: &'static str) {
        let answer = match self {
            Self::Stopped(answer) | Self::Killed(answer) | Self::Restart(answer) => answer,
            Self::Remove(order) => order.answer,
        };
        tell(answer, Err(Error::internal(reason)));
    }
}

/// Docker's default.
const STOP_SECONDS: i64 = 10;

/// How long a process may take to die of SIGKILL (it may hang in the kernel).
const KILL_PATIENCE: Duration = Duration::from_secs(10);
