//! Staying with a container: its terminal, its signals, its end.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use fault::{Call, Error, Result};
use runtime::init::Process;
use sys::mount::{Attributes, Change};
use sys::poll::{Interest, Poll};
use sys::signal::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use sys::tty;

/// A process in the container can reach the file that we run from (/proc/PID/exe) while we enter it, so that file
/// lies on a mount that nobody can write through. A caller that has arranged for that saves the second exec.
pub(super) fn protect_own_binary() -> Result<()> {
    let exe = Path::new("/proc/self/exe");
    if sys::mount::is_read_only(exe)? {
        return Ok(());
    }
    let copy = sys::mount::bind(sys::mount::current_folder(), exe, false)?;
    sys::mount::change(copy.as_fd(), &Change { set: Attributes::READ_ONLY, ..Change::default() })?;
    let string =
        |text: Vec<u8>| CString::new(text).map_err(|_| Error::invalid("an argument holds a NUL byte"));
    let args = std::env::args_os().map(|word| string(word.into_vec())).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os().map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        string(entry)
    });
    let error = sys::process::execve_fd(copy.as_fd(), &args, &env.collect::<Result<Vec<_>>>()?);
    Err(Error::io("executing ourselves from a read-only mount", error))
}

/// Hands a terminal or a process's handle to whoever listens at `path`.
pub(super) fn send_handle(path: &Path, handle: impl AsFd) -> Result<()> {
    let socket = sys::socket::connect(sys::socket::Kind::Stream, path)?;
    sys::socket::send_with_fds(&socket, b"/dev/ptmx", &[handle.as_fd()])
        .call(|| format!("sending a descriptor to {}", path.display()))?;
    Ok(())
}

/// Passes input, output and signals on until the process ends. Returns its exit code.
pub(super) fn attend(process: &Process) -> Result<i32> {
    let signals = sys::poll::signals(FORWARDED)?;
    let poll = Poll::new()?;
    poll.add(&process.pidfd, END, Interest::READ)?;
    poll.add(&signals, SIGNAL, Interest::READ)?;
    let console = process.console.as_ref().map(|fd| fd.try_clone().call(|| "dup")).transpose()?;
    let console = console.map(File::from);
    let mut raw = None;
    if let Some(console) = &console {
        poll.add(console, OUTPUT, Interest::READ)?;
        copy_size(console);
        take_input(&poll, &mut raw)?;
    }
    let exit = turn_until_end(process, &poll, &signals, console.as_ref(), &mut raw);
    drop(raw);
    exit
}

/// Our own input is the container's, but that of a terminal only while we are in its foreground.
fn take_input(poll: &Poll, raw: &mut Option<tty::Raw>) -> Result<()> {
    let is_terminal = tty::is_terminal(std::io::stdin());
    if raw.is_some() || is_terminal && !tty::is_foreground(std::io::stdin()) {
        return Ok(());
    }
    // A file or /dev/null has no events; there is nothing to wait for then.
    poll.add(std::io::stdin(), INPUT, Interest::READ).ok();
    *raw = is_terminal.then(|| tty::Raw::enter_for_input(std::io::stdin())).transpose()?;
    Ok(())
}

const END: u64 = 0;
const SIGNAL: u64 = 1;
const INPUT: u64 = 2;
const OUTPUT: u64 = 3;

const FORWARDED: &[i32] = &[SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM, SIGCONT, SIGWINCH];

fn turn_until_end(
    process: &Process,
    poll: &Poll,
    signals: &OwnedFd,
    console: Option<&File>,
    raw: &mut Option<tty::Raw>,
) -> Result<i32> {
    let mut ready = Vec::new();
    loop {
        poll.wait(&mut ready, None)?;
        for source in &ready {
            match (source.token, console) {
                (SIGNAL, console) => {
                    forward_signal(process, signals, console)?;
                    // A shell that brings us to the foreground continues us.
                    if console.is_some() {
                        take_input(poll, raw)?;
                    }
                }
                (OUTPUT, Some(console)) if !copy(console, std::io::stdout()) => poll.remove(console)?,
                (INPUT, Some(console)) if !copy(std::io::stdin(), console) => poll.remove(std::io::stdin())?,
                _ => {}
            }
        }
        if ready.iter().any(|source| source.token == END) {
            let exit = process.pidfd.wait()?;
            // With the process its end of the terminal is closed, so this ends too.
            while console.is_some_and(|console| copy(console, std::io::stdout())) {}
            return Ok(exit.code);
        }
    }
}

/// One read's worth; false at the end.
fn copy(mut from: impl Read, mut to: impl Write) -> bool {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        // EIO from a terminal: all its other ends are closed.
        Ok(0) | Err(_) => false,
        Ok(count) => to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_ok(),
    }
}

fn forward_signal(process: &Process, signals: &OwnedFd, console: Option<&File>) -> Result<()> {
    while let Some(signal) = sys::poll::next_signal(signals)? {
        match console {
            Some(console) if signal == SIGWINCH => copy_size(console),
            _ => {
                // It may have ended meanwhile.
                process.pidfd.send_signal(signal).ok();
            }
        }
    }
    Ok(())
}

fn copy_size(console: impl AsFd) {
    if let Ok(size) = tty::size(std::io::stdin()) {
        tty::set_size(console, size).ok();
    }
}
