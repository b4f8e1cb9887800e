//! Links, addresses and routes (rtnetlink(7)).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use fault::Result;
use sys::errno;

use crate::channel::Channel;
use crate::wire::{
    Attribute, Attributes, Batch, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, array, attributes,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_FLUSH: u16 = 24;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
const IFLA_BRPORT_BCAST_FLOOD: u16 = 30;
const VETH_INFO_PEER: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTPROT_BOOT: u8 = 3;
const RT_TABLE_MAIN: u8 = 254;
const RTN_UNICAST: u8 = 1;

const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;

/// How a link is named in a request.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    Name(&'a str),
    Index(u32),
}

/// A pair of virtual Ethernet devices; the peer is born in the other namespace, which spares the dear move.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    pub name: &'a str,
    /// Index of the bridge.
    pub master: Option<u32>,
    pub mtu: u32,
    pub peer_name: &'a str,
    pub peer_mac: [u8; 6],
    pub peer_netns: BorrowedFd<'a>,
}

/// Creates a veth, up and in its bridge, if it has one. The peer must not be set up in the same message (ENOTCONN): do so from inside.
pub fn add_veth(batch: &mut Batch, veth: &Veth<'_>) {
    let intent = format!("adding link {}", veth.name);
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    batch.push(intent, RTM_NEWLINK, flags, &link_head(0, Some(true)), |out| {
        out.text(IFLA_IFNAME, veth.name);
        out.number(IFLA_MTU, veth.mtu);
        if let Some(master) = veth.master {
            out.number(IFLA_MASTER, master);
        }
        out.nested(IFLA_LINKINFO, |out| {
            out.text(IFLA_INFO_KIND, "veth");
            out.nested(IFLA_INFO_DATA, |out| {
                out.nested_after(VETH_INFO_PEER, &link_head(0, None), |out| {
                    out.text(IFLA_IFNAME, veth.peer_name);
                    out.number(IFLA_MTU, veth.mtu);
                    out.put(IFLA_ADDRESS, &veth.peer_mac);
                    out.put(IFLA_NET_NS_FD, &veth.peer_netns.as_raw_fd().to_ne_bytes());
                });
            });
        });
    });
}

/// Creates a bridge, down.
pub fn add_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: u32) {
    let intent = format!("adding bridge {name}");
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    batch.push(intent, RTM_NEWLINK, flags, &link_head(0, None), |out| {
        out.text(IFLA_IFNAME, name);
        // Its own address, or it would take the lowest of its ports' and change with them.
        out.put(IFLA_ADDRESS, &mac);
        out.number(IFLA_MTU, mtu);
        out.nested(IFLA_LINKINFO, |out| out.text(IFLA_INFO_KIND, "bridge"));
    });
}

pub fn set_up(batch: &mut Batch, link: Which<'_>) {
    change(batch, "setting up", link, Some(true), |_| {});
}

pub fn set_master(batch: &mut Batch, link: Which<'_>, master: u32) {
    change(batch, "setting the master of", link, None, |out| out.number(IFLA_MASTER, master));
}

/// Lets the bridge send frames back through the port on which they came: a container that reaches itself through its
/// published port needs it where bridged frames pass the IP hooks (bridge-nf-call-iptables).
pub fn set_hairpin(batch: &mut Batch, link: Which<'_>) {
    change(batch, "setting hairpin on", link, None, |out| {
        bridge_port(out, |out| out.byte(IFLA_BRPORT_MODE, 1));
    });
}

/// Takes a port out of its bridge's traffic at once: nothing reaches it any more, and the bridge forgets what it learned
/// there and learns no more. Cheap, unlike deletion. A link that is gone is fine.
///
/// Not by the port's state, which the kernel resets at every change of the link (`br_port_carrier_check`).
pub fn silence(batch: &mut Batch, link: Which<'_>) {
    const OFF: [u16; 4] =
        [IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD];
    change(batch, "silencing", link, None, |out| {
        bridge_port(out, |out| {
            OFF.iter().for_each(|switch| out.byte(*switch, 0));
            out.put(IFLA_BRPORT_FLUSH, &[]);
        });
    });
    batch.tolerate(&[errno::ENODEV]);
}

/// Puts a link into a group, for [`delete_group`]. A link that is gone is fine.
pub fn set_group(batch: &mut Batch, link: Which<'_>, group: u32) {
    change(batch, "setting the group of", link, None, |out| out.number(IFLA_GROUP, group));
    batch.tolerate(&[errno::ENODEV]);
}

/// Deletes one link; one that is gone is fine.
pub fn delete_link(batch: &mut Batch, link: Which<'_>) {
    push_link(batch, &LinkRequest { doing: "deleting", kind: RTM_DELLINK, link, up: None }, |_| {});
    batch.tolerate(&[errno::ENODEV]);
}

