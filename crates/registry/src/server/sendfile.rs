//! A blob sent by the kernel, from the file to the socket, without passing through us.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hyper::Response;
use hyper::header::{CONNECTION, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::server::http::STALL;

/// What is to be sent in place of an answer of hyper's.
#[derive(Debug)]
pub(crate) struct Sending {
    /// Status line and headers, as they go out.
    pub(crate) head: Vec<u8>,
    pub(crate) file: File,
    pub(crate) bytes: Range<u64>,
    /// Whether the connection serves further requests.
    pub(crate) keep_alive: bool,
}

impl Sending {
    pub(crate) fn written_out(response: &Response<()>, keep_alive: bool) -> Vec<u8> {
        let status = response.status();
        let mut head =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let close = (!keep_alive).then_some((&CONNECTION, &CLOSE));
        for (name, value) in response.headers().iter().chain(close) {
            head.push_str(name.as_str());
            head.push_str(": ");
            head.push_str(&String::from_utf8_lossy(value.as_bytes()));
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Sends all of it; the number of the file's bytes.
    pub(crate) async fn run(mut self, stream: &mut TcpStream) -> io::Result<u64> {
        let length = self.bytes.end - self.bytes.start;
        if length <= SMALL_BYTES {
            let head = self.head.len();
            self.head.resize(head + length as usize, 0);
            self.file.read_exact_at(&mut self.head[head..], self.bytes.start)?;
            stalling(stream.write_all(&self.head)).await?;
            return Ok(length);
        }
        let sent = stream.try_io(Interest::WRITABLE, || sys::socket::send_with_more(&*stream, &self.head));
        let sent =
            sent.or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) })?;
        stalling(stream.write_all(&self.head[sent..])).await?;
        self.send_file(stream).await?;
        Ok(length)
    }

    async fn send_file(&self, stream: &TcpStream) -> io::Result<()> {
        let (mut offset, end) = (self.bytes.start, self.bytes.end);
        while offset < end {
            stalling(stream.writable()).await?;
            let share = (end - offset).min(SHARE_BYTES);
            let send = || sys::fs::sendfile(stream, &self.file, &mut offset, share);
            let sent = stream.try_io(Interest::WRITABLE, send);
            match sent {
                // The file is shorter than it was: the client must not wait for the rest.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A client that takes nothing for too long is gone.
async fn stalling<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STALL, work).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// A socket whose first bytes were read before.
#[derive(Debug)]
pub(crate) struct Rewound {
    stream: TcpStream,
    early: Bytes,
}

impl Rewound {
    pub(crate) fn new(stream: TcpStream, early: Bytes) -> Self {
        Self { stream, early }
    }

    /// The socket, and all that was read of it and not used: by somebody else, then what is left here.
    pub(crate) fn into_stream(self, read: &Bytes) -> (TcpStream, Bytes) {
        let mut early = BytesMut::from(read.as_ref());
        early.extend_from_slice(&self.early);
        (self.stream, early.freeze())
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..length]);
        self.early.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

static CLOSE: HeaderValue = HeaderValue::from_static("close");
/// Beneath this one write of head and bytes together costs less than a second call.
const SMALL_BYTES: u64 = 16 << 10;
/// One connection's turn: a thread of the runtime waits for the disk for no longer than reading this takes.
const SHARE_BYTES: u64 = 512 << 10;
