//! The distribution protocol over real HTTP on loopback: our client against our server, our client against
//! a registry that does what a test wants, our server by itself and in front of others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod faulty;
mod server;
mod world;