/// Deletes all links of a group in one message, ten times cheaper than one by one. None is fine.
pub fn delete_group(batch: &mut Batch, group: u32) {
    let intent = format!("deleting link group {group}");
    batch.push(intent, RTM_DELLINK, NLM_F_ACK, &link_head(0, None), |out| out.number(IFLA_GROUP, group));
    batch.tolerate(&[errno::ENODEV]);
}

/// Adds an address with its broadcast address; one that is there is fine.
pub fn add_address(batch: &mut Batch, link: u32, address: Ipv4Addr, prefix: u8) {
    let intent = format!("adding address {address}/{prefix}");
    batch.push(
        intent,
        RTM_NEWADDR,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        &address_head(link, prefix),
        |out| {
            out.put(IFA_LOCAL, &address.octets());
            out.put(IFA_ADDRESS, &address.octets());
            out.put(IFA_BROADCAST, &broadcast(address, prefix).octets());
        },
    );
    batch.tolerate(&[errno::EEXIST]);
}

pub fn delete_address(batch: &mut Batch, link: u32, address: Ipv4Addr, prefix: u8) {
    let intent = format!("deleting address {address}/{prefix}");
    batch.push(intent, RTM_DELADDR, NLM_F_ACK, &address_head(link, prefix), |out| {
        out.put(IFA_LOCAL, &address.octets());
    });
}

/// The default route.
pub fn add_default_route(batch: &mut Batch, link: u32, gateway: Ipv4Addr) {
    let intent = format!("adding the default route by {gateway}");
    let head = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    batch.push(intent, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &head, |out| {
        out.put(RTA_GATEWAY, &gateway.octets());
        out.number(RTA_OIF, link);
    });
}

fn change(
    batch: &mut Batch,
    doing: &str,
    link: Which<'_>,
    up: Option<bool>,
    body: impl FnOnce(&mut Attributes<'_>),
) {
    push_link(batch, &LinkRequest { doing, kind: RTM_NEWLINK, link, up }, body);
}

/// A message about one link.
struct LinkRequest<'a> {
    doing: &'a str,
    kind: u16,
    link: Which<'a>,
    /// To be set up or down.
    up: Option<bool>,
}

fn push_link(batch: &mut Batch, request: &LinkRequest<'_>, body: impl FnOnce(&mut Attributes<'_>)) {
    let LinkRequest { doing, kind, link, up } = *request;
    let (index, name) = match link {
        Which::Name(name) => (0, Some(name)),
        Which::Index(index) => (index, None),
    };
    let intent = name.map_or_else(|| format!("{doing} link {index}"), |name| format!("{doing} link {name}"));
    batch.push(intent, kind, NLM_F_ACK, &link_head(index, up), |out| {
        if let Some(name) = name {
            out.text(IFLA_IFNAME, name);
        }
        body(out);
    });
}

fn bridge_port(out: &mut Attributes<'_>, body: impl FnOnce(&mut Attributes<'_>)) {
    out.nested(IFLA_LINKINFO, |out| {
        out.text(IFLA_INFO_SLAVE_KIND, "bridge");
        out.nested(IFLA_INFO_SLAVE_DATA, body);
    });
}

/// `struct ifinfomsg`: family, pad, type, index, flags, change mask.
fn link_head(index: u32, up: Option<bool>) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(up) = up {
        head[8..12].copy_from_slice(&(u32::from(up) * IFF_UP).to_ne_bytes());
        head[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    head
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn address_head(link: u32, prefix: u8) -> [u8; 8] {
    let [a, b, c, d] = link.to_ne_bytes();
    [AF_INET, prefix, 0, 0, a, b, c, d]
}

fn broadcast(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) | host_bits)
}

/// What we look at of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub mtu: u32,
    pub mac: Option<[u8; 6]>,
    pub master: Option<u32>,
    /// `bridge`, `veth`, …; hardware has none.
    pub kind: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub link: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// A route of any table. A default route has prefix 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: Ipv4Addr,
    pub prefix: u8,
    pub link: Option<u32>,
    /// Not the kernel's own entries for local and broadcast addresses.
    pub unicast: bool,
}

pub fn links(channel: &Channel) -> Result<Vec<Link>> {
    let mut batch = Batch::default();
    batch.push("listing links", RTM_GETLINK, NLM_F_DUMP, &link_head(0, None), |_| {});
    channel.dump(&batch, parse_link)
}

/// The links that have this master.
pub fn ports(channel: &Channel, master: u32) -> Result<Vec<Link>> {
    let mut batch = Batch::default();
    let intent = format!("listing the ports of link {master}");
    batch.push(intent, RTM_GETLINK, NLM_F_DUMP, &link_head(0, None), |out| out.number(IFLA_MASTER, master));
    let mut links = channel.dump(&batch, parse_link)?;
    links.retain(|link| link.master == Some(master));
    Ok(links)
}

