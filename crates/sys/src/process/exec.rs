//! Becoming another program, and what the caller leaves to it: signals, descriptors, the standard streams.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use fault::{Call, Result};

use crate::raw::check;

pub(super) fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before it is used.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// What a fresh program expects: all signals at their default and unblocked.
pub fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition for every signal; SIGKILL and SIGSTOP just fail.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_signals();
}

/// Replaces the calling program; returns only the error.
pub fn execve(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let argv = table(args);
    let envp = table(env);
    // SAFETY: both tables end in null and point to strings that live until the call returns.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

/// As [`execve`], of an open file.
pub fn execve_fd(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> io::Error {
    let argv = table(args);
    let envp = table(env);
    // SAFETY: both tables end in null and point to strings that live until the call returns; the empty path, which
    // makes the descriptor itself the program, is a constant.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

fn table(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Whether the caller, as the user that it is now, could execute a file; the mount's noexec counts.
pub fn may_execute(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD};
    Ok(rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Makes every descriptor from `first` on close at the next exec.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    // SAFETY: with this flag nothing is closed now, so no owner is surprised.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result).call(|| "close_range")?;
    Ok(())
}

/// Closes all descriptors from `first` on but `kept`. For a child that ends in an exec or an exit: what else owns a
/// descriptor there must never be dropped.
pub fn close_others(first: RawFd, kept: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).filter(|fd| *fd >= first).collect();
    kept.sort_unstable();
    let mut next = first;
    for fd in kept {
        if next < fd {
            close_range(next as u32, fd as u32 - 1)?;
        }
        next = fd + 1;
    }
    close_range(next as u32, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: who owns a descriptor of the range does not use it any more, by the contract of the only caller.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).call(|| "close_range")?;
    Ok(())
}

/// Lets the descriptors of `range`, which a caller has handed to this program, live on in the next one.
pub fn keep_on_exec(range: std::ops::Range<RawFd>) -> Result<()> {
    for fd in range {
        // SAFETY: no memory is passed; a number that is no descriptor is an error.
        check(i64::from(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }))
            .call(|| format!("keeping descriptor {fd}"))?;
    }
    Ok(())
}

/// Puts copies of `fds` at 0, 1, 2 and so on, to be inherited by the next program.
pub fn set_stdio(fds: [BorrowedFd<'_>; 3]) -> Result<()> {
    // Copies above the targets first, because a source may be one of the targets itself.
    let mut copies = Vec::with_capacity(fds.len());
    for fd in fds {
        copies.push(rustix::io::fcntl_dupfd_cloexec(fd, 3).call(|| "dup")?);
    }
    for (target, copy) in copies.iter().enumerate() {
        // SAFETY: 0 to 2 belong to nobody's OwnedFd; replacing them is what the function is for.
        check(i64::from(unsafe { libc::dup2(copy.as_raw_fd(), target as RawFd) })).call(|| "dup2")?;
    }
    Ok(())
}
