//! Talks to a daemon over its Engine API: requests, streamed bodies, hijacked connections.
//!
//! One connection a request, because a command makes few and a fresh unix socket costs less than a pool. No version is
//! negotiated ahead: the newest is spoken until a daemon says that it is too new. Errors carry the texts that people
//! know from `docker`. It knows neither flags nor terminals, and nothing of the daemon's insides.
#![forbid(unsafe_code)]

mod answer;
mod body;
pub mod container;
mod endpoint;
pub mod exec;
mod hijack;
mod http;
pub mod image;
mod lines;
pub mod network;
pub mod registry;
mod stdcopy;
pub mod system;
pub mod trust;
pub mod volume;

pub use answer::Answer;
pub use body::{Body, ChunkReader, chunks};
pub use endpoint::Endpoint;
pub use hijack::Hijacked;
pub use http::Client;
pub use lines::Lines;
pub use stdcopy::Demux;
