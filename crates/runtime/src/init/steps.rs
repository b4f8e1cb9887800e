//! The start itself: what the parent does, and the table of steps that the child walks.

use std::cell::Cell;
use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Call, Doing, Error, Result};
use oci::runtime::{Hook, IdMapping, Resources, State, Status};
use sys::fs::{Access, OpenHow};
use sys::namespace::{self, Kinds};
use sys::process::{CloneArgs, Fork, PidFd};

use super::channel::{self, ChildEnd, Message, ParentEnd};
use super::console::{self, Console};
use super::plan::{Plan, ProcessPlan, Source};
use super::process::Becoming;
use super::{Launch, Process, devices, hooks, mounts, root};
use crate::cgroup::Cgroup;
use crate::exec::ExecLaunch;

/// The container's first process between its clone and its exec.
#[derive(Debug)]
struct Container<'a> {
    plan: &'a Plan<'a>,
    cgroup: &'a Cgroup,
    channel: &'a ChildEnd,
    terminal: Option<BorrowedFd<'a>>,
    /// Opened while its path still means something.
    gate: Option<File>,
    /// The new root's mount, from the step "rootfs" on.
    root: Option<OwnedFd>,
}

impl Container<'_> {
    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| Error::internal("the root comes first"))
    }
}

type Step = (&'static str, fn(&mut Container<'_>) -> Result<()>);

/// In the order of the runtime specification (runtime.md, "Lifecycle"; config.md and config-linux.md): first what
/// needs the host's view, up to "pivot"; then [`Becoming`] follows.
const STEPS: &[Step] = &[
    ("runtime.init.cgroup", join_cgroup),
    ("runtime.init.oom", set_oom_score),
    ("runtime.init.parent", let_parent_act),
    ("runtime.init.loopback", set_loopback_up),
    ("runtime.init.sysctl", write_sysctls),
    ("runtime.init.hostname", set_names),
    ("runtime.init.rootfs", attach_root),
    ("runtime.init.mounts", attach_mounts),
    ("runtime.init.devices", make_devices),
    ("runtime.init.protect", protect_paths),
    ("runtime.init.folder", make_working_folder),
    ("runtime.init.hooks", run_container_hooks),
    ("runtime.init.pivot", pivot),
];

pub(super) fn start(launch: &Launch<'_>) -> Result<Process> {
    let mut plan = Plan::new(launch)?;
    let cgroup = Cgroup::at(&super::cgroup_path(launch.id, launch.spec))?;
    let console = console::for_start(&mut plan)?;
    if let (Some(devpts), Some(mount)) =
        (console.as_ref().and_then(|console| console.devpts.as_ref()), plan.devpts())
    {
        mount.source = Source::Given(devpts.as_fd());
    }
    sys::crash::point("runtime.start.planned");
    cgroup.create(&resources(&plan))?;
    match clone_and_watch(&plan, launch, &cgroup, console.as_ref()) {
        Ok((pid, pidfd)) => {
            Ok(Process { pid, pidfd, console: console.map(|console| console.pty.controller), cgroup })
        }
        Err(error) => {
            // The first failure is what matters; converge finds a cgroup that would not go.
            cgroup.remove().ok();
            Err(error)
        }
    }
}

fn resources(plan: &Plan<'_>) -> Resources {
    let mut resources = plan.linux.resources.clone().unwrap_or_default();
    resources.devices = devices::rules(&resources.devices);
    resources
}

fn clone_and_watch(
    plan: &Plan<'_>,
    launch: &Launch<'_>,
    cgroup: &Cgroup,
    console: Option<&Console>,
) -> Result<(i32, PidFd)> {
    let birthplace = cgroup.birthplace()?;
    let args = CloneArgs {
        // The cgroup namespace begins where its maker is, so that waits until the cgroup is joined.
        namespaces: plan.new.without(Kinds::CGROUP),
        cgroup: birthplace.as_ref().map(AsFd::as_fd),
        sibling: false,
    };
    let joined: Vec<_> = plan.joined.iter().map(|(kind, fd)| (*kind, fd.as_fd())).collect();
    let child = fork(&joined, &args, |channel| {
        let terminal = console.map(|console| console.pty.terminal.as_fd());
        let gate = plan.gate.map(open_gate).transpose()?;
        become_container(Container { plan, cgroup, channel, terminal, gate, root: None }, launch.stdio)
    })?;
    child
        .watch(|pid| act_for_child(plan, pid), plan.gate.is_some())
        .map_err(|error| explain_death(error, cgroup))
}

/// A child on its way, seen from the parent.
struct Started {
    pid: i32,
    pidfd: PidFd,
    channel: ParentEnd,
}

