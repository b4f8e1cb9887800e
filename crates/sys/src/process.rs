//! Processes: cloned, started, signalled, waited for; always by pidfd.
//!
//! Two ways to make one. [`clone3`] forks the caller, which must have a single thread, so that the child may run
//! ordinary code. [`spawn`] starts a program from a process of any size and any number of threads: it borrows the
//! caller's memory until the exec (`CLONE_VM | CLONE_VFORK`), so that no page table is copied.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fault::{Call, Error, Result};

use crate::namespace::Kinds;

/// The identity of a child to be made by [`clone3`].
#[derive(Debug, Default)]
pub struct CloneArgs<'a> {
    /// Namespaces to be born in.
    pub namespaces: Kinds,
    /// A cgroup v2 folder to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Make a sibling instead of a child: the caller's parent becomes its parent.
    pub sibling: bool,
}

/// The two sides after [`clone3`].
#[derive(Debug)]
pub enum Fork {
    Parent {
        /// As seen in the caller's pid namespace.
        pid: i32,
        pidfd: PidFd,
    },
    Child,
}

/// Forks the caller, the child's memory being a copy. Fails if the caller has more than one thread: the child
/// would inherit locks that nobody ever opens.
pub fn clone3(args: &CloneArgs<'_>) -> Result<Fork> {
    if thread_count()? != 1 {
        return Err(Error::internal("clone3: the caller has several threads"));
    }
    let mut pidfd: RawFd = -1;
    let mut flags = libc::CLONE_PIDFD as u64 | u64::from(args.namespaces.bits());
    // clone(2): with CLONE_PARENT the exit signal is the caller's own and must not be given.
    let mut exit_signal = libc::SIGCHLD as u64;
    if args.sibling {
        flags |= libc::CLONE_PARENT as u64;
        exit_signal = 0;
    }
    let mut cgroup = 0;
    if let Some(fd) = args.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = fd.as_raw_fd() as u64;
    }
    let raw =
        RawCloneArgs { flags, pidfd: &raw mut pidfd as u64, exit_signal, cgroup, ..RawCloneArgs::default() };
    // SAFETY: without CLONE_VM and without a stack the call behaves as fork(2); the caller has one thread (checked
    // above), so no lock of the allocator or of std is held in the child's copy. `raw` and `pidfd` outlive the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw, size_of::<RawCloneArgs>()) })
        .call(|| "clone3")?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: with CLONE_PIDFD the kernel has put a new descriptor there, which nobody else owns.
    let pidfd = PidFd(unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Fork::Parent { pid: pid as i32, pidfd })
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h.
#[repr(C)]
#[derive(Default)]
struct RawCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The number of threads of the calling process: the links of its task folder, less `.` and its own name.
pub fn thread_count() -> Result<u64> {
    let stat = rustix::fs::stat("/proc/self/task").call(|| "stat /proc/self/task")?;
    Ok(u64::from(stat.st_nlink as u32).saturating_sub(2))
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 + signal as a shell reports it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    fn exited(code: i32) -> Self {
        Self { code, signal: None }
    }

    fn killed(signal: i32) -> Self {
        Self { code: 128 + signal, signal: Some(signal) }
    }
}

/// A handle to one process, which never comes to mean another one.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    pub fn open(pid: i32) -> Result<Self> {
        let raw = rustix::process::Pid::from_raw(pid)
            .ok_or_else(|| Error::invalid(format!("{pid} is not a process id")))?;
        let fd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .call(|| format!("pidfd_open {pid}"))?;
        Ok(Self(fd))
    }

    /// Takes a pidfd that came from elsewhere, for example over a socket.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Signal 0 asks only whether the process lives.
    pub fn send_signal(&self, signal: i32) -> Result<()> {
        // SAFETY: a null siginfo means "as kill(2)"; no memory is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        check(result).call(|| format!("pidfd_send_signal {signal}"))?;
        Ok(())
    }

    /// Waits for the end of a child and reaps it.
    pub fn wait(&self) -> Result<Exit> {
        loop {
            match self.waitid(libc::WEXITED | WALL) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(error) if error.errno() == Some(libc::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reaps a child if it has ended.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        self.waitid(libc::WEXITED | libc::WNOHANG | WALL)
    }

    fn waitid(&self, options: i32) -> Result<Option<Exit>> {
        // SAFETY: siginfo_t is plain data, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is valid for writes during the call.
        let result =
            unsafe { libc::waitid(libc::P_PIDFD, self.0.as_raw_fd() as libc::id_t, &raw mut info, options) };
        check(i64::from(result)).call(|| "waitid")?;
        // SAFETY: waitid fills the SIGCHLD part of the union, or leaves it zero when nothing has ended.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        Ok((pid != 0).then(|| match info.si_code {
            libc::CLD_EXITED => Exit::exited(status),
            _ => Exit::killed(status),
        }))
    }

    /// Whether the process has ended (reaped or not).
    pub fn has_ended(&self) -> Result<bool> {
        let mut fds = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        let ready = rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
            .call(|| "poll pidfd")?;
        Ok(ready > 0)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.0
    }
}

