//! Further processes in a running container. Their states live in the container's task; what was started and how it
//! ended lies in `execs/` until the container is removed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use api::exec::{Create, Inspect, ProcessConfig, Start};
use api::stdcopy::{self, Stream};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fault::{Error, Kind, Result};
use runtime::protocol::{Exit, Fds, Request, Target};
use sys::errno::{EDQUOT, ENOSPC};
use sys::process::PidFd;

use crate::container::task::{Answer, Task, tell};
use crate::container::{AttachStream, Command, Joiner, Keys, stream};
use crate::resolve;
use crate::state::Action;
use crate::user::Accounts;
use crate::{ContainerId, Engine};

/// Prepares a process; nothing runs yet.
pub async fn create(engine: &Engine, container: &str, config: Create) -> Result<String> {
    if config.cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    Keys::parse(&config.detach_keys)
        .map_err(|_| Error::invalid(format!("Invalid escape keys ({}) provided", config.detach_keys)))?;
    let container = engine.containers().find(container)?;
    container.ask(|answer| Command::Exec(Order::Create { config: Box::new(config), answer })).await
}

/// Starts it. Attached, a failure to execute comes through the stream, as with Docker; detached, as an error.
pub async fn start(engine: &Engine, exec: &str, options: Start) -> Result<Option<AttachStream>> {
    let container = engine.containers().of_exec(exec)?;
    let id = exec.to_owned();
    container.ask(|answer| Command::Exec(Order::Start { id, options, answer })).await
}

pub async fn resize(engine: &Engine, exec: &str, height: u16, width: u16) -> Result<()> {
    let container = engine.containers().of_exec(exec)?;
    let id = exec.to_owned();
    container.ask(|answer| Command::Exec(Order::Resize { id, height, width, answer })).await
}

pub async fn inspect(engine: &Engine, exec: &str) -> Result<Inspect> {
    let container = engine.containers().of_exec(exec)?;
    let id = exec.to_owned();
    container.ask(|answer| Command::Exec(Order::Inspect { id, answer })).await
}

/// What a container's task is asked about its execs.
#[derive(Debug)]
pub(crate) enum Order {
    Create { config: Box<Create>, answer: Answer<String> },
    Start { id: String, options: Start, answer: Answer<Option<AttachStream>> },
    Resize { id: String, height: u16, width: u16, answer: Answer<()> },
    Inspect { id: String, answer: Answer<Inspect> },
}

/// All execs of one container.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    all: BTreeMap<String, Exec>,
    /// How many were made and how many ended.
    turns: u64,
}

#[derive(Debug)]
struct Exec {
    config: Create,
    phase: Phase,
    /// When it was made or, later, when it ended.
    turn: u64,
    /// Who asked after the process had ended and before the monitor told how.
    inspectors: Vec<Answer<Inspect>>,
}

#[derive(Debug)]
enum Phase {
    Created,
    /// `call`: the number of the request to the monitor.
    Starting {
        call: u64,
        waiting: Waiting,
    },
    Running {
        pid: i32,
    },
    Ended {
        pid: i32,
        code: i32,
    },
}

/// Who learns how a start went.
#[derive(Debug)]
enum Waiting {
    /// Our copy of the monitor's end of the client's stream.
    Client(OwnedFd),
    Caller(Answer<Option<AttachStream>>),
}

