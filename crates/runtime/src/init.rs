//! The start of a container: from a specification to a running first process.
//!
//! ```text
//! caller (one thread)                          child
//! plan   everything that can be known before
//! cgroup made, limits written
//! clone3 into all new namespaces at once ----> joins the cgroup, then walks STEPS in the specification's order
//! reads the channel until it closes      <---- a failure's text, or the exec closes it
//! ```
//!
//! Guarantees: a failure leaves no process, cgroup or mount behind; nothing is ever mounted in the host's namespace;
//! paths of the container are resolved beneath its root. It does not know logs, images or Docker.

mod channel;
mod console;
mod copy_up;
mod devices;
pub mod exec;
mod fork;
mod go_between;
mod hooks;
mod identity;
mod listener;
mod mounts;
mod options;
mod plan;
mod process;
mod program;
mod root;
mod scheduling;
mod sources;
mod start;
mod steps;
mod unsupported;
mod userns;

pub use hooks::{run as run_hooks, run_all as run_all_hooks};
pub(crate) use identity::CAPABILITIES;
pub use identity::refused_capabilities;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use fault::{Error, Result};
use oci::runtime::Spec;
use sys::process::PidFd;

use crate::cgroup::Cgroup;
use crate::seccomp::Program;

/// What to start.
#[derive(Debug)]
pub struct Launch<'a> {
    pub id: &'a str,
    pub spec: &'a Spec,
    /// Relative paths of the spec begin here.
    pub bundle: &'a Path,
    pub rootfs: Rootfs<'a>,
    /// Detached mounts in place of the sources of some mounts: (index in `spec.mounts`, mount). They are attached,
    /// so each serves one start only.
    pub mount_fds: &'a [(usize, OwnedFd)],
    /// Joined instead of what the spec says about the network namespace.
    pub netns: Option<BorrowedFd<'a>>,
    /// Standard input, output and error; not used if the process has a terminal.
    pub stdio: [BorrowedFd<'a>; 3],
    /// How many descriptors after those the program inherits, beginning with number 3; the caller has them open.
    pub kept_fds: u16,
    /// The compiled form of the spec's filter, if there is one already.
    pub seccomp: Option<&'a Program>,
    /// A fifo where the finished container waits for a reader before it executes its program: OCI's create.
    pub gate: Option<&'a Path>,
    /// A file whose removal takes the wish back: without a name it starts nothing any more.
    pub intent: Option<BorrowedFd<'a>>,
    /// Whether the kernel kills the container when the caller ends. A program that changes its own rights gets rid of
    /// that (prctl(2), PR_SET_PDEATHSIG), so it is a help and no promise.
    pub dies_with_caller: bool,
    /// Lines that the program writes to its terminal end as they were written, for a caller that passes them on itself.
    pub keeps_line_ends: bool,
    /// The host's root stays beneath the container's, for where roots cannot be exchanged (on an initramfs).
    pub no_pivot: bool,
}

/// Where the root file system is.
#[derive(Debug)]
pub enum Rootfs<'a> {
    /// A detached mount, for this start only.
    Mount(BorrowedFd<'a>),
    /// A folder of the host; mounts beneath it come along.
    Path(&'a Path),
}

/// A started process of a container.
#[derive(Debug)]
pub struct Process {
    /// In the caller's pid namespace. The process is the caller's child.
    pub pid: i32,
    pub pidfd: PidFd,
    /// The controlling end of its terminal, if it has one.
    pub console: Option<OwnedFd>,
    /// To be removed when the container's last process has ended.
    pub cgroup: Cgroup,
}

/// Why a process did not start.
#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    /// As shells and Docker have it: 127 if the program was not found, 126 if it cannot be executed, else 128.
    pub exit_code: i32,
}

impl Failure {
    /// Told by the text, as Docker does, because failed mounts and the like count as well.
    fn from_error(error: Error) -> Self {
        let text = error.to_string().to_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        let exit_code = if says(&["executable file not found", "no such file or directory"]) {
            127
        } else if says(&["permission denied", "is a directory", "not a directory"]) {
            126
        } else {
            128
        };
        Self { error, exit_code }
    }
}

impl From<Error> for Failure {
    /// With system errors in Docker's words, wherever they happened.
    fn from(error: Error) -> Self {
        Self::from_error(Error::new(error.kind(), channel::plain(&error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(out)
    }
}

impl std::error::Error for Failure {}

/// Starts a container and returns when its program is executed, or waits at the gate. The caller must have a single
/// thread, and reaps the process.
pub fn start(launch: &Launch<'_>) -> Result<Process, Failure> {
    Ok(start::start(launch)?)
}

/// Where a container's cgroup is. If the specification names none, it still gets one of its own.
pub fn cgroup_path(id: &str, spec: &Spec) -> PathBuf {
    match spec.linux.as_ref().map(|linux| linux.cgroups_path.as_path()) {
        Some(named) if !named.as_os_str().is_empty() => named.to_owned(),
        _ => Path::new("/kogge").join(id),
    }
}
