//! Sockets that a supervisor opened for us: descriptors 3 and up, counted in `LISTEN_FDS` (sd_listen_fds(3)).

use std::os::fd::{FromRawFd, OwnedFd};

use fault::{Call, Error, Result};
use rustix::io::FdFlags;

/// The listening sockets that came with the environment, each closed on exec from now on; none if they are meant for
/// another process. Call once, before any descriptor is opened.
pub fn listeners() -> Result<Vec<OwnedFd>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    if number("LISTEN_PID") != Some(std::process::id().cast_signed()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    (FIRST..FIRST.saturating_add(count)).map(take).collect()
}

/// sd_listen_fds(3): SD_LISTEN_FDS_START.
const FIRST: i32 = 3;

fn take(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl(2) F_GETFD on a number that is not open fails with EBADF and touches nothing.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(Error::invalid(format!("descriptor {number} of LISTEN_FDS is not open")));
    }
    // SAFETY: the number is open (checked above), and LISTEN_PID says that it was opened for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).call(|| format!("fcntl {number} F_SETFD"))?;
    Ok(fd)
}