impl Execs {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.all.keys().cloned().collect()
    }

    /// Those of an earlier engine: what was started, and how it ended if it did. Blocks.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let execs = folder.join(FOLDER);
        let mut found = Self::default();
        if !sys::fs::exists(&execs)? {
            return Ok(found);
        }
        for name in sys::fs::read_dir(&execs)? {
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            let Ok(config) = serde_json::from_slice(&sys::fs::read(execs.join(&name))?) else { continue };
            // Until the monitor says otherwise, one without an exit file was lost.
            let exit = crate::container::exit_in(&execs.join(format!("{id}.exit")));
            let phase = Phase::Ended {
                pid: exit.as_ref().map_or(0, |exit| exit.pid),
                code: exit.map_or(crate::container::KILLED, |exit| exit.code),
            };
            found.insert(id.to_owned(), config, phase);
        }
        Ok(found)
    }

    /// What the container's monitor told about them.
    pub(crate) fn met_again(&mut self, states: &[runtime::protocol::ExecState]) {
        for state in states {
            let Some(exec) = self.all.get_mut(&state.exec_id) else { continue };
            exec.phase = match &state.exit {
                Some(exit) => Phase::Ended { pid: state.pid, code: exit.code },
                None => Phase::Running { pid: state.pid },
            };
        }
    }

    /// The container ended, and all its processes with it.
    pub(crate) fn end_all(&mut self, container: &ContainerId) {
        let is_alive = |exec: &Exec| matches!(exec.phase, Phase::Starting { .. } | Phase::Running { .. });
        let alive: Vec<String> =
            self.all.iter().filter(|(_, exec)| is_alive(exec)).map(|(id, _)| id.clone()).collect();
        for id in alive {
            if let Some(Phase::Starting { waiting: Waiting::Caller(answer), .. }) =
                self.end(&id, container, 0, crate::container::KILLED)
            {
                tell(answer, Err(not_running(container)));
            }
        }
    }

    fn insert(&mut self, id: String, config: Create, phase: Phase) {
        self.turns += 1;
        self.all.insert(id, Exec { config, phase, turn: self.turns, inspectors: Vec::new() });
    }

    /// Notes an end, tells it to all who wait for it, and gives the phase before. Of a process that ran the pid stays.
    fn end(&mut self, id: &str, container: &ContainerId, pid: i32, code: i32) -> Option<Phase> {
        let exec = self.all.get_mut(id)?;
        self.turns += 1;
        exec.turn = self.turns;
        let pid = if let Phase::Running { pid } = exec.phase { pid } else { pid };
        let before = std::mem::replace(&mut exec.phase, Phase::Ended { pid, code });
        for answer in std::mem::take(&mut exec.inspectors) {
            tell(answer, Ok(exec.describe(id, container)));
        }
        Some(before)
    }

    fn get(&mut self, id: &str) -> Result<&mut Exec> {
        self.all.get_mut(id).ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))
    }

    /// The start that a request to the monitor was about.
    fn of_call(&self, number: u64) -> Option<String> {
        let is_it = |exec: &Exec| matches!(exec.phase, Phase::Starting { call, .. } if call == number);
        self.all.iter().find(|(_, exec)| is_it(exec)).map(|(id, _)| id.clone())
    }

    /// The one to forget when there are too many: the first that ended, or else the first that nobody started.
    fn surplus(&self) -> Option<String> {
        if self.all.len() < EXECS_MAX {
            return None;
        }
        let rank = |exec: &Exec| match exec.phase {
            Phase::Ended { .. } => Some((0, exec.turn)),
            Phase::Created => Some((1, exec.turn)),
            Phase::Starting { .. } | Phase::Running { .. } => None,
        };
        let ranked = self.all.iter().filter_map(|(id, exec)| Some((rank(exec)?, id)));
        ranked.min().map(|(_, id)| id.clone())
    }
}

impl Exec {
    fn describe(&self, id: &str, container: &ContainerId) -> Inspect {
        let config = self.config.clone();
        let mut words = config.cmd.iter().cloned();
        let (running, exit_code, pid) = match self.phase {
            Phase::Created => (false, None, 0),
            Phase::Starting { .. } => (true, None, 0),
            Phase::Running { pid } => (true, None, pid),
            Phase::Ended { pid, code } => (false, Some(code.into()), pid),
        };
        Inspect {
            id: id.to_owned(),
            running,
            exit_code,
            process_config: ProcessConfig {
                tty: config.tty,
                entrypoint: words.next().unwrap_or_default(),
                arguments: words.collect(),
                privileged: Some(config.privileged),
                user: config.user,
            },
            open_stdin: config.attach_stdin,
            open_stderr: config.attach_stderr,
            open_stdout: config.attach_stdout,
            can_remove: false,
            container_id: container.to_string(),
            detach_keys: detach_keys(&config.detach_keys),
            pid: pid.into(),
        }
    }
}

/// A shell's code for what cannot be executed.
const NOT_STARTED: i32 = 126;

/// A probe that runs every second must not fill memory and disk for ever.
const EXECS_MAX: usize = 1000;

const FOLDER: &str = "execs";

impl Task {
    pub(crate) async fn exec(&mut self, order: Order) {
        match order {
            Order::Create { config, answer } => {
                let created = self.exec_create(*config).await;
                tell(answer, created);
            }
            Order::Start { id, options, answer } => self.exec_start(id, options, answer).await,
            Order::Resize { id, height, width, answer } => self.exec_resize(id, height, width, answer),
            Order::Inspect { id, answer } => self.exec_inspect(&id, answer),
        }
    }

