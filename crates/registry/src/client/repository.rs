//! One repository of a registry: its manifests, tags, referrers and blobs.
//!
//! What fails in passing (a busy server, a broken connection) is tried again, as the configuration says.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use fault::{Error, Result};
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, RANGE};
use hyper::http::Uri;
use oci::{Descriptor, Digest, Reference};

use crate::client::exchange::{Answer, Ask, Payload};
use crate::client::manifest::{ACCEPTED, Told};
use crate::client::speaker::Speaker;
use crate::client::trouble::Trouble;
use crate::client::upload::{self, Source};
use crate::client::{headers, listing};

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

impl Key {
    /// By digest if there is one, else by tag, else `latest`.
    pub fn of(reference: &Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest.clone()),
            (None, tag) => Self::Tag(tag.unwrap_or("latest").into()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => out.write_str(tag),
            Self::Digest(digest) => digest.fmt(out),
        }
    }
}

/// A manifest or an index, byte for byte; the descriptor's digest and size are those of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

/// A repository; cheap to clone. Errors of the registry come with its own words (`manifest unknown: …`).
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) speaker: Speaker,
}

impl Repository {
    pub(crate) fn new(speaker: Speaker) -> Self {
        Self { speaker }
    }

    /// Its bytes, verified. `NotFound` if there is none.
    pub async fn manifest(&self, key: &Key) -> Result<Manifest> {
        Ok(self.manifest_of(key).await?)
    }

    pub(crate) async fn manifest_of(&self, key: &Key) -> Result<Manifest, Trouble> {
        let ask = |address| manifest_ask(Method::GET, address);
        let (answer, bytes) =
            self.speaker.fetch(&format!("manifests/{key}"), ask, DOCUMENT_BYTES_MAX).await?;
        let told = Told { content_type: answer.header(CONTENT_TYPE), digest: answer.header(CONTENT_DIGEST) };
        Ok(Manifest::checked(key, told, bytes.into())?)
    }

    /// What it would be; `None` if there is none.
    pub async fn manifest_head(&self, key: &Key) -> Result<Option<Descriptor>> {
        match self.manifest_head_of(key).await {
            Ok(Some(descriptor)) => Ok(Some(descriptor)),
            Err(trouble) if trouble.is_not_found() => Ok(None),
            // Neither an answer nor an error says anything without a body.
            Ok(None) | Err(_) => match self.manifest_of(key).await {
                Ok(manifest) => Ok(Some(manifest.descriptor)),
                Err(trouble) if trouble.is_not_found() => Ok(None),
                Err(trouble) => Err(trouble.into()),
            },
        }
    }

