//! Between clients and blocking work: bytes from a client to a reader, and from a writer to a client.
//!
//! Both directions are bounded: whoever is slower makes the other wait. Work that waits for a client has a thread of
//! its own. A client that goes away ends a sending at its next write, and makes a receiving fail, never succeed short.

use std::future::Future;
use std::io::{self, Read, Write};

use api::progress::Message;
use bytes::{Bytes, BytesMut};
use fault::{Error, Result};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::Engine;

/// A request's body.
pub type Body = BoxStream<'static, Result<Bytes>>;
/// Bytes for a client; an error is the last of them.
pub type Parts = BoxStream<'static, Result<Bytes>>;
/// Progress for the client.
pub type Lines = BoxStream<'static, Message>;

/// Chunks between the client's task and the thread that works.
const CHUNKS: usize = 8;
/// Bytes of a chunk on the way out.
const CHUNK: usize = 64 << 10;

/// Runs blocking work that reads a client's body; what it tells becomes lines, its error the last of them.
pub(crate) fn lines(
    engine: &Engine,
    body: Body,
    work: impl FnOnce(&Engine, ChannelReader, &mut dyn FnMut(Message)) -> Result<()> + Send + 'static,
) -> Lines {
    told(engine, body, work).map(in_line).boxed()
}

/// As [`lines`], for work that is told as an error if it fails before its first line.
pub(crate) async fn answered_lines(
    engine: &Engine,
    body: Body,
    work: impl FnOnce(&Engine, ChannelReader, &mut dyn FnMut(Message)) -> Result<()> + Send + 'static,
) -> Result<Lines> {
    let mut told = told(engine, body, work);
    match told.next().await {
        Some(Err(error)) => Err(error),
        first => Ok(stream::iter(first).chain(told).map(in_line).boxed()),
    }
}

fn in_line(told: Result<Message>) -> Message {
    told.unwrap_or_else(|error| Message::error(error.to_string()))
}

fn told(
    engine: &Engine,
    body: Body,
    work: impl FnOnce(&Engine, ChannelReader, &mut dyn FnMut(Message)) -> Result<()> + Send + 'static,
) -> BoxStream<'static, Result<Message>> {
    let (told, tell) = channel();
    let reader = reading(engine, body);
    let task = engine.clone();
    engine.tasks().spawn(async move {
        let also = told.clone();
        let mut waiting = Waiting::here(&task);
        let done = on_own_thread(&task, move |engine| {
            work(engine, reader, &mut |line| {
                // Nobody listens any more: the work goes on to its end all the same.
                drop(waiting.wait(also.send(Ok(Some(line)))));
            })
        });
        let done = done.await;
        end(&task, told, done).await;
    });
    tell.boxed()
}

/// A blocking reader of a client's body. A body that breaks off is an error of the reader, never a short archive.
fn reading(engine: &Engine, mut body: Body) -> ChannelReader {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    engine.tasks().spawn(async move {
        while let Some(chunk) = body.next().await {
            let chunk =
                chunk.map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string()));
            if sender.send(chunk.map(Some)).await.is_err() {
                return;
            }
        }
        drop(sender.send(Ok(None)).await);
    });
    ChannelReader { receiver, waiting: Waiting::here(engine), chunk: Bytes::new(), ended: false }
}

/// Runs blocking work that writes for a client, beginning at once. A failure before the first part is told as an error,
/// a later one is the last part.
pub(crate) async fn sending(
    engine: &Engine,
    work: impl FnOnce(&Engine, &mut ChannelWriter) -> Result<()> + Send + 'static,
) -> Result<Parts> {
    let mut parts = writing(engine, work);
    match parts.next().await {
        Some(Err(error)) => Err(error),
        first => Ok(stream::iter(first).chain(parts).boxed()),
    }
}

fn writing(
    engine: &Engine,
    work: impl FnOnce(&Engine, &mut ChannelWriter) -> Result<()> + Send + 'static,
) -> Parts {
    let (sender, parts) = channel();
    let task = engine.clone();
    engine.tasks().spawn(async move {
        let waiting = Waiting::here(&task);
        let mut writer =
            ChannelWriter { sender: sender.clone(), waiting, buffer: BytesMut::with_capacity(CHUNK) };
        let done = on_own_thread(&task, move |engine| {
            work(engine, &mut writer)?;
            writer.flush().map_err(|error| Error::io("sending to the client", error))
        });
        let done = done.await;
        end(&task, sender, done).await;
    });
    parts.boxed()
}

