//! The parent's side of a start: what is made before the child, done for it, and taken away if it fails.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use fault::{Error, Result};
use oci::runtime::{Resources, Status};
use sys::fs::{Access, OpenHow};
use sys::namespace::{self, Kinds};
use sys::process::{CloneArgs, PidFd};

use super::channel::ChildEnd;
use super::console::{self, Console};
use super::fork::{DIED, Wish, fork};
use super::plan::{Plan, Source};
use super::steps::{Container, become_container, run_hooks};
use super::{Launch, Process, devices, listener, sources};
use crate::cgroup::Cgroup;

pub(super) fn start(launch: &Launch<'_>) -> Result<Process> {
    let mut plan = Plan::new(launch)?;
    let cgroup = Cgroup::at(&super::cgroup_path(launch.id, launch.spec))?;
    let console = console::for_start(&mut plan, launch.keeps_line_ends)?;
    if let (Some(devpts), Some(mount)) =
        (console.as_ref().and_then(|console| console.devpts.as_ref()), plan.devpts())
    {
        mount.source = Source::Given(devpts.as_fd());
    }
    sys::crash::point("runtime.start.planned");
    // A later start may own the cgroup by now.
    check_intent(launch)?;
    cgroup.create(&resources(&plan))?;
    // Whoever takes the wish back removes the cgroup afterwards: either that is seen here, or nothing can be born in it.
    match check_intent(launch).and_then(|()| clone_and_watch(&plan, launch, &cgroup, console.as_ref())) {
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

fn check_intent(launch: &Launch<'_>) -> Result<()> {
    match launch.intent {
        Some(intent) if sys::fs::fstat(intent)?.nlink == 0 => {
            Err(Error::conflict("the start was taken back"))
        }
        _ => Ok(()),
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
    let birthplace = cgroup.birthplace(&[])?;
    let args = CloneArgs {
        // The cgroup namespace begins where its maker is, so that waits until the cgroup is joined.
        namespaces: plan.new.without(Kinds::CGROUP | Kinds::TIME),
        cgroup: birthplace.as_ref().map(AsFd::as_fd),
        sibling: false,
    };
    let joined: Vec<_> = plan.joined.iter().map(|(kind, fd)| (*kind, fd.as_fd())).collect();
    let sources = sources::open(plan)?;
    let body = move |channel: &ChildEnd| {
        let terminal = console.map(|console| console.pty.terminal.as_fd());
        let gate = plan.gate.map(open_gate).transpose()?;
        let container =
            Container { plan, cgroup, channel, terminal, gate, root: None, sources, late: Vec::new() };
        become_container(container, launch.stdio)
    };
    let child = match plan.new.contains(Kinds::TIME) {
        true => namespace::visit_new_time(&plan.time_offsets, || fork(&joined, &args, body)),
        false => fork(&joined, &args, body),
    }?;
    child
        .watch(|pid, wish| fulfil(plan, pid, wish), plan.gate.is_some())
        .map_err(|error| explain_death(error, cgroup))
}

/// The usual reason for a silent death.
fn explain_death(error: Error, cgroup: &Cgroup) -> Error {
    match cgroup.oom_kills() {
        Ok(1..) if error.to_string() == DIED => {
            Error::invalid("container init was OOM-killed (memory limit too low?)")
        }
        _ => error,
    }
}

fn fulfil(plan: &Plan<'_>, pid: i32, wish: Wish) -> Result<()> {
    match wish {
        Wish::Act => act_for_child(plan, pid),
        Wish::Listener(fd) => {
            listener::hand_on(plan.linux.seccomp.as_ref(), &fd, pid, &plan.state(Status::Creating, pid))
        }
    }
}

/// What a child without rights of its own cannot do: its id maps, and the hooks that see the host.
fn act_for_child(plan: &Plan<'_>, pid: i32) -> Result<()> {
    if let Some(maps) = plan.id_maps.as_ref().filter(|_| plan.new.contains(Kinds::USER)) {
        maps.write(pid)?;
    }
    let Some(all) = &plan.spec.hooks else { return Ok(()) };
    run_hooks(plan, "prestart", &all.prestart, pid, None)?;
    run_hooks(plan, "createRuntime", &all.create_runtime, pid, None)
}

fn open_gate(path: &Path) -> Result<File> {
    // Both ways, so that opening does not wait; reading does.
    sys::fs::open(path, &OpenHow { access: Access::ReadWrite, ..OpenHow::READ })
}
