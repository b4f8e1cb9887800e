//! What goes wrong around a container: daemons and monitors killed, clients cut off, disks full, archives broken.
//! Nothing is lost, and nothing without an owner is left.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod dirt;
mod left;
mod load;
mod plan;
mod points;
mod witness;
