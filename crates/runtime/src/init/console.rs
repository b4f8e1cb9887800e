//! The terminal of a process, made by the parent from the devpts that the container will see.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fault::Result;
use oci::runtime::{ConsoleSize, IdMapping};
use sys::fs::{self, OpenHow};
use sys::namespace::Kinds;
use sys::tty::{self, Pty, Size};

use super::mounts;
use super::options::Options;
use super::plan::{Plan, Source};

/// A terminal, and the devpts that it comes from if the child has to attach that.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) pty: Pty,
    pub(super) devpts: Option<OwnedFd>,
}

/// For a container to be started. Making its devpts here saves sending the terminal back from the child.
pub(super) fn for_start(plan: &mut Plan<'_>) -> Result<Option<Console>> {
    let Some(size) = plan.process.terminal else { return Ok(None) };
    let maps: &[IdMapping] = if plan.new.contains(Kinds::USER) { &plan.linux.gid_mappings } else { &[] };
    let (dir, devpts) = match plan.devpts() {
        Some(mount) => match &mount.source {
            Source::FileSystem { kind, source } => {
                translate_group(&mut mount.options, maps);
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
    set_size(&pty, size)?;
    if plan.new.contains(Kinds::USER) {
        // The child could not give it to its user, because it does not own it.
        let owner = host_id(&plan.linux.uid_mappings, plan.process.identity.uid);
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

/// What an id of the container is outside; without maps the same.
fn host_id(maps: &[IdMapping], inside: u32) -> u32 {
    let range = maps.iter().find(|map| (map.container_id..map.container_id + map.size).contains(&inside));
    range.map_or(inside, |map| map.host_id + (inside - map.container_id))
}

/// For a process in a running container, from the devpts that its first process sees.
pub(super) fn for_exec(pid: i32, size: ConsoleSize) -> Result<Pty> {
    let root = fs::open(format!("/proc/{pid}/root"), &OpenHow { directory: true, ..OpenHow::PATH })?;
    let pty = tty::open_pty(root.as_fd(), Path::new("/dev/pts"))?;
    set_size(&pty, size)?;
    Ok(pty)
}

fn set_size(pty: &Pty, size: ConsoleSize) -> Result<()> {
    if size == ConsoleSize::default() {
        return Ok(());
    }
    tty::set_size(&pty.controller, Size { height: size.height, width: size.width })
}
