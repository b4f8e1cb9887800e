//! The client against a registry that does what the test wants, and a real store in memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod certificates;
mod double;
mod faults;
mod identity;
mod make;
mod objects;
mod pull;
mod push;
mod transport;