/// Also wait for children that were cloned with another signal than SIGCHLD.
const WALL: i32 = libc::__WALL;

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
    // SAFETY: as above.
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
    let pidfd = PidFd(unsafe { OwnedFd::from_raw_fd(pidfd) });
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
    // SAFETY: plain system calls on values that `Prepared::new` has laid out; pointer tables end in null.
    unsafe {
        reset_signals();
        if prepared.session {
            libc::setsid();
        }
        if prepared.program_fd >= 0 {
            prepared.program_fd =
                libc::fcntl(prepared.program_fd, libc::F_DUPFD_CLOEXEC, prepared.first_free);
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
                prepared.program_fd,
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

fn unblock_signals() {
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
    // SAFETY: as in `execve`; the empty path makes the descriptor itself the program.
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

/// Ends the caller at once: no destructors, no buffers flushed. For children of [`clone3`].
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends the caller with SIGKILL.
pub(crate) fn die() -> ! {
    // SAFETY: a signal to ourselves; no memory is passed.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    exit_now(137)
}

/// kill(2), for when no pidfd can be had. `pid` may be negative for a group.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(i64::from(unsafe { libc::kill(pid, signal) })).call(|| format!("kill {pid}"))?;
    Ok(())
}

pub fn setsid() -> Result<()> {
    rustix::process::setsid().call(|| "setsid")?;
    Ok(())
}

/// `signal` comes when the parent's thread ends; 0 is none.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, "prctl PR_SET_PDEATHSIG")
}

/// Whether others of our user may look into us (ptrace, /proc/PID/exe and fd).
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), "prctl PR_SET_DUMPABLE")
}

fn prctl(option: i32, value: libc::c_ulong, what: &'static str) -> Result<()> {
    // SAFETY: the callers pass options that take an integer only.
    check(i64::from(unsafe { libc::prctl(option, value, 0, 0, 0) })).call(|| what)?;
    Ok(())
}

/// When a process began, in clock ticks since boot: with the pid it names a process for good.
pub fn start_time(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read(&path).call(|| format!("read {path}"))?;
    parse_start_time(&text).ok_or_else(|| Error::internal(format!("{path}: no start time")))
}

/// proc_pid_stat(5): field 22; the name (field 2) may hold spaces and brackets.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let text = std::str::from_utf8(&stat[after_name..]).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A name for this boot of the machine.
pub fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).call(|| format!("read {path}"))?;
    Ok(text.trim_end().to_owned())
}

pub(crate) fn c_string(text: impl AsRef<OsStr>) -> Result<CString> {
    let text = text.as_ref();
    CString::new(text.as_bytes()).map_err(|_| Error::invalid(format!("{text:?} holds a NUL byte")))
}

/// Turns -1 into the errno.
pub(crate) fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

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

    #[test]
    fn a_killed_child_has_the_shells_code() {
        let args = ["sh", "-c", "exec sleep 60"].map(OsStr::new);
        let child = spawn(&sh(&args, &[])).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.send_signal(libc::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap(), Exit { code: 137, signal: Some(9) });
    }

    #[test]
    fn clone3_refuses_a_caller_with_threads() {
        let (_stop, wait) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || wait.recv().is_err());
        assert!(clone3(&CloneArgs::default()).is_err());
    }

    #[test]
    fn start_times_are_read_past_odd_names() {
        let stat = b"12 (a) b) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1 1";
        assert_eq!(parse_start_time(stat), Some(987_654));
        assert!(start_time(std::process::id() as i32).unwrap() > 0);
    }
}
