//! Layers: a tar that was unpacked beneath a directory of its own.
//!
//! Applying is one pass: the stream's bytes go to the blob's writer and, at the same time, through decompression into the
//! tree. An overlay layer's tree depends on no other layer, so layers are unpacked in any order. Whiteouts lie in the
//! tree in overlayfs's own form. A layer's directory appears whole or not at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;

use archive::compression::{self, Compression};
use archive::{Extract, Pack, Whiteouts};
use fault::{Call, Error, Kind, Result};
use oci::{Descriptor, Digest, media_type};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sys::fs;

use crate::Store;
use crate::content::{BlobWriter, StagedBlob, refuse_other_algorithms};
use crate::lease::{Held, Lease};
use crate::pipe::{self, Chunk, ChunkReader, ChunkWriter};
use crate::publish::Staged;
use crate::scratch::Scratch;

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The tar as it came, compressed or not.
    pub blob: Descriptor,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The bytes of its files.
    pub size_unpacked: u64,
}

/// A whole tree in `ingest`, with its `layer.json`.
#[derive(Debug)]
pub(crate) struct StagedTree {
    pub(crate) scratch: Scratch,
    pub(crate) diff_id: Digest,
    pub(crate) size: u64,
}

/// A layer's blob and tree in `ingest`.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    pub(crate) blob: StagedBlob,
    pub(crate) tree: StagedTree,
    pub(crate) compression: Compression,
}

impl StagedLayer {
    pub(crate) fn layer(&self) -> Layer {
        Layer {
            blob: Descriptor::new(layer_type(self.compression), self.blob.digest.clone(), self.blob.size),
            diff_id: self.tree.diff_id.clone(),
            size_unpacked: self.tree.size,
        }
    }

    pub(crate) fn hold(&self, lease: &Lease) {
        lease.hold(Held::Blob(self.blob.digest.clone()));
        lease.hold(Held::Layer(self.tree.diff_id.clone()));
    }

    pub(crate) fn into_staged(self) -> [Staged; 2] {
        [Staged::Blob(self.blob), Staged::Tree(self.tree)]
    }
}

/// `layer.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) size: u64,
    /// The boot in which the tree was made, until it is known to be on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) boot: Option<String>,
    /// What the tree takes, counted when it was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<TreeRecord>,
}

/// A tree as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeRecord {
    /// Apparent bytes of everything but folders.
    pub(crate) content: u64,
    /// Bytes on disk, folders included.
    pub(crate) allocated: u64,
}

impl Store {
    /// Stores a layer's tar, compressed or not, and unpacks it, in one pass. With `expected`, digest and size have to be
    /// those. The lease holds blob and layer.
    pub fn layer_apply(
        &self,
        lease: &Lease,
        mut reader: impl Read,
        expected: Option<&Descriptor>,
    ) -> Result<Layer> {
        if let Some(descriptor) = expected {
            refuse_other_algorithms(&descriptor.digest)?;
        }
        let staged = self.stage_layer(&mut reader)?;
        let mut layer = staged.layer();
        if let Some(descriptor) = expected {
            staged.blob.verify(descriptor)?;
            layer.blob = descriptor.clone();
        }
        staged.hold(lease);
        self.publish(staged.into_staged().into())?;
        Ok(layer)
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> Result<bool> {
        fs::exists(self.layer_path(diff_id))
    }

    /// Where the layer lies unpacked, below `diff`.
    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers").join(diff_id.hex())
    }

    pub(crate) fn layer_size(&self, diff_id: &Digest) -> Result<u64> {
        let record = self.layer_record(diff_id)?;
        record
            .map(|record| record.size)
            .ok_or_else(|| Error::internal(format!("layer {diff_id} has no record")))
    }

    /// `None` if there is no layer, or no record that makes sense.
    pub(crate) fn layer_record(&self, diff_id: &Digest) -> Result<Option<Record>> {
        let text = fs::read_to_string_if_exists(self.layer_path(diff_id).join("layer.json"))?;
        let record = text.and_then(|text| serde_json::from_str::<Record>(&text).ok());
        Ok(record.filter(|record| record.version == 1))
    }

