//! `cargo xtask bench`: interleaved measures against the floor and the peers.

use crate::Result;

pub(crate) fn run(_: Vec<String>) -> Result {
    Err("being written".into())
}
