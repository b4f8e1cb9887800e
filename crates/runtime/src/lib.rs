//! Creates, enters, watches and reaps one container.
//!
//! ```text
//! daemon --protocol--> monitor --Launch--> init: clone, the steps, the program
//! OCI command line ------------Launch----> init                     (src/command/, in the program only)
//! ```
//!
//! Guarantees: a start that fails leaves no process, cgroup or mount; the exit of what started is on file before anyone
//! is told; nothing is mounted in the host's namespace. Blocking, and single-threaded where it clones.
//! It knows the runtime specification and the kernel; it knows neither images nor networks nor Docker's API.
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod defaults;
pub mod init;
pub mod monitor;
pub mod protocol;
pub mod reaper;
pub mod seccomp;

pub use init::exec;
