//! The real daemon, driven through its sockets, its flags and its signals.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod api;
mod common;
mod process;
mod registries;
mod trust;
