//! What a pull needs: layers fetched in one pass, and images made of them.
//!
//! ```text
//!   partial file, then what still comes --> blob's writer: hash, append ---------> partials/<hex>, whole
//!                                      \--> inflate, hash (diffID), unpack ------> layers/<diffID hex>/
//! ```
//! A fetched layer's tree lies at its place at once, held by the caller's lease; its blob stays among the partials until
//! an image needs it, so that a pull which breaks off later has not fetched it in vain.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;

use archive::compression::{self, Compression};
use fault::{Call, Doing, Error, Kind, Result};
use oci::{Descriptor, Digest};
use sha2::{Digest as _, Sha256};

use crate::content::{StagedBlob, Writeback, refuse_other_algorithms};
use crate::image::{Manifest, NewImage, parse_config};
use crate::index::Indexed;
use crate::layer::{self, StagedTree, joined, read_failed};
use crate::lease::{Held, Lease};
use crate::partial::Partial;
use crate::pipe::{self, Chunk, ChunkReader};
use crate::publish::{Staged, settle};
use crate::{ImageId, Layer, Naming, Store};

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetching {
    /// All bytes are here and are being compared with the digest.
    Verifying,
    /// They have the digest; what is left to do is unpacking.
    Verified,
}

/// An image as a registry has it. Its layers are here, held by the lease.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub manifest_type: String,
    /// Byte for byte, so that its digest stays.
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    pub naming: Naming,
}

impl Store {
    /// Holds a layer's blob and tree, and says whether both are here already. A tree that is missing beside its blob is
    /// unpacked.
    pub fn layer_hold(&self, lease: &Lease, blob: &Descriptor, diff_id: &Digest) -> Result<Option<Layer>> {
        refuse_other_algorithms(&blob.digest)?;
        refuse_other_algorithms(diff_id)?;
        lease.hold(Held::Blob(blob.digest.clone()));
        lease.hold(Held::Layer(diff_id.clone()));
        let is_fetched = self.is_whole_partial(&blob.digest)?;
        // Looked for second: what is fetched becomes a blob at any moment, and never the other way round.
        let is_stored = self.blob_exists(&blob.digest)?;
        if !is_stored && !is_fetched {
            return Ok(None);
        }
        if !self.has_layer(diff_id)? {
            if !is_stored {
                return Ok(None);
            }
            let tree = self.stage_tree(self.blob_open(&blob.digest)?, &blob.digest)?;
            if tree.diff_id != *diff_id {
                return Err(mismatch());
            }
            self.place_tree(Some(tree))?;
        }
        Ok(Some(self.fetched_layer(blob, diff_id)?))
    }

    /// Makes an image of layers that are here: blobs to disk, and all of it in one transaction.
    ///
    /// `Invalid`, with dockerd's words, if the layers are not those of the config.
    pub fn image_add(&self, lease: &Lease, image: Fetched) -> Result<ImageId> {
        let diff_ids = parse_config(&image.config)?.rootfs.diff_ids;
        if !image.layers.iter().map(|layer| &layer.diff_id).eq(&diff_ids) {
            return Err(mismatch());
        }
        let mut staged = self.stage_indexes(lease, &image.naming.indexes)?;
        for layer in &image.layers {
            staged.extend(self.unpublished(&layer.blob)?.map(Staged::Blob));
        }
        let Naming { names, indexes, signed } = image.naming;
        let image = NewImage {
            config: image.config,
            manifest: Manifest::Kept { media_type: image.manifest_type, bytes: image.manifest },
            layers: image.layers,
            names,
            indexed: None,
            signed,
            parent: None,
        };
        let id = image.id();
        let image = NewImage { indexed: Indexed::of(&indexes, &id), ..image };
        self.register(lease, staged, vec![image])?;
        Ok(id)
    }

