//! One layer: bytes from the socket through a bounded channel to a thread that hashes, appends, inflates and unpacks them.
//!
//! ```text
//!   async: attempt 1 ... cut ... attempt 2 from where it was cut      thread: store::Partial::finish
//!            \____ Piece::Bytes, Piece::Bytes, Piece::End ____________/
//! ```
//! The thread knows nothing of attempts. When the future is dropped, the channel closes without an end: the thread keeps
//! what it has and stops. The right to the blob goes with the thread, so that nobody else begins before it has stopped.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fault::{Call, Error, Kind, Result};
use oci::{Descriptor, Digest};
use store::{Fetching, Layer, Lease, Partial};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, mpsc, oneshot};

use super::Puller;
use crate::client::speaker::rest;
use crate::client::trouble::Trouble;
use crate::client::{Action, Amount, blocking};

/// A layer that an image needs.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
}

impl Puller<'_> {
    pub(super) async fn hold(&self, lease: &Arc<Lease>, wanted: &Wanted) -> Result<Option<Layer>> {
        let (store, lease, wanted) = (self.store.clone(), Arc::clone(lease), wanted.clone());
        blocking(move || store.layer_hold(&lease, &wanted.blob, &wanted.diff_id)).await
    }

    /// Fetches a layer, or waits for whoever is at it.
    pub(super) async fn fetch(&self, lease: &Arc<Lease>, wanted: &Wanted) -> Result<Layer, Trouble> {
        let id = wanted.blob.digest.short();
        let wait = || self.tell(id, Action::Waiting);
        let registries = &self.repository.speaker.registries;
        let mut turn =
            Turn { _alone: registries.inner.blobs.enter(&wanted.blob.digest, wait).await, _room: None };
        if let Some(layer) = self.hold(lease, wanted).await? {
            self.tell(id, Action::DownloadComplete);
            self.tell(id, Action::PullComplete);
            return Ok(layer);
        }
        let downloads = self.repository.speaker.host().downloads;
        let room = match Arc::clone(&downloads).try_acquire_owned() {
            Ok(room) => Some(room),
            Err(_) => {
                wait();
                downloads.acquire_owned().await.ok()
            }
        };
        turn._room = room;
        let ran = self.run(lease, wanted, turn).await;
        let result = match (ran.result, ran.turn) {
            // What an earlier process left may have been damaged with the power.
            (Err(Trouble::Ours(error)), Some(turn)) if ran.resumed && error.kind() == Kind::Invalid => {
                tracing::info!(blob = %wanted.blob.digest, %error, "fetched anew: what was here did not fit");
                self.run(lease, wanted, turn).await.result
            }
            (result, _) => result,
        };
        if result.is_ok() {
            self.tell(id, Action::PullComplete);
        }
        result
    }

    /// One thread's life.
    async fn run(&self, lease: &Arc<Lease>, wanted: &Wanted, turn: Turn) -> Ran {
        let (store, held, blob) = (self.store.clone(), Arc::clone(lease), wanted.blob.clone());
        let partial = match blocking(move || store.partial(&held, &blob)).await {
            Ok(partial) => partial,
            Err(error) => return Ran::failed(error),
        };
        let start = partial.length();
        let (pieces, receiver) = mpsc::channel(PIECES);
        let mut work = match Work::begin(partial, Arc::clone(lease), wanted.diff_id.clone(), receiver, turn) {
            Ok(work) => work,
            Err(error) => return Ran::failed(error),
        };
        let streamed = self.stream(wanted, start, pieces).await;
        self.follow(wanted, &mut work).await;
        let (finished, turn) = work.end().await;
        let result = match (streamed, finished) {
            (_, Ok(layer)) => Ok(layer),
            (Err(trouble), _) => Err(trouble),
            (Ok(()), Err(error)) => Err(error.into()),
        };
        Ran { result, resumed: start > 0, turn }
    }

    /// Tells what the thread does after the last byte.
    async fn follow(&self, wanted: &Wanted, work: &mut Work) {
        let id = wanted.blob.digest.short();
        let all = Amount { current: wanted.blob.size, total: wanted.blob.size };
        while let Some(step) = work.steps.recv().await {
            match step {
                Fetching::Verifying => self.tell(id, Action::VerifyingChecksum),
                Fetching::Verified => {
                    self.tell(id, Action::DownloadComplete);
                    self.tell(id, Action::Extracting(all));
                }
            }
        }
    }

    /// Sends all bytes from `start` on, in as many attempts as it takes and the configuration allows. Attempts that bring
    /// the blob forward do not count.
    async fn stream(&self, wanted: &Wanted, start: u64, pieces: mpsc::Sender<Piece>) -> Result<(), Trouble> {
        let mut at = start;
        let (mut failed, mut failed_at) = (0, start);
        while at < wanted.blob.size {
            match self.attempt(wanted, &mut at, &pieces).await {
                Ok(Flow::On) => {}
                Ok(Flow::NobodyListens) => return Ok(()),
                Err(trouble) => {
                    failed = if at >= failed_at + FORWARD_BYTES { 1 } else { failed + 1 };
                    failed_at = at;
                    tracing::info!(blob = %wanted.blob.digest, at, failed, %trouble, "fetching a blob was cut short");
                    let pause = self.repository.speaker.registries.pause_of_transfer(failed, trouble)?;
                    self.rest(wanted, pause).await;
                }
            }
        }
        // Whoever does not listen any more has its own reason to tell.
        drop(pieces.send(Piece::End).await);
        Ok(())
    }

    async fn attempt(
        &self,
        wanted: &Wanted,
        at: &mut u64,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<Flow, Trouble> {
        let size = wanted.blob.size;
        let mut answer = self.repository.open_blob(&wanted.blob.digest, *at, None).await?;
        let announced = answer.content_length().map(|length| match answer.status.as_u16() {
            206 => length.saturating_add(*at),
            _ => length,
        });
        if let Some(announced) = announced.filter(|announced| *announced != size) {
            return Err(wrong_size(wanted, announced).into());
        }
        let mut told = *at;
        while let Some(chunk) = answer.chunk().await? {
            let reached = *at + chunk.len() as u64;
            if reached > size {
                return Err(wrong_size(wanted, reached).into());
            }
            if pieces.send(Piece::Bytes(chunk)).await.is_err() {
                return Ok(Flow::NobodyListens);
            }
            *at = reached;
            if reached == size || reached - told >= TELL_BYTES {
                told = reached;
                let amount = Amount { current: reached, total: size };
                self.tell(wanted.blob.digest.short(), Action::Downloading(amount));
            }
        }
        if *at < size { Err(answer.broken("unexpected EOF")) } else { Ok(Flow::On) }
    }

    /// Counts down, as dockerd does.
    async fn rest(&self, wanted: &Wanted, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() {
            let step = left.min(Duration::from_secs(1));
            self.tell(
                wanted.blob.digest.short(),
                Action::Retrying(Duration::from_secs(left.as_secs().max(1))),
            );
            rest(step).await;
            left -= step;
        }
    }
}

