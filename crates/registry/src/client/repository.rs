//! One repository of a registry: its manifests, tags, referrers and blobs.

use std::ops::Range;

use bytes::Bytes;
use fault::{Error, Result};
use oci::{Descriptor, Digest};

/// What the repository is wanted for; tokens are asked for in this scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    #[default]
    Pull,
    Push,
    Delete,
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Tag(String),
    Digest(Digest),
}

/// A manifest or an index, byte for byte; the descriptor's digest and size are those of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

/// A repository; cheap to clone. Errors of the registry come with its own words (`manifest unknown: …`).
#[derive(Clone, Debug)]
pub struct Repository {}

impl Repository {
    /// Its bytes, verified. `NotFound` if there is none.
    pub async fn manifest(&self, key: &Key) -> Result<Manifest> {
        drop(key);
        Err(Error::unsupported("registries"))
    }

    /// What it would be; `None` if there is none.
    pub async fn manifest_head(&self, key: &Key) -> Result<Option<Descriptor>> {
        drop(key);
        Err(Error::unsupported("registries"))
    }

    /// Stores a manifest or index under a tag or its digest.
    pub async fn manifest_put(&self, key: &Key, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        drop((key, media_type, bytes));
        Err(Error::unsupported("registries"))
    }

    /// Deletes a manifest (by digest) or a tag (if the registry can).
    pub async fn manifest_delete(&self, key: &Key) -> Result<()> {
        drop(key);
        Err(Error::unsupported("registries"))
    }

    /// All tags, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>> {
        Err(Error::unsupported("registries"))
    }

    /// The manifests that refer to this one (signatures, attestations), of one artifact type or of all. Registries
    /// without the API are asked for the tag `sha256-<hex>` in its place.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        drop((subject, artifact_type));
        Err(Error::unsupported("registries"))
    }

    /// Size in bytes; `None` if there is none.
    pub async fn blob_head(&self, digest: &Digest) -> Result<Option<u64>> {
        drop(digest);
        Err(Error::unsupported("registries"))
    }

    /// All of a small blob, verified: a config, a signature.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes> {
        drop(descriptor);
        Err(Error::unsupported("registries"))
    }

    /// A part of a blob; nothing can be verified.
    pub async fn blob_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes> {
        drop((digest, range));
        Err(Error::unsupported("registries"))
    }

    /// Stores a small blob unless it is there.
    pub async fn blob_put(&self, bytes: Bytes) -> Result<Digest> {
        drop(bytes);
        Err(Error::unsupported("registries"))
    }

    /// Makes another repository's blob be here too; says whether the registry did.
    pub async fn blob_mount(&self, digest: &Digest, from: &str) -> Result<bool> {
        drop((digest, from));
        Err(Error::unsupported("registries"))
    }

    pub async fn blob_delete(&self, digest: &Digest) -> Result<()> {
        drop(digest);
        Err(Error::unsupported("registries"))
    }
}
