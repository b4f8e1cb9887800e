//! What goes wrong around a container: daemons and monitors killed, clients cut off, disks full, archives broken.
//! Nothing is lost, and nothing without an owner is left.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so by a panic, and starts programs"
)]

mod archives;
mod cut;
mod dirt;
mod disk;
mod left;
mod load;
mod plan;
mod points;
mod witness;