    /// Walks through a layer's tree.
    pub(crate) fn count_tree(&self, diff_id: &Digest) -> Result<TreeRecord> {
        let usage = fs::tree_usage(self.layer_path(diff_id).join("diff"))?;
        Ok(TreeRecord { content: usage.content, allocated: usage.allocated })
    }

    pub(crate) fn write_layer_record(&self, diff_id: &Digest, record: &Record) -> Result<()> {
        fs::write_atomic(self.layer_path(diff_id).join("layer.json"), encoded(record))
    }

    /// Reads a stream once, into a blob and a tree.
    pub(crate) fn stage_layer(&self, reader: &mut impl Read) -> Result<StagedLayer> {
        let first = pipe::read_chunk(reader).map_err(read_failed)?.unwrap_or_default();
        let compression = compression::detect(&first);
        let (blob, scratch) = (self.blob_writer()?, self.tree_scratch()?);
        let (blob_end, blob_chunks) = pipe::channel();
        let (tar_end, tar_chunks) = pipe::channel();
        let (fed, blob, unpacked) = thread::scope(|scope| {
            let writing = scope.spawn(move || write_blob(blob, blob_chunks));
            let tree = &scratch;
            let unpacking = scope.spawn(move || unpack(ChunkReader::new(tar_chunks), compression, tree));
            let fed = feed(first, reader, [blob_end, tar_end]);
            (fed, joined(writing), joined(unpacking))
        });
        // A stream that broke off explains the others' errors.
        fed.map_err(read_failed)?;
        let (blob, unpacked) = (blob?, unpacked?);
        let diff_id = unpacked.diff_id.unwrap_or_else(|| blob.digest.clone());
        let tree = staged_tree(scratch, diff_id, unpacked.size)?;
        Ok(StagedLayer { blob, tree, compression })
    }

    /// Unpacks a blob that is a file already.
    pub(crate) fn stage_tree(&self, blob: File, digest: &Digest) -> Result<StagedTree> {
        let scratch = self.tree_scratch()?;
        let compression = file_compression(&blob)?;
        let unpacked = unpack(blob, compression, &scratch)?;
        staged_tree(scratch, unpacked.diff_id.unwrap_or_else(|| digest.clone()), unpacked.size)
    }

    pub(crate) fn tree_scratch(&self) -> Result<Scratch> {
        let scratch = self.scratch("layer");
        fs::create_dir(scratch.path(), 0o700)?;
        fs::create_dir(scratch.path().join("diff"), 0o755)?;
        sys::crash::point("store.layer.begun");
        Ok(scratch)
    }
}

/// How a blob is compressed, by its first bytes.
pub(crate) fn file_compression(blob: &File) -> Result<Compression> {
    let mut first = [0; compression::MAGIC_BYTES];
    let length = blob.read_at(&mut first, 0).call(|| "read blob")?;
    Ok(compression::detect(&first[..length]))
}

pub(crate) fn layer_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// Writes the changes in an overlay's upper directory as a layer's tar.
pub(crate) fn pack(root: &OwnedFd, writer: impl Write) -> Result<()> {
    let mut tar = archive::tar::Writer::new(writer);
    archive::pack(root.as_fd(), &Pack { whiteouts: Whiteouts::Overlay, ..Pack::default() }, &mut tar)?;
    tar.finish().map(drop)
}

/// Runs `produce` in a thread of its own and hands what it writes to `consume`. If both fail, the producer's error is
/// told, for it explains the consumer's; but not an `Internal` one, which is what a producer meets whose consumer went.
pub(crate) fn piped<T>(
    produce: impl FnOnce(&mut ChunkWriter) -> Result<()> + Send,
    consume: impl FnOnce(&mut ChunkReader) -> Result<T>,
) -> Result<T> {
    let (sender, receiver) = pipe::channel();
    thread::scope(|scope| {
        let producing = scope.spawn(move || {
            let mut writer = ChunkWriter::new(sender);
            produce(&mut writer)?;
            writer.finish().call(|| "writing into a pipe")
        });
        let consumed = consume(&mut ChunkReader::new(receiver));
        match joined(producing) {
            // The consumer went first, and knows why.
            Err(error) if consumed.is_ok() || error.kind() != Kind::Internal => Err(error),
            _ => consumed,
        }
    })
}