/// One link by its name.
pub fn link(channel: &Channel, name: &str) -> Result<Option<Link>> {
    let mut batch = Batch::default();
    let intent = format!("looking for link {name}");
    batch.push(intent, RTM_GETLINK, 0, &link_head(0, None), |out| out.text(IFLA_IFNAME, name));
    match channel.dump(&batch, parse_link) {
        Err(error) if error.errno() == Some(errno::ENODEV) => Ok(None),
        found => Ok(found?.into_iter().next()),
    }
}

/// Makes the kernel see that a link has a carrier, which it else does a little later: until then the link sends nothing,
/// and a first ARP request that is lost costs a second. Asking for a link has this effect (`rtnl_getlink`, Linux 6.8).
pub fn notice_carrier(channel: &Channel, link: Which<'_>) -> Result<()> {
    let mut batch = Batch::default();
    let doing = "noticing the carrier of";
    push_link(&mut batch, &LinkRequest { doing, kind: RTM_GETLINK, link, up: None }, |_| {});
    channel.dump(&batch, |_| None::<()>).map(drop)
}

pub fn addresses(channel: &Channel) -> Result<Vec<Address>> {
    let mut batch = Batch::default();
    batch.push("listing addresses", RTM_GETADDR, NLM_F_DUMP, &[AF_INET, 0, 0, 0, 0, 0, 0, 0], |_| {});
    channel.dump(&batch, parse_address)
}

pub fn routes(channel: &Channel) -> Result<Vec<Route>> {
    let mut batch = Batch::default();
    let head = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    batch.push("listing routes", RTM_GETROUTE, NLM_F_DUMP, &head, |_| {});
    channel.dump(&batch, parse_route)
}

fn parse_link(message: &Message<'_>) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let index = u32::from_ne_bytes(array(message.payload, 4)?);
    let up = u32::from_ne_bytes(array(message.payload, 8)?) & IFF_UP != 0;
    let mut link = Link { index, up, ..Link::default() };
    for attribute in attributes(message.payload.get(16..)?) {
        match attribute.kind {
            IFLA_IFNAME => link.name = attribute.text()?.to_string(),
            IFLA_MTU => link.mtu = attribute.number()?,
            IFLA_ADDRESS => link.mac = attribute.payload.try_into().ok(),
            IFLA_MASTER => link.master = attribute.number(),
            IFLA_LINKINFO => link.kind = info_kind(&attribute),
            _ => {}
        }
    }
    Some(link)
}

fn info_kind(info: &Attribute<'_>) -> Option<String> {
    info.nested().find(|inner| inner.kind == IFLA_INFO_KIND)?.text().map(str::to_string)
}

fn parse_address(message: &Message<'_>) -> Option<Address> {
    if message.kind != RTM_NEWADDR {
        return None;
    }
    let [_, prefix] = array(message.payload, 0)?;
    let link = u32::from_ne_bytes(array(message.payload, 4)?);
    let local = attributes(message.payload.get(8..)?).find(|attribute| attribute.kind == IFA_LOCAL)?;
    Some(Address { link, address: ipv4(&local)?, prefix })
}

fn parse_route(message: &Message<'_>) -> Option<Route> {
    if message.kind != RTM_NEWROUTE {
        return None;
    }
    let [_, prefix] = array(message.payload, 0)?;
    let [kind] = array(message.payload, 7)?;
    let unicast = kind == RTN_UNICAST;
    let mut route = Route { destination: Ipv4Addr::UNSPECIFIED, prefix, link: None, unicast };
    for attribute in attributes(message.payload.get(12..)?) {
        match attribute.kind {
            RTA_DST => route.destination = ipv4(&attribute)?,
            RTA_OIF => route.link = attribute.number(),
            _ => {}
        }
    }
    Some(route)
}

fn ipv4(attribute: &Attribute<'_>) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(attribute.payload).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE] {
                let message = Message { kind, flags: 0, sequence: 1, payload: &payload };
                drop((parse_link(&message), parse_address(&message), parse_route(&message)));
            }
        }
    }

    #[test]
    fn broadcast_has_all_host_bits_set() {
        assert_eq!(broadcast(Ipv4Addr::new(172, 17, 0, 2), 16), Ipv4Addr::new(172, 17, 255, 255));
        assert_eq!(broadcast(Ipv4Addr::new(10, 0, 0, 1), 32), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(broadcast(Ipv4Addr::new(10, 0, 0, 1), 0), Ipv4Addr::BROADCAST);
    }
}
