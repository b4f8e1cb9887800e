//! The small first process of `--init` (docker-init): runs the container's program as its child, passes signals on to
//! it, reaps whatever ends in the container, and ends as the program ends. Behaves as tini does, in texts too.
//!
//! It runs inside of the container, under its filter and as its user.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use fault::{Error, Result};
use sys::errno::{EACCES, ENOENT, ESRCH};
use sys::process::Exit;
use sys::signal::{SIGABRT, SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SIGTTIN, SIGTTOU};

/// Runs `program arguments…` (after an optional `--`) and returns the exit code to end with.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let arguments: Vec<OsString> = arguments.into_iter().skip_while(|argument| argument == "--").collect();
    let Some(program) = arguments.first() else {
        complain("no program was given");
        return 1;
    };
    supervise(program, &arguments).unwrap_or_else(|error| {
        complain(&error.to_string());
        1
    })
}

/// Signals that a fault of our own raises, or that only tell of the terminal, are not passed on (tini: `main`).
const KEPT: &[i32] = &[SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTTIN, SIGTTOU, SIGSYS];

fn supervise(program: &OsStr, arguments: &[OsString]) -> Result<i32> {
    let passed: Vec<i32> = (1..=sys::signal::LAST).filter(|signal| !KEPT.contains(signal)).collect();
    // Blocked before the fork, so that none is lost in between.
    let signals = sys::poll::signals(&passed)?;
    let Some(child) = sys::family::fork()? else { become_program(program, arguments) };
    loop {
        sys::poll::wait_readable(&signals, None)?;
        while let Some(signal) = sys::poll::next_signal(&signals)? {
            if signal != SIGCHLD {
                pass_on(child, signal)?;
            } else if let Some(exit) = reap_until(child)? {
                return Ok(exit.code);
            }
        }
    }
}

fn pass_on(child: i32, signal: i32) -> Result<()> {
    match sys::process::kill(child, signal) {
        // It just ended; its SIGCHLD follows.
        Err(error) if error.errno() == Some(ESRCH) => Ok(()),
        result => result,
    }
}

/// Reaps all that ended; tells of the program itself, but only when no other is left to reap.
fn reap_until(child: i32) -> Result<Option<Exit>> {
    let mut ended = None;
    while let Some((pid, exit)) = sys::family::reap()? {
        if pid == child {
            ended = Some(exit);
        }
    }
    Ok(ended)
}

fn become_program(program: &OsStr, arguments: &[OsString]) -> ! {
    let error = try_exec(program, arguments);
    let code = if error.errno() == Some(ENOENT) { 127 } else { 126 };
    complain(&error.to_string());
    sys::process::exit_now(code)
}

fn try_exec(program: &OsStr, arguments: &[OsString]) -> Error {
    if let Err(error) = sys::family::lead_foreground_group() {
        return error;
    }
    sys::process::default_signals();
    let text = |bytes: &OsStr| CString::new(bytes.as_bytes()).unwrap_or_default();
    let arguments: Vec<CString> = arguments.iter().map(|argument| text(argument)).collect();
    let env: Vec<CString> = std::env::vars_os().map(|(name, value)| text(&join(name, &value))).collect();
    let mut found = std::io::Error::from_raw_os_error(ENOENT);
    for path in candidates(program, std::env::var_os("PATH").as_deref()) {
        let error = sys::process::execve(&text(path.as_os_str()), &arguments, &env);
        match error.raw_os_error() {
            Some(ENOENT) => {}
            // As execvp(3): a file that may not be executed is remembered, a later one may do.
            Some(EACCES) => found = error,
            _ => return failed(program, error),
        }
    }
    failed(program, found)
}

fn failed(program: &OsStr, error: std::io::Error) -> Error {
    Error::io(format!("exec {} failed", program.display()), error)
}

fn join(mut name: OsString, value: &OsStr) -> OsString {
    name.push("=");
    name.push(value);
    name
}

/// Where execvp(3) would look.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let folders = path.as_bytes().split(|byte| *byte == b':').map(|folder| match folder {
        b"" => PathBuf::from("."),
        folder => OsString::from_vec(folder.to_vec()).into(),
    });
    folders.map(|folder: PathBuf| Path::new(&folder).join(program)).collect()
}

/// Scripts look for tini's form.
fn complain(text: &str) {
    // "No such file or directory (os error 2)" is Rust's; tini says strerror(3) alone.
    let text = text.split(" (os error").next().unwrap_or(text);
    eprintln!("[FATAL tini ({})] {text}", std::process::id());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_as_execvp_does() {
        let names = |program: &str, path: Option<&str>| -> Vec<PathBuf> {
            candidates(OsStr::new(program), path.map(OsStr::new))
        };
        assert_eq!(names("/bin/sh", Some("/a")), [Path::new("/bin/sh")]);
        assert_eq!(names("sh", Some("/a::/b")), [Path::new("/a/sh"), Path::new("./sh"), Path::new("/b/sh")]);
        assert_eq!(names("sh", None), [Path::new("/bin/sh"), Path::new("/usr/bin/sh")]);
    }
}