    /// A fetched blob that is none yet. Another image with the same layer may make it one meanwhile.
    fn unpublished(&self, blob: &Descriptor) -> Result<Option<StagedBlob>> {
        if self.blob_exists(&blob.digest)? {
            return Ok(None);
        }
        match self.whole_partial(blob) {
            Err(error) if error.kind() == Kind::NotFound && self.blob_exists(&blob.digest)? => Ok(None),
            staged => staged.map(Some),
        }
    }

    fn place_tree(&self, tree: Option<StagedTree>) -> Result<()> {
        let Some(tree) = tree else { return Ok(()) };
        self.inner.unsettled.add(&tree.diff_id);
        sys::crash::point("store.publish.rename");
        settle(tree.scratch, &self.layer_path(&tree.diff_id))
    }

    fn fetched_layer(&self, blob: &Descriptor, diff_id: &Digest) -> Result<Layer> {
        let size_unpacked = self.layer_size(diff_id)?;
        Ok(Layer { blob: blob.clone(), diff_id: diff_id.clone(), size_unpacked })
    }
}

impl Partial {
    /// Reads what is here and then `rest`, once: the blob grows and is verified while its layer is unpacked.
    ///
    /// When `rest` fails, what came before stays for another attempt. `Invalid` if the blob has not its digest (with
    /// dockerd's words; nothing of it stays then) or is no layer with this diffID.
    pub fn finish(
        mut self,
        lease: &Lease,
        diff_id: &Digest,
        rest: impl Read,
        told: &(dyn Fn(Fetching) + Sync),
    ) -> Result<Layer> {
        lease.hold(Held::Layer(diff_id.clone()));
        let store = self.claim.store.clone();
        let streamed = self.stream(diff_id, rest, told);
        match streamed {
            Ok(()) => {
                self.claim.verified();
                store.fetched_layer(&self.blob, diff_id)
            }
            Err(Failure::Useless(error)) => {
                self.discard()?;
                Err(error)
            }
            Err(Failure::Rotten(error)) => {
                self.discard_rotten()?;
                Err(error)
            }
            Err(Failure::Resumable(error)) => Err(error),
        }
    }

    fn stream(
        &self,
        diff_id: &Digest,
        rest: impl Read,
        told: &(dyn Fn(Fetching) + Sync),
    ) -> Result<(), Failure> {
        let store = &self.claim.store;
        let mut input = self.beginning()?.chain(rest);
        let first = pipe::read_at_least(&mut input, compression::MAGIC_BYTES).map_err(read_failed)?;
        let how =
            Unpacking { store, compression: compression::detect(&first), blob: &self.blob.digest, diff_id };
        let (blob_end, blob_chunks) = pipe::channel();
        let (tar_end, tar_chunks) = pipe::channel();
        let (fed, blob, tree) = thread::scope(|scope| {
            let writing = scope.spawn(|| self.write(blob_chunks, told));
            let unpacking = scope.spawn(|| how.run(ChunkReader::new(tar_chunks)));
            let fed = feed(first, &mut input, blob_end, tar_end);
            (fed, joined(writing), joined(unpacking))
        });
        // What the stream says explains the others' errors, and a wrong blob those of its unpacking.
        fed.map_err(read_failed)?;
        blob?;
        let tree = tree.map_err(|error| match error.kind() {
            Kind::Unavailable | Kind::Invalid => Failure::Useless(error),
            _ => Failure::Resumable(error),
        })?;
        Ok(store.place_tree(tree)?)
    }

    /// What is in the file, from its beginning.
    fn beginning(&self) -> Result<impl Read> {
        let mut file = self.file.try_clone().call(|| "duplicate a partial blob's descriptor")?;
        file.rewind().call(|| "rewind a partial blob")?;
        Ok(file.take(self.length))
    }

