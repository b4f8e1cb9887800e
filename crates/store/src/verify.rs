//! Checking the whole store: every blob against its digest, every image against what it needs.

use std::io;

use fault::{Call, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256};
use sys::fs;

use crate::{ImageId, Store};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A blob's bytes do not have its digest.
    Damaged(Digest),
    /// An image needs a blob that is not there.
    MissingBlob(ImageId, Digest),
    /// An image needs a layer's tree that is not there.
    MissingLayer(ImageId, Digest),
}

impl Store {
    /// Reads everything: as slow as the disk.
    pub fn verify(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for hex in fs::read_dir(self.path("content/blobs/sha256"))? {
            let Ok(digest) = format!("sha256:{}", hex.to_string_lossy()).parse::<Digest>() else { continue };
            if self.blob_hash(&digest)? != digest {
                problems.push(Problem::Damaged(digest));
            }
        }
        for (id, entry) in &self.catalog().images {
            let blobs = entry.layers.iter().map(|layer| &layer.blob.digest);
            for digest in blobs.chain([&id.0, &entry.manifest.digest]) {
                if !self.blob_exists(digest)? {
                    problems.push(Problem::MissingBlob(id.clone(), digest.clone()));
                }
            }
            for layer in &entry.layers {
                if !self.has_layer(&layer.diff_id)? {
                    problems.push(Problem::MissingLayer(id.clone(), layer.diff_id.clone()));
                }
            }
        }
        Ok(problems)
    }

    fn blob_hash(&self, digest: &Digest) -> Result<Digest> {
        let mut hash = Hashing(Sha256::new());
        io::copy(&mut self.blob_open(digest)?, &mut hash).call(|| format!("read blob {digest}"))?;
        Ok(Digest::from_sha256(hash.0.finalize().into()))
    }
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
