//! Networks, addresses, endpoints, ports and the firewall: wanted state, kept on disk, becomes kernel state.
//!
//! ```text
//! Request --record--> Endpoint on disk --apply--> netns, veth, addresses, port map entries
//!    converge(alive): records of the dead are dropped, the kernel is made to match the rest
//! ```
//!
//! Guarantees: an endpoint is recorded before the kernel is touched, so a crash leaves nothing that `converge` does not
//! find; the firewall is one table of our own, changed in whole transactions; the host's rules are never touched.
//! Does not know containers: an endpoint is a place in a network namespace, named by its caller.
#![forbid(unsafe_code)]

mod address;
mod bridge;
mod endpoint;
mod firewall;
mod networks;
mod plumbing;
mod port;
mod random;
mod reaper;
mod record;
mod state;

pub use endpoint::{Connection, Endpoint, Mac, PortBinding, PortWish, Proto, Relay, RelayedPort, Request};
pub use networks::{Config, Network, NetworkName, Networks, Subnet};