    async fn exec_create(&mut self, config: Create) -> Result<String> {
        self.step(Action::Exec)?;
        if !config.user.is_empty() {
            // An unknown one is told now; who it is by then is looked up again at the start.
            let (record, config) = (self.record(), config.clone());
            self.engine.blocking(move |_| user(&record, &config)).await?;
        }
        if let Some(surplus) = self.execs.surplus() {
            self.forget(&surplus).await;
        }
        let id = crate::id::random_hex()?;
        self.engine.containers().add_exec(&id, &self.id);
        self.tell(&format!("exec_create: {}", line(&config.cmd)), &[("execID", id.clone())]);
        self.execs.insert(id.clone(), config, Phase::Created);
        self.publish_execs();
        Ok(id)
    }

    async fn forget(&mut self, id: &str) {
        self.execs.all.remove(id);
        self.engine.containers().drop_exec(id);
        self.request(Request::Forget { exec_id: id.to_owned() }, Fds::default(), None);
        let folder = self.engine.config().folder(&self.id).join(FOLDER);
        let id = id.to_owned();
        let removed = self.engine.blocking(move |_| {
            sys::fs::remove_file_if_exists(folder.join(format!("{id}.json")))?;
            sys::fs::remove_file_if_exists(folder.join(format!("{id}.exit")))
        });
        if let Err(error) = removed.await {
            tracing::warn!(container = %self.id, %error, "exec not forgotten");
        }
    }

    fn publish_execs(&self) {
        let ids = self.execs.ids();
        self.edit(|view| view.execs = ids);
    }

    async fn exec_start(&mut self, id: String, options: Start, answer: Answer<Option<AttachStream>>) {
        let request = match self.exec_request(&id, &options).await {
            Ok(request) => request,
            Err(error) => {
                self.exec_not_started(&id, &error);
                return tell(answer, Err(error));
            }
        };
        if options.detach {
            return self.exec_send(id, request, Fds::default(), Waiting::Caller(answer));
        }
        match self.exec_streams(&id) {
            Ok((stream, copy, joiner)) => {
                let mut fds = Fds::default();
                let attach = Some(joiner.into_attachment(&mut fds));
                self.exec_send(id, runtime::protocol::Exec { attach, ..request }, fds, Waiting::Client(copy));
                tell(answer, Ok(Some(stream)));
            }
            Err(error) => tell(answer, Err(error)),
        }
    }

    /// What went wrong with the start, not with the question, ends it with Docker's code for that.
    fn exec_not_started(&mut self, id: &str, error: &Error) {
        let is_new = self.execs.get(id).is_ok_and(|exec| matches!(exec.phase, Phase::Created));
        if is_new && error.kind() != Kind::Conflict {
            self.execs.end(id, &self.id, 0, NOT_STARTED);
        }
    }

    /// Checks, resolves the user, and stores what is about to be started.
    async fn exec_request(&mut self, id: &str, options: &Start) -> Result<runtime::protocol::Exec> {
        self.step(Action::Exec)?;
        let exec = self.execs.get(id)?;
        match exec.phase {
            Phase::Created => {}
            Phase::Starting { .. } | Phase::Running { .. } => {
                return Err(Error::conflict(format!("exec command {id} is already running")));
            }
            Phase::Ended { .. } => {
                return Err(Error::conflict(format!("exec command {id} has already run")));
            }
        }
        if options.console_size.is_some() {
            exec.config.console_size = options.console_size;
        }
        let (config, mut record, exec_id) = (exec.config.clone(), self.record(), id.to_owned());
        let (process, exit_file) = self
            .engine
            .blocking(move |engine| {
                let folder = engine.config().folder(&record.id).join(FOLDER);
                let user = user(&record, &config)?;
                engine.live().defaults.overlay(&mut record.host_config);
                let process = resolve::exec(&record, &config, &user)?;
                noted(&record.id, store(&folder, &exec_id, &config))?;
                Ok((process, folder.join(format!("{exec_id}.exit"))))
            })
            .await?;
        let exec_id = id.to_owned();
        Ok(runtime::protocol::Exec { exec_id, process, exit_file, durable: false, attach: None })
    }

