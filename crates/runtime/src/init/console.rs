//! The terminal of a process, made by the parent from the devpts that the container will see.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fault::Result;
use oci::runtime::{ConsoleSize, IdMapping};
use sys::fs::{self, OpenHow};
use sys::tty::{self, Pty, Size};

use super::exec::ExecLaunch;
use super::mounts;
use super::options::Options;
use super::plan::{Plan, Source};
use super::userns::host_id;

/// A terminal, and the devpts that it comes from if the child has to attach that.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) pty: Pty,
    pub(super) devpts: Option<OwnedFd>,
}

/// For a container to be started. Making its devpts here saves sending the terminal back from the child.
pub(super) fn for_start(plan: &mut Plan<'_>, keeps_line_ends: bool) -> Result<Option<Console>> {
    let Some(size) = plan.process.terminal else { return Ok(None) };
    let maps = plan.id_maps.clone().unwrap_or_default();
    let (dir, devpts) = match plan.devpts() {
        Some(mount) => match &mount.source {
            Source::FileSystem { kind, source } => {
                translate_group(&mut mount.options, &maps.gids);
                let devpts = mounts::new_filesystem(kind, source, &mount.options, false)?;
                (devpts.as_fd().try_clone_to_owned().ok(), Some(devpts))
            }
            Source::Given(fd) => (fd.try_clone_to_owned().ok(), None),
            Source::Host(path) => (Some(fs::open_dir(path)?), None),
            Source::Cgroup => (None, None),
        },
        None => (None, None),
    };
    let pty = match dir {
        Some(dir) => tty::open_pty(dir.as_fd(), Path::new(""))?,
        None => tty::open_pty(fs::open_dir("/dev")?.as_fd(), Path::new(""))?,
    };
    prepare(&pty, size, keeps_line_ends)?;
    if plan.id_maps.is_some() {
        // The child could not give it to its user, because it does not own it.
        let owner = host_id(&maps.uids, plan.process.identity.uid);
        fs::fchown(&pty.terminal, owner, fs::fstat(&pty.terminal)?.gid)?;
    }
    Ok(Some(Console { pty, devpts }))
}

/// The option `gid=` of a devpts that is made outside of the container's user namespace.
fn translate_group(options: &mut Options, maps: &[IdMapping]) {
    let group = options.filesystem.iter_mut().find(|(key, _)| key == "gid").map(|(_, value)| value);
    if let Some(value) = group
        && let Some(inside) = value.as_ref().and_then(|value| value.parse().ok())
    {
        *value = Some(host_id(maps, inside).to_string());
    }
}

/// For a process in a running container, from the devpts that its first process sees.
pub(super) fn for_exec(launch: &ExecLaunch<'_>, size: ConsoleSize) -> Result<Pty> {
    let root = fs::open(format!("/proc/{}/root", launch.pid), &OpenHow { directory: true, ..OpenHow::PATH })?;
    let pty = tty::open_pty(root.as_fd(), Path::new("/dev/pts"))?;
    prepare(&pty, size, launch.keeps_line_ends)?;
    Ok(pty)
}

fn prepare(pty: &Pty, size: ConsoleSize, keeps_line_ends: bool) -> Result<()> {
    if keeps_line_ends {
        tty::keep_line_ends(&pty.controller)?;
    }
    if size == ConsoleSize::default() {
        return Ok(());
    }
    tty::set_size(&pty.controller, Size { height: size.height, width: size.width })
}
