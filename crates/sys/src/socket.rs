//! Unix sockets: pairs, listeners and connections by path, and descriptors sent along with bytes.
//!
//! Guarantees: every socket and every received descriptor closes on exec; a peer that is gone is an error, never a
//! signal; a descriptor that did not fit is an error, never a silent loss; a path may be longer than `sun_path`.
//! Calls that move bytes return `io::Result`, so that a caller can tell `WouldBlock`; the others name call and path.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use fault::{Call, Result};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// The kernel's SCM_MAX_FD (unix(7)): more descriptors in one message are refused.
pub const FDS_MAX: usize = 253;

/// What a socket keeps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Whole messages in order.
    SeqPacket,
}

/// Which half of a connection to shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    Read,
    Write,
    Both,
}

/// Who is at the other end, as of the time of connect (SO_PEERCRED, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// A descriptor that our parent left open for us at a number that both know; it closes on exec from now on. Call once
/// for each number, before anything else is opened.
pub fn inherited(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_GETFD on a number that is not open fails with EBADF and touches nothing.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error()).call(|| format!("descriptor {number}"));
    }
    // SAFETY: the number is open (checked above), and by contract with our parent nobody else here owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).call(|| "fcntl F_SETFD")?;
    Ok(fd)
}

/// Two connected sockets.
pub fn pair(kind: Kind) -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, socket_type(kind), SocketFlags::CLOEXEC, None)
        .call(|| "socketpair")
}

/// A listening socket at `path`, which must not exist; only the owner may connect.
pub fn listen(kind: Kind, path: &Path) -> Result<OwnedFd> {
    let socket = socket(kind)?;
    let place = Place::of(path)?;
    rustix::net::bind(&socket, &place.address(path)?).call(|| format!("bind {}", path.display()))?;
    rustix::fs::chmodat(rustix::fs::CWD, &place.path, Mode::from_raw_mode(0o600), AtFlags::empty())
        .call(|| format!("chmod {}", path.display()))?;
    rustix::net::listen(&socket, BACKLOG).call(|| format!("listen {}", path.display()))?;
    Ok(socket)
}

/// A connection to the socket that listens at `path`.
pub fn connect(kind: Kind, path: &Path) -> Result<OwnedFd> {
    let socket = socket(kind)?;
    let place = Place::of(path)?;
    rustix::net::connect(&socket, &place.address(path)?).call(|| format!("connect {}", path.display()))?;
    Ok(socket)
}

/// The next connection of a listening socket.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?)
}

/// Who is at the other end.
pub fn peer(socket: impl AsFd) -> Result<Peer> {
    let credentials = rustix::net::sockopt::socket_peercred(socket).call(|| "getsockopt SO_PEERCRED")?;
    Ok(Peer {
        pid: credentials.pid.as_raw_nonzero().get(),
        uid: credentials.uid.as_raw(),
        gid: credentials.gid.as_raw(),
    })
}

/// The file that a socket is bound to, as a place only (SIOCUNIXFILE, unix(7)): it stays the same one when another socket
/// gets the path. Needs CAP_NET_ADMIN.
pub fn bound_file(socket: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: the ioctl takes no argument; the descriptor is open while it is borrowed.
    let file = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCUNIXFILE) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us, and nobody else knows its number.
    let file = unsafe { OwnedFd::from_raw_fd(file) };
    Ok(file)
}

/// linux/un.h
const SIOCUNIXFILE: libc::Ioctl = 0x89e0;

/// Ends one half: after `Write` the peer reads the end of the stream.
pub fn shutdown(socket: impl AsFd, half: Half) -> io::Result<()> {
    let half = match half {
        Half::Read => rustix::net::Shutdown::Read,
        Half::Write => rustix::net::Shutdown::Write,
        Half::Both => rustix::net::Shutdown::Both,
    };
    Ok(rustix::net::shutdown(socket, half)?)
}

/// Makes reads and writes of this open file return `WouldBlock` instead of waiting (or the reverse). The flag belongs
/// to the open file, so whoever shares it is changed too.
pub fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> Result<()> {
    let fd = fd.as_fd();
    let flags = rustix::fs::fcntl_getfl(fd).call(|| "fcntl F_GETFL")?;
    let wanted = if nonblocking { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK };
    rustix::fs::fcntl_setfl(fd, wanted).call(|| "fcntl F_SETFL")
}

/// How much of what was sent still waits (SIOCOUTQ): on a unix socket to be read by the peer, and counted with the
/// kernel's own cost; on TCP (tcp(7)) to be acknowledged. 0 once nothing does.
pub fn unread(socket: impl AsFd) -> io::Result<u32> {
    let mut count: libc::c_int = 0;
    // SAFETY: the ioctl writes one int, which lives during the call; the descriptor is open while it is borrowed.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // While the kernel tells a writer of a read it keeps one byte booked for itself.
    Ok(u32::try_from(count).unwrap_or(0).saturating_sub(1))
}

/// Sends bytes that more follow at once: the kernel may hold them back to fill a packet (MSG_MORE, send(2)). Returns how
/// many went.
pub fn send_with_more(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
    Ok(rustix::io::retry_on_intr(|| rustix::net::send(&socket, bytes, flags))?)
}

