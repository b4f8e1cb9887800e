//! Starting a program from a process of any size and any number of threads.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use fault::{Call, Error, Result};

use super::PidFd;
use super::exec::unblock_signals;
use crate::raw::c_string;

/// A program to start with [`spawn`].
#[derive(Debug)]
pub struct Command<'a> {
    pub program: Program<'a>,
    /// The first is the program's own name.
    pub args: &'a [&'a OsStr],
    /// `NAME=value`; nothing is inherited.
    pub env: &'a [&'a OsStr],
    /// Descriptors to hand over: (ours, the number there). All others are closed.
    pub fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Start a session of its own.
    pub session: bool,
}

/// Which file to execute.
#[derive(Debug)]
pub enum Program<'a> {
    Path(&'a Path),
    /// An open file, for example on a detached read-only mount.
    Fd(BorrowedFd<'a>),
}

/// Starts a program without copying the caller's page tables. Signal handlers and the mask are reset, SIGPIPE is
/// back at its default. Returns once the program is executed; its failure to do so is an error here.
pub fn spawn(command: &Command<'_>) -> Result<PidFd> {
    let mut prepared = Prepared::new(command)?;
    let mut stack = vec![0_u128; SPAWN_STACK_BYTES / size_of::<u128>()];
    let mut pidfd: RawFd = -1;
    // SAFETY: sigset_t is plain data, filled by the next calls before it is read.
    let mut everything: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: sigset_t is plain data; pthread_sigmask fills it before it is put back.
    let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: both sets live here. The child runs on a stack of its own, in our memory, while CLONE_VFORK holds
    // this thread; `spawned` makes nothing but system calls, allocates nothing and takes no lock. All signals are
    // blocked meanwhile, so that no handler of ours runs in the child.
    let pid = unsafe {
        libc::sigfillset(&raw mut everything);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const everything, &raw mut before);
        let top = stack.as_mut_ptr().add(stack.len());
        let pid = libc::clone(
            spawned,
            top.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD,
            (&raw mut prepared).cast(),
            &raw mut pidfd,
        );
        let errno = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        if pid < 0 { Err(errno) } else { Ok(pid) }
    };
    pid.call(|| "clone")?;
    // SAFETY: clone has succeeded with CLONE_PIDFD, which made this descriptor for us alone.
    let pidfd = PidFd::from_fd(unsafe { OwnedFd::from_raw_fd(pidfd) });
    if prepared.errno == 0 {
        return Ok(pidfd);
    }
    pidfd.wait()?;
    Err(Error::io(format!("execve {}", prepared.name()), io::Error::from_raw_os_error(prepared.errno)))
}

const SPAWN_STACK_BYTES: usize = 64 * 1024;

/// Everything that the child of [`spawn`] needs, laid out before, because it may not allocate.
struct Prepared {
    program: Option<CString>,
    program_fd: RawFd,
    /// Own the memory that the pointer tables below point to.
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// (source, target); the source becomes a copy above all targets.
    fds: Vec<(RawFd, RawFd)>,
    first_free: RawFd,
    session: bool,
    errno: i32,
}

impl Prepared {
    fn new(command: &Command<'_>) -> Result<Self> {
        let mut strings = Vec::with_capacity(command.args.len() + command.env.len());
        let argv = pointers(command.args, &mut strings)?;
        let envp = pointers(command.env, &mut strings)?;
        let (program, program_fd) = match command.program {
            Program::Path(path) => (Some(c_string(path)?), -1),
            Program::Fd(fd) => (None, fd.as_raw_fd()),
        };
        let fds: Vec<_> = command.fds.iter().map(|(fd, target)| (fd.as_raw_fd(), *target)).collect();
        let first_free = fds.iter().map(|(_, target)| target + 1).max().unwrap_or(0).max(3);
        Ok(Self {
            program,
            program_fd,
            _strings: strings,
            argv,
            envp,
            fds,
            first_free,
            session: command.session,
            errno: 0,
        })
    }

    fn name(&self) -> String {
        match &self.program {
            Some(path) => path.to_string_lossy().into_owned(),
            None => format!("fd {}", self.program_fd),
        }
    }
}

