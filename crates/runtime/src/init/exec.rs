//! A further process in a running container: it joins the namespaces of the first one and its cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fault::{Call, Doing, Error, Kind, Result};
use oci::runtime::{ConsoleSize, Linux, State};
use sys::namespace::{self, Kinds};
use sys::process::{CloneArgs, PidFd};
use sys::tty::Pty;

use super::console;
use super::fork::{Wish, become_root_of_namespace, fork};
use super::plan::ProcessPlan;
use super::process::Becoming;
use super::scheduling::Scheduling;
use super::{Failure, Process, listener};
use crate::cgroup::{Cgroup, SubCgroup};
use crate::seccomp::Program;

/// What to execute, and where.
#[derive(Debug)]
pub struct ExecLaunch<'a> {
    /// The container's first process, in our pid namespace.
    pub pid: i32,
    pub pidfd: BorrowedFd<'a>,
    pub process: &'a oci::runtime::Process,
    /// What the specification has for all processes of the container; without it they get nothing special.
    pub linux: Option<&'a Linux>,
    pub cgroup: &'a Cgroup,
    /// Where beneath it the process goes; empty for the cgroup itself.
    pub sub_cgroups: &'a [SubCgroup],
    /// The container's filter.
    pub seccomp: Option<&'a Program>,
    /// Standard input, output and error; not used if the process has a terminal.
    pub stdio: [BorrowedFd<'a>; 3],
    /// As in [`super::Launch`].
    pub kept_fds: u16,
    /// As in [`super::Launch`].
    pub keeps_line_ends: bool,
    /// What the agent of a filter that has one is told about the container. Without it such a filter is refused.
    pub state: Option<&'a State>,
}

impl ExecLaunch<'_> {
    fn check_alive(&self) -> Result<()> {
        let pidfd = PidFd::from_fd(self.pidfd.try_clone_to_owned().call(|| "dup")?);
        if pidfd.has_ended()? { Err(Error::conflict("cannot exec in a stopped container")) } else { Ok(()) }
    }
}

/// Returns when the program is executed. The caller must have a single thread, and reaps the process.
pub fn exec(launch: &ExecLaunch<'_>) -> Result<Process, Failure> {
    Ok(execute(launch)?)
}

fn execute(launch: &ExecLaunch<'_>) -> Result<Process> {
    let plan = ProcessPlan {
        kept_fds: launch.kept_fds,
        ..ProcessPlan::new(launch.process, launch.linux, launch.seccomp)?
    };
    if plan.identity.has_listener() && launch.state.is_none() {
        return Err(Error::unsupported("exec with a seccomp profile that has SCMP_ACT_NOTIFY"));
    }
    let opened = Target::open(launch, plan.terminal);
    // What was opened by number belongs to the process that we mean only if that still lives; and if it does not, a
    // failure to open anything says no more than that.
    launch.check_alive()?;
    let Target { kinds, pid_namespace, birthplace, pty } = opened?;
    let args = CloneArgs { cgroup: birthplace.as_ref().map(AsFd::as_fd), ..CloneArgs::default() };
    let child = fork(&[(Kinds::PID, pid_namespace.as_fd())], &args, |channel| {
        enter(launch, &plan, kinds)?;
        let terminal = pty.as_ref().map(|pty| pty.terminal.as_fd());
        let mut becoming = Becoming::new(&plan, launch.stdio, terminal);
        becoming.prepare()?;
        sys::process::set_parent_death_signal(0)?;
        becoming.lock_before_ready(channel)?;
        channel.ready()?;
        becoming.lock(channel)?;
        becoming.execute()
    })?;
    let (pid, pidfd) = child.watch(|pid, wish| fulfil(launch, pid, &wish), false)?;
    Ok(Process { pid, pidfd, console: pty.map(|pty| pty.controller), cgroup: launch.cgroup.clone() })
}

/// An exec has neither maps to be written nor hooks.
fn fulfil(launch: &ExecLaunch<'_>, pid: i32, wish: &Wish) -> Result<()> {
    let (Wish::Listener(fd), Some(state)) = (wish, launch.state) else { return Ok(()) };
    let seccomp = launch.linux.and_then(|linux| linux.seccomp.as_ref());
    listener::hand_on(seccomp, fd, pid, state)
}

const ADDING: &str = "error adding pid to cgroups";

/// The processors that a process begins on, as far as the first word of their mask goes; for messages.
pub fn first_affinity(process: &oci::runtime::Process) -> Result<Option<u64>> {
    Ok(Scheduling::plan(process, None)?.first_affinity())
}

/// The running container, as far as its number leads to it.
struct Target {
    kinds: Kinds,
    pid_namespace: OwnedFd,
    birthplace: Option<OwnedFd>,
    pty: Option<Pty>,
}

impl Target {
    fn open(launch: &ExecLaunch<'_>, terminal: Option<ConsoleSize>) -> Result<Self> {
        Ok(Self {
            kinds: kinds_to_enter(launch.pid)?,
            pid_namespace: namespace::open(&launch.pid.to_string(), Kinds::PID)?,
            birthplace: launch.cgroup.birthplace(launch.sub_cgroups).doing(|| ADDING)?,
            pty: terminal.map(|size| console::for_exec(launch, size)).transpose()?,
        })
    }
}

/// All kinds, as entering the same one again does no harm; but for one's own user namespace, which the kernel refuses,
/// and the time namespace, which old kernels lack.
fn kinds_to_enter(pid: i32) -> Result<Kinds> {
    let mut kinds = Kinds::MOUNT | Kinds::CGROUP | Kinds::UTS | Kinds::IPC | Kinds::NET;
    if !namespace::is_shared_with(pid, Kinds::USER)? {
        kinds = kinds | Kinds::USER;
    }
    match namespace::is_shared_with(pid, Kinds::TIME) {
        Ok(true) => {}
        Err(error) if error.kind() == Kind::NotFound => {}
        other => {
            other?;
            kinds = kinds | Kinds::TIME;
        }
    }
    Ok(kinds)
}

fn enter(launch: &ExecLaunch<'_>, plan: &ProcessPlan, kinds: Kinds) -> Result<()> {
    plan.scheduling.apply_first_affinity()?;
    launch.cgroup.join_v1(launch.sub_cgroups).doing(|| ADDING)?;
    plan.scheduling.apply_last_affinity()?;
    plan.identity.apply_oom_score()?;
    namespace::setns(launch.pidfd, kinds)?;
    sys::crash::point("runtime.exec.entered");
    if kinds.contains(Kinds::USER) { become_root_of_namespace() } else { Ok(()) }
}
