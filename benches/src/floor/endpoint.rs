//! A bridge, and for each run a namespace with a veth in it.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use fault::{Error, Result};
use netlink::route::{self, Veth, Which};
use netlink::{Batch, Channel, Protocol};
use sys::namespace::{self, Kinds};

/// It has no address itself, so that it is in nobody's way.
pub(crate) struct Bridge {
    name: String,
    index: u32,
    host: Channel,
    home: OwnedFd,
}

impl Bridge {
    /// In place of one that an earlier run has left.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let host = Channel::open(Protocol::Route)?;
        let mut batch = Batch::default();
        route::delete_link(&mut batch, Which::Name(name));
        route::add_bridge(&mut batch, name, [0x02, 0x42, 0, 0, 0, 1], MTU);
        route::set_up(&mut batch, Which::Name(name));
        host.commit(&batch)?;
        let link = route::link(&host, name)?.ok_or_else(|| Error::internal(format!("{name} vanished")))?;
        Ok(Self {
            name: name.to_owned(),
            index: link.index,
            host,
            home: namespace::open("self", Kinds::NET)?,
        })
    }

    pub(crate) fn delete(&self) -> Result<()> {
        let mut batch = Batch::default();
        route::delete_link(&mut batch, Which::Name(&self.name));
        self.host.commit(&batch)
    }

    /// The veth goes with the namespace. Its name differs each time, because that takes its time.
    pub(crate) fn connect(&self) -> Result<Endpoint> {
        namespace::unshare(Kinds::NET)?;
        let inside = namespace::open("self", Kinds::NET).and_then(|netns| {
            let channel = Channel::open(Protocol::Route)?;
            Ok((netns, channel))
        });
        namespace::setns(self.home.as_fd(), Kinds::NET)?;
        let (netns, channel) = inside?;
        self.add_veth(&netns)?;
        configure(&channel)?;
        Ok(Endpoint { netns })
    }

    fn add_veth(&self, netns: &OwnedFd) -> Result<()> {
        let time = sys::time::monotonic().as_micros() & 0xffff_ffff;
        let mut batch = Batch::default();
        let veth = Veth {
            name: &format!("kgf{time:x}"),
            master: Some(self.index),
            mtu: MTU,
            peer_name: "eth0",
            peer_mac: [0x02, 0x42, 0, 0, 0, 2],
            peer_netns: netns.as_fd(),
        };
        route::add_veth(&mut batch, &veth);
        self.host.commit(&batch)
    }
}

const MTU: u32 = 1500;
/// In a fresh namespace lo comes first, whatever is in it next is the second.
const ETH0: u32 = 2;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn configure(inside: &Channel) -> Result<()> {
    let mut batch = Batch::default();
    route::set_up(&mut batch, Which::Name("lo"));
    route::set_up(&mut batch, Which::Index(ETH0));
    route::add_address(&mut batch, ETH0, ADDRESS, 16);
    route::add_default_route(&mut batch, ETH0, GATEWAY);
    inside.commit(&batch)
}

/// A namespace that is connected.
pub(crate) struct Endpoint {
    pub(crate) netns: OwnedFd,
}
