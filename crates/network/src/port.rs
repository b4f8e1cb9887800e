//! Host ports: whose they are among our endpoints, and sockets that keep them from the rest of the host.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::time::Duration;

use fault::{Error, Result};

use crate::endpoint::{PortBinding, PortWish, Proto, Relay, RelayedPort};

/// Where Docker takes random ports from if the host does not say (`ip_local_port_range`).
pub(crate) const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// The host ports of all endpoints.
#[derive(Debug)]
pub(crate) struct Ports {
    taken: HashMap<(Proto, u16), Vec<IpAddr>>,
    ephemeral: RangeInclusive<u16>,
    /// Where the search for a random port goes on: a port just freed is not given again at once.
    next: u16,
}

/// A published port and what keeps it: a socket that holds it on IPv4 (none where the kernel lacks the protocol), one
/// that serves it on IPv6.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) binding: Option<PortBinding>,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) relay: Option<Relay>,
}

/// What one host port is wanted for: IPv4, IPv6, or both alike.
struct Wanted {
    forwarded: Option<PortBinding>,
    relayed: Option<RelayedPort>,
}

/// Where a port could not be taken, and why.
struct Refused {
    place: SocketAddr,
    error: io::Error,
}

impl Claim {
    /// Where on the host.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Proto, SocketAddr)> {
        let forwarded = self.binding.iter().map(|port| (port.proto, port.place()));
        forwarded.chain(self.relay.iter().map(|relay| (relay.port.proto, relay.port.place())))
    }
}

impl Wanted {
    fn of(wish: &PortWish, host_port: u16) -> Self {
        let PortWish { container, proto, host_ip, .. } = *wish;
        let v4 = match host_ip {
            None => Some(Ipv4Addr::UNSPECIFIED),
            Some(IpAddr::V4(address)) => Some(address),
            Some(IpAddr::V6(_)) => None,
        };
        let v6 = match host_ip {
            None => Some(Ipv6Addr::UNSPECIFIED),
            Some(IpAddr::V6(address)) => Some(address),
            Some(IpAddr::V4(_)) => None,
        };
        Self {
            forwarded: v4.map(|host_ip| PortBinding { container, proto, host_ip, host_port }),
            relayed: v6.map(|host_ip| RelayedPort { container, proto, host_ip, host_port }),
        }
    }

    fn places(&self) -> impl Iterator<Item = SocketAddr> {
        let relayed = self.relayed.iter().map(RelayedPort::place);
        self.forwarded.iter().map(PortBinding::place).chain(relayed)
    }

    /// The sockets; all or nothing. Without IPv6 on the host, IPv4 is enough if both were wanted.
    fn take(self) -> Result<Claim, Refused> {
        let Self { forwarded, relayed } = self;
        let mut claim = Claim::default();
        if let Some(binding) = &forwarded {
            let address = SocketAddrV4::new(binding.host_ip, binding.host_port);
            claim.socket = sys::port::reserve(binding.proto.transport(), address)
                .map_err(|error| Refused { place: binding.place(), error })?;
        }
        if let Some(port) = &relayed {
            let place = port.place();
            claim.relay = port.serve().map_err(|error| Refused { place, error })?;
            if claim.relay.is_none() && forwarded.is_none() {
                return Err(Refused { place, error: io::ErrorKind::AddrNotAvailable.into() });
            }
        }
        Ok(Claim { binding: forwarded, ..claim })
    }
}

impl Ports {
    pub(crate) fn new(ephemeral: RangeInclusive<u16>) -> Self {
        Self { taken: HashMap::new(), next: *ephemeral.start(), ephemeral }
    }

    /// Takes a port for an endpoint at `target`.
    pub(crate) fn claim(&mut self, wish: &PortWish, target: Ipv4Addr) -> Result<Claim> {
        if let (Some(IpAddr::V6(address)), Proto::Sctp) = (wish.host_ip, wish.proto) {
            return Err(Error::unsupported(format!("publishing an SCTP port on [{address}]")));
        }
        match &wish.host {
            Some(range) if range.start() == range.end() => self.claim_one(wish, *range.start(), target),
            Some(range) => self.claim_any(wish, range.clone()),
            None => {
                let (first, last) = (*self.ephemeral.start(), *self.ephemeral.end());
                let found = self.claim_any(wish, (self.next..=last).chain(first..self.next))?;
                let port = found.places().next().map_or(last, |(_, place)| place.port());
                self.next = if port == last { first } else { port + 1 };
                Ok(found)
            }
        }
    }

    /// Notes a port of a stored endpoint; its socket is held elsewhere.
    pub(crate) fn note(&mut self, proto: Proto, place: SocketAddr) {
        self.taken.entry((proto, place.port())).or_default().push(place.ip());
    }

    pub(crate) fn free(&mut self, proto: Proto, place: SocketAddr) {
        let key = (proto, place.port());
        let Some(addresses) = self.taken.get_mut(&key) else { return };
        addresses.retain(|address| *address != place.ip());
        if addresses.is_empty() {
            self.taken.remove(&key);
        }
    }

