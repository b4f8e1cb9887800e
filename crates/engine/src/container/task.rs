//! The task that owns one container: its record, its monitor, everything that must not be cut in the middle.
//!
//! ```text
//! commands --+
//! monitor  --+--> one at a time --> record on disk, view published, events told
//! timers   --+
//! ```
//!
//! A start runs to its end here; a stop does not block: the signal is sent, the exit or the deadline comes later.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use api::container::Remove;
use fault::{Error, Result};
use runtime::protocol::{Event, Fds, Hello, LogEnd, Request, Running, Target};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::attach;
use super::registry::Container;
use super::stop::{self, Stopping};
use super::view::View;
use super::{exit, removal};
use crate::exec::{self, Execs};
use crate::monitors::{Ending, Monitor};
use crate::restart::Backoff;
use crate::state::{Action, Edge, Subject, transition};
use crate::{ContainerId, Engine, Record};

pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// What a container's task is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Answer<()>),
    /// The restart policy's wait was over before there was this engine.
    Due(Answer<()>),
    Stop(stop::Order),
    Kill {
        signal: i32,
        answer: Answer<()>,
    },
    Pause(Answer<()>),
    Unpause(Answer<()>),
    Resize {
        height: u16,
        width: u16,
        answer: Answer<()>,
    },
    Rename {
        name: String,
        answer: Answer<()>,
    },
    Remove {
        options: Remove,
        answer: Answer<()>,
    },
    Attach(attach::Order),
    /// The root file system of a container that does not run; `None` if a process has it.
    Rootfs(Answer<Option<Arc<OwnedFd>>>),
    Exec(exec::Order),
}

/// All that belongs to one container.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) engine: Engine,
    pub(crate) id: ContainerId,
    pub(super) view: watch::Sender<Arc<View>>,
    commands: mpsc::Receiver<Command>,
    /// While a process runs.
    pub(crate) monitor: Option<Monitor>,
    /// The monitor of the last run, until it has ended.
    pub(super) leaving: Option<Ending>,
    /// Kept past the exit: an upper folder must not be mounted twice, and unmounting is slow.
    pub(super) rootfs: Option<Arc<OwnedFd>>,
    /// When that has been quiet for long enough.
    pub(super) rootfs_due: Option<Instant>,
    /// Clients that attached before the start.
    pub(super) joiners: Vec<attach::Joiner>,
    /// Who waits for the monitor's answer to a request.
    answers: HashMap<u64, Pending>,
    pub(super) stopping: Stopping,
    pub(super) backoff: Backoff,
    /// When the restart policy's wait is over.
    pub(super) due: Option<Instant>,
    pub(crate) execs: Execs,
}

/// Who waits for the monitor.
#[derive(Debug)]
pub(super) enum Pending {
    Done(Answer<()>),
    /// The log's end, if the client goes on behind it.
    Attached(Answer<Option<LogEnd>>),
}

impl Pending {
    fn tell(self, result: Result<Option<LogEnd>>) {
        match self {
            Self::Done(answer) => tell(answer, result.map(drop)),
            Self::Attached(answer) => tell(answer, result),
        }
    }
}

/// Puts a container into the registry and starts its task.
pub(crate) fn spawn(
    engine: &Engine,
    mut view: View,
    monitor: Option<Monitor>,
    execs: Execs,
) -> Arc<Container> {
    let id = view.record.id.clone();
    view.execs = execs.ids();
    let stopping = Stopping::met_again(&view.record);
    let (commands, orders) = mpsc::channel(COMMANDS_MAX);
    let view = watch::Sender::new(Arc::new(view));
    let container = Arc::new(Container { id: id.clone(), view: view.subscribe(), commands });
    engine.containers().insert(container.clone());
    let task = Task {
        engine: engine.clone(),
        id,
        view,
        commands: orders,
        monitor,
        leaving: None,
        rootfs: None,
        rootfs_due: None,
        joiners: Vec::new(),
        answers: HashMap::new(),
        stopping,
        backoff: Backoff::default(),
        due: None,
        execs,
    };
    engine.tasks().spawn(task.run());
    container
}

/// Commands that wait while a start or a removal is under way.
const COMMANDS_MAX: usize = 16;

