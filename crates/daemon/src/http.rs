//! The door: Docker's Engine API over HTTP/1.1, on top of the engine.
//!
//! ```text
//! listener --socket--> serve --request--> router --Request--> containers, images, … --verb--> engine
//!                        |                   ^ versions bend old queries and bodies to the newest, answers back
//!                        `--Takeover--> hijack: bytes both ways (attach, exec)
//! ```
//!
//! Guarantees: errors are `{"message": …}` with the status of their kind; bodies and answers of unbounded length are
//! streamed; an older version's difference stands in one table, so handlers know the newest only.

mod absent;
mod answer;
mod archive;
mod containers;
mod distribution;
mod exec;
mod hijack;
mod images;
mod json;
mod networks;
mod query;
mod request;
mod router;
mod routes;
mod serve;
mod socket;
mod status;
mod system;
mod trust;
mod version;
mod versions;
mod volumes;

pub(crate) use serve::serve;
pub(crate) use socket::Socket;

use engine::Engine;

/// What every handler has.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) engine: Engine,
}
