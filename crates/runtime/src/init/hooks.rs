//! Hooks: programs of the host, run one after the other with the container's state on standard input. What they write is
//! told if they fail.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fault::{Call, Doing, Error, Result};
use oci::runtime::{Hook, State};
use sys::poll::{Interest, Poll};
use sys::process::{Command, Exit, PidFd, Program};
use sys::signal::SIGKILL;

/// Runs all hooks of one kind; the first failure ends it. A hook without an environment gets ours, as with runc.
pub fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<()> {
    run_with_env(kind, hooks, state, &own_env())
}

/// Runs them all, whatever fails, and returns the failures.
pub fn run_all(kind: &str, hooks: &[Hook], state: &State) -> Vec<Error> {
    let env = own_env();
    let run =
        |(index, hook)| run_one(hook, state, &env).doing(|| format!("error running {kind} hook #{index}"));
    hooks.iter().enumerate().filter_map(|numbered| run(numbered).err()).collect()
}

fn own_env() -> Vec<CString> {
    let entry = |(name, value): (OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(entry).collect()
}

/// As [`run`]; `env` is for hooks that have none of their own.
pub(super) fn run_with_env(kind: &str, hooks: &[Hook], state: &State, env: &[CString]) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, state, env).doing(|| format!("error running {kind} hook #{index}"))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &State, env: &[CString]) -> Result<()> {
    let state =
        serde_json::to_vec(state).map_err(|error| Error::internal("writing the state").with_source(error))?;
    let (mut ours, theirs) = UnixStream::pair().call(|| "socketpair")?;
    let (stdout, their_stdout) = std::io::pipe().call(|| "pipe")?;
    let (stderr, their_stderr) = std::io::pipe().call(|| "pipe")?;
    let args: Vec<_> = match hook.args.as_slice() {
        [] => vec![hook.path.as_os_str()],
        args => args.iter().map(OsStr::new).collect(),
    };
    let env: Vec<_> = match hook.env.as_slice() {
        [] => env.iter().map(|entry| OsStr::from_bytes(entry.as_bytes())).collect(),
        env => env.iter().map(OsStr::new).collect(),
    };
    let child = sys::process::spawn(&Command {
        program: Program::Path(&hook.path),
        args: &args,
        env: &env,
        fds: &[(theirs.as_fd(), 0), (their_stdout.as_fd(), 1), (their_stderr.as_fd(), 2)],
        session: false,
    })?;
    drop((theirs, their_stdout, their_stderr));
    // A hook that does not read its input is fine; the state fits into the socket's buffer.
    ours.write_all(&state).ok();
    drop(ours);
    let mut outputs = [Output::new(stdout)?, Output::new(stderr)?];
    let exit = attend(&child, hook.timeout.map(Duration::from_secs), &mut outputs)?;
    judge(exit, &outputs)
}

/// What a hook writes, as far as it is kept.
struct Output {
    pipe: File,
    bytes: Vec<u8>,
}

/// Enough for the reason of a failure; the rest is read and dropped, so that no hook hangs on it.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

impl Output {
    fn new(pipe: PipeReader) -> Result<Self> {
        sys::socket::set_nonblocking(&pipe, true)?;
        Ok(Self { pipe: OwnedFd::from(pipe).into(), bytes: Vec::new() })
    }

    /// One read; false if there was nothing.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.pipe.read(&mut buffer).unwrap_or(0);
        let room = OUTPUT_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&buffer[..count.min(room)]);
        count > 0
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim_end().to_owned()
    }
}

/// A token beside the places in the list of outputs.
const END: u64 = u64::MAX;

/// Reads the outputs until the hook ends. Others may hold its pipes open for longer, which is not waited for.
fn attend(child: &PidFd, timeout: Option<Duration>, outputs: &mut [Output]) -> Result<Exit> {
    let poll = Poll::new()?;
    poll.add(child, END, Interest::READ)?;
    for (output, token) in outputs.iter().zip(0..) {
        poll.add(&output.pipe, token, Interest::READ)?;
    }
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut ready = Vec::new();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        poll.wait(&mut ready, left)?;
        for source in &ready {
            let output = usize::try_from(source.token).ok().and_then(|place| outputs.get_mut(place));
            if let Some(output) = output
                && !output.read()
                && source.hangup
            {
                poll.remove(&output.pipe)?;
            }
        }
        if ready.iter().any(|source| source.token == END) {
            outputs.iter_mut().for_each(|output| while output.read() {});
            return child.wait();
        }
        if left.is_some_and(|left| left.is_zero()) {
            child.send_signal(SIGKILL)?;
            child.wait()?;
            let seconds = timeout.unwrap_or_default().as_secs_f64();
            return Err(Error::unavailable(format!("hook ran past specified timeout of {seconds:.1}s")));
        }
    }
}

fn judge(exit: Exit, outputs: &[Output; 2]) -> Result<()> {
    if exit.code == 0 {
        return Ok(());
    }
    let end = match exit.signal {
        Some(signal) => format!("signal: {}", sys::signal::description(signal)),
        None => format!("exit status {}", exit.code),
    };
    let [stdout, stderr] = outputs.each_ref().map(Output::text);
    Err(Error::internal(format!("{end}, stdout: {stdout}, stderr: {stderr}")))
}
