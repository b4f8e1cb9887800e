//! Ports of the host that are kept without being served.

use std::io;
use std::net::{SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// A transport whose ports can be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// Binds a port on the host without serving it, so that nobody else takes it while its packets are translated away.
/// TCP is bound but not listening. `Ok(None)`: this kernel has no such transport.
pub fn reserve(transport: Transport, address: SocketAddrV4) -> io::Result<Option<OwnedFd>> {
    match bind(transport, address, false) {
        // A bind without SO_REUSEADDR also fails for connections in TIME_WAIT, which are no reason to refuse; with it,
        // a listener or a plain reservation is still found (tcp_bind conflicts: inet_csk_bind_conflict).
        Err(rustix::io::Errno::ADDRINUSE) if transport == Transport::Tcp => bind(transport, address, true),
        other => other,
    }
    .map(Some)
    .or_else(|error| match error {
        rustix::io::Errno::PROTONOSUPPORT | rustix::io::Errno::SOCKTNOSUPPORT => Ok(None),
        other => Err(other.into()),
    })
}

/// Serves a port on IPv6 alone: TCP listens, UDP is bound, neither blocks. `Ok(None)`: this kernel has no IPv6, or the
/// transport is another.
pub fn serve_v6(transport: Transport, address: SocketAddrV6) -> io::Result<Option<OwnedFd>> {
    let kind = match transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
        Transport::Sctp => return Ok(None),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match rustix::net::socket_with(AddressFamily::INET6, kind, flags, None) {
        Err(rustix::io::Errno::AFNOSUPPORT) => return Ok(None),
        socket => socket?,
    };
    sockopt::set_ipv6_v6only(&socket, true)?;
    if transport == Transport::Tcp {
        // Connections in TIME_WAIT are no reason to refuse; listeners are still found.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if transport == Transport::Tcp {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(Some(socket))
}

/// The kernel takes it down to its own bound.
const BACKLOG: i32 = 4096;

fn bind(transport: Transport, address: SocketAddrV4, reuse: bool) -> rustix::io::Result<OwnedFd> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (SocketType::STREAM, rustix::net::ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        Transport::Sctp => (SocketType::STREAM, rustix::net::ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, Some(protocol))?;
    sockopt::set_socket_reuseaddr(&socket, reuse)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    #[test]
    fn a_port_is_served_on_ipv6_alone() {
        let check = |_: std::os::fd::BorrowedFd<'_>| {
            let address = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 8080, 0, 0);
            let serving = serve_v6(Transport::Tcp, address).unwrap().unwrap();
            assert!(TcpListener::bind(("0.0.0.0", 8080)).is_ok());
            let again = serve_v6(Transport::Tcp, address).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
            assert!(serve_v6(Transport::Udp, address).unwrap().is_some());
            assert!(serve_v6(Transport::Sctp, address).unwrap().is_none());
            let listener = TcpListener::from(serving);
            assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
            Ok(())
        };
        crate::netlink::in_fresh_netns(check).unwrap();
    }

    #[test]
    fn a_reserved_port_is_refused_to_others() {
        let check = |_: std::os::fd::BorrowedFd<'_>| {
            let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 8080);
            let held = reserve(Transport::Tcp, address).unwrap().unwrap();
            assert!(TcpListener::bind(address).is_err());
            assert!(reserve(Transport::Tcp, address).is_err());
            assert!(reserve(Transport::Udp, address).unwrap().is_some());
            drop(held);
            let listener = TcpListener::bind(address).unwrap();
            assert!(reserve(Transport::Tcp, address).is_err());
            drop(listener);
            Ok(())
        };
        crate::netlink::in_fresh_netns(check).unwrap();
    }
}
