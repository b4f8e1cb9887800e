//! Creates, enters, watches and reaps one container.
//!
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