impl Task {
    async fn run(mut self) {
        let mut ending = self.engine.tasks().ending();
        while !self.view.borrow().gone {
            let deadline = self.deadline();
            tokio::select! {
                () = ended(&mut ending) => return,
                command = self.commands.recv() => match command {
                    // Boxed, so that an idle task is small.
                    Some(command) => Box::pin(self.obey(command)).await,
                    None => return,
                },
                event = next_event(self.monitor.as_mut()) => Box::pin(self.heard(event)).await,
                () = until(deadline) => Box::pin(self.time_is_up()).await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Start(answer) => {
                let started = self.start(Action::Start).await;
                tell(answer, started);
            }
            Command::Due(answer) => {
                let started = self.start(Action::Due).await;
                tell(answer, started);
            }
            Command::Stop(order) => self.stop(order).await,
            Command::Kill { signal, answer } => self.kill(signal, answer).await,
            Command::Pause(answer) => {
                let paused = self.freeze(Action::Pause).await;
                tell(answer, paused);
            }
            Command::Unpause(answer) => {
                let unpaused = self.freeze(Action::Unpause).await;
                tell(answer, unpaused);
            }
            Command::Resize { height, width, answer } => self.resize(height, width, answer),
            Command::Rename { name, answer } => {
                let renamed = self.rename(name).await;
                tell(answer, renamed);
            }
            Command::Remove { options, answer } => self.remove(removal::Order { options, answer }).await,
            Command::Attach(order) => self.attach(order).await,
            Command::Rootfs(answer) => {
                let rootfs = self.rootfs().await;
                tell(answer, rootfs);
            }
            Command::Exec(order) => self.exec(order).await,
        }
    }

    async fn heard(&mut self, event: Result<Event>) {
        match event {
            Ok(Event::Exited(exit)) => self.exited(exit).await,
            Ok(Event::Oom) => self.out_of_memory(),
            Ok(Event::ExecStarted { exec_id, pid }) => self.exec_started(&exec_id, pid),
            Ok(Event::ExecFailed { exec_id, message, exit_code }) => {
                self.exec_failed(&exec_id, &message, exit_code);
            }
            Ok(Event::ExecExited { exec_id, exit }) => self.exec_exited(&exec_id, &exit),
            Ok(Event::Done { number }) => self.answered(number, Ok(None)),
            Ok(Event::Attached { number, log_end }) => self.answered(number, Ok(Some(log_end))),
            Ok(Event::Failed { number, reason, message }) => {
                self.answered(number, Err(Error::new(reason.into(), message)));
            }
            Ok(Event::Trouble { message }) => {
                tracing::warn!(container = %self.id, message, "monitor in trouble");
            }
            Ok(Event::Hello(hello)) => self.met_again(hello).await,
            Ok(Event::Started(running)) => self.runs_on(running).await,
            Ok(Event::Unknown) => {}
            Ok(Event::StartFailed { message, .. }) => {
                tracing::warn!(container = %self.id, message, "a start of an earlier engine failed");
                self.monitor_lost().await;
            }
            Err(error) => {
                tracing::warn!(container = %self.id, %error, "monitor lost");
                self.monitor_lost().await;
            }
        }
    }

    /// A monitor of an earlier engine that was silent when this one began.
    async fn met_again(&mut self, hello: Hello) {
        if let Some(monitor) = &mut self.monitor {
            monitor.is_known(hello.pid);
        }
        self.execs.met_again(&hello.execs);
        match hello.container {
            runtime::protocol::Container::Running(running) => self.runs_on(running).await,
            runtime::protocol::Container::Exited(exit) => self.exited(exit).await,
            // Its start goes on, and tells how it went.
            runtime::protocol::Container::Awaited => {}
        }
    }

    async fn runs_on(&mut self, running: Running) {
        let (id, pid) = (self.id.clone(), running.pid);
        let held = self.engine.blocking(move |engine| {
            super::hold_netns(engine, &id, pid);
            Ok(())
        });
        drop(held.await);
        self.edit(|view| {
            let state = &mut view.record.state;
            state.pid = running.pid;
            state.start_time = running.start_time;
            state.started_at = running.started_at;
            state.oom_killed |= running.oom_killed;
        });
        tracing::info!(container = %self.id, pid, "met again");
    }

    fn deadline(&self) -> Option<Instant> {
        [self.due, self.stopping.deadline, self.rootfs_due].into_iter().flatten().min()
    }

    async fn time_is_up(&mut self) {
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.restart_by_policy().await;
        }
        if self.stopping.deadline.is_some_and(|deadline| deadline <= now) {
            self.stop_deadline_passed();
        }
        if self.rootfs_due.is_some_and(|due| due <= now) {
            self.let_rootfs_go();
        }
    }

    pub(crate) fn record(&self) -> Record {
        self.view.borrow().record.clone()
    }

