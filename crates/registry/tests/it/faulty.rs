//! The client against a registry that does what the test wants, and a real store in memory.

mod certificates;
pub(crate) mod double;
mod faults;
mod identity;
mod make;
mod objects;
mod pull;
mod push;
mod transport;
