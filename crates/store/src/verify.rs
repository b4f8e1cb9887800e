//! Checking the whole store: every blob against its digest, every image against what it needs.

use std::io;

use fault::{Call, Kind, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256};
use sys::fs;

use crate::catalog::{Catalog, Entry};
use crate::{ImageId, Store};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A blob's bytes do not have its digest, or cannot be read; the images that need it.
    Damaged(Digest, Vec<ImageId>),
    /// An image needs a blob that is not there.
    MissingBlob(ImageId, Digest),
    /// An image needs a layer's tree that is not there.
    MissingLayer(ImageId, Digest),
}

impl Store {
    /// Reads everything: as slow as the disk. Images may come and go meanwhile.
    pub fn verify(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for hex in fs::read_dir(self.path("content/blobs/sha256"))? {
            let Ok(digest) = format!("sha256:{}", hex.to_string_lossy()).parse::<Digest>() else { continue };
            if self.is_damaged(&digest) {
                let users = users(&self.catalog(), &digest);
                problems.push(Problem::Damaged(digest, users));
            }
        }
        for (id, entry) in &self.catalog().images {
            for digest in needed(id, entry) {
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
        // What an image lacks that was removed meanwhile is no problem.
        let catalog = self.catalog();
        problems.retain(|problem| match problem {
            Problem::Damaged(..) => true,
            Problem::MissingBlob(id, _) | Problem::MissingLayer(id, _) => catalog.images.contains_key(id),
        });
        Ok(problems)
    }

    /// A blob that went meanwhile is not.
    fn is_damaged(&self, digest: &Digest) -> bool {
        match self.blob_hash(digest) {
            Ok(found) => found != *digest,
            Err(error) => error.kind() != Kind::NotFound,
        }
    }

    fn blob_hash(&self, digest: &Digest) -> Result<Digest> {
        let mut hash = Hashing(Sha256::new());
        io::copy(&mut self.blob_open(digest)?, &mut hash).call(|| format!("read blob {digest}"))?;
        Ok(Digest::from_sha256(hash.0.finalize().into()))
    }
}

/// The blobs of an image: its layers', its configuration and its manifest.
fn needed<'e>(id: &'e ImageId, entry: &'e Entry) -> impl Iterator<Item = &'e Digest> {
    entry.layers.iter().map(|layer| &layer.blob.digest).chain([&id.0, &entry.manifest.digest])
}

fn users(catalog: &Catalog, blob: &Digest) -> Vec<ImageId> {
    let uses = |(id, entry): &(&ImageId, &Entry)| needed(id, entry).any(|digest| digest == blob);
    catalog.images.iter().filter(uses).map(|(id, _)| id.clone()).collect()
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
