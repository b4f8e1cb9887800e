//! The distribution protocol over real HTTP on loopback: our client against our server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod server;
mod world;