    fn exec_streams(&mut self, id: &str) -> Result<(AttachStream, OwnedFd, Joiner)> {
        let config = &self.execs.get(id)?.config;
        let watch = (config.tty && config.attach_stdin)
            .then(|| Ok::<_, Error>((Keys::parse(&config.detach_keys)?, || ())))
            .transpose()?;
        let (stream, socket) = stream(&self.engine, config.tty, watch)?;
        let copy = sys::fs::duplicate(&socket)?;
        let (stdin, stdout, stderr) = (config.attach_stdin, config.attach_stdout, config.attach_stderr);
        Ok((stream, copy, Joiner { socket, stdin, stdout, stderr }))
    }

    fn exec_send(&mut self, id: String, request: runtime::protocol::Exec, fds: Fds, waiting: Waiting) {
        let command = line(&request.process.args);
        let sent = self.send(Request::Exec(Box::new(request)), fds);
        let call = *sent.as_ref().unwrap_or(&0);
        if let Ok(exec) = self.execs.get(&id) {
            exec.phase = Phase::Starting { call, waiting };
        }
        if let Err(error) = sent {
            return self.exec_failed(&id, &error.to_string(), NOT_STARTED);
        }
        sys::crash::point("exec.start.sent");
        self.tell(&format!("exec_start: {command}"), &[("execID", id)]);
    }

    /// The monitor did not take a request; whether it was an exec's.
    pub(crate) fn exec_refused(&mut self, number: u64, error: &Error) -> bool {
        let Some(id) = self.execs.of_call(number) else { return false };
        self.exec_failed(&id, &error.to_string(), NOT_STARTED);
        true
    }

    pub(crate) fn exec_started(&mut self, id: &str, pid: i32) {
        let Ok(exec) = self.execs.get(id) else { return };
        let before = std::mem::replace(&mut exec.phase, Phase::Running { pid });
        if let Phase::Starting { waiting: Waiting::Caller(answer), .. } = before {
            tell(answer, Ok(None));
        }
    }

    pub(crate) fn exec_failed(&mut self, id: &str, message: &str, code: i32) {
        let Ok(exec) = self.execs.get(id) else { return };
        let tty = exec.config.tty;
        let text =
            format!("OCI runtime exec failed: exec failed: unable to start container process: {message}");
        match self.execs.end(id, &self.id, 0, code) {
            Some(Phase::Starting { waiting: Waiting::Caller(answer), .. }) => {
                let kind = if matches!(code, 126 | 127) { Kind::Invalid } else { Kind::Internal };
                tell(answer, Err(Error::new(kind, text)));
            }
            Some(Phase::Starting { waiting: Waiting::Client(socket), .. }) => {
                write_failure(socket, tty, &text);
            }
            _ => {}
        }
    }

    pub(crate) fn exec_exited(&mut self, id: &str, exit: &Exit) {
        if self.execs.end(id, &self.id, exit.pid, exit.code).is_some() {
            self.tell("exec_die", &[("execID", id.to_owned()), ("exitCode", exit.code.to_string())]);
        }
    }

    fn exec_resize(&mut self, id: String, height: u16, width: u16, answer: Answer<()>) {
        match self.execs.get(&id).map(|exec| &exec.phase) {
            Ok(Phase::Running { .. } | Phase::Starting { .. }) => {
                let request = Request::Resize { target: Target::Exec(id), width, height };
                self.request(request, Fds::default(), Some(answer));
            }
            Ok(Phase::Created) => {
                tell(answer, Err(Error::internal("timeout waiting for exec session ready")));
            }
            Ok(Phase::Ended { .. }) => tell(answer, Err(self.gone(&id))),
            Err(error) => tell(answer, Err(error)),
        }
    }

    /// What is said of an exec that has ended.
    fn gone(&self, id: &str) -> Error {
        if self.of_view(|view| view.is_running()) {
            return Error::not_found(format!("NotFound: process does not exist {id}: not found"));
        }
        not_running(&self.id)
    }

    /// A client asks for the code as soon as its stream has ended, which may be just before the monitor tells it: then
    /// the answer waits.
    fn exec_inspect(&mut self, id: &str, answer: Answer<Inspect>) {
        match self.execs.get(id) {
            Ok(Exec { phase: Phase::Running { pid }, inspectors, .. }) if PidFd::open(*pid).is_err() => {
                inspectors.push(answer);
            }
            Ok(exec) => {
                let described = exec.describe(id, &self.id);
                tell(answer, Ok(described));
            }
            Err(error) => tell(answer, Err(error)),
        }
    }
}

