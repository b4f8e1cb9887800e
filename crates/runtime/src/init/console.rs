//! The terminal of a process, made by the parent from the devpts that the container will see.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fault::Result;
use oci::runtime::ConsoleSize;
use sys::fs::{self, OpenHow};
use sys::tty::{self, Pty, Size};

use super::mounts;
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
    let (dir, devpts) = match plan.devpts() {
        Some(mount) => match &mount.source {
            Source::FileSystem { kind, source } => {
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
    Ok(Some(Console { pty, devpts }))
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
