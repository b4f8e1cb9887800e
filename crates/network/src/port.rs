//! Host ports: whose they are among our endpoints, and sockets that keep them from the rest of the host.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

use fault::{Error, Result};

use crate::endpoint::{PortBinding, PortWish, Proto};

/// Where Docker takes random ports from if the host does not say (`ip_local_port_range`).
pub(crate) const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// The host ports of all endpoints.
#[derive(Debug)]
pub(crate) struct Ports {
    taken: HashMap<(Proto, u16), Vec<Ipv4Addr>>,
    ephemeral: RangeInclusive<u16>,
    /// Where the search for a random port goes on: a port just freed is not given again at once.
    next: u16,
}

/// A published port and the socket that holds it; none where the kernel lacks the protocol.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) binding: PortBinding,
    pub(crate) socket: Option<OwnedFd>,
}

impl Ports {
    pub(crate) fn new(ephemeral: RangeInclusive<u16>) -> Self {
        Self { taken: HashMap::new(), next: *ephemeral.start(), ephemeral }
    }

    /// Takes a port for an endpoint at `target`.
    pub(crate) fn claim(&mut self, wish: &PortWish, target: Ipv4Addr) -> Result<Claim> {
        let host_ip = host_ip(wish.host_ip)?;
        let claim =
            |host_port| PortBinding { container: wish.container, proto: wish.proto, host_ip, host_port };
        match &wish.host {
            Some(range) if range.start() == range.end() => self.claim_one(claim(*range.start()), target),
            Some(range) => self.claim_any(range.clone().map(claim)),
            None => {
                let (first, last) = (*self.ephemeral.start(), *self.ephemeral.end());
                let found = self.claim_any((self.next..=last).chain(first..self.next).map(claim))?;
                let port = found.binding.host_port;
                self.next = if port == last { first } else { port + 1 };
                Ok(found)
            }
        }
    }

    /// Notes a port of a stored endpoint; its socket is held elsewhere.
    pub(crate) fn note(&mut self, binding: &PortBinding) {
        self.taken.entry((binding.proto, binding.host_port)).or_default().push(binding.host_ip);
    }

    pub(crate) fn free(&mut self, binding: &PortBinding) {
        let key = (binding.proto, binding.host_port);
        let Some(addresses) = self.taken.get_mut(&key) else { return };
        addresses.retain(|address| *address != binding.host_ip);
        if addresses.is_empty() {
            self.taken.remove(&key);
        }
    }

    fn claim_one(&mut self, binding: PortBinding, target: Ipv4Addr) -> Result<Claim> {
        if self.is_taken(&binding) {
            let PortBinding { host_ip, host_port, .. } = binding;
            return Err(Error::conflict(format!(
                "Bind for {host_ip}:{host_port} failed: port is already allocated"
            )));
        }
        self.reserve(binding.clone()).map_err(|error| refused(&binding, target, error))
    }

    /// The first free one of several.
    fn claim_any(&mut self, candidates: impl Iterator<Item = PortBinding>) -> Result<Claim> {
        for binding in candidates {
            if self.is_taken(&binding) {
                continue;
            }
            match self.reserve(binding) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                other => return other.map_err(|error| Error::io("failed to bind host port", error)),
            }
        }
        Err(Error::conflict("all ports are allocated"))
    }

    fn reserve(&mut self, binding: PortBinding) -> io::Result<Claim> {
        let address = SocketAddrV4::new(binding.host_ip, binding.host_port);
        let socket = sys::port::reserve(binding.proto.transport(), address)?;
        self.note(&binding);
        Ok(Claim { binding, socket })
    }

    /// The unspecified address overlaps with all others.
    fn is_taken(&self, binding: &PortBinding) -> bool {
        let Some(addresses) = self.taken.get(&(binding.proto, binding.host_port)) else { return false };
        binding.host_ip.is_unspecified()
            || addresses.iter().any(|taken| taken.is_unspecified() || *taken == binding.host_ip)
    }
}

