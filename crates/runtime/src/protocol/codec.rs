//! Frames on a stream: a length, a number of descriptors, a payload. Sans I/O but for [`fill`] and [`flush`].
//!
//! ```text
//! u32 payload length, little endian | u32 number of descriptors | payload
//! ```
//!
//! A frame's descriptors travel with its first byte. The kernel keeps them at that place of the stream, and the frame
//! says how many are its own, so that they cannot slide into a neighbour.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fault::{Error, Result};
use serde::{Deserialize, Serialize};
use sys::socket::FDS_MAX;

/// The longest payload: a spec of a container with thousands of mounts and variables is well below it.
pub const FRAME_LEN_MAX: usize = 16 << 20;

/// The place of a descriptor among those of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(u16);

/// The descriptors of one frame.
#[derive(Debug, Default)]
pub struct Fds(Vec<Option<OwnedFd>>);

impl Fds {
    /// Adds a descriptor to a frame to be sent.
    pub fn put(&mut self, fd: impl Into<OwnedFd>) -> Slot {
        self.0.push(Some(fd.into()));
        // More than a u16 are refused when the frame is queued.
        Slot(u16::try_from(self.0.len() - 1).unwrap_or(u16::MAX))
    }

    /// Takes a descriptor out of a received frame; each can be taken once.
    pub fn take(&mut self, slot: Slot) -> Result<OwnedFd> {
        let place = self.0.get_mut(usize::from(slot.0));
        place
            .and_then(Option::take)
            .ok_or_else(|| Error::invalid(format!("descriptor {} is not there", slot.0)))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One received frame.
#[derive(Debug)]
pub struct Frame {
    pub payload: Vec<u8>,
    pub fds: Fds,
}

/// Received bytes and descriptors on their way to being frames.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// How much of `bytes` is used up.
    start: usize,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8], fds: impl IntoIterator<Item = OwnedFd>) {
        self.bytes.extend_from_slice(bytes);
        self.fds.extend(fds);
    }

    /// The next whole frame. After an error the stream makes no sense any more and must be closed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        if self.fds.len() > 2 * FDS_MAX {
            return Err(Error::invalid("frame: more descriptors than frames to own them"));
        }
        let Some((header, rest)) = self.bytes[self.start..].split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let (len, fds) = read_header(*header)?;
        let Some(payload) = rest.get(..len) else {
            return Ok(None);
        };
        if fds > self.fds.len() {
            return Err(Error::invalid(format!(
                "frame: {fds} descriptors promised, {} came",
                self.fds.len()
            )));
        }
        let frame = Frame { payload: payload.to_vec(), fds: Fds(self.fds.drain(..fds).map(Some).collect()) };
        self.consume(HEADER_LEN + len);
        Ok(Some(frame))
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.bytes.len() {
            // Most often a frame ends the bytes; the room of a big one is given back.
            self.bytes = Vec::new();
            self.start = 0;
        } else if self.start >= self.bytes.len() / 2 {
            // A peer that never pauses between two frames leaves always some of the next one behind.
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// Frames on their way out.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Outgoing>,
    /// Bytes that wait, for callers that bound them.
    len: usize,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Outbox {
    /// Queues one message as a frame of its own.
    pub fn push(&mut self, message: &impl Serialize, fds: Fds) -> Result<()> {
        let fds: Vec<OwnedFd> = fds.0.into_iter().flatten().collect();
        if fds.len() > FDS_MAX {
            return Err(Error::invalid(format!("frame: {} descriptors, at most {FDS_MAX} fit", fds.len())));
        }
        let mut bytes = vec![0; HEADER_LEN];
        serde_json::to_writer(&mut bytes, message)
            .map_err(|error| Error::internal("frame").with_source(error))?;
        let header = header(bytes.len() - HEADER_LEN, fds.len())?;
        bytes[..HEADER_LEN].copy_from_slice(&header);
        self.len += bytes.len();
        self.frames.push_back(Outgoing { bytes, sent: 0, fds });
        Ok(())
    }

    /// What to send next, together: bytes, and descriptors with the first of them.
    pub fn front(&self) -> Option<(&[u8], Vec<BorrowedFd<'_>>)> {
        let front = self.frames.front()?;
        Some((&front.bytes[front.sent..], front.fds.iter().map(AsFd::as_fd).collect()))
    }

    /// `sent` bytes of the front, more than zero, are gone, its descriptors with them.
    pub fn advance(&mut self, sent: usize) {
        let Some(front) = self.frames.front_mut() else { return };
        front.fds.clear();
        front.sent += sent;
        self.len -= sent;
        if front.sent >= front.bytes.len() {
            self.frames.pop_front();
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// Sends all that the outbox holds. On a non-blocking socket it may end with `WouldBlock`; call again when writable.
pub fn flush(outbox: &mut Outbox, socket: impl AsFd) -> io::Result<()> {
    while let Some((bytes, fds)) = outbox.front() {
        let sent = sys::socket::send_with_fds(&socket, bytes, &fds)?;
        outbox.advance(sent);
    }
    Ok(())
}

/// Receives once into the inbox; false when the peer is done. On a non-blocking socket it may end with `WouldBlock`.
pub fn fill(inbox: &mut Inbox, socket: impl AsFd) -> io::Result<bool> {
    let mut bytes = [0; RECEIVE_LEN];
    let mut fds = Vec::new();
    let received = sys::socket::recv_with_fds(socket, &mut bytes, &mut fds)?;
    inbox.push(&bytes[..received], fds);
    Ok(received > 0)
}

const HEADER_LEN: usize = 8;

/// On the stack of a small process; a usual Start fits into two.
const RECEIVE_LEN: usize = 16 << 10;

fn header(len: usize, fds: usize) -> Result<[u8; HEADER_LEN]> {
    if len > FRAME_LEN_MAX {
        return Err(Error::invalid(format!("frame: {len} bytes are more than {FRAME_LEN_MAX}")));
    }
    let mut header = [0; HEADER_LEN];
    // Both fit: they were compared with much smaller bounds.
    header[..4].copy_from_slice(&(len as u32).to_le_bytes());
    header[4..].copy_from_slice(&(fds as u32).to_le_bytes());
    Ok(header)
}

fn read_header(header: [u8; HEADER_LEN]) -> Result<(usize, usize)> {
    let [l0, l1, l2, l3, f0, f1, f2, f3] = header;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let fds = u32::from_le_bytes([f0, f1, f2, f3]) as usize;
    if len > FRAME_LEN_MAX || fds > FDS_MAX {
        return Err(Error::invalid(format!("frame: {len} bytes with {fds} descriptors are over the bounds")));
    }
    Ok((len, fds))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn bytes_of(outbox: &mut Outbox) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some((bytes, _)) = outbox.front() {
            all.extend_from_slice(bytes);
            let len = bytes.len();
            outbox.advance(len);
        }
        all
    }

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn descriptors_stay_with_their_frame() {
        let (near, far) = sys::socket::pair(sys::socket::Kind::Stream).unwrap();
        let (mut outbox, mut inbox) = (Outbox::default(), Inbox::default());
        let (reader, writer) = io::pipe().unwrap();
        let mut fds = Fds::default();
        let slot = fds.put(reader);
        outbox.push(&"no descriptors", Fds::default()).unwrap();
        outbox.push(&"a pipe", fds).unwrap();
        outbox.push(&"none again", Fds::default()).unwrap();
        flush(&mut outbox, &near).unwrap();
        assert_eq!(outbox.len(), 0);
        drop((near, writer));
        while fill(&mut inbox, &far).unwrap() {}

        let counts: Vec<_> = (0..3)
            .map(|_| {
                let mut frame = inbox.next_frame().unwrap().unwrap();
                if let Ok(fd) = frame.fds.take(slot) {
                    assert_eq!(File::from(fd).read(&mut [0]).unwrap(), 0, "it is the pipe");
                    assert!(frame.fds.take(slot).is_err(), "taken once");
                }
                frame.fds.len()
            })
            .collect();
        assert_eq!(counts, [0, 1, 0]);
        assert!(inbox.next_frame().unwrap().is_none());
    }

    #[test]
    fn a_peer_that_never_pauses_takes_no_more_memory() {
        let mut outbox = Outbox::default();
        outbox.push(&"x".repeat(1000), Fds::default()).unwrap();
        let frame = bytes_of(&mut outbox);
        let mut inbox = Inbox::default();
        inbox.push(&frame[..10], []);
        for _ in 0..10_000 {
            inbox.push(&frame[10..], []);
            inbox.push(&frame[..10], []);
            assert!(inbox.next_frame().unwrap().is_some() && inbox.next_frame().unwrap().is_none());
        }
        assert!(inbox.bytes.capacity() < 16 * frame.len(), "{} bytes", inbox.bytes.capacity());
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut inbox = Inbox::default();
            inbox.push(bytes, []);
            inbox.next_frame().unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[255; 8]),
            "frame: 4294967295 bytes with 4294967295 descriptors are over the bounds"
        );
        assert_eq!(refused(&[1, 0, 0, 0, 1, 0, 0, 0, b'1']), "frame: 1 descriptors promised, 0 came");

        let mut inbox = Inbox::default();
        inbox.push(&[0], (0..=2 * FDS_MAX).map(|_| null()));
        assert_eq!(
            inbox.next_frame().unwrap_err().to_string(),
            "frame: more descriptors than frames to own them"
        );
    }

    #[test]
    fn too_much_is_refused_before_it_is_sent() {
        let mut outbox = Outbox::default();
        let mut fds = Fds::default();
        for _ in 0..=FDS_MAX {
            fds.put(null());
        }
        assert!(outbox.push(&(), fds).is_err());
        assert!(outbox.push(&"x".repeat(FRAME_LEN_MAX), Fds::default()).is_err());
        assert!(outbox.is_empty());
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(texts in prop::collection::vec(".{0,40}", 0..8), cut in 1usize..32) {
            let mut outbox = Outbox::default();
            for text in &texts {
                outbox.push(text, Fds::default()).unwrap();
            }
            let (mut inbox, mut received) = (Inbox::default(), Vec::new());
            for piece in bytes_of(&mut outbox).chunks(cut) {
                inbox.push(piece, []);
                while let Some(frame) = inbox.next_frame().unwrap() {
                    received.push(serde_json::from_slice::<String>(&frame.payload).unwrap());
                }
            }
            prop_assert_eq!(received, texts);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut inbox = Inbox::default();
            inbox.push(&bytes, []);
            while let Ok(Some(_)) = inbox.next_frame() {}
        }
    }
}
