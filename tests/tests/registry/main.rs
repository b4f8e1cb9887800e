//! Daemon, registry and clients as real programs, on the loopback device of a host of their own: the acceptance scenes that
//! need a registry, and what must hold when the wire, the disk or one of the programs fails in the middle.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so by a panic, and starts programs"
)]

mod cuts;
mod kills;
mod scenes;
mod wire;
mod world;
