//! Sending a blob (distribution-spec, "Pushing blobs").
//!
//! ```text
//!   POST uploads/ [?mount=&from=] --201--> mounted
//!        | 202 Location
//!        v
//!   PUT all of it --201--> done            one request; else, after a break or a 413:
//!   GET Location: how much is there -> PATCH the rest in pieces -> PUT nothing more --201--> done
//! ```

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use fault::{Error, Result};
use hyper::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use hyper::http::Uri;
use hyper::{Method, StatusCode};
use oci::Digest;

use crate::client::address::{escaped, with_query};
use crate::client::exchange::{Ask, Payload, Section};
use crate::client::headers::received;
use crate::client::speaker::{Speaker, rest};
use crate::client::trouble::Trouble;

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bytes(Bytes),
    File {
        file: Arc<File>,
        size: u64,
        /// How far it has been sent.
        sent: Arc<AtomicU64>,
    },
}

impl Source {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    fn part(&self, start: u64, end: u64) -> Payload {
        match self {
            Self::Bytes(bytes) => Payload::Bytes(bytes.slice(start as usize..end as usize)),
            Self::File { file, sent, .. } => {
                Payload::File(Section { file: Arc::clone(file), range: start..end, sent: Arc::clone(sent) })
            }
        }
    }
}

/// How a blob came to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    Sent,
    /// From this repository.
    Mounted(String),
}

/// Sends a blob, unless one of these repositories of the registry can give it.
pub(crate) async fn upload(
    speaker: &Speaker,
    digest: &Digest,
    source: &Source,
    others: &[String],
) -> Result<Placed, Trouble> {
    let mut location = None;
    for other in others {
        match begin_mount(speaker, digest, other).await {
            Ok(None) => return Ok(Placed::Mounted(other.clone())),
            Ok(begun) => {
                location = begun;
                break;
            }
            // Whoever may not read the other repository may still write here.
            Err(trouble) if trouble.status().is_some() => {
                tracing::debug!(%digest, from = other, %trouble, "not mounted");
            }
            Err(trouble) => return Err(trouble),
        }
    }
    let mut sending = Sending { speaker, digest, source, in_pieces: false };
    let location = match location {
        Some(location) => location,
        None => begin(speaker).await?,
    };
    sending.run(location).await?;
    Ok(Placed::Sent)
}

/// Whether the registry made another repository's blob be here.
pub(crate) async fn mount(speaker: &Speaker, digest: &Digest, from: &str) -> Result<bool, Trouble> {
    let Some(location) = begin_mount(speaker, digest, from).await? else { return Ok(true) };
    // Nobody will send anything: the registry would keep the session for days.
    if let Err(trouble) = speaker.ask_at(&Ask::new(Method::DELETE, location)).await {
        tracing::debug!(%trouble, "an upload is left for the registry to forget");
    }
    Ok(false)
}

async fn begin(speaker: &Speaker) -> Result<Uri, Trouble> {
    speaker.ask_patiently("blobs/uploads/", |address| Ask::new(Method::POST, address)).await?.location()
}

/// `None` if it is mounted, else where to send it.
async fn begin_mount(speaker: &Speaker, digest: &Digest, from: &str) -> Result<Option<Uri>, Trouble> {
    let tail = format!("blobs/uploads/?mount={}&from={}", escaped(digest.as_str()), escaped(from));
    let answer = speaker.also_pulling(from).ask(Method::POST, &tail).await?;
    if answer.status == StatusCode::CREATED { Ok(None) } else { answer.location().map(Some) }
}

struct Sending<'a> {
    speaker: &'a Speaker,
    digest: &'a Digest,
    source: &'a Source,
    /// The registry, or something before it, does not take all at once.
    in_pieces: bool,
}

impl Sending<'_> {
    async fn run(&mut self, mut location: Uri) -> Result<(), Trouble> {
        let (mut start, mut failed) = (0, 0);
        loop {
            let trouble = match self.send(&mut location, start).await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            };
            if trouble.status() == Some(413) && !self.in_pieces {
                self.in_pieces = true;
            } else {
                failed += 1;
                tracing::debug!(digest = %self.digest, failed, %trouble, "sending a blob failed");
                rest(self.speaker.registries.pause_of_transfer(failed, trouble)?).await;
            }
            (location, start) = self.resumed(location).await?;
        }
    }

    /// Sends what follows; `location` is where the next request goes, whatever happens.
    async fn send(&self, location: &mut Uri, start: u64) -> Result<(), Trouble> {
        let size = self.source.size();
        if start == 0 && !self.in_pieces {
            return self.put(location, self.source.part(0, size)).await;
        }
        let mut at = start;
        while at < size {
            let end = size.min(at + PIECE_BYTES);
            let ask = Ask::new(Method::PATCH, location.clone())
                .with_header(CONTENT_TYPE, OCTETS)
                .with_header(CONTENT_RANGE, &format!("{at}-{}", end - 1))
                .with_payload(self.source.part(at, end));
            *location = self.speaker.ask_at(&ask).await?.location()?;
            at = end;
        }
        self.put(location, Payload::Empty).await
    }

    async fn put(&self, location: &Uri, payload: Payload) -> Result<(), Trouble> {
        let address = with_query(location, &[("digest", self.digest.as_str())]);
        let ask = Ask::new(Method::PUT, address).with_header(CONTENT_TYPE, OCTETS).with_payload(payload);
        let answer = self.speaker.ask_at(&ask).await?;
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            status => {
                let words = format!("unexpected status {status} at the end of the upload of {}", self.digest);
                Err(Error::unavailable(words).into())
            }
        }
    }

    /// Where to go on: after what the registry has, or in a new session.
    async fn resumed(&self, location: Uri) -> Result<(Uri, u64), Trouble> {
        let asked = self.speaker.ask_at(&Ask::new(Method::GET, location.clone())).await;
        if let Ok(answer) = asked
            && let Some(there) = answer.header(RANGE).and_then(received)
            && there <= self.source.size()
        {
            return Ok((answer.location().unwrap_or(location), there));
        }
        Ok((begin(self.speaker).await?, 0))
    }
}

const OCTETS: &str = "application/octet-stream";
/// Small enough for what stands before registries; more than the least that some of them take (5 MiB).
const PIECE_BYTES: u64 = 32 << 20;
