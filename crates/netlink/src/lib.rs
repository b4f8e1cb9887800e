//! rtnetlink and nf_tables messages, built and parsed by ourselves.
//!
//! ```text
//! route::add_veth(&mut batch, …)   ┐                      ┌ one send: the kernel works through it in order
//! nft::Transaction::add_rule(…)    ├─> Batch ─> Channel ──┤
//! conntrack::flush_udp(…)          ┘                      └ every acknowledgement read, the first error named
//! ```
//!
//! Own code rather than a crate, because the floor is small (a dozen messages), the hot path wants several messages in
//! one send, the throw-away thread in a container's namespace wants no async runtime, and the ready crates either lack
//! nat, fib and concatenated maps or bring 35 crates.
//!
//! Guarantees: no answer of the kernel, however malformed, makes this panic. Knows no policy: which links and rules
//! there are is decided by the `network` crate.
#![forbid(unsafe_code)]

mod channel;
pub mod conntrack;
pub mod nft;
pub mod route;
mod wire;

pub use channel::Channel;
pub use sys::netlink::Protocol;
pub use wire::{Attribute, Attributes, Batch, Message, attributes, messages};