    fn claim_one(&mut self, wish: &PortWish, port: u16, target: Ipv4Addr) -> Result<Claim> {
        let wanted = Wanted::of(wish, port);
        if let Some(place) = self.taken_of(wish.proto, &wanted) {
            let (ip, port) = (place.ip(), place.port());
            return Err(Error::conflict(format!("Bind for {ip}:{port} failed: port is already allocated")));
        }
        let mut taken = self.take(wanted);
        for _ in 1..ATTEMPTS {
            match taken {
                Err(Refused { ref error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {
                    std::thread::sleep(PAUSE);
                    taken = self.take(Wanted::of(wish, port));
                }
                _ => break,
            }
        }
        taken.map_err(|refused| told(wish, target, &refused))
    }

    /// The first free one of several.
    fn claim_any(&mut self, wish: &PortWish, candidates: impl Iterator<Item = u16>) -> Result<Claim> {
        for port in candidates {
            let wanted = Wanted::of(wish, port);
            if self.taken_of(wish.proto, &wanted).is_some() {
                continue;
            }
            match self.take(wanted) {
                Err(Refused { error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {}
                other => {
                    return other.map_err(|refused| Error::io("failed to bind host port", refused.error));
                }
            }
        }
        Err(Error::conflict("all ports are allocated"))
    }

    fn take(&mut self, wanted: Wanted) -> Result<Claim, Refused> {
        let claim = wanted.take()?;
        claim.places().for_each(|(proto, place)| self.note(proto, place));
        Ok(claim)
    }

    /// What is wanted and another endpoint has.
    fn taken_of(&self, proto: Proto, wanted: &Wanted) -> Option<SocketAddr> {
        wanted.places().find(|place| self.is_taken(proto, *place))
    }

    /// The unspecified address overlaps with all others of its family.
    fn is_taken(&self, proto: Proto, place: SocketAddr) -> bool {
        let overlaps = |taken: &IpAddr| {
            taken.is_ipv4() == place.is_ipv4()
                && (taken.is_unspecified() || place.ip().is_unspecified() || *taken == place.ip())
        };
        self.taken.get(&(proto, place.port())).is_some_and(|addresses| addresses.iter().any(overlaps))
    }
}

/// A program that is being started holds copies of all our sockets until its exec, those of a port that was just let go
/// among them. So a port that seems to be somebody else's is tried again before that is told.
const ATTEMPTS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(5);

/// Docker's text, with Go's spelling of the system's error.
fn told(wish: &PortWish, target: Ipv4Addr, refused: &Refused) -> Error {
    let PortWish { container, proto, .. } = wish;
    let reason = refused.error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
    let what = format!("{}:{target}:{container}/{proto}", refused.place);
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
            first.places().for_each(|(proto, place)| ports.free(proto, place));
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
            let got: Vec<_> = held.iter().map(port_of).collect();
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
            assert_eq!((port_of(&first), port_of(&second)), (40000, 40002));
            first.places().for_each(|(proto, place)| ports.free(proto, place));
            drop((first, foreign));
            assert_eq!(port_of(&ports.claim(&wish(None), TARGET).unwrap()), 40000);
            Ok(())
        })
        .unwrap();
    }

    fn port_of(claim: &Claim) -> u16 {
        claim.binding.as_ref().unwrap().host_port
    }

    #[test]
    fn a_port_is_taken_on_ipv6_too_if_no_address_is_wished() {
        check(|ports| {
            let both = ports.claim(&wish(Some(8080..=8080)), TARGET).unwrap();
            let relay = both.relay.unwrap().port;
            assert_eq!((relay.host_ip, relay.host_port), (Ipv6Addr::UNSPECIFIED, 8080));
            let one = PortWish { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..wish(None) };
            assert!(ports.claim(&one, TARGET).unwrap().relay.is_none());
            let sctp = PortWish { proto: Proto::Sctp, ..wish(None) };
            assert!(ports.claim(&sctp, TARGET).unwrap().relay.is_none());
        });
    }

    #[test]
    fn a_port_may_be_on_ipv6_alone() {
        check(|ports| {
            let any = Some(IpAddr::from(Ipv6Addr::UNSPECIFIED));
            let wish = PortWish { host_ip: any, ..wish(Some(8080..=8080)) };
            let claim = ports.claim(&wish, TARGET).unwrap();
            assert!(claim.binding.is_none() && claim.relay.is_some());
            let taken = PortWish { host_ip: Some(IpAddr::from(Ipv6Addr::LOCALHOST)), ..wish.clone() };
            let refused = |ports: &mut Ports| ports.claim(&taken, TARGET).unwrap_err().to_string();
            assert_eq!(refused(ports), "Bind for ::1:8080 failed: port is already allocated");
            claim.places().for_each(|(proto, place)| ports.free(proto, place));
            assert_eq!(
                ports.claim(&wish, TARGET).unwrap_err().to_string(),
                "failed to bind host port for [::]:8080:172.17.0.2:80/tcp: address already in use"
            );
            let four = PortWish { host_ip: Some(Ipv4Addr::UNSPECIFIED.into()), ..wish.clone() };
            assert!(ports.claim(&four, TARGET).is_ok());
            let sctp = PortWish { proto: Proto::Sctp, ..wish };
            assert_eq!(ports.claim(&sctp, TARGET).unwrap_err().kind(), fault::Kind::Unsupported);
        });
    }

    #[test]
    fn a_port_that_is_taken_on_ipv6_is_passed_over() {
        check(|ports| {
            let place = std::net::SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 8000, 0, 0);
            let _foreign = sys::port::serve_v6(sys::port::Transport::Tcp, place).unwrap();
            let claim = ports.claim(&wish(Some(8000..=8001)), TARGET).unwrap();
            assert_eq!(port_of(&claim), 8001);
        });
    }
}
