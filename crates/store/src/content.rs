//! Blobs by digest, in an OCI image layout that foreign tools can read.
//!
//! Bytes are hashed while they are written to a temporary file; the file gets its name only when digest and size are
//! those expected and it is on disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use fault::{Call, Error, Kind, Result};
use oci::{Descriptor, Digest, Index};
use sha2::{Digest as _, Sha256};
use sys::fs;

use crate::Store;
use crate::lease::{Held, Lease};
use crate::publish::Staged;
use crate::scratch::Scratch;

impl Store {
    /// Stores all of a stream. With `expected`, digest and size have to be those; the lease holds the blob.
    pub fn blob_put(
        &self,
        lease: &Lease,
        mut reader: impl Read,
        expected: Option<&Descriptor>,
    ) -> Result<Descriptor> {
        if let Some(descriptor) = expected {
            refuse_other_algorithms(&descriptor.digest)?;
            lease.hold(Held::Blob(descriptor.digest.clone()));
            if self.blob_exists(&descriptor.digest)? {
                return Ok(descriptor.clone());
            }
        }
        let mut writer = self.blob_writer()?;
        copy_bounded(&mut reader, &mut writer, expected.map(|descriptor| descriptor.size))?;
        let blob = writer.finish()?;
        if let Some(descriptor) = expected {
            blob.verify(descriptor)?;
        }
        let media_type = expected.map_or("application/octet-stream", |descriptor| &descriptor.media_type);
        let descriptor = Descriptor::new(media_type, blob.digest.clone(), blob.size);
        lease.hold(Held::Blob(blob.digest.clone()));
        self.publish(vec![Staged::Blob(blob)])?;
        Ok(descriptor)
    }

    /// Opens a blob for reading.
    pub fn blob_open(&self, digest: &Digest) -> Result<File> {
        fs::open(self.blob_path(digest), &fs::OpenHow::READ).map_err(|error| missing(error, digest))
    }

    /// All of a small blob: a config, a manifest, an index.
    pub fn blob_read(&self, digest: &Digest) -> Result<Vec<u8>> {
        fs::read_bounded(self.blob_path(digest), DOCUMENT_BYTES_MAX).map_err(|error| missing(error, digest))
    }

    pub fn blob_exists(&self, digest: &Digest) -> Result<bool> {
        fs::exists(self.blob_path(digest))
    }

    /// In bytes.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64> {
        Ok(fs::metadata(self.blob_path(digest)).map_err(|error| missing(error, digest))?.size)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("content/blobs").join(digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn blob_writer(&self) -> Result<BlobWriter> {
        let scratch = self.scratch("blob");
        let how = fs::OpenHow { access: fs::Access::ReadWrite, ..fs::OpenHow::NEW }.with_mode(0o600);
        let file = fs::open(scratch.path(), &how)?;
        sys::crash::point("store.blob.begun");
        Ok(BlobWriter { scratch, file, hash: Sha256::new(), size: 0, writeback: Writeback::default() })
    }

    /// Writes a document that is in memory, not yet published. There may be many of them at once.
    pub(crate) fn stage_document(&self, bytes: &[u8]) -> Result<StagedBlob> {
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).call(|| "write blob")?;
        writer.finish().map(StagedBlob::closed)
    }

    /// The two files that make `content` an OCI image layout. The index is told anew from the catalog whenever that
    /// changes; it is for foreign readers only, so a crash or a full disk may leave an older one.
    pub(crate) fn write_layout(&self) {
        let _alone = self.inner.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let written = write_unless_same(&self.path("content/oci-layout"), OCI_LAYOUT.as_bytes())
            .and_then(|()| write_unless_same(&self.path("content/index.json"), &self.index()));
        if let Err(error) = written {
            tracing::warn!(%error, "the image layout's index lags behind");
        }
    }

    pub(crate) fn index(&self) -> Vec<u8> {
        let catalog = self.catalog();
        let mut manifests = Vec::new();
        for (name, id) in &catalog.names {
            let Some(entry) = catalog.images.get(id) else { continue };
            let mut manifest = entry.manifest.clone();
            // A digest of something else, an index or another form, is no name of the manifest.
            if name.digest().is_none_or(|digest| *digest == manifest.digest) {
                manifest.annotations = crate::save::name_annotations(name);
            }
            manifests.push(manifest);
        }
        serde_json::to_vec(&Index::new(manifests)).expect("an index is always JSON")
    }
}

