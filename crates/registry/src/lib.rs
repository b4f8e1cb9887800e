//! The distribution protocol (distribution-spec, and what Docker's registries add to it), over a store.
//!
//! It knows neither the mounts of snapshots nor containers, and nothing of Docker's API.
#![forbid(unsafe_code)]

pub mod client;
pub mod server;
