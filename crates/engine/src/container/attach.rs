//! Joining the streams of a process: socket pairs, and the watch for the keys by which a terminal's user leaves.
//!
//! ```text
//! door --io--> [pair] --------------------------> monitor         without a terminal, or without stdin
//! door --io--> [pair] --keys watched, copied--> [pair] --> monitor
//! door <--io-- [pair] <--log, then output------ [pair] <-- monitor
//! ```
//!
//! A log that is replayed ends where the output begins: the monitor tells its end when it takes the client. A client that
//! is still busy with the log has the bounded queue of every late client.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use api::container::{Attach, LogOptions};
use bytes::Bytes;
use fault::{Call, Error, Result};
use futures_util::{Stream, StreamExt};
use runtime::protocol::{self, Attachment, Fds, LogEnd, Patience, Request, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::registry::Container;
use super::task::{Answer, Command, Pending, Task, tell};
use crate::Engine;
use crate::logs;
use crate::state::Action;

/// A process's streams: output comes framed (or raw with a terminal), what is written is stdin. Shutting the write
/// side down ends stdin; the end of reading is the end of the process, or a detach.
#[derive(Debug)]
pub struct AttachStream {
    pub io: UnixStream,
    pub tty: bool,
}

/// The monitor's end of a stream that waits to be handed over.
#[derive(Debug)]
pub(crate) struct Joiner {
    pub(crate) socket: OwnedFd,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl Joiner {
    pub(crate) fn into_attachment(self, fds: &mut Fds) -> Attachment {
        let Self { socket, stdin, stdout, stderr } = self;
        Attachment { socket: fds.put(socket), stdin, stdout, stderr }
    }
}

/// A client that comes.
#[derive(Debug)]
pub(crate) struct Order {
    /// None if it only wants the log.
    joiner: Option<Joiner>,
    /// Tell where the log ends and its streams begin.
    continues_log: bool,
    answer: Answer<Option<LogEnd>>,
}

pub(super) async fn attach(
    engine: &Engine,
    container: Arc<Container>,
    options: Attach,
) -> Result<AttachStream> {
    let keys = Keys::parse(&options.detach_keys)?;
    let view = container.view();
    if options.logs {
        logs::check_readable(&view.record)?;
    }
    let config = &view.record.config;
    let stdin = options.stdin && config.open_stdin;
    let watch = (stdin && config.tty).then(|| {
        let (engine, container) = (engine.clone(), container.clone());
        (keys, move || tell_detached(&engine, &container))
    });
    let joiner = |socket| Joiner { socket, stdin, stdout: options.stdout, stderr: options.stderr };
    if !options.logs {
        let (stream, socket) = stream(engine, config.tty, watch)?;
        join(&container, options.stream.then(|| joiner(socket)), false).await?;
        return Ok(stream);
    }
    let ((near, far), (inner, outer)) = (pair()?, pair()?);
    let far = asynchronous(far)?;
    let end = join(&container, options.stream.then(|| joiner(outer.into())), true).await?;
    let wanted = LogOptions { stdout: options.stdout, stderr: options.stderr, ..LogOptions::default() };
    let log = logs::replay(engine, &view.record, wanted, end).await?;
    let (keys, detached) = watch.unzip();
    engine.tasks().spawn(async move {
        let left = pump(far, inner, keys.unwrap_or(Keys::NONE), log).await;
        if let (Left::Detached, Some(detached)) = (left, detached) {
            detached();
        }
    });
    Ok(AttachStream { io: near, tty: config.tty })
}

async fn join(container: &Container, joiner: Option<Joiner>, continues_log: bool) -> Result<Option<LogEnd>> {
    container.ask(|answer| Command::Attach(Order { joiner, continues_log, answer })).await
}

fn tell_detached(engine: &Engine, container: &Container) {
    engine.events().publish_container(&container.view().record, "detach", &[]);
}

/// The caller's stream and the monitor's end of it; with keys to watch for and what to do when they come, a task
/// stands between.
pub(crate) fn stream(
    engine: &Engine,
    tty: bool,
    watch: Option<(Keys, impl FnOnce() + Send + 'static)>,
) -> Result<(AttachStream, OwnedFd)> {
    let (near, far) = pair()?;
    let io = near;
    let Some((keys, detached)) = watch else {
        return Ok((AttachStream { io, tty }, far.into()));
    };
    let (inner, outer) = pair()?;
    let far = asynchronous(far)?;
    engine.tasks().spawn(async move {
        if pump(far, inner, keys, futures_util::stream::empty()).await == Left::Detached {
            detached();
        }
    });
    Ok((AttachStream { io, tty }, outer.into()))
}

fn pair() -> Result<(UnixStream, StdStream)> {
    let (near, far) = StdStream::pair().call(|| "socketpair")?;
    Ok((asynchronous(near)?, far))
}

fn asynchronous(stream: StdStream) -> Result<UnixStream> {
    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)).call(|| "watching a stream")
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Detached,
    Ended,
}

/// Copies both ways until the process or the client ends, or the keys come; the log goes before the output.
async fn pump(
    client: UnixStream,
    process: UnixStream,
    keys: Keys,
    log: impl Stream<Item = Result<Bytes>> + Unpin,
) -> Left {
    let (from_client, to_client) = client.into_split();
    let (from_process, to_process) = process.into_split();
    let output = async {
        let mut to_client = to_client;
        if replay(log, &mut to_client).await.is_ok() {
            copy(from_process, to_client).await;
        }
    };
    tokio::select! {
        left = watch(from_client, to_process, keys) => left,
        () = output => Left::Ended,
    }
}

/// An error is the client's. A log that cannot be read does not keep the client from the output, as with Docker.
async fn replay(
    mut log: impl Stream<Item = Result<Bytes>> + Unpin,
    to: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    while let Some(part) = log.next().await {
        match part {
            Ok(part) => to.write_all(&part).await?,
            Err(error) => tracing::warn!(%error, "log not replayed"),
        }
    }
    Ok(())
}

/// The end of the client's input is not the end of its output: this resolves only by the keys.
async fn watch(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, keys: Keys) -> Left {
    let mut seen = Seen { keys, matched: 0 };
    let mut buffer = [0; BUFFER_LEN];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let (pass, detached) = seen.filter(&buffer[..len]);
        if to.write_all(&pass).await.is_err() {
            // Nobody wants input any more, but there may be output.
            break;
        }
        if detached {
            return Left::Detached;
        }
    }
    drop(to);
    std::future::pending().await
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = [0; BUFFER_LEN];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

/// For what people type and read.
const BUFFER_LEN: usize = 4096;

/// The keys by which a terminal's user leaves without ending the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys(Vec<u8>);

impl Keys {
    /// Everything passes.
    const NONE: Self = Self(Vec::new());

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `ctrl-p,ctrl-q`, `a,b`; empty means the default.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(vec![0x10, 0x11]));
        }
        let invalid = || Error::invalid(format!("Invalid detach keys ({text}) provided"));
        text.split(',').map(|key| code(key).ok_or_else(invalid)).collect::<Result<_>>().map(Self)
    }
}