/// Reads a stream into a blob; hashing and writing have a thread of their own.
pub(crate) fn spool(writer: BlobWriter, reader: &mut impl Read) -> Result<StagedBlob> {
    let (end, chunks) = pipe::channel();
    let (fed, blob) = thread::scope(|scope| {
        let writing = scope.spawn(move || write_blob(writer, chunks));
        let fed = feed(Chunk::default(), reader, [end]);
        (fed, joined(writing))
    });
    fed.map_err(read_failed)?;
    blob
}

/// Hands each chunk to all; stops early when one of them gave up, which has its own error to tell.
fn feed<const N: usize>(
    first: Chunk,
    reader: &mut impl Read,
    ends: [SyncSender<Chunk>; N],
) -> io::Result<()> {
    let mut next = Some(first);
    while let Some(chunk) = next {
        if ends.iter().any(|end| end.send(Chunk::clone(&chunk)).is_err()) {
            return Ok(());
        }
        next = pipe::read_chunk(reader)?;
    }
    Ok(())
}

fn write_blob(mut writer: BlobWriter, chunks: Receiver<Chunk>) -> Result<StagedBlob> {
    for chunk in chunks {
        writer.write_all(&chunk).call(|| "write blob")?;
    }
    writer.finish()
}

pub(crate) struct Unpacked {
    /// Known only if the stream was compressed; else it is the blob's digest.
    pub(crate) diff_id: Option<Digest>,
    pub(crate) size: u64,
}

pub(crate) fn unpack(stream: impl Read, compression: Compression, scratch: &Scratch) -> Result<Unpacked> {
    let root = fs::open_dir(scratch.path().join("diff"))?;
    if compression == Compression::None {
        let size = extract(stream, &root)?;
        return Ok(Unpacked { diff_id: None, size });
    }
    let mut hashing = HashReader::new(compression::reader(stream)?);
    let size = extract(&mut hashing, &root)?;
    Ok(Unpacked { diff_id: Some(hashing.digest()), size })
}

/// `extract` reads beyond the archive's end: what follows belongs to the blob and to the diffID too.
fn extract(stream: impl Read, root: &OwnedFd) -> Result<u64> {
    let how = Extract { whiteouts: Whiteouts::Overlay, ..Extract::default() };
    let extracted = archive::extract(stream, root.as_fd(), &how)?;
    sys::crash::point("store.layer.extracted");
    Ok(extracted.size)
}

pub(crate) fn staged_tree(scratch: Scratch, diff_id: Digest, size: u64) -> Result<StagedTree> {
    let record = Record { version: 1, size, boot: Some(sys::process::boot_id()?), tree: None };
    fs::write(scratch.path().join("layer.json"), encoded(&record))?;
    Ok(StagedTree { scratch, diff_id, size })
}

fn encoded(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record is always JSON")
}

/// Reads a stream to its end; its SHA-256.
pub(crate) fn hash(stream: impl Read) -> io::Result<[u8; 32]> {
    let mut hashing = HashReader::new(stream);
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hashing.hash.finalize().into())
}

/// Hashes what is read through it.
pub(crate) struct HashReader<R> {
    stream: R,
    hash: Sha256,
}

impl<R> HashReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, hash: Sha256::new() }
    }

    pub(crate) fn digest(self) -> Digest {
        Digest::from_sha256(self.hash.finalize().into())
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

/// A thread's result; its panic goes on here.
pub(crate) fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The caller's stream failed: an error of ours that came through it stays what it is.
pub(crate) fn read_failed(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Error::invalid("unexpected EOF"),
        Err(error) => Error::io("read stream", error),
    }
}
