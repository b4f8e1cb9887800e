//! One blob on its way: from the upstream registry into an upload, and from there to everybody who asked for it.
//!
//! Who follows reads the file behind the writer. The last byte is held back until the blob is verified and in its place,
//! so that nobody has all of something else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fault::Error;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use hyper::StatusCode;
use hyper::body::Frame;
use oci::Digest;
use sys::fs;
use tokio::sync::watch;

use super::{Cache, Refused, Source};
use crate::client::speaker::rest;
use crate::client::trouble::Trouble;
use crate::server::failure::Failure;
use crate::server::upload::{Algorithm, Shared, Upload};

/// How far a transfer has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) begun: Option<Begun>,
    written: u64,
    pub(super) end: Option<End>,
}

/// What can be followed.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    file: Arc<File>,
    size: u64,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Done,
    Gone,
    Failed(StatusCode, String),
}

impl Progress {
    /// How much of it may be sent; an error if no more will come.
    fn sendable(&self, size: u64) -> io::Result<u64> {
        match self.end {
            None => Ok(self.written.min(size.saturating_sub(1))),
            Some(End::Done) => Ok(size),
            Some(_) => Err(io::Error::other("the upstream registry sent something else, or not all of it")),
        }
    }
}

/// Somebody who reads a blob while it comes.
#[derive(Debug)]
pub(crate) struct Following {
    begun: Begun,
    progress: watch::Receiver<Progress>,
    at: u64,
}

impl Following {
    pub(super) fn new(begun: Begun, progress: watch::Receiver<Progress>) -> Self {
        Self { begun, progress, at: 0 }
    }

    pub(crate) fn size(&self) -> u64 {
        self.begun.size
    }

    pub(crate) fn pieces(self) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
        try_unfold(self, |mut following| async move {
            let piece = following.next().await?;
            Ok(piece.map(|piece| (Frame::data(piece), following)))
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (at, size) = (self.at, self.begun.size);
        let is_news =
            |progress: &Progress| progress.end.is_some() || progress.sendable(size).is_ok_and(|to| to > at);
        let sendable = self.progress.wait_for(is_news).await.map(|progress| progress.sendable(size));
        let to = sendable.map_err(io::Error::other)??;
        if to <= at {
            return Ok(None);
        }
        let (file, length) = (Arc::clone(&self.begun.file), (to - at).min(PIECE_BYTES as u64));
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; length as usize];
            file.read_exact_at(&mut piece, at).map(|()| piece)
        });
        let piece = reading.await.map_err(io::Error::other)??;
        self.at += length;
        Ok(Some(piece.into()))
    }
}

impl Cache {
    pub(super) async fn fetch_blob(
        &self,
        from: &Source,
        digest: &Digest,
        tell: &watch::Sender<Progress>,
    ) -> Result<(), Refused> {
        if self.is_here(from, digest).await? {
            return Ok(());
        }
        let _room = self.room.acquire().await;
        let algorithm = Algorithm::of(digest)?;
        let (id, upload) = self.blocking(move |storage| Ok(storage.uploads.begin(algorithm)?)).await?;
        let came = self.receive(from, digest, &upload, tell).await;
        let mut upload = Shared::clone(&upload).lock_owned().await;
        let (name, of) = (from.name.clone(), digest.clone());
        let finished = self.blocking(move |storage| match came {
            Ok(()) => Ok(storage.upload_finish(&id, &mut upload, &name, &of).map_err(unlike)),
            Err(refused) => {
                storage.upload_cancel(&id, &mut upload)?;
                Ok(Err(refused))
            }
        });
        finished.await?
    }

    /// In the repository, or in another one and in the upstream registry's, too.
    async fn is_here(&self, from: &Source, digest: &Digest) -> Result<bool, Refused> {
        let (name, of) = (from.name.clone(), digest.clone());
        let found = self.blocking(move |storage| storage.blob_found(&name, &of)).await?;
        let (is_linked, is_stored) = found;
        if is_linked || !is_stored {
            return Ok(is_linked);
        }
        if from.repository()?.blob_head_of(digest).await?.is_none() {
            return Err(Refused::Gone);
        }
        let (name, of) = (from.name.clone(), digest.clone());
        Ok(self.blocking(move |storage| storage.blob_mount(&name, &of, None)).await?.is_some())
    }

