//! The listener of a system call filter, brought to the agent that decides in the kernel's place (config-linux.md,
//! "Seccomp", and "The Container Process State").

use std::os::fd::AsFd;
use std::path::Path;

use fault::{Call, Doing, Error, Result};
use oci::runtime::{Seccomp, State};
use serde::Serialize;
use sys::socket::{self, Kind};

/// What the agent is told beside the descriptor.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    #[serde(rename = "ociVersion")]
    version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a State,
}

/// A filter that asks needs somebody to be asked.
pub(super) fn check(seccomp: Option<&Seccomp>) -> Result<()> {
    path(seccomp).map(drop)
}

fn path(seccomp: Option<&Seccomp>) -> Result<&Path> {
    let path = seccomp.map(|seccomp| seccomp.listener_path.as_path());
    path.filter(|path| !path.as_os_str().is_empty())
        .ok_or_else(|| Error::invalid("SCMP_ACT_NOTIFY needs a listenerPath in the seccomp profile"))
}

/// Connects to the agent and gives it the listener of process `pid`.
pub(super) fn hand_on(seccomp: Option<&Seccomp>, listener: impl AsFd, pid: i32, state: &State) -> Result<()> {
    let path = path(seccomp)?;
    let document = ProcessState {
        version: oci::runtime::VERSION,
        fds: ["seccompFd"],
        pid,
        metadata: seccomp.map_or("", |seccomp| &seccomp.listener_metadata),
        state,
    };
    let text = serde_json::to_vec(&document)
        .map_err(|error| Error::internal("writing the process state").with_source(error))?;
    let agent = socket::connect(Kind::Stream, path)
        .doing(|| "failed to connect with seccomp agent specified in the seccomp profile")?;
    let sent = socket::send_with_fds(&agent, &text, &[listener.as_fd()])
        .call(|| format!("sending the seccomp listener to {}", path.display()))?;
    if sent == text.len() {
        Ok(())
    } else {
        Err(Error::unavailable(format!("{} takes only a part of the process state", path.display())))
    }
}
