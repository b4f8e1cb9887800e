//! Netlink sockets and network namespaces: the calls under the `netlink` and `network` crates.
//!
//! A socket belongs for ever to the network namespace of the thread that opened it, so one that was opened inside a
//! container's namespace can be used from any thread afterwards. Threads that change their namespace are thrown away.
//! Knows no message: bytes in, bytes out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use fault::{Call, Error, Result};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::namespace::{self, Kinds};

/// Room for the answers to one large batch; the default of 208 KiB overflows at about 500 acknowledgements.
const RECEIVE_BUFFER_BYTES: i32 = 4 << 20;

/// The kernel builds dump messages of at most 32 KiB (`netlink_dump`), whatever larger buffer we offer.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// A netlink socket bound in one network namespace.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Result<Self> {
        let family = match protocol {
            // NETLINK_ROUTE is number 0, which rustix writes as no protocol.
            Protocol::Route => None,
            Protocol::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family)
            .call(|| format!("socket netlink {protocol:?}"))?;
        rustix::net::bind(&fd, &rustix::net::netlink::SocketAddrNetlink::new(0, 0))
            .call(|| format!("bind netlink {protocol:?}"))?;
        set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            .or_else(|_| set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES))?;
        set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
        set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1)?;
        Ok(Self { fd })
    }

    /// Opens a socket inside another network namespace.
    pub fn open_in(netns: BorrowedFd<'_>, protocol: Protocol) -> Result<Self> {
        in_netns(netns, || Self::open(protocol))
    }

    /// Sends one or several messages, which the kernel has carried out when this returns.
    pub fn send(&self, messages: &[u8]) -> Result<()> {
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, messages, SendFlags::empty()))
            .call(|| "send netlink")?;
        if sent == messages.len() {
            return Ok(());
        }
        Err(Error::internal(format!("send netlink: {sent} of {} bytes", messages.len())))
    }

    /// The next datagram of answers, in place of what is in `buffer`. The kernel works while it is being sent to or read
    /// from, so an answer that is not there now never comes: this does not wait, and says `EAGAIN` instead.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(MESSAGE_BYTES_MAX, 0);
        let receive = || rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        let (_, length) = rustix::io::retry_on_intr(receive).call(|| "recv netlink")?;
        if length > MESSAGE_BYTES_MAX {
            return Err(Error::internal(format!("recv netlink: message of {length} bytes")));
        }
        buffer.truncate(length);
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set_option(fd: &OwnedFd, level: i32, option: i32, value: i32) -> Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call; the kernel only reads it.
    let status = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if status == 0 {
        return Ok(());
    }
    Err(Error::io(format!("setsockopt netlink {option}"), io::Error::last_os_error()))
}

/// Runs `work` on a throw-away thread inside `netns`.
pub fn in_netns<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    namespace::in_namespace(netns, Kinds::NET, work)
}

/// Makes a network namespace, runs `work` on a throw-away thread inside it, and returns both the namespace and the
/// result. The namespace lives as long as its descriptor, a socket or a process in it.
pub fn in_fresh_netns<T: Send>(
    work: impl FnOnce(BorrowedFd<'_>) -> Result<T> + Send,
) -> Result<(OwnedFd, T)> {
    namespace::in_new_namespace(Kinds::NET, || {
        let netns = current_netns()?;
        let value = work(netns.as_fd())?;
        Ok((netns, value))
    })
}

/// A new, empty network namespace; it takes 0.4 ms.
pub fn fresh_netns() -> Result<OwnedFd> {
    in_fresh_netns(|_| Ok(())).map(|(netns, ())| netns)
}

/// The network namespace of the calling thread.
fn current_netns() -> Result<OwnedFd> {
    namespace::open("thread-self", Kinds::NET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::linux::fs::MetadataExt;

    fn inode(netns: &OwnedFd) -> u64 {
        File::from(netns.try_clone().unwrap()).metadata().unwrap().st_ino()
    }

    #[test]
    fn a_fresh_namespace_is_not_ours_and_leaves_us_where_we_are() {
        let before = current_netns().unwrap();
        let fresh = fresh_netns().unwrap();
        assert_ne!(inode(&fresh), inode(&before));
        assert_eq!(inode(&current_netns().unwrap()), inode(&before));
        let inside = in_netns(fresh.as_fd(), current_netns).unwrap();
        assert_eq!(inode(&inside), inode(&fresh));
    }

    #[test]
    fn receive_does_not_wait() {
        let socket = Socket::open(Protocol::Route).unwrap();
        let error = socket.receive(&mut Vec::new()).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EAGAIN));
    }
}
