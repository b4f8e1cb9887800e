//! What is connected, in memory: the records, and the addresses and ports that follow from them.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use fault::Result;
use ipnet::Ipv4Net;

use crate::address::Addresses;
use crate::endpoint::{Endpoint, Mac, PortWish, Relay, Request};
use crate::port::{Claim, Ports};
use crate::random;

#[derive(Debug)]
pub(crate) struct State {
    addresses: Addresses,
    ports: Ports,
    live: BTreeMap<String, Live>,
}

#[derive(Debug)]
struct Live {
    endpoint: Endpoint,
    netns: Option<OwnedFd>,
}

/// A new endpoint, and the sockets of its ports.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) endpoint: Endpoint,
    pub(crate) reserved: Vec<OwnedFd>,
    pub(crate) relays: Vec<Relay>,
}

/// An endpoint that was taken out, and its namespace if we hold it.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) endpoint: Endpoint,
    pub(crate) netns: Option<OwnedFd>,
}

impl State {
    pub(crate) fn new(
        subnet: Ipv4Net,
        gateway: Option<Ipv4Addr>,
        ports: Ports,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        let mut state = Self { addresses: Addresses::new(subnet, gateway), ports, live: BTreeMap::new() };
        endpoints.into_iter().for_each(|endpoint| state.restore(endpoint));
        state
    }

    pub(crate) fn subnet(&self) -> Ipv4Net {
        self.addresses.subnet()
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.addresses.gateway()
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.live.values().map(|live| &live.endpoint)
    }

    pub(crate) fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        self.live.get(id).map(|live| &live.endpoint)
    }

    /// Everybody but these.
    pub(crate) fn others(&self, alive: &[&str]) -> Vec<String> {
        let alive: HashSet<&str> = alive.iter().copied().collect();
        self.live.keys().filter(|id| !alive.contains(id.as_str())).cloned().collect()
    }

    pub(crate) fn veths(&self) -> HashSet<&str> {
        self.endpoints().map(|endpoint| endpoint.veth.as_str()).collect()
    }

    /// Takes an address and ports for a new endpoint; all or nothing.
    pub(crate) fn add(&mut self, request: &Request<'_>, network_id: &str) -> Result<Added> {
        let (endpoint_id, veth) = (random::id()?, random::veth()?);
        let address = match request.ip {
            Some(wanted) => self.addresses.take(wanted).map(|()| wanted)?,
            None => self.addresses.take_any()?,
        };
        let claims = self.claim(&request.ports, address).inspect_err(|_| self.addresses.free(address))?;
        let (mut ports, mut reserved, mut relays) = (Vec::new(), Vec::new(), Vec::new());
        for claim in claims {
            ports.extend(claim.binding);
            reserved.extend(claim.socket);
            relays.extend(claim.relay);
        }
        let endpoint = Endpoint {
            id: request.id.to_string(),
            endpoint_id,
            network_id: network_id.to_string(),
            address: Ipv4Net::new_assert(address, self.subnet().prefix_len()),
            gateway: self.gateway(),
            mac: request.mac.unwrap_or(Mac::of(address)),
            veth,
            ports,
            relayed: relays.iter().map(|relay| relay.port.clone()).collect(),
        };
        self.live.insert(endpoint.id.clone(), Live { endpoint: endpoint.clone(), netns: None });
        Ok(Added { endpoint, reserved, relays })
    }

    pub(crate) fn hold(&mut self, id: &str, netns: OwnedFd) {
        if let Some(live) = self.live.get_mut(id) {
            live.netns = Some(netns);
        }
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Removed> {
        let Live { endpoint, netns } = self.live.remove(id)?;
        self.addresses.free(endpoint.address.addr());
        endpoint.published().for_each(|(_, proto, place)| self.ports.free(proto, place));
        Some(Removed { endpoint, netns })
    }

    fn claim(&mut self, wishes: &[PortWish], target: Ipv4Addr) -> Result<Vec<Claim>> {
        let mut claims: Vec<Claim> = Vec::new();
        for wish in wishes {
            match self.ports.claim(wish, target) {
                Ok(claim) => claims.push(claim),
                Err(error) => {
                    let places = claims.iter().flat_map(Claim::places);
                    places.for_each(|(proto, place)| self.ports.free(proto, place));
                    return Err(error);
                }
            }
        }
        Ok(claims)
    }

    /// A stored endpoint; its address may lie outside of a subnet that has changed since.
    fn restore(&mut self, endpoint: Endpoint) {
        if let Err(error) = self.addresses.take(endpoint.address.addr()) {
            tracing::warn!(endpoint = endpoint.id, %error, "restoring an endpoint");
        }
        endpoint.published().for_each(|(_, proto, place)| self.ports.note(proto, place));
        self.live.insert(endpoint.id.clone(), Live { endpoint, netns: None });
    }
}