    /// `None` if the registry does not say enough.
    pub(crate) async fn manifest_head_of(&self, key: &Key) -> Result<Option<Descriptor>, Trouble> {
        let ask = |address| manifest_ask(Method::HEAD, address);
        let answer = self.speaker.ask_patiently(&format!("manifests/{key}"), ask).await?;
        let digest = answer.header(CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
        let (Some(digest), Some(size)) = (digest, answer.content_length()) else { return Ok(None) };
        let media_type = answer.header(CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        Ok(Some(Descriptor::new(media_type, digest, size)))
    }

    /// Stores a manifest or index under a tag or its digest.
    pub async fn manifest_put(&self, key: &Key, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        self.manifest_put_of(key, media_type, bytes).await?;
        Ok(Digest::sha256(bytes))
    }

    pub(crate) async fn manifest_put_of(
        &self,
        key: &Key,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Answer, Trouble> {
        let bytes = Bytes::copy_from_slice(bytes);
        let tail = format!("manifests/{key}");
        let ask = |address| {
            let ask = Ask::new(Method::PUT, address).with_header(CONTENT_TYPE, media_type);
            ask.with_payload(Payload::Bytes(bytes.clone()))
        };
        self.speaker.ask_patiently(&tail, ask).await
    }

    /// Deletes a manifest (by digest) or a tag (if the registry can).
    pub async fn manifest_delete(&self, key: &Key) -> Result<()> {
        let tail = format!("manifests/{key}");
        self.speaker.ask_patiently(&tail, |address| Ask::new(Method::DELETE, address)).await?;
        Ok(())
    }

    /// All tags, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>> {
        Ok(self.tags_of().await?)
    }

    pub(crate) async fn tags_of(&self) -> Result<Vec<String>, Trouble> {
        listing::tags(&self.speaker).await
    }

    /// The manifests that refer to this one (signatures, attestations), of one artifact type or of all. Registries
    /// without the API are asked for the tag `sha256-<hex>` in its place.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let all = self.referrers_of(subject, artifact_type).await?;
        let is_wanted = |one: &Descriptor| {
            artifact_type.is_none_or(|wanted| one.artifact_type.as_deref() == Some(wanted))
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    pub(crate) async fn referrers_of(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Trouble> {
        match listing::referrers(&self.speaker, subject, artifact_type).await {
            Err(trouble) if trouble.is_not_found() => self.tagged_referrers(subject).await,
            all => all,
        }
    }

    /// distribution-spec, "Unavailable Referrers API".
    async fn tagged_referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Trouble> {
        match self.manifest_of(&Key::Tag(referrers_tag(subject))).await {
            Ok(manifest) => Ok(manifest.read::<oci::Index>()?.manifests),
            Err(trouble) if trouble.is_not_found() => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Size in bytes; `None` if there is none.
    pub async fn blob_head(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.blob_head_of(digest).await?)
    }

    pub(crate) async fn blob_head_of(&self, digest: &Digest) -> Result<Option<u64>, Trouble> {
        let tail = format!("blobs/{digest}");
        match self.speaker.ask_patiently(&tail, |address| Ask::new(Method::HEAD, address)).await {
            Ok(answer) => Ok(Some(answer.content_length().unwrap_or_default())),
            Err(trouble) if trouble.is_not_found() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// All of a small blob, verified: a config, a signature.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Bytes> {
        Ok(self.blob_of(descriptor).await?)
    }

    pub(crate) async fn blob_of(&self, descriptor: &Descriptor) -> Result<Bytes, Trouble> {
        let digest = &descriptor.digest;
        if descriptor.size > DOCUMENT_BYTES_MAX {
            return Err(Error::invalid(format!("blob {digest} is too big: {} bytes", descriptor.size)).into());
        }
        let tail = format!("blobs/{digest}");
        let ask = |address| Ask::new(Method::GET, address);
        let (_, bytes) = self.speaker.fetch(&tail, ask, descriptor.size).await?;
        if Digest::sha256(&bytes) != *digest {
            return Err(Error::invalid(format!("blob verification failed for digest {digest}")).into());
        }
        Ok(bytes)
    }

    /// A part of a blob; nothing can be verified. `Invalid` for more than a few mebibytes.
    pub async fn blob_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        if !(1..=DOCUMENT_BYTES_MAX).contains(&length) {
            return Err(Error::invalid(format!(
                "a part of 1 to {DOCUMENT_BYTES_MAX} bytes can be asked for"
            )));
        }
        let mut tries = self.speaker.tries();
        loop {
            match self.part(digest, &range, length).await {
                Err(trouble) => tries.after(trouble).await?,
                Ok(bytes) => return Ok(bytes),
            }
        }
    }

    async fn part(&self, digest: &Digest, range: &Range<u64>, length: u64) -> Result<Bytes, Trouble> {
        let mut answer = self.open_blob(digest, range.start, Some(range.end - 1)).await?;
        let bytes = answer.bytes(length).await?;
        if (bytes.len() as u64) < length { Err(answer.broken("unexpected EOF")) } else { Ok(bytes) }
    }

    /// Begins to read a blob, at a place in it. A server that does not know ranges sends all: what comes before is read
    /// and thrown away.
    pub(crate) async fn open_blob(
        &self,
        digest: &Digest,
        first: u64,
        last: Option<u64>,
    ) -> Result<Answer, Trouble> {
        let range = match (first, last) {
            (0, None) => None,
            (first, last) => {
                Some(format!("bytes={first}-{}", last.map(|last| last.to_string()).unwrap_or_default()))
            }
        };
        let ask = |address| {
            let ask = Ask::new(Method::GET, address);
            range.iter().fold(ask, |ask, range| ask.with_header(RANGE, range))
        };
        let tail = format!("blobs/{digest}");
        let answer = self.speaker.ask_with(&tail, ask).await?;
        if range.is_none() {
            return Ok(answer);
        }
        let begins = answer.header(hyper::header::CONTENT_RANGE).and_then(headers::part_begins);
        match (answer.status.as_u16(), begins) {
            (206, Some(begins)) if begins == first => Ok(answer),
            (206, _) => Err(answer.broken("the answer is another part than was asked for")),
            _ => answer.skipped(first).await,
        }
    }

    /// Stores a small blob unless it is there.
    pub async fn blob_put(&self, bytes: Bytes) -> Result<Digest> {
        let digest = Digest::sha256(&bytes);
        if self.blob_head_of(&digest).await?.is_none() {
            upload::upload(&self.speaker, &digest, &Source::Bytes(bytes), &[]).await?;
        }
        Ok(digest)
    }

    /// Makes another repository's blob be here too; says whether the registry did.
    pub async fn blob_mount(&self, digest: &Digest, from: &str) -> Result<bool> {
        Ok(upload::mount(&self.speaker, digest, from).await?)
    }

    pub async fn blob_delete(&self, digest: &Digest) -> Result<()> {
        let tail = format!("blobs/{digest}");
        self.speaker.ask_patiently(&tail, |address| Ask::new(Method::DELETE, address)).await?;
        Ok(())
    }
}

/// distribution-spec, "Referrers Tag Schema".
pub(crate) fn referrers_tag(subject: &Digest) -> String {
    format!("{}-{}", subject.algorithm(), subject.hex())
}

fn manifest_ask(method: Method, address: Uri) -> Ask {
    Ask::new(method, address).with_header(ACCEPT, ACCEPTED)
}

pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";
/// Registries take manifests of 4 MiB.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