fn not_running(container: &ContainerId) -> Error {
    Error::conflict(format!("container {container} is not running"))
}

/// As Go's JSON has bytes; nothing where they are the default.
fn detach_keys(text: &str) -> String {
    let keys = if text.is_empty() { None } else { Keys::parse(text).ok() };
    keys.map_or_else(String::new, |keys| BASE64_STANDARD.encode(keys.bytes()))
}

/// As events have it: the program, a space, its arguments.
fn line(command: &[String]) -> String {
    let (program, arguments) =
        command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    format!("{program} {}", arguments.join(" "))
}

/// The intent, for the engine that comes after a crash. Blocks.
fn store(folder: &Path, id: &str, config: &Create) -> Result<()> {
    sys::fs::create_dir_all(folder, 0o700)?;
    let json = serde_json::to_vec(config).expect("an exec's configuration has string keys only");
    sys::fs::write_swapped(folder.join(format!("{id}.json")), json, 0o600)?;
    sys::crash::point("exec.start.intended");
    Ok(())
}

/// On a full disk it runs all the same, for it may be there to make room: then only this engine and the monitor know it.
fn noted(container: &ContainerId, stored: Result<()>) -> Result<()> {
    match stored {
        Err(error) if error.errno().is_some_and(|errno| matches!(errno, ENOSPC | EDQUOT)) => {
            tracing::warn!(%container, %error, "an exec is not written down");
            Ok(())
        }
        stored => stored,
    }
}

/// Looked up in the running container, through its first process. Blocks.
fn user(record: &crate::Record, config: &Create) -> Result<crate::user::User> {
    use std::os::fd::AsFd as _;
    let root = sys::fs::open_dir(format!("/proc/{}/root", record.state.pid))?;
    let groups = record.host_config.group_add.as_deref().unwrap_or_default();
    let accounts = Accounts::read(root.as_fd())?;
    match config.user.as_str() {
        "" => accounts.resolve(&record.config.user, groups),
        user => accounts.resolve(user, &[]),
    }
}

/// Into a fresh socket's buffer, which takes this little text without blocking; the client may be gone.
fn write_failure(socket: OwnedFd, tty: bool, text: &str) {
    let mut line = format!("{text}\r\n").into_bytes();
    if !tty {
        let length = u32::try_from(line.len()).unwrap_or(u32::MAX);
        line.splice(0..0, stdcopy::header(Stream::Stdout, length));
    }
    if let Err(error) = UnixStream::from(socket).write_all(&line) {
        tracing::debug!(%error, "exec's client is gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_ended_is_forgotten_first() {
        let container = ContainerId::random().unwrap();
        let mut execs = Execs::default();
        for number in 0..EXECS_MAX {
            assert_eq!(execs.surplus(), None);
            execs.insert(number.to_string(), Create::default(), Phase::Created);
        }
        assert_eq!(execs.surplus().as_deref(), Some("0"), "nobody started it");
        for id in ["7", "3"] {
            execs.end(id, &container, 0, 0);
        }
        assert_eq!(execs.surplus().as_deref(), Some("7"));
        execs.all.remove("7");
        execs.insert("new".into(), Create::default(), Phase::Created);
        assert_eq!(execs.surplus().as_deref(), Some("3"));
    }

    #[test]
    fn the_end_of_a_container_is_told_to_all_who_wait() {
        let container = ContainerId::random().unwrap();
        let mut execs = Execs::default();
        let (answer, mut started) = tokio::sync::oneshot::channel();
        let starting = Phase::Starting { call: 5, waiting: Waiting::Caller(answer) };
        execs.insert("starting".into(), Create::default(), starting);
        assert_eq!(execs.of_call(5).as_deref(), Some("starting"));
        execs.insert("running".into(), Create::default(), Phase::Running { pid: 7 });
        let (answer, mut inspected) = tokio::sync::oneshot::channel();
        execs.get("running").unwrap().inspectors.push(answer);
        execs.end_all(&container);
        let refused = started.try_recv().unwrap().unwrap_err();
        assert_eq!(refused.to_string(), format!("container {container} is not running"));
        let described = inspected.try_recv().unwrap().unwrap();
        assert_eq!((described.running, described.exit_code, described.pid), (false, Some(137), 7));
    }
}
