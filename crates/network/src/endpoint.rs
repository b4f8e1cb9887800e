//! What a caller asks of a network and what it gets: plain data, as it is stored and as `inspect` shows it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sys::port::Transport;

/// A wish to be connected. `id` is the caller's own (a container's) and the key for all that follows.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    pub id: &'a str,
    /// Name or id of a network; only the default `bridge` can be connected to.
    pub network: &'a str,
    pub mac: Option<Mac>,
    pub ip: Option<Ipv4Addr>,
    pub ports: Vec<PortWish>,
}

/// A port to publish. Without `host`, a free one of the ephemeral range is chosen; of a range, the first free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortWish {
    pub container: u16,
    pub proto: Proto,
    pub host_ip: Option<IpAddr>,
    pub host: Option<RangeInclusive<u16>>,
}

/// One place in one network. Everything that the kernel is told follows from this and the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The caller's id.
    pub id: String,
    /// The endpoint's own id, 64 hex digits, new at each connect.
    pub endpoint_id: String,
    pub network_id: String,
    pub address: Ipv4Net,
    pub gateway: Ipv4Addr,
    pub mac: Mac,
    /// The host's end, `veth` and seven hex digits. The other end is always `eth0`.
    pub veth: String,
    pub ports: Vec<PortBinding>,
    /// Beside those that the kernel forwards: what somebody has to relay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relayed: Vec<RelayedPort>,
}

impl Endpoint {
    /// All published ports with their addresses on the host, IPv4 first.
    pub fn published(&self) -> impl Iterator<Item = (u16, Proto, SocketAddr)> {
        let forwarded = self.ports.iter().map(|port| (port.container, port.proto, port.place()));
        let relayed = self.relayed.iter().map(|port| (port.container, port.proto, port.place()));
        forwarded.chain(relayed)
    }
}

/// A port that is published on IPv6, of a container that has IPv4 only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayedPort {
    pub container: u16,
    pub proto: Proto,
    pub host_ip: Ipv6Addr,
    pub host_port: u16,
}

impl RelayedPort {
    pub(crate) fn place(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip.into(), self.host_port)
    }

    /// Serves it on the host; `None` where there is no IPv6.
    pub(crate) fn serve(&self) -> io::Result<Option<Relay>> {
        let address = SocketAddrV6::new(self.host_ip, self.host_port, 0, 0);
        let socket = sys::port::serve_v6(self.proto.transport(), address)?;
        Ok(socket.map(|socket| Relay { port: self.clone(), socket }))
    }
}

/// A port to relay, and the socket that serves it: of TCP it listens, of UDP it is bound; it does not block.
#[derive(Debug)]
pub struct Relay {
    pub port: RelayedPort,
    pub socket: OwnedFd,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    pub container: u16,
    pub proto: Proto,
    pub host_ip: Ipv4Addr,
    pub host_port: u16,
}

impl PortBinding {
    pub(crate) fn place(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip.into(), self.host_port)
    }
}

/// A fresh endpoint and the descriptors that make it.
#[derive(Debug)]
pub struct Connection {
    pub endpoint: Endpoint,
    /// The finished network namespace: lo and eth0 up, addressed, routed.
    pub netns: OwnedFd,
    /// Bound sockets that keep the published host ports from others. Whoever outlives the daemon must hold them.
    pub reserved: Vec<OwnedFd>,
    /// For whoever relays while the daemon lives.
    pub relays: Vec<Relay>,
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    Tcp,
    Udp,
    Sctp,
}

impl Proto {
    /// The number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
            Self::Sctp => Transport::Sctp,
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl std::str::FromStr for Proto {
    type Err = fault::Error;

    fn from_str(text: &str) -> fault::Result<Self> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(fault::Error::invalid(format!("invalid proto: {text}"))),
        }
    }
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Docker's rule: 02:42 (locally administered) and the four bytes of the address.
    pub(crate) fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl std::str::FromStr for Mac {
    type Err = fault::Error;

    fn from_str(text: &str) -> fault::Result<Self> {
        let invalid = || fault::Error::invalid(format!("invalid MAC address: {text}"));
        let mut parts = text.split([':', '-']);
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = fault::Error;

    fn try_from(text: String) -> fault::Result<Self> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_is_derived_from_the_address_as_docker_does() {
        assert_eq!(Mac::of(Ipv4Addr::new(172, 17, 0, 2)).to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn mac_reads_what_it_writes() {
        let mac: Mac = "92-d0-C6-0a-29:33".parse().unwrap();
        assert_eq!(mac.to_string(), "92:d0:c6:0a:29:33");
        for bad in ["", "92:d0:c6:0a:29", "92:d0:c6:0a:29:33:44", "92:d0:c6:0a:29:3", "92:d0:c6:0a:29:3g"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
