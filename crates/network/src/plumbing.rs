//! Builds the kernel's side of one endpoint: a namespace with lo and eth0, and the host's end in the bridge.

use std::os::fd::{BorrowedFd, OwnedFd};

use fault::{Error, Kind, Result};
use netlink::route::{self, Veth, Which};
use netlink::{Batch, Channel, Protocol};
use sys::crash;

use crate::endpoint::Endpoint;

/// The name inside.
const INTERFACE: &str = "eth0";
const LOOPBACK: &str = "lo";

/// Where an endpoint is put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// A channel in the host's namespace.
    pub(crate) host: &'a Channel,
    /// Index of the bridge.
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    /// The last user of the address, if its device is still there.
    pub(crate) predecessor: Option<&'a str>,
}

/// Makes a finished namespace, all on one throw-away thread.
pub(crate) fn build(place: Place<'_>, endpoint: &Endpoint) -> Result<OwnedFd> {
    let (netns, ()) = sys::netlink::in_fresh_netns(|netns| {
        crash::point("network.connect.netns");
        add_pair(place, endpoint, netns)?;
        crash::point("network.connect.veth");
        configure(endpoint)?;
        crash::point("network.connect.configured");
        notice_carrier(place, endpoint)
    })?;
    Ok(netns)
}

/// A namespace in which only lo works.
pub(crate) fn isolated() -> Result<OwnedFd> {
    let (netns, ()) = sys::netlink::in_fresh_netns(|_| {
        let mut batch = Batch::default();
        route::set_up(&mut batch, Which::Name(LOOPBACK));
        Channel::open(Protocol::Route)?.commit(&batch)
    })?;
    Ok(netns)
}

fn add_pair(place: Place<'_>, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
    let mut batch = Batch::default();
    if let Some(predecessor) = place.predecessor {
        route::silence(&mut batch, Which::Name(predecessor));
    }
    let veth = Veth {
        name: &endpoint.veth,
        master: Some(place.bridge),
        mtu: place.mtu,
        peer_name: INTERFACE,
        peer_mac: endpoint.mac.0,
        peer_netns: netns,
    };
    route::add_veth(&mut batch, &veth);
    route::set_hairpin(&mut batch, Which::Name(&endpoint.veth));
    place.host.commit(&batch)
}

/// Runs inside the new namespace.
fn configure(endpoint: &Endpoint) -> Result<()> {
    let channel = Channel::open(Protocol::Route)?;
    let eth0 = route::link(&channel, INTERFACE)?
        .ok_or_else(|| Error::internal(format!("{INTERFACE} of {} vanished", endpoint.veth)))?;
    disable_ipv6()?;
    let mut batch = Batch::default();
    route::set_up(&mut batch, Which::Name(LOOPBACK));
    route::add_address(&mut batch, eth0.index, endpoint.address.addr(), endpoint.address.prefix_len());
    route::set_up(&mut batch, Which::Index(eth0.index));
    route::add_default_route(&mut batch, eth0.index, endpoint.gateway);
    channel.commit(&batch)
}

/// The host's end first: with its first port the bridge has a carrier too.
fn notice_carrier(place: Place<'_>, endpoint: &Endpoint) -> Result<()> {
    route::notice_carrier(place.host, Which::Name(&endpoint.veth))?;
    route::notice_carrier(place.host, Which::Index(place.bridge))
}

/// Like Docker: ::1 stays on lo, but an interface whose network has no IPv6 gets no address of its own making.
fn disable_ipv6() -> Result<()> {
    match sys::fs::write(format!("/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6"), "1") {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}
