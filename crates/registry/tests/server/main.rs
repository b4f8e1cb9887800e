//! The registry over real HTTP on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod blobs;
mod collect;
mod guards;
mod manifests;
mod restart;
mod world;