fn wrong_size(wanted: &Wanted, got: u64) -> Error {
    let Descriptor { digest, size, .. } = &wanted.blob;
    Error::invalid(format!("blob {digest} has {got} bytes, expected {size}"))
}

/// Whether anybody takes the bytes.
enum Flow {
    On,
    /// The thread has given up.
    NobodyListens,
}

/// How a thread's life ended.
struct Ran {
    result: Result<Layer, Trouble>,
    /// There was something to go on from.
    resumed: bool,
    turn: Option<Turn>,
}

impl Ran {
    fn failed(error: Error) -> Self {
        Self { result: Err(error.into()), resumed: false, turn: None }
    }
}

/// The right to fetch a blob, and room among the registry's downloads.
struct Turn {
    _alone: OwnedMutexGuard<()>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A thread that makes a layer of pieces.
struct Work {
    steps: mpsc::Receiver<Fetching>,
    done: oneshot::Receiver<(Result<Layer>, Turn)>,
}

impl Work {
    fn begin(
        partial: Partial,
        lease: Arc<Lease>,
        diff_id: Digest,
        pieces: mpsc::Receiver<Piece>,
        turn: Turn,
    ) -> Result<Self> {
        let (tell, steps) = mpsc::channel(2);
        let (finish, done) = oneshot::channel();
        let work = move || {
            let rest = Pieces { receiver: pieces, current: Bytes::new(), ended: false };
            // There is room for both steps; after a cancel nobody listens.
            let told = move |step| tell.try_send(step).unwrap_or_default();
            let layer = partial.finish(&lease, &diff_id, rest, &told);
            drop(lease);
            drop(finish.send((layer, turn)));
        };
        let begun = std::thread::Builder::new().name("layer".into()).spawn(work);
        begun.map(|_| Self { steps, done }).call(|| "starting a thread")
    }

    /// The turn is lost with a thread that panicked.
    async fn end(self) -> (Result<Layer>, Option<Turn>) {
        match self.done.await {
            Ok((layer, turn)) => (layer, Some(turn)),
            Err(_) => (Err(Error::internal("a layer's thread ended without an answer")), None),
        }
    }
}

/// What goes to the thread.
enum Piece {
    Bytes(Bytes),
    End,
}

/// The pieces as a stream. It ends with [`Piece::End`]; without one it was broken off.
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the pull was broken off"));
                }
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// Between socket and thread: some hundred kilobytes each.
const PIECES: usize = 8;
/// How often progress is told.
const TELL_BYTES: u64 = 512 * 1024;
/// An attempt that brought so much was no failure.
const FORWARD_BYTES: u64 = 1 << 20;
