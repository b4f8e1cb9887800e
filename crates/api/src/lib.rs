//! The Docker Engine API's requests, answers, events and filters, newest version only.
//!
//! Pure data. Field names and their presence follow the public Engine API description: an `Option` without a skip
//! attribute is written as `null`, as Go writes a nil slice or map; with one it is left out, as Go's `omitempty`.
//! It knows neither HTTP nor older versions; the daemon's door bends those into these types.
#![forbid(unsafe_code)]

pub mod container;
pub mod events;
pub mod exec;
pub mod filters;
pub mod host_config;
pub mod image;
pub mod network;
pub mod port;
pub mod progress;
pub mod registry;
pub mod stats;
pub mod stdcopy;
pub mod system;
pub mod trust;
pub mod units;
pub mod volume;
mod wire;

pub use wire::{from_slice, from_value, is_false, is_zero};

/// The newest version of the Engine API that is spoken here.
pub const VERSION: &str = "1.51";
/// The oldest version that is still answered.
pub const VERSION_MIN: &str = "1.24";