    /// Reads one thing of the current view.
    pub(crate) fn of_view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        read(&self.view.borrow())
    }

    /// Publishes a changed view.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut View)) {
        self.view.send_modify(|view| change(Arc::make_mut(view)));
    }

    /// The edge that an action takes from here, or Docker's refusal.
    pub(crate) fn step(&self, action: Action) -> Result<Edge> {
        let view = self.view.borrow();
        let subject = Subject { id: &self.id, name: &view.record.name };
        transition(view.record.state.status, action, subject)
    }

    /// Publishes a changed view and tells events of it at once: who hears of one of them finds the other.
    pub(super) fn edit_and_tell(
        &self,
        change: impl FnOnce(&mut View),
        events: &[&str],
        details: &[(&str, String)],
    ) {
        self.view.send_modify(|view| {
            change(Arc::make_mut(view));
            let bus = self.engine.events();
            events.iter().for_each(|event| bus.publish_container(&view.record, event, details));
        });
    }

    /// Tells an event about this container.
    pub(crate) fn tell(&self, action: &str, details: &[(&str, String)]) {
        self.engine.events().publish_container(&self.view.borrow().record, action, details);
    }

    /// Sends the monitor a request whose answer goes to whoever asked, if anybody did.
    pub(crate) fn request(&mut self, request: Request, fds: Fds, answer: Option<Answer<()>>) {
        self.request_pending(request, fds, answer.map(Pending::Done));
    }

    pub(super) fn request_pending(&mut self, request: Request, fds: Fds, answer: Option<Pending>) {
        match (self.send(request, fds), answer) {
            (Ok(number), Some(answer)) => {
                self.answers.insert(number, answer);
            }
            (Err(error), Some(answer)) => answer.tell(Err(error)),
            (Err(error), None) => tracing::debug!(container = %self.id, %error, "request not sent"),
            (Ok(_), None) => {}
        }
    }

    /// Sends the monitor a request, and tells its number.
    pub(crate) fn send(&mut self, request: Request, fds: Fds) -> Result<u64> {
        match &mut self.monitor {
            Some(monitor) => monitor.link.send(request, fds),
            None => Err(self.not_running()),
        }
    }

    fn not_running(&self) -> Error {
        Error::conflict(format!("container {} is not running", self.id))
    }

    /// Sends the container's first process a signal.
    pub(super) fn signal(&mut self, signal: i32, answer: Option<Answer<()>>) {
        self.request(Request::Signal { target: Target::Container, signal }, Fds::default(), answer);
    }

    /// The monitor is gone: nobody will answer any more.
    pub(super) fn forget_answers(&mut self) {
        let unanswered = std::mem::take(&mut self.answers);
        unanswered.into_values().for_each(|answer| answer.tell(Err(self.not_running())));
    }

    fn answered(&mut self, number: u64, result: Result<Option<LogEnd>>) {
        match (self.answers.remove(&number), result) {
            (Some(answer), result) => answer.tell(result),
            (None, Err(error)) => {
                if !self.exec_refused(number, &error) {
                    tracing::debug!(container = %self.id, %error, "request refused");
                }
            }
            (None, Ok(_)) => {}
        }
    }

    fn resize(&mut self, height: u16, width: u16, answer: Answer<()>) {
        if let Err(error) = self.step(Action::Resize) {
            return tell(answer, Err(error));
        }
        let request = Request::Resize { target: Target::Container, width, height };
        self.request(request, Fds::default(), Some(answer));
        self.tell("resize", &[("height", height.to_string()), ("width", width.to_string())]);
    }

    fn out_of_memory(&mut self) {
        self.edit(|view| view.record.state.oom_killed = true);
        self.tell("oom", &[]);
    }

    async fn rename(&mut self, name: String) -> Result<()> {
        let old = self.of_view(|view| view.record.name.clone());
        if name == old {
            return Err(Error::invalid("Renaming a container with the same name as its current name"));
        }
        let taken = self.engine.containers().reserve(&name, &self.id);
        taken.map_err(|error| error.doing("Error when allocating new name"))?;
        let mut record = self.record();
        record.name.clone_from(&name);
        let saved = exit::save(&self.engine, record).await;
        self.engine.containers().release(if saved.is_ok() { &old } else { &name });
        saved?;
        self.edit(|view| view.record.name = name);
        self.tell("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}

/// Answers; whoever asked may be gone.
pub(crate) fn tell<T>(answer: Answer<T>, result: Result<T>) {
    drop(answer.send(result));
}

async fn next_event(monitor: Option<&mut Monitor>) -> Result<Event> {
    match monitor {
        Some(monitor) => monitor.link.next().await,
        None => std::future::pending().await,
    }
}

/// The engine ends.
async fn ended(ending: &mut watch::Receiver<bool>) {
    drop(ending.wait_for(|ending| *ending).await);
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
