//! Hooks: programs of the host, run one after the other with the container's state on standard input.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use fault::{Call, Doing, Error, Result};
use oci::runtime::{Hook, State};
use sys::process::{Command, PidFd, Program};
use sys::signal::SIGKILL;

/// Runs all hooks of one kind; the first failure ends it.
pub fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, state).doing(|| format!("error running {kind} hook #{index}"))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &State) -> Result<()> {
    let state =
        serde_json::to_vec(state).map_err(|error| Error::internal("writing the state").with_source(error))?;
    let (mut ours, theirs) = UnixStream::pair().call(|| "socketpair")?;
    let args: Vec<_> = match hook.args.as_slice() {
        [] => vec![hook.path.as_os_str()],
        args => args.iter().map(OsStr::new).collect(),
    };
    let env: Vec<_> = hook.env.iter().map(OsStr::new).collect();
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let child = sys::process::spawn(&Command {
        program: Program::Path(&hook.path),
        args: &args,
        env: &env,
        fds: &[(theirs.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)],
        session: false,
    })?;
    drop(theirs);
    // A hook that does not read its input is fine; the state fits into the socket's buffer.
    ours.write_all(&state).ok();
    drop(ours);
    wait(&child, hook.timeout)
}

fn wait(child: &PidFd, timeout_s: Option<u64>) -> Result<()> {
    let timeout = timeout_s.map(Duration::from_secs);
    if !sys::poll::wait_readable(child, timeout)? {
        child.send_signal(SIGKILL)?;
        child.wait()?;
        return Err(Error::unavailable(format!(
            "hook ran past specified timeout of {:.1}s",
            timeout.unwrap_or_default().as_secs_f64()
        )));
    }
    match child.wait()? {
        exit if exit.code == 0 => Ok(()),
        exit => Err(match exit.signal {
            Some(signal) => Error::internal(format!("signal {signal}")),
            None => Error::internal(format!("exit status {}", exit.code)),
        }),
    }
}
