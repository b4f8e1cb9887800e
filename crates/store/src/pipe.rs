//! Bytes from one thread to others: bounded, and shared instead of copied when several read the same.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// A piece of a stream that several threads may look at.
pub(crate) type Chunk = Arc<Vec<u8>>;

/// A channel that holds at most [`CHUNKS_MAX`] chunks, so that the faster end waits.
pub(crate) fn channel() -> (SyncSender<Chunk>, Receiver<Chunk>) {
    sync_channel(CHUNKS_MAX)
}

/// Reads up to a chunk; shorter only at the end of the stream, `None` after it.
pub(crate) fn read_chunk(reader: &mut impl Read) -> io::Result<Option<Chunk>> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    reader.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok((!chunk.is_empty()).then(|| Arc::new(chunk)))
}

/// Reads until there are so many bytes, or the stream ends.
pub(crate) fn read_at_least(reader: &mut impl Read, bytes: usize) -> io::Result<Chunk> {
    let mut chunk = Vec::with_capacity(bytes);
    reader.by_ref().take(bytes as u64).read_to_end(&mut chunk)?;
    Ok(Arc::new(chunk))
}

/// Reads what is there, at most a chunk; `None` at the end. What comes slowly is passed on at once.
pub(crate) fn read_some(reader: &mut impl Read) -> io::Result<Option<Chunk>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(length) => {
                chunk.truncate(length);
                return Ok(Some(Arc::new(chunk)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The receiving end as a stream; it ends when the sender is dropped.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    chunks: Receiver<Chunk>,
    current: Chunk,
    read: usize,
}

impl ChunkReader {
    pub(crate) fn new(chunks: Receiver<Chunk>) -> Self {
        Self { chunks, current: Chunk::default(), read: 0 }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.current.len() {
            let Ok(next) = self.chunks.recv() else { return Ok(0) };
            (self.current, self.read) = (next, 0);
        }
        let rest = &self.current[self.read..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }
}

/// The sending end as a sink; [`ChunkWriter::finish`] sends what is left.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    chunks: SyncSender<Chunk>,
    current: Vec<u8>,
}

impl ChunkWriter {
    pub(crate) fn new(chunks: SyncSender<Chunk>) -> Self {
        Self { chunks, current: Vec::with_capacity(CHUNK_BYTES) }
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.current, Vec::with_capacity(CHUNK_BYTES));
        self.chunks.send(Arc::new(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(CHUNK_BYTES - self.current.len());
        self.current.extend_from_slice(&bytes[..length]);
        if self.current.len() == CHUNK_BYTES {
            self.send()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Big enough that hand-overs cost nothing, small enough for the processor's cache.
const CHUNK_BYTES: usize = 256 * 1024;
/// Two mebibytes a stream evens out a disk's hiccups.
const CHUNKS_MAX: usize = 8;