fn code(key: &str) -> Option<u8> {
    if let &[single] = key.as_bytes() {
        return Some(single);
    }
    let &[byte] = key.strip_prefix("ctrl-")?.as_bytes() else { return None };
    match byte {
        b'a'..=b'z' => Some(byte - b'a' + 1),
        b'@' => Some(0),
        b'[' | b'\\' | b']' | b'^' | b'_' => Some(byte - b'[' + 27),
        _ => None,
    }
}

/// How much of the keys was typed so far.
#[derive(Debug)]
struct Seen {
    keys: Keys,
    matched: usize,
}

impl Seen {
    /// What may pass, and whether the keys are complete. A begun sequence is held back until it is decided.
    fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::with_capacity(input.len());
        for &byte in input {
            if self.keys.0.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.0.len() {
                    return (pass, true);
                }
                continue;
            }
            pass.extend_from_slice(&self.keys.0[..self.matched]);
            self.matched = usize::from(self.keys.0.first() == Some(&byte));
            if self.matched == 0 {
                pass.push(byte);
            }
        }
        (pass, false)
    }
}

impl Task {
    /// Before a start a client waits for it; a running process gets it at once.
    pub(super) async fn attach(&mut self, order: Order) {
        let Order { joiner, continues_log, answer } = order;
        if let Err(error) = self.step(Action::Attach) {
            return tell(answer, Err(error));
        }
        self.tell("attach", &[]);
        let Some(joiner) = joiner else { return tell(answer, Ok(None)) };
        if self.monitor.is_none() {
            let waiting = self.wait_for_start(joiner, continues_log).await;
            return tell(answer, waiting);
        }
        let mut fds = Fds::default();
        let attachment = joiner.into_attachment(&mut fds);
        let attach = protocol::Attach {
            target: Target::Container,
            attachment,
            patience: Patience::Drop,
            continues_log,
        };
        self.request_pending(Request::Attach(attach), fds, Some(Pending::Attached(answer)));
    }

    /// Nothing is logged until then.
    async fn wait_for_start(&mut self, joiner: Joiner, continues_log: bool) -> Result<Option<LogEnd>> {
        if self.joiners.len() == JOINERS_MAX {
            return Err(Error::unavailable("too many clients wait for the start"));
        }
        self.joiners.push(joiner);
        if !continues_log {
            return Ok(None);
        }
        let path = self.engine.config().log_file(&self.id);
        let end = self.engine.blocking(move |_| logs::end(&path)).await?;
        // No log yet, nothing to replay.
        Ok(Some(end.unwrap_or_default()))
    }
}

/// Their sockets travel in one message with the mounts (at most 253 descriptors).
const JOINERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_docker_s_notation() {
        assert_eq!(Keys::parse("").unwrap().0, [16, 17]);
        assert_eq!(Keys::parse("ctrl-@,a,ctrl-[,ctrl-_").unwrap().0, [0, b'a', 27, 31]);
        for bad in ["ctrl-", "ctrl-ab", "foo", "a,,b", "ctrl-A"] {
            let words = format!("Invalid detach keys ({bad}) provided");
            assert_eq!(Keys::parse(bad).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn keys_are_found_across_reads_and_held_back_until_decided() {
        let mut seen = Seen { keys: Keys::parse("ctrl-p,ctrl-q").unwrap(), matched: 0 };
        assert_eq!(seen.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(seen.filter(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(seen.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(seen.filter(b"\x11rest"), (Vec::new(), true));
    }
}
