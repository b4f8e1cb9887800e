//! The device of a network: what is missing between what it should be and what it is.

use std::net::Ipv4Addr;

use fault::{Error, Result};
use ipnet::Ipv4Net;
use netlink::route::{self, Address, Link, Which};
use netlink::{Batch, Channel};

use crate::random;

/// A bridge as it should be: with the gateway's address, up.
#[derive(Clone, Debug)]
pub(crate) struct Bridge<'a> {
    pub(crate) name: &'a str,
    pub(crate) gateway: Ipv4Net,
    pub(crate) mtu: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Address(Ipv4Net),
    /// One of an earlier configuration.
    Unaddress(Ipv4Net),
    Up,
}

fn plan(wanted: &Bridge<'_>, link: Option<&Link>, addresses: &[Ipv4Net]) -> Vec<Step> {
    let mut steps = Vec::new();
    if link.is_none() {
        steps.push(Step::Create);
    }
    steps.extend(addresses.iter().filter(|have| **have != wanted.gateway).map(|have| Step::Unaddress(*have)));
    if !addresses.contains(&wanted.gateway) {
        steps.push(Step::Address(wanted.gateway));
    }
    if !link.is_some_and(|link| link.up) {
        steps.push(Step::Up);
    }
    steps
}

/// Makes the bridge be as wanted and returns its index. `Conflict` if something else has its name.
pub(crate) fn ensure(channel: &Channel, wanted: &Bridge<'_>) -> Result<u32> {
    let link = find(channel, wanted.name)?;
    let addresses = link.as_ref().map_or_else(|| Ok(Vec::new()), |link| addresses_of(channel, link.index))?;
    let mut index = link.as_ref().map(|link| link.index);
    for step in plan(wanted, link.as_ref(), &addresses) {
        index = Some(apply(channel, wanted, &step, index)?);
    }
    index.ok_or_else(|| Error::internal(format!("bridge {} vanished", wanted.name)))
}

fn apply(channel: &Channel, wanted: &Bridge<'_>, step: &Step, index: Option<u32>) -> Result<u32> {
    let mut batch = Batch::default();
    match (step, index) {
        (Step::Create, _) => route::add_bridge(&mut batch, wanted.name, random::mac()?, wanted.mtu),
        (Step::Address(net), Some(index)) => {
            route::add_address(&mut batch, index, net.addr(), net.prefix_len());
        }
        (Step::Unaddress(net), Some(index)) => {
            route::delete_address(&mut batch, index, net.addr(), net.prefix_len());
        }
        _ => route::set_up(&mut batch, Which::Name(wanted.name)),
    }
    channel.commit(&batch)?;
    match index {
        Some(index) => Ok(index),
        None => find(channel, wanted.name)?
            .map(|link| link.index)
            .ok_or_else(|| Error::internal(format!("bridge {} vanished", wanted.name))),
    }
}

/// The bridge of this name, if there is one.
pub(crate) fn find(channel: &Channel, name: &str) -> Result<Option<Link>> {
    match route::link(channel, name)? {
        Some(link) if link.kind.as_deref() != Some("bridge") => {
            Err(Error::conflict(format!("device {name} exists and is not a bridge")))
        }
        found => Ok(found),
    }
}

/// All that the host can reach or has, but for what belongs to the bridge itself.
pub(crate) fn occupied(channel: &Channel, bridge: Option<u32>) -> Result<Vec<Ipv4Net>> {
    let routes = route::routes(channel)?.into_iter().filter(|route| route.unicast && route.prefix > 0);
    let routes = routes.filter(|route| bridge.is_none() || route.link != bridge);
    let addresses = route::addresses(channel)?.into_iter().filter(|address| Some(address.link) != bridge);
    let routes = routes.filter_map(|route| net(route.destination, route.prefix));
    Ok(routes.chain(addresses.filter_map(|address| net(address.address, address.prefix))).collect())
}

fn addresses_of(channel: &Channel, link: u32) -> Result<Vec<Ipv4Net>> {
    let all = route::addresses(channel)?.into_iter();
    Ok(all
        .filter(|have| have.link == link)
        .filter_map(|Address { address, prefix, .. }| net(address, prefix))
        .collect())
}

fn net(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Net> {
    Ipv4Net::new(address, prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_planned() {
        let gateway: Ipv4Net = "172.17.0.1/16".parse().unwrap();
        let stale: Ipv4Net = "172.18.0.1/16".parse().unwrap();
        let wanted = Bridge { name: "kogge0", gateway, mtu: 1500 };
        let up = Link { up: true, ..Link::default() };
        assert_eq!(plan(&wanted, None, &[]), [Step::Create, Step::Address(gateway), Step::Up]);
        assert_eq!(plan(&wanted, Some(&up), &[gateway]), []);
        assert_eq!(plan(&wanted, Some(&up), &[stale]), [Step::Unaddress(stale), Step::Address(gateway)]);
        assert_eq!(plan(&wanted, Some(&Link::default()), &[gateway]), [Step::Up]);
    }
}
