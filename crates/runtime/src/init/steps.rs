//! The steps of a container's first process from its clone to its program.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fault::{Call, Doing, Error, Result};
use oci::runtime::{Hook, Status};
use sys::namespace::{self, Kinds};
use sys::signal::{SIGHUP, SIGINT, SIGKILL, SIGTERM};

use super::channel::ChildEnd;
use super::fork::become_root_of_namespace;
use super::plan::Plan;
use super::process::Becoming;
use super::{devices, hooks, mounts, root, scheduling};
use crate::cgroup::Cgroup;

/// The container's first process between its clone and its exec.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) cgroup: &'a Cgroup,
    pub(super) channel: &'a ChildEnd,
    pub(super) terminal: Option<BorrowedFd<'a>>,
    /// Opened while its path still means something.
    pub(super) gate: Option<File>,
    /// The new root's mount, from the step "rootfs" on.
    pub(super) root: Option<OwnedFd>,
    /// Of mounts, by their index, as far as they are open already: the parent's, and from the step "rootfs" on those that
    /// stay shared with the host.
    pub(super) sources: BTreeMap<usize, OwnedFd>,
    /// Mounts that become read-only when all is made that lies on them, from the step "mounts" to the step "late".
    pub(super) late: Vec<OwnedFd>,
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
    ("runtime.init.late", make_late_mounts_read_only),
    ("runtime.init.protect", protect_paths),
    ("runtime.init.folder", make_working_folder),
    ("runtime.init.hooks", run_container_hooks),
    ("runtime.init.pivot", pivot),
];

/// The child's whole life up to its program.
pub(super) fn become_container(
    mut container: Container<'_>,
    stdio: [BorrowedFd<'_>; 3],
) -> Result<Infallible> {
    for (name, step) in STEPS {
        step(&mut container)?;
        sys::crash::point(name);
    }
    let plan = container.plan;
    let mut becoming = Becoming::new(&plan.process, stdio, container.terminal);
    becoming.prepare()?;
    // Before the parent is told, because it may end at once.
    sys::process::set_parent_death_signal(if plan.dies_with_caller { SIGKILL } else { 0 })?;
    let (channel, gate) = (container.channel, container.gate.take().map(Gate::new).transpose()?);
    becoming.lock_before_ready(channel)?;
    match gate {
        Some(gate) => {
            // What it owns is closed there, so it is not dropped.
            std::mem::forget(container);
            wait_at_gate(plan, channel, gate)?;
        }
        None => channel.ready()?,
    }
    becoming.lock(channel)?;
    if let Some(hooks) = &plan.spec.hooks {
        run_hooks(plan, "startContainer", &hooks.start_container, OWN_PID, Some(&becoming.env))?;
    }
    becoming.execute()
}

/// Where a finished container waits for `start`, and what may end it there: the first process of a pid namespace gets no
/// signal that it does not handle.
struct Gate {
    fifo: File,
    signals: OwnedFd,
}

impl Gate {
    /// From here on the signals are kept for who waits.
    fn new(fifo: File) -> Result<Self> {
        Ok(Self { fifo, signals: sys::poll::signals(&[SIGHUP, SIGINT, SIGTERM])? })
    }
}

/// For as long as its caller wants, so with nothing of the host's open.
fn wait_at_gate(plan: &Plan<'_>, channel: &ChildEnd, mut gate: Gate) -> Result<()> {
    let first = 3 + i32::from(plan.process.kept_fds);
    sys::process::close_others(first, &[channel.as_fd(), gate.fifo.as_fd(), gate.signals.as_fd()])?;
    channel.ready()?;
    while !sys::poll::wait_for_either(&gate.fifo, &gate.signals)? {
        if let Some(signal) = sys::poll::next_signal(&gate.signals)? {
            sys::process::exit_now(128 + signal);
        }
    }
    gate.fifo.read_exact(&mut [0]).call(|| "waiting at the gate")
}

/// What a container's first process sees as its own; without a pid namespace the number is the host's.
const OWN_PID: i32 = 1;

fn join_cgroup(container: &mut Container<'_>) -> Result<()> {
    container.cgroup.join_v1(&[]).doing(|| "joining the cgroup")?;
    scheduling::reset_affinity()?;
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
    if container.plan.id_maps.is_some() { become_root_of_namespace() } else { Ok(()) }
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
    mounts::open_shared_sources(container.plan, &mut container.sources)?;
    container.root = Some(mounts::attach_root(container.plan.rootfs)?);
    Ok(())
}

fn attach_mounts(container: &mut Container<'_>) -> Result<()> {
    let sources = std::mem::take(&mut container.sources);
    container.late = mounts::attach_all(container.plan, container.root()?, container.cgroup, sources)?;
    Ok(())
}

fn make_devices(container: &mut Container<'_>) -> Result<()> {
    devices::make(container.plan, container.root()?)?;
    match container.terminal {
        Some(terminal) => devices::attach_console(container.root()?, terminal),
        None => Ok(()),
    }
}

fn make_late_mounts_read_only(container: &mut Container<'_>) -> Result<()> {
    mounts::make_read_only(&std::mem::take(&mut container.late))
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
    // config.md, "Hooks": they run in the container's namespaces, and, as with runc, in its root.
    sys::mount::enter(container.root()?)?;
    run_hooks(container.plan, "createContainer", &hooks.create_container, OWN_PID, None)
}

fn pivot(container: &mut Container<'_>) -> Result<()> {
    root::pivot(container.plan, container.root()?)
}

/// `env` is for hooks that have none of their own, in place of ours.
pub(super) fn run_hooks(
    plan: &Plan<'_>,
    kind: &str,
    hooks: &[Hook],
    pid: i32,
    env: Option<&[CString]>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let status = if kind == "startContainer" { Status::Created } else { Status::Creating };
    let state = plan.state(status, pid);
    match env {
        Some(env) => hooks::run_with_env(kind, hooks, &state, env),
        None => hooks::run(kind, hooks, &state),
    }
}
