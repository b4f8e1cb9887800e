//! The handle that the engine holds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use fault::{Error, Result};
use ipnet::Ipv4Net;

use crate::endpoint::{Connection, Endpoint, Request};

/// Where state lies and how the default network looks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Ids of the networks are kept here for ever, endpoints until they are disconnected.
    pub state_dir: PathBuf,
    /// The device of the default network.
    pub bridge: String,
    /// The nf_tables table that is ours; two daemons on one host need two.
    pub table: String,
    /// The first of these that no route of the host covers becomes the default network's subnet.
    pub pools: Vec<Ipv4Net>,
    pub mtu: u32,
}

impl Default for Config {
    fn default() -> Self {
        let pools =
            (17..=31).map(|second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16)).collect();
        Self {
            state_dir: PathBuf::from("/var/lib/kogge/network"),
            bridge: "kogge0".into(),
            table: "kogge".into(),
            pools,
            mtu: 1500,
        }
    }
}

/// A network as `docker network inspect` shows it.
#[derive(Clone, Debug)]
pub struct Network {
    pub name: String,
    /// 64 hex digits, the same for ever.
    pub id: String,
    /// `bridge`, `host` or `null`.
    pub driver: &'static str,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// Empty for `host` and `none`.
    pub subnets: Vec<Subnet>,
    pub options: BTreeMap<String, String>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
}

/// All networks of a host. Cheap to clone; every method blocks and may be called from any thread.
#[derive(Clone, Debug)]
pub struct Networks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
}

impl Networks {
    /// Reads the stored state. The kernel is first changed by [`Networks::converge`] or [`Networks::connect`].
    pub fn open(config: Config) -> Result<Self> {
        Ok(Self(Arc::new(Inner { config })))
    }

    /// Makes an endpoint: recorded, then built. When it fails, nothing stays behind.
    ///
    /// `Conflict` when a port or the address is taken (`Bind for 0.0.0.0:8080 failed: port is already allocated`),
    /// `NotFound` for an unknown network.
    pub fn connect(&self, request: &Request<'_>) -> Result<Connection> {
        let _ = (&self.0.config, request);
        Err(Error::unsupported("being written"))
    }

    /// Forgets an endpoint and frees its ports and address; the devices are deleted later, in batches.
    /// An unknown id is fine.
    pub fn disconnect(&self, _id: &str) -> Result<()> {
        Err(Error::unsupported("being written"))
    }

    /// Makes the kernel match the records of the endpoints that are still alive and forgets all others. For the start.
    pub fn converge(&self, _alive: &[&str]) -> Result<()> {
        Err(Error::unsupported("being written"))
    }

    /// Keeps the namespace of an endpoint that an earlier daemon made, so that its end can be batched too. Optional.
    pub fn hold(&self, _id: &str, _netns: OwnedFd) {}

    /// The stored facts of a connected endpoint.
    pub fn endpoint(&self, _id: &str) -> Option<Endpoint> {
        None
    }

    /// `bridge`, `host` and `none`.
    pub fn list(&self) -> Vec<Network> {
        Vec::new()
    }

    /// By name, id or unambiguous start of an id; otherwise `network NAME not found`.
    pub fn inspect(&self, name: &str) -> Result<Network> {
        Err(Error::not_found(format!("network {name} not found")))
    }

    /// A namespace with nothing but lo, up.
    pub fn isolated_netns(&self) -> Result<OwnedFd> {
        Err(Error::unsupported("being written"))
    }

    /// Names a foreign firewall chain that drops forwarded packets by policy, and so may cut our containers off.
    pub fn forward_policy_blocker(&self) -> Option<String> {
        None
    }

    /// Waits until all that was disconnected is gone from the kernel.
    pub fn settle(&self) {}

    /// Removes everything: endpoints, bridge, table.
    pub fn teardown(&self) -> Result<()> {
        Err(Error::unsupported("being written"))
    }
}