    /// All of it, in as many attempts as bring it forward and the configuration allows beside.
    async fn receive(
        &self,
        from: &Source,
        digest: &Digest,
        upload: &Shared,
        tell: &watch::Sender<Progress>,
    ) -> Result<(), Refused> {
        let repository = from.repository()?;
        let (mut failed, mut before, mut size) = (0, 0, None);
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        loop {
            let at = upload.lock().await.size;
            failed = if at > before { 1 } else { failed + 1 };
            before = at;
            let trouble = match self.attempt(&repository, digest, upload, &mut size, tell).await {
                Ok(()) => return Ok(()),
                Err(Attempt::Refused(refused)) => return Err(refused),
                Err(Attempt::Cut(trouble)) => trouble,
            };
            tracing::info!(%digest, at, failed, %trouble, "fetching a blob was cut short");
            rest(repository.speaker.registries.pause_of_transfer(failed, trouble)?).await;
        }
    }

    async fn attempt(
        &self,
        repository: &crate::client::Repository,
        digest: &Digest,
        upload: &Shared,
        size: &mut Option<u64>,
        tell: &watch::Sender<Progress>,
    ) -> Result<(), Attempt> {
        let at = upload.lock().await.size;
        let mut answer = repository.open_blob(digest, at, None).await?;
        if at == 0 {
            *size = answer.content_length();
            if let Some(size) = *size {
                let file = upload.lock().await.reader()?;
                tell.send_modify(|progress| progress.begun = Some(Begun { file: file.into(), size }));
            }
        }
        let (mut piece, mut goes_on) = (BytesMut::new(), true);
        while goes_on {
            // Who follows gets what is here when the registry pauses. Nothing is lost with a chunk that is waited for.
            let pause = if piece.is_empty() { Duration::MAX } else { PAUSE };
            let chunk = tokio::time::timeout(pause, answer.chunk()).await;
            if let Ok(Ok(Some(chunk))) = &chunk {
                piece.extend_from_slice(chunk);
            }
            goes_on = matches!(chunk, Ok(Ok(Some(_))) | Err(_));
            if piece.len() >= PIECE_BYTES || !matches!(chunk, Ok(Ok(Some(_)))) {
                let written = self.append(upload, piece.split(), *size).await?;
                tell.send_modify(|progress| progress.written = written);
            }
            if let Ok(Err(trouble)) = chunk {
                return Err(trouble.into());
            }
        }
        let here = upload.lock().await.size;
        if size.is_some_and(|size| here < size) {
            Err(answer.broken("unexpected EOF").into())
        } else {
            Ok(())
        }
    }

    async fn append(&self, upload: &Shared, piece: BytesMut, size: Option<u64>) -> Result<u64, Refused> {
        let mut upload = Shared::clone(upload).lock_owned().await;
        let bytes = piece.len() as u64;
        if size.is_some_and(|size| upload.size + bytes > size) {
            return Err(Refused::Failed(Failure::upstream(Error::invalid(
                "a blob is longer than announced",
            ))));
        }
        self.counts.bytes_fetched.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let appended = self.blocking(move |_| {
            upload.append(&piece)?;
            Ok(upload.size)
        });
        Ok(appended.await?)
    }
}

impl Upload {
    /// What is here of it, for who follows.
    fn reader(&self) -> Result<File, Refused> {
        Ok(fs::open(self.path(), &fs::OpenHow::READ)?)
    }
}

/// That it has another digest is not the client's mistake.
fn unlike(failure: Failure) -> Refused {
    match failure.status {
        StatusCode::BAD_REQUEST => Refused::Failed(Failure::upstream(Error::invalid(failure.to_string()))),
        _ => failure.into(),
    }
}

/// Why an attempt brought no end.
enum Attempt {
    Cut(Trouble),
    Refused(Refused),
}

impl From<Trouble> for Attempt {
    fn from(trouble: Trouble) -> Self {
        if trouble.is_passing_for_transfers() { Self::Cut(trouble) } else { Self::Refused(trouble.into()) }
    }
}

impl From<Refused> for Attempt {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

pub(super) fn broken_off() -> Error {
    Error::unavailable("fetching a blob was broken off")
}

/// What a registry takes between two chunks before they are written apart.
const PAUSE: Duration = Duration::from_millis(20);
/// Written and sent at once.
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_waits_for_the_end() {
        let mut progress = Progress { written: 10, ..Progress::default() };
        assert_eq!(progress.sendable(10).unwrap(), 9);
        assert_eq!(progress.sendable(20).unwrap(), 10);
        assert_eq!(Progress::default().sendable(0).unwrap(), 0);
        progress.end = Some(End::Done);
        assert_eq!(progress.sendable(10).unwrap(), 10);
        progress.end = Some(End::Failed(StatusCode::BAD_GATEWAY, String::new()));
        assert!(progress.sendable(10).is_err());
    }
}
