//! A connection that stops being HTTP: attach and exec carry a process's bytes over it in both directions.
//!
//! ```text
//! client --request--> hyper --handler--> Takeover      hyper is dropped, its socket and unread bytes are kept
//! client <----- 101 UPGRADED | 200 OK ----- us          the first bytes that we write ourselves; once they are read:
//! client <==== bytes as the monitor framed them ====> process
//! ```
//!
//! Both forms go the same way (docs/decisions/0002-hijack.md). Guarantees: bytes that the client sent right behind its
//! request reach the process; the end of the client's input is the end of the process's input and does not stop its
//! output; the end of the output ends the connection; a client that is gone ends it too; what a client reads with the
//! head is the head alone, because some read it through a buffer and the rest past it. Memory: two small buffers.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;

use super::socket::Socket;

/// What the client gets instead of an answer.
#[derive(Debug)]
pub(crate) struct Takeover {
    /// The client sent an `Upgrade` header and expects 101; the others expect 200 and bytes behind it.
    pub(crate) upgrade: bool,
    pub(crate) media: Media,
    /// Sent before the process's first byte.
    pub(crate) preface: Bytes,
    /// The other end of the process's streams, framed already; `None` if there is nothing to carry.
    pub(crate) process: Option<UnixStream>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// Bytes as they are: a terminal's output, or (to clients before 1.42) anything.
    Raw,
    /// stdcopy frames.
    Multiplexed,
}

impl Media {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "application/vnd.docker.raw-stream",
            Self::Multiplexed => "application/vnd.docker.multiplexed-stream",
        }
    }
}

impl Takeover {
    /// Carries bytes until the output ends or the client is gone. `early` is what was read behind the request.
    pub(crate) async fn run(self, mut client: Socket, early: Bytes) -> io::Result<()> {
        client.write_all(self.head().as_bytes()).await?;
        let peer = Peer::of(&client)?;
        let Some(process) = self.process else {
            peer.take_head().await;
            client.write_all(&self.preface).await?;
            return client.shutdown().await;
        };
        tokio::select! {
            done = carry(client, process, early, &peer) => done,
            gone = peer.hang_up() => gone,
        }
    }

    fn head(&self) -> String {
        if self.upgrade {
            let media = self.media.as_str();
            format!(
                "HTTP/1.1 101 UPGRADED\r\nContent-Type: {media}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            )
        } else {
            // Clients of this form predate the other type.
            format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n\r\n", Media::Raw.as_str())
        }
    }
}

/// Ends with the output. The input may end long before.
async fn carry(client: Socket, process: UnixStream, early: Bytes, peer: &Peer) -> io::Result<()> {
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_process, to_process) = process.into_split();
    let mut input = pin!(feed(from_client, to_process, early));
    let mut output = pin!(async {
        peer.take_head().await;
        copy(from_process, &mut to_client).await?;
        to_client.shutdown().await
    });
    tokio::select! {
        done = &mut output => {
            // A socket that is closed over unread bytes resets its peer, who may not have read the output yet.
            drop(tokio::time::timeout(LINGER, input).await);
            done
        }
        () = &mut input => output.await,
    }
}

/// Takes the client's bytes to their end, though the process may not want them any more.
async fn feed(mut client: impl AsyncRead + Unpin, mut process: impl AsyncWrite + Unpin, early: Bytes) {
    let fed = async {
        process.write_all(&early).await?;
        copy(&mut client, &mut process).await?;
        process.shutdown().await
    };
    if fed.await.is_err() {
        drop(copy(&mut client, &mut tokio::io::sink()).await);
    }
}

async fn copy(from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    tokio::io::copy_buf(&mut BufReader::with_capacity(BUFFER_BYTES, from), to).await.map(drop)
}

/// A client closes as soon as it read the end of the output.
const LINGER: Duration = Duration::from_secs(2);

/// Enough for a few frames; an attached container costs two of them.
const BUFFER_BYTES: usize = 16 * 1024;

/// What the client does with its end, seen through a second descriptor, because the readiness of the first belongs to
/// the copying.
struct Peer {
    socket: UnixStream,
    /// Beyond what its kernel acknowledges, this peer tells nobody what its program has read.
    remote: bool,
}

impl Peer {
    fn of(socket: &Socket) -> io::Result<Self> {
        let second = std::os::unix::net::UnixStream::from(socket.as_fd().try_clone_to_owned()?);
        let remote = matches!(socket, Socket::Tcp(_));
        Ok(Self { socket: UnixStream::from_std(second)?, remote })
    }