fn host_ip(wish: Option<IpAddr>) -> Result<Ipv4Addr> {
    match wish {
        None => Ok(Ipv4Addr::UNSPECIFIED),
        Some(IpAddr::V4(address)) => Ok(address),
        Some(IpAddr::V6(address)) => Err(Error::unsupported(format!("publishing a port on [{address}]"))),
    }
}

/// Docker's text, with Go's spelling of the system's error.
fn refused(binding: &PortBinding, target: Ipv4Addr, error: io::Error) -> Error {
    let PortBinding { container, proto, host_ip, host_port } = binding;
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
    let what = format!("{host_ip}:{host_port}:{target}:{container}/{proto}");
    Error::conflict(format!("failed to bind host port for {what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

    fn wish(host: Option<RangeInclusive<u16>>) -> PortWish {
        PortWish { container: 80, proto: Proto::Tcp, host_ip: None, host }
    }

    /// Runs in a network of its own, so that no port of the host is in the way.
    fn check(test: impl FnOnce(&mut Ports) + Send) {
        sys::netlink::in_fresh_netns(|_| {
            test(&mut Ports::new(EPHEMERAL));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_taken_port_is_refused_in_dockers_words() {
        check(|ports| {
            let first = ports.claim(&wish(Some(8080..=8080)), TARGET).unwrap();
            let refuse = |ports: &mut Ports, host_ip: Option<IpAddr>| {
                let wish = PortWish { host_ip, ..wish(Some(8080..=8080)) };
                ports.claim(&wish, TARGET).unwrap_err().to_string()
            };
            assert_eq!(refuse(ports, None), "Bind for 0.0.0.0:8080 failed: port is already allocated");
            let loopback = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
            assert_eq!(refuse(ports, loopback), "Bind for 127.0.0.1:8080 failed: port is already allocated");
            let udp = PortWish { proto: Proto::Udp, ..wish(Some(8080..=8080)) };
            assert!(ports.claim(&udp, TARGET).is_ok());
            ports.free(&first.binding);
            assert_eq!(
                refuse(ports, None),
                "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
                "the socket is still held"
            );
            drop(first);
            assert!(ports.claim(&wish(Some(8080..=8080)), TARGET).is_ok());
        });
    }

    #[test]
    fn a_range_gives_its_first_free_port() {
        check(|ports| {
            let held: Vec<_> =
                (0..3).map(|_| ports.claim(&wish(Some(8000..=8002)), TARGET).unwrap()).collect();
            let got: Vec<_> = held.iter().map(|claim| claim.binding.host_port).collect();
            assert_eq!(got, [8000, 8001, 8002]);
            let error = ports.claim(&wish(Some(8000..=8002)), TARGET).unwrap_err();
            assert_eq!(error.to_string(), "all ports are allocated");
        });
    }

    #[test]
    fn random_ports_go_up_and_around_past_those_of_the_host() {
        sys::netlink::in_fresh_netns(|_| {
            let mut ports = Ports::new(40000..=40002);
            let foreign = std::net::TcpListener::bind(("0.0.0.0", 40001)).unwrap();
            let first = ports.claim(&wish(None), TARGET).unwrap();
            let second = ports.claim(&wish(None), TARGET).unwrap();
            assert_eq!((first.binding.host_port, second.binding.host_port), (40000, 40002));
            ports.free(&first.binding);
            drop((first, foreign));
            assert_eq!(ports.claim(&wish(None), TARGET).unwrap().binding.host_port, 40000);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn an_ipv6_host_address_is_refused() {
        check(|ports| {
            let wish = PortWish { host_ip: Some("::1".parse().unwrap()), ..wish(None) };
            assert_eq!(ports.claim(&wish, TARGET).unwrap_err().kind(), fault::Kind::Unsupported);
        });
    }
}
