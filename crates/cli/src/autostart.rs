//! Starts a daemon when none was named and none answers at the default place.
//!
//! Guarantees: two commands at once start one daemon (a lock file); the daemon outlives the command and its terminal
//! (a session of its own); the wait is bounded, and a daemon that failed to start shows its last words.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fault::{Call, Doing, Error, Result};
use sys::fs::Lock;
use sys::inotify::{Changes, Inotify};
use sys::process::{Command, PidFd, Program};

/// Where a daemon listens that nobody configured.
pub(crate) const SOCKET: &str = "/run/kogge/kogge.sock";

/// Returns once a daemon answers at `socket`.
pub(crate) fn ensure(socket: &str) -> Result<()> {
    if answers(socket) {
        return Ok(());
    }
    start(Path::new(socket))
        .doing(|| format!("Cannot connect to the Docker daemon at unix://{socket}, and starting one failed"))
}

fn start(socket: &Path) -> Result<()> {
    let folder = socket.parent().ok_or_else(|| Error::internal("the socket has no folder"))?;
    sys::fs::create_dir_all(folder, 0o755)?;
    let _lock = Lock::acquire(folder.join("start.lock"))?;
    if answers(socket) {
        return Ok(());
    }
    let watch = Inotify::new()?;
    watch.watch(folder, Changes { appeared: true, ..Changes::default() })?;
    let log = folder.join("kogged.log");
    let daemon = spawn(&program()?, &log)?;
    wait(socket, &watch, &daemon, &log)
}

fn answers(socket: impl AsRef<Path>) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// `kogged` beside our own binary, or on PATH.
pub(crate) fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    own.into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(DAEMON))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::not_found(format!("`{DAEMON}` is neither beside `kogge` nor on PATH")))
}

fn spawn(program: &Path, log: &Path) -> Result<PidFd> {
    let null = File::open("/dev/null").call(|| "open /dev/null")?;
    let log = File::create(log).call(|| format!("open {}", log.display()))?;
    let env: Vec<OsString> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        })
        .collect();
    let env: Vec<&OsStr> = env.iter().map(OsString::as_os_str).collect();
    sys::process::spawn(&Command {
        program: Program::Path(program),
        args: &[program.as_os_str()],
        env: &env,
        fds: &[(null.as_fd(), 0), (log.as_fd(), 1), (log.as_fd(), 2)],
        session: true,
    })
}

/// The socket's file appears a moment before it accepts, so the last step is tried again in short intervals.
fn wait(socket: &Path, watch: &Inotify, daemon: &PidFd, log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if answers(socket) {
            return Ok(());
        }
        if let Some(exit) = daemon.try_wait()? {
            let words = last_words(log);
            return Err(Error::unavailable(format!("`{DAEMON}` ended with code {}{words}", exit.code)));
        }
        let pause = if socket.exists() { RETRY } else { LOOK };
        if sys::poll::wait_readable(watch, Some(pause))? {
            watch.read().call(|| "read inotify")?;
        }
    }
    let seconds = PATIENCE.as_secs();
    Err(Error::unavailable(format!("`{DAEMON}` does not answer after {seconds} s{}", last_words(log))))
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!(": {line} (see {})", log.display()),
        None => String::new(),
    }
}

const DAEMON: &str = "kogged";

/// A cold start with a big store to check takes seconds, not minutes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between bind and listen lie microseconds.
const RETRY: Duration = Duration::from_millis(2);
/// How often to see whether the daemon died meanwhile.
const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_that_answers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        ensure(socket.to_str().unwrap()).unwrap();
        assert!(!folder.path().join("start.lock").exists());
    }

    #[test]
    fn a_daemon_that_fails_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let (program, log) = (folder.path().join("kogged"), folder.path().join("log"));
        std::fs::write(&program, "#!/bin/sh\necho no room >&2\nexit 3\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let watch = Inotify::new().unwrap();
        let daemon = spawn(&program, &log).unwrap();
        let error = wait(&folder.path().join("x.sock"), &watch, &daemon, &log).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`kogged` ended with code 3: no room (see "), "{text}");
    }
}