/// Clones the caller inside `joined`. In the child `body` is all that runs.
fn fork(
    joined: &[(Kinds, BorrowedFd<'_>)],
    args: &CloneArgs<'_>,
    body: impl FnOnce(&ChildEnd) -> Result<Infallible>,
) -> Result<Started> {
    let (parent_end, child_end) = channel::channel()?;
    // In the child it has to go, or the child would not notice the parent's end.
    let parent_end = Cell::new(Some(parent_end));
    let (pid, pidfd) = namespace::visit(joined, || match sys::process::clone3(args)? {
        Fork::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Fork::Child => {
            drop(parent_end.take());
            let Err(error) = protect_child().and_then(|()| body(&child_end));
            child_end.fail(&error);
            sys::process::exit_now(1)
        }
    })?;
    let channel = parent_end.take().ok_or_else(|| Error::internal("the channel is the parent's"))?;
    Ok(Started { pid, pidfd, channel })
}

/// Nobody in the container may look into us, who still have the host's descriptors and memory; nor outlive the parent.
fn protect_child() -> Result<()> {
    sys::process::set_dumpable(false)?;
    sys::process::set_parent_death_signal(SIGKILL)?;
    sys::identity::set_umask(0);
    Ok(())
}

const SIGKILL: i32 = 9;

impl Started {
    /// Serves the child until it executes its program, or waits at the gate. A child that fails is killed and reaped.
    fn watch(self, act: impl Fn(i32) -> Result<()>, is_gated: bool) -> Result<(i32, PidFd)> {
        match self.serve(act, is_gated) {
            Ok(()) => Ok((self.pid, self.pidfd)),
            Err(error) => {
                self.pidfd.send_signal(SIGKILL).ok();
                self.pidfd.wait()?;
                Err(error)
            }
        }
    }

    fn serve(&self, act: impl Fn(i32) -> Result<()>, is_gated: bool) -> Result<()> {
        let mut is_ready = false;
        loop {
            match self.channel.next()? {
                Message::Waiting => {
                    act(self.pid)?;
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

const DIED: &str = "container init died before it could execute its program";

/// The usual reason for a silent death.
fn explain_death(error: Error, cgroup: &Cgroup) -> Error {
    match cgroup.oom_kills() {
        Ok(1..) if error.to_string() == DIED => {
            Error::invalid("container init was OOM-killed (memory limit too low?)")
        }
        _ => error,
    }
}

/// What a child without rights of its own cannot do: its id maps, and the hooks that see the host.
fn act_for_child(plan: &Plan<'_>, pid: i32) -> Result<()> {
    if plan.new.contains(Kinds::USER) {
        write_map(pid, "gid_map", &plan.linux.gid_mappings)?;
        write_map(pid, "uid_map", &plan.linux.uid_mappings)?;
    }
    let Some(all) = &plan.spec.hooks else { return Ok(()) };
    run_hooks(plan, "prestart", &all.prestart, pid)?;
    run_hooks(plan, "createRuntime", &all.create_runtime, pid)
}

/// user_namespaces(7): all lines in one write.
fn write_map(pid: i32, file: &str, mappings: &[IdMapping]) -> Result<()> {
    let line = |map: &IdMapping| format!("{} {} {}\n", map.container_id, map.host_id, map.size);
    let text: String = mappings.iter().map(line).collect();
    sys::fs::write(format!("/proc/{pid}/{file}"), text)
}

fn run_hooks(plan: &Plan<'_>, kind: &str, hooks: &[Hook], pid: i32) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = State {
        version: oci::runtime::VERSION.to_owned(),
        id: plan.id.to_owned(),
        status: if kind == "startContainer" { Status::Created } else { Status::Creating },
        pid,
        bundle: plan.bundle.to_owned(),
        annotations: plan.spec.annotations.clone(),
    };
    hooks::run(kind, hooks, &state)
}

fn open_gate(path: &Path) -> Result<File> {
    // Both ways, so that opening does not wait; reading does.
    sys::fs::open(path, &OpenHow { access: Access::ReadWrite, ..OpenHow::READ })
}

/// The child's whole life up to its program.
fn become_container(mut container: Container<'_>, stdio: [BorrowedFd<'_>; 3]) -> Result<Infallible> {
    for (name, step) in STEPS {
        step(&mut container)?;
        sys::crash::point(name);
    }
    let plan = container.plan;
    let mut becoming = Becoming::new(&plan.process, stdio, container.terminal);
    becoming.prepare()?;
    // Before the parent is told, because it may end at once.
    sys::process::set_parent_death_signal(if plan.dies_with_caller { SIGKILL } else { 0 })?;
    container.channel.ready()?;
    if let Some(mut gate) = container.gate {
        gate.read_exact(&mut [0]).call(|| "waiting at the gate")?;
    }
    if let Some(hooks) = &plan.spec.hooks {
        run_hooks(plan, "startContainer", &hooks.start_container, OWN_PID)?;
    }
    becoming.execute()
}

/// What a container's first process sees as its own; without a pid namespace the number is the host's.
const OWN_PID: i32 = 1;

fn join_cgroup(container: &mut Container<'_>) -> Result<()> {
    container.cgroup.join_v1().doing(|| "joining the cgroup")?;
    if container.plan.new.contains(Kinds::CGROUP) {
        namespace::unshare(Kinds::CGROUP)?;
    }
    Ok(())
}

fn set_oom_score(container: &mut Container<'_>) -> Result<()> {
    container.plan.process.identity.apply_oom_score()
}

fn let_parent_act(container: &mut Container<'_>) -> Result<()> {
    if container.plan.needs_parent() {
        container.channel.rendezvous()?;
    }
    if container.plan.new.contains(Kinds::USER) { become_root_of_namespace() } else { Ok(()) }
}

fn become_root_of_namespace() -> Result<()> {
    sys::identity::set_groups(&[])?;
    sys::identity::set_group(0)?;
    sys::identity::set_user(0)?;
    // The change of user has put it back.
    sys::process::set_dumpable(false)?;
    sys::process::set_parent_death_signal(SIGKILL)
}

fn set_loopback_up(container: &mut Container<'_>) -> Result<()> {
    if container.plan.new.contains(Kinds::NET) { namespace::set_loopback_up() } else { Ok(()) }
}

/// Through the host's /proc, which the container cannot have tampered with: the kernel looks at the writer's namespaces.
fn write_sysctls(container: &mut Container<'_>) -> Result<()> {
    for (path, value) in &container.plan.sysctls {
        crate::cgroup::write_value(path, value)?;
    }
    Ok(())
}

fn set_names(container: &mut Container<'_>) -> Result<()> {
    let spec = container.plan.spec;
    if !spec.hostname.is_empty() {
        namespace::set_hostname(&spec.hostname)?;
    }
    if !spec.domainname.is_empty() {
        namespace::set_domainname(&spec.domainname)?;
    }
    Ok(())
}

fn attach_root(container: &mut Container<'_>) -> Result<()> {
    container.root = Some(mounts::attach_root(container.plan.rootfs)?);
    Ok(())
}

fn attach_mounts(container: &mut Container<'_>) -> Result<()> {
    mounts::attach_all(container.plan, container.root()?, container.cgroup)
}

fn make_devices(container: &mut Container<'_>) -> Result<()> {
    devices::make(container.plan, container.root()?)?;
    match container.terminal {
        Some(terminal) => devices::attach_console(container.root()?, terminal),
        None => Ok(()),
    }
}

fn protect_paths(container: &mut Container<'_>) -> Result<()> {
    root::protect(container.plan, container.root()?)
}

fn make_working_folder(container: &mut Container<'_>) -> Result<()> {
    mounts::folder(container.root()?, &container.plan.process.cwd)?;
    Ok(())
}

fn run_container_hooks(container: &mut Container<'_>) -> Result<()> {
    let Some(hooks) = &container.plan.spec.hooks else { return Ok(()) };
    run_hooks(container.plan, "createContainer", &hooks.create_container, OWN_PID)
}

fn pivot(container: &mut Container<'_>) -> Result<()> {
    root::pivot(container.plan, container.root()?)
}

/// A further process in a running container.
pub(super) fn exec(launch: &ExecLaunch<'_>) -> Result<Process> {
    let plan = ProcessPlan::new(launch.process, launch.seccomp)?;
    let pty = plan.terminal.map(|size| console::for_exec(launch.pid, size)).transpose()?;
    let kinds = kinds_to_enter(launch.pid)?;
    let pid_namespace = namespace::open(&launch.pid.to_string(), Kinds::PID)?;
    let birthplace = launch.cgroup.birthplace()?;
    // Whatever was opened by number above belongs to the process that we mean only if that still lives.
    launch.pidfd_is_alive()?;
    let args = CloneArgs { cgroup: birthplace.as_ref().map(AsFd::as_fd), ..CloneArgs::default() };
    let child = fork(&[(Kinds::PID, pid_namespace.as_fd())], &args, |channel| {
        enter(launch, &plan, kinds)?;
        let terminal = pty.as_ref().map(|pty| pty.terminal.as_fd());
        let mut becoming = Becoming::new(&plan, launch.stdio, terminal);
        becoming.prepare()?;
        sys::process::set_parent_death_signal(0)?;
        channel.ready()?;
        becoming.execute()
    })?;
    let (pid, pidfd) = child.watch(|_| Ok(()), false)?;
    Ok(Process { pid, pidfd, console: pty.map(|pty| pty.controller), cgroup: launch.cgroup.clone() })
}

/// All kinds, as entering the same one again does no harm; but for one's own user namespace, which the kernel refuses.
fn kinds_to_enter(pid: i32) -> Result<Kinds> {
    let all = Kinds::MOUNT | Kinds::CGROUP | Kinds::UTS | Kinds::IPC | Kinds::NET;
    Ok(if namespace::is_shared_with(pid, Kinds::USER)? { all } else { all | Kinds::USER })
}

fn enter(launch: &ExecLaunch<'_>, plan: &ProcessPlan, kinds: Kinds) -> Result<()> {
    launch.cgroup.join_v1().doing(|| "joining the cgroup")?;
    plan.identity.apply_oom_score()?;
    namespace::setns(launch.pidfd, kinds)?;
    sys::crash::point("runtime.exec.entered");
    if kinds.contains(Kinds::USER) { become_root_of_namespace() } else { Ok(()) }
}