    /// Resolves when both halves of the connection are closed, which reading alone cannot tell from a half-close.
    async fn hang_up(&self) -> io::Result<()> {
        while !self.socket.ready(Interest::WRITABLE).await?.is_write_closed() {
            self.forget_room();
        }
        Ok(())
    }

    /// Resolves when the client has read what was sent so far, or seems not to want it.
    async fn take_head(&self) {
        let read = async {
            while sys::socket::unread(&self.socket).is_ok_and(|count| count > 0) {
                // Each read makes room. The other who waits for news here may have swallowed it.
                drop(tokio::time::timeout(SECOND_LOOK, self.socket.ready(Interest::WRITABLE)).await);
                self.forget_room();
            }
        };
        drop(tokio::time::timeout(HEAD_PATIENCE, read).await);
        if self.remote {
            tokio::time::sleep(REMOTE_PAUSE).await;
        }
    }

    /// So that only news wakes us.
    fn forget_room(&self) {
        let none = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        drop(self.socket.try_io(Interest::WRITABLE, none));
    }
}

/// A client that does not read its answer for so long may be one that wants to write all of its input first.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// The timer's finest step.
const SECOND_LOOK: Duration = Duration::from_millis(1);

/// A program needs less to be woken and to read a head.
const REMOTE_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// The client's end, the process's end, and the running takeover.
    fn take_over(
        upgrade: bool,
        early: &'static [u8],
    ) -> (UnixStream, UnixStream, tokio::task::JoinSet<io::Result<()>>) {
        let (client, ours) = UnixStream::pair().unwrap();
        let (engine, process) = UnixStream::pair().unwrap();
        let takeover =
            Takeover { upgrade, media: Media::Multiplexed, preface: Bytes::new(), process: Some(engine) };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(takeover.run(Socket::Unix(ours), Bytes::from_static(early)));
        (client, process, tasks)
    }

    /// What one read of a buffered reader takes.
    async fn read_once(stream: &mut UnixStream) -> String {
        let mut buffer = vec![0; 8192];
        let count = stream.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    async fn read_all(stream: &mut UnixStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn input_ends_first_and_output_goes_on() {
        let (mut client, mut process, mut tasks) = take_over(true, b"early ");
        client.write_all(b"late").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut process).await, "early late");
        process.write_all(b"output after the end of input").await.unwrap();
        drop(process);
        let text = read_all(&mut client).await;
        assert!(text.starts_with(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n"
        ));
        assert!(text.ends_with("\r\n\r\noutput after the end of input"));
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_read_with_the_head_is_the_head_alone() {
        for upgrade in [true, false] {
            let (mut client, mut process, mut tasks) = take_over(upgrade, b"");
            process.write_all(b"already there").await.unwrap();
            drop(process);
            // A slow client: meanwhile all that can be sent is sent.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            assert!(read_once(&mut client).await.ends_with("\r\n\r\n"));
            assert_eq!(read_all(&mut client).await, "already there");
            tasks.join_next().await.unwrap().unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_complaint_waits_for_the_head_too() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        let preface = Bytes::from_static(b"no such program");
        let takeover = Takeover { upgrade: true, media: Media::Raw, preface, process: None };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(takeover.run(Socket::Unix(ours), Bytes::new()));
        assert!(read_once(&mut client).await.ends_with("\r\n\r\n"));
        assert_eq!(read_all(&mut client).await, "no such program");
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_end_of_output_ends_the_connection_though_input_is_open() {
        let (mut client, mut process, _tasks) = take_over(false, b"");
        process.write_all(b"bye").await.unwrap();
        drop(process);
        assert_eq!(
            read_all(&mut client).await,
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nbye"
        );
    }

    #[tokio::test]
    async fn a_client_that_is_gone_lets_go_of_the_process() {
        let (client, mut process, mut tasks) = take_over(true, b"");
        drop(client);
        assert_eq!(read_all(&mut process).await, "");
        drop(tasks.join_next().await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn a_process_that_reads_nothing_more_keeps_its_output() {
        let (mut client, mut process, _tasks) = take_over(true, b"");
        sys::socket::shutdown(&process, sys::socket::Half::Read).unwrap();
        client.write_all(b"nobody reads this").await.unwrap();
        process.write_all(b"still here").await.unwrap();
        drop(process);
        assert!(read_all(&mut client).await.ends_with("still here"));
    }
}