/// Runs blocking work that reads a client's body, to its end even if nobody waits for the answer any more.
pub(crate) async fn receiving(
    engine: &Engine,
    body: Body,
    work: impl FnOnce(&Engine, ChannelReader) -> Result<()> + Send + 'static,
) -> Result<()> {
    let reader = reading(engine, body);
    on_own_thread(engine, move |engine| work(engine, reader)).await
}

/// Work that waits for a client has a thread of its own: in the blocking pool slow clients would keep others out. It
/// ends when the engine does, at its next wait.
async fn on_own_thread(
    engine: &Engine,
    work: impl FnOnce(&Engine) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (tell, told) = oneshot::channel();
    let permit = engine.transport().await?;
    let engine = engine.clone();
    // The work may plan something for later, which becomes a task.
    let runtime = Handle::current();
    let run = move || {
        let _inside = runtime.enter();
        let result = work(&engine);
        drop(engine);
        drop(permit);
        drop(tell.send(result));
    };
    std::thread::Builder::new()
        .name("transport".into())
        .spawn(run)
        .map_err(|error| Error::io("starting a thread", error))?;
    told.await.unwrap_or_else(|_| Err(Error::internal("the transport broke off")))
}

/// What a thread tells a client: items, then either an error or `None`, which is the regular end.
type Told<T> = Result<Option<T>>;

/// A channel that closes without an end was cut off by the end of the engine, which is told as an error.
fn channel<T: Send + 'static>() -> (mpsc::Sender<Told<T>>, impl stream::Stream<Item = Result<T>> + Send) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let stream = stream::unfold(Some(receiver), async |receiver: Option<mpsc::Receiver<Told<T>>>| {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(item)) => item.map(|item| (Ok(item), Some(receiver))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(Error::unavailable("the engine has ended")), None)),
        }
    });
    (sender, stream)
}

/// Tells how the work ended, unless the client does not read and the engine ends.
async fn end<T>(engine: &Engine, sender: mpsc::Sender<Told<T>>, done: Result<()>) {
    let mut ending = engine.tasks().ending();
    tokio::select! {
        biased;
        sent = sender.send(done.map(|()| None)) => drop(sent),
        _ = ending.wait_for(|ending| *ending) => {}
    }
}

/// Waits of a transport's thread for its client, no longer than the engine lives.
#[derive(Debug)]
struct Waiting {
    runtime: Handle,
    ending: watch::Receiver<bool>,
}

impl Waiting {
    /// For a thread that is started from here.
    fn here(engine: &Engine) -> Self {
        Self { runtime: Handle::current(), ending: engine.tasks().ending() }
    }

    /// What comes; `None` if the engine ends.
    fn wait<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let ending = &mut self.ending;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = ending.wait_for(|ending| *ending) => None,
                came = what => Some(came),
            }
        })
    }
}

/// The reading end of a body.
#[derive(Debug)]
pub(crate) struct ChannelReader {
    /// `None` is the regular end; a channel that closes without it was cut off.
    receiver: mpsc::Receiver<io::Result<Option<Bytes>>>,
    waiting: Waiting,
    chunk: Bytes,
    ended: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.waiting.wait(self.receiver.recv()).ok_or_else(engine_ends)? {
                Some(Ok(Some(chunk))) => self.chunk = chunk,
                Some(Ok(None)) => self.ended = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client went away")),
            }
        }
        let count = self.chunk.len().min(into.len());
        into[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}

/// The writing end towards a client.
#[derive(Debug)]
pub(crate) struct ChannelWriter {
    sender: mpsc::Sender<Told<Bytes>>,
    waiting: Waiting,
    buffer: BytesMut,
}

fn engine_ends() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the engine ends")
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let part = self.buffer.split().freeze();
        self.buffer.reserve(CHUNK);
        let sent = self.waiting.wait(self.sender.send(Ok(Some(part)))).ok_or_else(engine_ends)?;
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away"))
    }
}
