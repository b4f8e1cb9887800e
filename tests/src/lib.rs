//! What end-to-end tests and the demo share: base images without a registry, a host of their own for a daemon, and
//! clients to drive it with.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests start the programs that they test"
)]

pub mod client;
pub mod daemon;
pub mod image;
pub mod registry;
pub mod remains;
pub mod transcript;

pub use client::{Client, Output};
pub use daemon::{Daemon, Host};
pub use registry::Registry;
pub use transcript::Transcript;
