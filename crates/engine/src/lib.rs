//! Containers, execs, volumes, logs, events, restart: the meaning of Docker, without its HTTP.
//!
//! ```text
//! door --verb(&Engine, ...)--> registry --command--> one task per container --link--> its monitor
//!                                  ^----- view ---------'   (published at every change)
//! ```
//!
//! Guarantees: every acknowledged change is on disk, every half-made one is finished or undone by [`converge`] at the
//! next start; containers outlive the engine; a future may be dropped at any point without harm to a container.
//! It knows neither HTTP nor API versions nor command lines.
#![forbid(unsafe_code)]

pub mod archive;
pub mod container;
pub mod events;
pub mod exec;
pub mod image;
pub mod logs;
pub mod network;
pub mod prune;
pub mod stats;
pub mod system;
pub mod top;
pub mod volume;

mod changes;
mod config;
mod converge;
mod defaults;
mod engine;
mod filter;
mod id;
mod link;
mod monitors;
mod names;
mod path;
mod pin;
mod readiness;
mod record;
mod relay;
mod resolve;
mod restart;
mod state;
mod tasks;
mod telling;
mod transport;
pub mod trust;
mod user;

pub use config::{Config, Live};
pub use defaults::Defaults;
pub use engine::Engine;
pub use id::ContainerId;
pub use record::{Mount, MountKind, Record, State};
pub use state::Status;
pub use store::Budget as ImageBudget;