fn pointers(texts: &[&OsStr], strings: &mut Vec<CString>) -> Result<Vec<*const libc::c_char>> {
    let mut pointers = Vec::with_capacity(texts.len() + 1);
    for text in texts {
        let string = c_string(text)?;
        // The heap buffer of a CString does not move with it.
        pointers.push(string.as_ptr());
        strings.push(string);
    }
    pointers.push(std::ptr::null());
    Ok(pointers)
}

/// The child of [`spawn`]: system calls only.
extern "C" fn spawned(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the argument is the `Prepared` of the thread that waits in `spawn` for our exec.
    let prepared = unsafe { &mut *argument.cast::<Prepared>() };
    // SAFETY: only async-signal-safe calls with memory laid out before the clone.
    unsafe {
        prepared.errno = execute(prepared);
        libc::_exit(127)
    }
}

/// Returns only on failure, with the errno.
///
/// # Safety
/// Runs in the borrowed memory of a suspended thread: neither allocates nor locks.
unsafe fn execute(prepared: &mut Prepared) -> i32 {
    // SAFETY: system calls that take numbers, and pointer tables that `Prepared::new` has ended in null and whose
    // strings `Prepared` owns.
    unsafe {
        reset_signals();
        if prepared.session {
            libc::setsid();
        }
        let mut program_fd = prepared.program_fd;
        if program_fd >= 0 {
            program_fd = libc::fcntl(program_fd, libc::F_DUPFD_CLOEXEC, prepared.first_free);
            if program_fd < 0 {
                return *libc::__errno_location();
            }
        }
        for (source, _) in &mut prepared.fds {
            *source = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, prepared.first_free);
            if *source < 0 {
                return *libc::__errno_location();
            }
        }
        for (source, target) in &prepared.fds {
            if libc::dup2(*source, *target) < 0 {
                return *libc::__errno_location();
            }
        }
        libc::syscall(libc::SYS_close_range, prepared.first_free, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        match &prepared.program {
            Some(path) => libc::execve(path.as_ptr(), prepared.argv.as_ptr(), prepared.envp.as_ptr()),
            None => libc::syscall(
                libc::SYS_execveat,
                program_fd,
                c"".as_ptr(),
                prepared.argv.as_ptr(),
                prepared.envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            ) as i32,
        };
        *libc::__errno_location()
    }
}

/// Puts every handler back and unblocks everything. Ignored signals stay ignored over an exec, and std ignores
/// SIGPIPE, so that one is reset by hand.
fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: sigaction on our own stack's memory; numbers that cannot be changed just fail.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) < 0 {
                continue;
            }
            let ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if action.sa_sigaction != libc::SIG_DFL && !ignored {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
    }
    unblock_signals();
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::process::Exit;

    fn sh<'a>(args: &'a [&'a OsStr], fds: &'a [(BorrowedFd<'a>, RawFd)]) -> Command<'a> {
        Command { program: Program::Path(Path::new("/bin/sh")), args, env: &[], fds, session: true }
    }

    #[test]
    fn spawn_hands_over_descriptors_and_reports_the_exit() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let args = ["sh", "-c", "echo hi >&5; exit 7"].map(OsStr::new);
        let child = spawn(&sh(&args, &[(theirs.as_fd(), 5)])).unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi\n");
        assert_eq!(child.wait().unwrap(), Exit { code: 7, signal: None });
    }

    #[test]
    fn spawn_swaps_descriptors_that_are_each_others_targets() {
        let (one, mut one_far) = UnixStream::pair().unwrap();
        let (two, mut two_far) = UnixStream::pair().unwrap();
        let args = ["sh", "-c", "echo a >&3; echo b >&4"].map(OsStr::new);
        let child = spawn(&sh(&args, &[(one.as_fd(), 4), (two.as_fd(), 3)])).unwrap();
        drop((one, two));
        let (mut from_one, mut from_two) = (String::new(), String::new());
        one_far.read_to_string(&mut from_one).unwrap();
        two_far.read_to_string(&mut from_two).unwrap();
        assert_eq!((from_one.as_str(), from_two.as_str()), ("b\n", "a\n"));
        child.wait().unwrap();
    }

    #[test]
    fn spawn_reports_a_missing_program() {
        let command = Command { program: Program::Path(Path::new("/nope")), ..sh(&[], &[]) };
        let error = spawn(&command).unwrap_err();
        assert_eq!(error.to_string(), "execve /nope: No such file or directory (os error 2)");
    }
}
