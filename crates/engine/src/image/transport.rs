//! Archives of images in and out: bytes from the client to a blocking reader, and from a blocking writer to the client.
//!
//! Both directions are bounded: whoever is slower makes the other wait. A client that goes away ends the work.

use std::io::{self, Read, Write};

use api::progress::Message;
use bytes::{Bytes, BytesMut};
use fault::{Error, Result};
use futures_util::stream::{self, BoxStream, StreamExt};
use store::Loaded;
use tokio::sync::{mpsc, oneshot};

use super::tell;
use crate::Engine;

/// A request's body.
pub type Body = BoxStream<'static, Result<Bytes>>;
/// Progress for the client.
pub type Lines = BoxStream<'static, Message>;

/// Chunks between the client's task and the thread that works.
const CHUNKS: usize = 8;
/// Bytes of a chunk on the way out.
const CHUNK: usize = 64 << 10;

/// Loads all images of an archive. Errors come as a line of progress, as the client expects.
pub async fn load(engine: &Engine, body: Body, quiet: bool) -> Result<Lines> {
    let _quiet = quiet; // Layers are applied in one pass: there is no progress of parts to leave out.
    Ok(lines(engine, body, |engine, archive, tell_line| {
        let loaded = engine.store().load(archive, &mut |_| {})?;
        for image in loaded {
            let name = image.reference.as_ref().map(oci::Reference::familiar);
            tell(engine, "load", &image.id, name.as_deref().unwrap_or(&image.id.to_string()));
            for text in loaded_lines(&image) {
                tell_line(Message::stream(text));
            }
        }
        Ok(())
    }))
}

fn loaded_lines(image: &Loaded) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(name), Some(before)) = (&image.reference, &image.replaced) {
        let name = name.familiar();
        lines.push(format!(
            "The image {name} already exists, renaming the old one with ID {before} to empty string\n"
        ));
    }
    lines.push(match &image.reference {
        Some(name) => format!("Loaded image: {}\n", name.familiar()),
        None => format!("Loaded image ID: {}\n", image.id),
    });
    lines
}

/// Saves images as one archive. Unknown names are an error before the first byte.
pub async fn save(engine: &Engine, names: Vec<String>) -> Result<BoxStream<'static, Result<Bytes>>> {
    if names.is_empty() {
        return Err(Error::invalid("no image to save is named"));
    }
    let mut parts = writing(engine, move |engine, writer| engine.store().save(&names, writer));
    // The first part decides between an answer and an error.
    match parts.next().await {
        Some(Err(error)) => Err(error),
        first => Ok(stream::iter(first).chain(parts).boxed()),
    }
}

/// Runs blocking work that reads a client's body; what it tells becomes lines, its error the last of them.
pub(crate) fn lines(
    engine: &Engine,
    body: Body,
    work: impl FnOnce(&Engine, ChannelReader, &mut dyn FnMut(Message)) -> Result<()> + Send + 'static,
) -> Lines {
    let (told, tell) = channel();
    let reader = reading(engine, body);
    let task = engine.clone();
    engine.tasks().spawn(async move {
        let also = told.clone();
        let done = on_own_thread(&task, move |engine| {
            work(engine, reader, &mut |line| {
                // Nobody listens any more: the work goes on to its end all the same.
                drop(also.blocking_send(line));
            })
        });
        if let Err(error) = done.await {
            drop(told.send(Message::error(error.to_string())).await);
        }
    });
    tell.boxed()
}

/// A blocking reader of a client's body. A body that breaks off is an error of the reader, never a short archive.
pub(crate) fn reading(engine: &Engine, mut body: Body) -> ChannelReader {
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
    ChannelReader { receiver, chunk: Bytes::new(), ended: false }
}

/// Runs blocking work that writes for a client; its error is the last part.
pub(crate) fn writing(
    engine: &Engine,
    work: impl FnOnce(&Engine, &mut ChannelWriter) -> Result<()> + Send + 'static,
) -> BoxStream<'static, Result<Bytes>> {
    let (sender, parts) = channel();
    let task = engine.clone();
    engine.tasks().spawn(async move {
        let mut writer = ChannelWriter { sender: sender.clone(), buffer: BytesMut::with_capacity(CHUNK) };
        let done = on_own_thread(&task, move |engine| {
            work(engine, &mut writer)?;
            writer.flush().map_err(|error| Error::io("sending to the client", error))
        });
        if let Err(error) = done.await {
            drop(sender.send(Err(error)).await);
        }
    });
    parts.boxed()
}

/// Work that waits for a client has a thread of its own: in the blocking pool slow clients would keep others out.
async fn on_own_thread(
    engine: &Engine,
    work: impl FnOnce(&Engine) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (tell, told) = oneshot::channel();
    let engine = engine.clone();
    std::thread::Builder::new()
        .name("transport".into())
        .spawn(move || drop(tell.send(work(&engine))))
        .map_err(|error| Error::io("starting a thread", error))?;
    told.await.unwrap_or_else(|_| Err(Error::internal("the transport broke off")))
}

fn channel<T: Send + 'static>() -> (mpsc::Sender<T>, impl stream::Stream<Item = T> + Send) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let stream = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<T>| {
        receiver.recv().await.map(|item| (item, receiver))
    });
    (sender, stream)
}

/// The reading end of a body.
#[derive(Debug)]
pub(crate) struct ChannelReader {
    /// `None` is the regular end; a channel that closes without it was cut off.
    receiver: mpsc::Receiver<io::Result<Option<Bytes>>>,
    chunk: Bytes,
    ended: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
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
    sender: mpsc::Sender<Result<Bytes>>,
    buffer: BytesMut,
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
        self.sender
            .blocking_send(Ok(part))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client went away"))
    }
}