/// Where a blob lies in an image layout (image-spec, image-layout.md).
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn write_unless_same(path: &Path, content: &[u8]) -> Result<()> {
    match fs::read(path) {
        Ok(found) if found == content => Ok(()),
        _ => fs::write_swapped(path, content, 0o644),
    }
}

/// A blob being written; dropped unfinished, it vanishes.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    scratch: Scratch,
    file: File,
    hash: Sha256,
    size: u64,
    writeback: Writeback,
}

impl BlobWriter {
    pub(crate) fn finish(self) -> Result<StagedBlob> {
        sys::crash::point("store.blob.written");
        let digest = Digest::from_sha256(self.hash.finalize().into());
        Ok(StagedBlob { scratch: self.scratch, file: Some(self.file), digest, size: self.size })
    }
}

/// Makes the disk work while a file still grows, so that the sync at the end has less to wait for. Only a hint: where a
/// file system does not take it, the sync does everything.
#[derive(Debug, Default)]
pub(crate) struct Writeback {
    /// How far the kernel was told to write to disk already.
    begun: u64,
}

impl Writeback {
    pub(crate) fn from(begun: u64) -> Self {
        Self { begun }
    }

    /// The file has grown to this size.
    pub(crate) fn reached(&mut self, file: &File, size: u64) {
        if size.saturating_sub(self.begun) >= WRITEBACK_BYTES {
            drop(sys::writeback::begin(file, self.begun..size));
            self.begun = size;
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        self.writeback.reached(&self.file, self.size);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A whole blob in `ingest`.
#[derive(Debug)]
pub(crate) struct StagedBlob {
    pub(crate) scratch: Scratch,
    /// Closed where there are many at once; opened again when it is needed.
    pub(crate) file: Option<File>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl StagedBlob {
    pub(crate) fn closed(self) -> Self {
        Self { file: None, ..self }
    }

    /// Its bytes are on disk afterwards.
    pub(crate) fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => fs::fsync(file),
            None => fs::fsync(self.reopen()?),
        }
    }

    pub(crate) fn verify(&self, expected: &Descriptor) -> Result<()> {
        if self.size != expected.size {
            let (got, wanted) = (self.size, expected.size);
            return Err(Error::invalid(format!(
                "blob {} has {got} bytes, expected {wanted}",
                expected.digest
            )));
        }
        if self.digest != expected.digest {
            return Err(Error::invalid(format!(
                "blob has digest {}, expected {}",
                self.digest, expected.digest
            )));
        }
        Ok(())
    }

    /// Another handle of the bytes, at their beginning.
    pub(crate) fn reopen(&self) -> Result<File> {
        fs::open(self.scratch.path(), &fs::OpenHow::READ)
    }
}

/// We hash with SHA-256 only, as everybody does; the grammar knows others.
pub(crate) fn refuse_other_algorithms(digest: &Digest) -> Result<()> {
    if digest.algorithm() == "sha256" {
        return Ok(());
    }
    Err(Error::unsupported(format!("digest algorithm {}", digest.algorithm())))
}

/// Copies, and stops when more comes than was promised.
fn copy_bounded(reader: &mut impl Read, writer: &mut BlobWriter, bytes_max: Option<u64>) -> Result<()> {
    let copied = match bytes_max {
        Some(bytes_max) => io::copy(&mut reader.take(bytes_max.saturating_add(1)), writer),
        None => io::copy(reader, writer),
    };
    copied.map(drop).call(|| "storing a blob")
}

fn missing(error: Error, digest: &Digest) -> Error {
    if error.kind() == Kind::NotFound { Error::not_found(format!("blob {digest} not found")) } else { error }
}

/// Big enough for a disk to like.
const WRITEBACK_BYTES: u64 = 8 << 20;
/// More than any sane config or manifest; registries stop at 4 MiB.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
pub(crate) const OCI_LAYOUT: &str = r#"{"imageLayoutVersion": "1.0.0"}"#;
