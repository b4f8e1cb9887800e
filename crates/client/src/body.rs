//! What a request carries, and readers that join blocking code to streams.
//!
//! Blocking reads (files, standard input) happen on a thread of their own, so that they never stall the runtime; at most
//! [`CHUNKS_MAX`] chunks wait between the two sides.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use fault::{Error, Result};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

/// A request's body.
pub enum Body {
    Empty,
    Json(Bytes),
    /// Sent in chunks as it is read.
    Reader(Box<dyn Read + Send>),
}

impl Body {
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::Json(serde_json::to_vec(value).expect("the API's types are JSON").into())
    }

    pub fn reader(reader: impl Read + Send + 'static) -> Self {
        Self::Reader(Box::new(reader))
    }

    pub(crate) fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Json(_) => Some("application/json"),
            Self::Reader(_) => Some("application/x-tar"),
        }
    }

    /// The same again, if it can be sent a second time.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Json(bytes) => Some(Self::Json(bytes.clone())),
            Self::Reader(_) => None,
        }
    }

    pub(crate) fn into_http(self) -> UnsyncBoxBody<Bytes, io::Error> {
        match self {
            Self::Empty => Full::default().map_err(|never| match never {}).boxed_unsync(),
            Self::Json(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Self::Reader(reader) => upload(reader).boxed_unsync(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Empty => "Empty",
            Self::Json(_) => "Json",
            Self::Reader(_) => "Reader",
        })
    }
}

fn upload(reader: Box<dyn Read + Send>) -> impl hyper::body::Body<Data = Bytes, Error = io::Error> {
    let received = chunks(reader);
    StreamBody::new(stream::unfold(received, |mut received| async move {
        let chunk = received.recv().await?;
        Some((chunk.map(Frame::data), received))
    }))
}

/// Reads to the end on a thread of its own. The thread ends with the data, or soon after the receiver is gone.
pub fn chunks(mut reader: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_SIZE];
        loop {
            let chunk = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// The blocking end of a stream of chunks, for code that wants a `Read` on another thread.
#[derive(Debug)]
pub struct ChunkReader {
    chunks: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl ChunkReader {
    /// The reader and what feeds it; dropping the feeder is the end of the data.
    pub fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        (sender, Self { chunks, rest: Bytes::new() })
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A body that must be JSON.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    api::from_slice(bytes).map_err(|error| Error::internal(format!("error from daemon: {error}")))
}

/// Deep enough to overlap reading with sending, small enough to stay out of the way.
const CHUNKS_MAX: usize = 8;
const CHUNK_SIZE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_reader_gives_back_what_was_fed() {
        let (sender, mut reader) = ChunkReader::new();
        let feeder = std::thread::spawn(move || {
            for chunk in ["one ", "", "two ", "three"] {
                sender.blocking_send(Bytes::from_static(chunk.as_bytes())).unwrap();
            }
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        feeder.join().unwrap();
        assert_eq!(text, "one two three");
    }
}