/// Sends bytes, and with the first of them the descriptors; returns how many bytes went. At least one byte must be
/// given: descriptors do not travel alone on a stream.
pub fn send_with_fds(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > FDS_MAX || (bytes.is_empty() && !fds.is_empty()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(sent)
}

/// Receives bytes into `buffer` and appends the descriptors that came with them; 0 means that the peer is done.
pub fn recv_with_fds(socket: impl AsFd, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "descriptors were lost: too many in one message, or too many open files",
        ));
    }
    Ok(message.bytes)
}

/// Connections that wait to be accepted; a daemon and a few tools connect, not crowds.
const BACKLOG: i32 = 128;

/// `sun_path` without its closing zero (unix(7)).
const PATH_LEN_MAX: usize = 107;

fn socket(kind: Kind) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, socket_type(kind), SocketFlags::CLOEXEC, None)
        .call(|| "socket AF_UNIX")
}

fn socket_type(kind: Kind) -> SocketType {
    match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::SeqPacket => SocketType::SEQPACKET,
    }
}

/// A socket's path in a form that fits into an address: a long one is named through a descriptor of its directory.
struct Place {
    path: PathBuf,
    _directory: Option<File>,
}

impl Place {
    fn of(path: &Path) -> Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(Self { path: path.to_owned(), _directory: None });
        };
        if path.as_os_str().len() <= PATH_LEN_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory: OwnedFd =
            rustix::fs::open(parent, flags, Mode::empty()).call(|| format!("open {}", parent.display()))?;
        let number = directory.as_raw_fd();
        let path = Path::new("/proc/self/fd").join(number.to_string()).join(name);
        Ok(Self { path, _directory: Some(directory.into()) })
    }

    fn address(&self, asked: &Path) -> Result<SocketAddrUnix> {
        SocketAddrUnix::new(&self.path).call(|| format!("socket address {}", asked.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_travel_with_the_first_byte() {
        let (a, b) = pair(Kind::Stream).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let fds = [reader.as_fd(); FDS_MAX];
        assert_eq!(send_with_fds(&a, b"hello", &fds).unwrap(), 5);
        drop(reader);
        drop(writer);

        let (mut buffer, mut received) = ([0; 16], Vec::new());
        assert_eq!(recv_with_fds(&b, &mut buffer[..2], &mut received).unwrap(), 2);
        assert_eq!(received.len(), FDS_MAX);
        assert_eq!(recv_with_fds(&b, &mut buffer[2..], &mut received).unwrap(), 3);
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(
            File::from(received.pop().unwrap()).read(&mut [0]).unwrap(),
            0,
            "the pipe's writer is gone"
        );
    }

    #[test]
    fn the_file_of_a_socket_is_known_after_its_path_was_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = listen(Kind::Stream, &path).unwrap();
        let file = bound_file(&listener).unwrap();
        assert_eq!(crate::fs::fstat(&file).unwrap().nlink, 1);
        std::fs::remove_file(&path).unwrap();
        let _another = listen(Kind::Stream, &path).unwrap();
        assert_eq!(crate::fs::fstat(&file).unwrap().nlink, 0);
        let (unbound, _) = pair(Kind::Stream).unwrap();
        assert_eq!(bound_file(unbound).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn bytes_are_unread_until_the_peer_took_the_last_of_them() {
        let (a, b) = pair(Kind::Stream).unwrap();
        assert_eq!(unread(&a).unwrap(), 0);
        assert_eq!(send_with_fds(&a, b"ab", &[]).unwrap(), 2);
        recv_with_fds(&b, &mut [0; 1], &mut Vec::new()).unwrap();
        assert!(unread(&a).unwrap() > 0);
        recv_with_fds(&b, &mut [0; 1], &mut Vec::new()).unwrap();
        assert_eq!(unread(&a).unwrap(), 0);
    }

    #[test]
    fn too_many_descriptors_are_refused() {
        let (a, _b) = pair(Kind::Stream).unwrap();
        let error = send_with_fds(&a, b"x", &[a.as_fd(); FDS_MAX + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn nonblocking_reads_would_block_and_a_gone_peer_is_an_error() {
        let (a, b) = pair(Kind::SeqPacket).unwrap();
        set_nonblocking(&a, true).unwrap();
        let error = recv_with_fds(&a, &mut [0; 8], &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(b);
        assert_eq!(send_with_fds(&a, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn paths_longer_than_an_address_work() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(100)).join("y".repeat(60));
        std::fs::create_dir_all(&long).unwrap();
        let path = long.join("monitor.sock");

        let listener = listen(Kind::Stream, &path).unwrap();
        let mut near = UnixStream::from(connect(Kind::Stream, &path).unwrap());
        let far = accept(&listener).unwrap();
        assert_eq!(peer(&far).unwrap().pid, std::process::id().cast_signed());

        near.write_all(b"ping").unwrap();
        shutdown(&near, Half::Write).unwrap();
        let mut text = String::new();
        UnixStream::from(far).read_to_string(&mut text).unwrap();
        assert_eq!(text, "ping");
    }

    #[test]
    fn errors_name_the_path() {
        let error = connect(Kind::Stream, Path::new("/nonexistent/socket")).unwrap_err();
        assert_eq!(error.to_string(), "connect /nonexistent/socket: No such file or directory (os error 2)");
        assert_eq!(error.kind(), fault::Kind::NotFound);
    }
}