    fn write(&self, chunks: Receiver<Chunk>, told: &(dyn Fn(Fetching) + Sync)) -> Result<(), Failure> {
        let mut growing = Growing::new(&self.file, self.length, self.blob.size);
        for chunk in chunks {
            growing.add(&chunk).map_err(|error| match error.kind() {
                // No room: what is here would only be in the way.
                Kind::Unavailable | Kind::Invalid => Failure::Useless(error),
                _ => Failure::Resumable(error),
            })?;
        }
        if growing.position < self.blob.size {
            return Err(Failure::Resumable(Error::unavailable("unexpected EOF")));
        }
        told(Fetching::Verifying);
        sys::crash::point("store.blob.written");
        if Digest::from_sha256(growing.hash.finalize().into()) != self.blob.digest {
            let digest = &self.blob.digest;
            let words = format!("filesystem layer verification failed for digest {digest}");
            return Err(Failure::Rotten(Error::invalid(words)));
        }
        told(Fetching::Verified);
        Ok(())
    }
}

/// Why a fetch failed, and what that means for the bytes that are here.
enum Failure {
    Resumable(Error),
    Useless(Error),
    /// They are not the blob's.
    Rotten(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Resumable(error)
    }
}

/// A file that grows to a blob: what it has is hashed, what it lacks is appended.
struct Growing<'a> {
    file: &'a File,
    length: u64,
    size: u64,
    position: u64,
    hash: Sha256,
    writeback: Writeback,
}

impl<'a> Growing<'a> {
    fn new(file: &'a File, length: u64, size: u64) -> Self {
        Self { file, length, size, position: 0, hash: Sha256::new(), writeback: Writeback::from(length) }
    }

    fn add(&mut self, chunk: &[u8]) -> Result<()> {
        let known = self.length.saturating_sub(self.position).min(chunk.len() as u64);
        let new = &chunk[known as usize..];
        if self.position + chunk.len() as u64 > self.size {
            return Err(Error::invalid(format!("blob has more than the expected {} bytes", self.size)));
        }
        self.file.write_all_at(new, self.position + known).call(|| "write blob")?;
        self.hash.update(chunk);
        self.position += chunk.len() as u64;
        self.writeback.reached(self.file, self.position);
        Ok(())
    }
}

/// Hands each chunk to both. The blob is written to its end even if unpacking gave up: only then is it known whose
/// fault that was.
fn feed(
    first: Chunk,
    input: &mut impl Read,
    blob_end: SyncSender<Chunk>,
    tar_end: SyncSender<Chunk>,
) -> io::Result<()> {
    let mut tar_end = Some(tar_end);
    let mut next = Some(first);
    while let Some(chunk) = next {
        if tar_end.as_ref().is_some_and(|end| end.send(Chunk::clone(&chunk)).is_err()) {
            tar_end = None;
        }
        if blob_end.send(chunk).is_err() {
            return Ok(());
        }
        next = pipe::read_some(input)?;
    }
    Ok(())
}

/// What a layer's stream is made into.
struct Unpacking<'a> {
    store: &'a Store,
    compression: Compression,
    blob: &'a Digest,
    diff_id: &'a Digest,
}

impl Unpacking<'_> {
    /// `None` if the tree is here, made from another blob: then only the diffID is compared.
    fn run(&self, tar: ChunkReader) -> Result<Option<StagedTree>> {
        if self.store.has_layer(self.diff_id)? {
            let plain = layer::hash(compression::reader(tar)?).map_err(read_failed)?;
            self.check(&Digest::from_sha256(plain))?;
            return Ok(None);
        }
        let scratch = self.store.tree_scratch()?;
        let unpacked = layer::unpack(tar, self.compression, &scratch).doing(|| "failed to register layer")?;
        let diff_id = unpacked.diff_id.unwrap_or_else(|| self.blob.clone());
        self.check(&diff_id)?;
        layer::staged_tree(scratch, diff_id, unpacked.size).map(Some)
    }

    fn check(&self, got: &Digest) -> Result<()> {
        if got == self.diff_id { Ok(()) } else { Err(mismatch()) }
    }
}

fn mismatch() -> Error {
    Error::invalid("layers from manifest don't match image configuration")
}
