//! Images of other registries, fetched when they are first asked for and kept (pull-through).
//!
//! ```text
//! tag        as it is here for a while; then asked for again, and as it is here if nobody answers
//! manifest   by digest: here, else fetched                                 blob    here, else a transfer, followed
//! ```
//! Guarantees: nothing gets into the store that has not the digest it is called by, and no client gets the last byte of
//! it; one fetch of a thing at a time, whoever asks; what is fetched when the process ends is an upload that nobody goes
//! on with, and is collected as one. Manifests are kept here without what they refer to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fault::Result;
use oci::{Descriptor, Digest};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::client;
use crate::client::single::Singles;
use crate::client::trouble::Trouble;
use crate::server::config::Config;
use crate::server::failure::{Failure, Outcome};
use crate::server::route::Key;
use crate::server::storage::Storage;

mod evict;
mod known;
mod transfer;
mod upstream;

use known::{Known, Word};
pub(crate) use transfer::Following;
use transfer::{End, Progress};
pub(crate) use upstream::Source;
use upstream::Upstreams;

#[derive(Debug)]
pub(crate) struct Cache {
    upstreams: Arc<Upstreams>,
    storage: Arc<Storage>,
    /// For how long a tag is believed to be what it was.
    ttl: Duration,
    bytes_max: Option<u64>,
    /// What was fetched, about; exact when room is made.
    bytes: AtomicU64,
    known: Known,
    turns: Singles,
    transfers: Mutex<HashMap<String, watch::Receiver<Progress>>>,
    room: Semaphore,
    tasks: Mutex<JoinSet<()>>,
    pub(crate) counts: Counts,
}

/// For metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    /// Served without the upstream registry's word.
    pub(crate) stale: AtomicU64,
    pub(crate) bytes_fetched: AtomicU64,
}

/// How a blob is to be had.
#[derive(Debug)]
pub(crate) enum Had {
    Here,
    Coming(Following),
}

/// Why the upstream registry gave nothing.
#[derive(Debug)]
enum Refused {
    /// It is not there, or not for us.
    Gone,
    Failed(Failure),
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        if trouble.is_not_found() || matches!(trouble.status(), Some(401 | 403 | 404)) {
            return Self::Gone;
        }
        let is_busy = trouble.status() == Some(429);
        match trouble {
            Trouble::Ours(error) if error.errno().is_some() => Self::Failed(error.into()),
            trouble if is_busy => Self::Failed(Failure::too_many(trouble.to_string())),
            trouble => Self::Failed(Failure::upstream(trouble.into())),
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<fault::Error> for Refused {
    fn from(error: fault::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Cache {
    /// `None` without upstream registries.
    pub(crate) fn open(config: &Config, storage: &Arc<Storage>) -> Result<Option<Arc<Self>>> {
        if config.upstreams.is_empty() {
            return Ok(None);
        }
        let cache = Self {
            upstreams: Arc::new(Upstreams::open(&config.upstreams)?),
            storage: Arc::clone(storage),
            ttl: config.cache_ttl,
            bytes_max: config.cache_bytes_max,
            bytes: AtomicU64::default(),
            known: Known::default(),
            turns: Singles::default(),
            transfers: Mutex::default(),
            room: Semaphore::new(TRANSFERS_MAX),
            tasks: Mutex::default(),
            counts: Counts::default(),
        };
        cache.make_room().map_err(Failure::into_error)?;
        Ok(Some(Arc::new(cache)))
    }

    /// Where a repository comes from, if not from here.
    pub(crate) fn source(&self, name: &str, namespace: Option<&str>) -> Outcome<Option<Source>> {
        self.upstreams.source(name, namespace)
    }

    /// Sees to it that a manifest is here, as the upstream registry has it now or had it a moment ago.
    pub(crate) async fn manifest(&self, from: &Source, key: &Key) -> Outcome<()> {
        let row = row_of(&from.name, key);
        if let Some(settled) = self.settled(from, key, &row).await? {
            return settled;
        }
        let _turn = self.turns.enter(&Digest::sha256(row.as_bytes()), || ()).await;
        // Whoever was here before us has seen to it.
        if let Some(settled) = self.settled(from, key, &row).await? {
            return settled;
        }
        self.renew(from, key, &row).await
    }

    /// `None` if the upstream registry has to be asked.
    async fn settled(&self, from: &Source, key: &Key, row: &str) -> Outcome<Option<Outcome<()>>> {
        let held = self.held(from, key).await?.is_some();
        let word = self.known.word(row, self.ttl, sys::time::monotonic());
        let settled = match (key, held, word) {
            (Key::Digest(_), true, _) | (Key::Tag(_), true, Some(Word::Same)) => {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            (Key::Tag(_), true, Some(Word::Silent)) => {
                self.counts.stale.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            (_, false, Some(Word::Missing)) => Err(unknown(key)),
            _ => return Ok(None),
        };
        Ok(Some(settled))
    }

    async fn held(&self, from: &Source, key: &Key) -> Outcome<Option<Digest>> {
        let (name, key) = (from.name.clone(), key.clone());
        self.blocking(move |storage| storage.manifest_held(&name, &key)).await
    }

    async fn renew(&self, from: &Source, key: &Key, row: &str) -> Outcome<()> {
        let held = self.held(from, key).await?;
        let was_held = held.is_some();
        let asking = self.compared(from, key, held);
        // Who can be served from here does not wait for long.
        let asked = match was_held {
            true => tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(silent())),
            false => asking.await,
        };
        let now = sys::time::monotonic();
        match asked {
            Ok(()) => self.known.learn(row, Word::Same, now),
            Err(Refused::Gone) => {
                self.known.learn(row, Word::Missing, now);
                self.forget(from, key).await?;
                return Err(unknown(key));
            }
            Err(Refused::Failed(failure)) if was_held => {
                tracing::warn!(row, error = ?failure, "served as it was: the upstream registry says nothing");
                self.known.learn(row, Word::Silent, now);
                self.counts.stale.fetch_add(1, Ordering::Relaxed);
            }
            Err(Refused::Failed(failure)) => return Err(failure),
        }
        Ok(())
    }

    /// Asks by `HEAD` first where that may be enough.
    async fn compared(&self, from: &Source, key: &Key, held: Option<Digest>) -> Result<(), Refused> {
        let repository = from.repository()?;
        let told = match &held {
            Some(_) => repository.manifest_head_of(&client_key(key)).await?,
            None => None,
        };
        match told {
            Some(told) if held.as_ref() == Some(&told.digest) => {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            _ => self.fetch_manifest(from, key, &repository).await,
        }
    }

    async fn fetch_manifest(
        &self,
        from: &Source,
        key: &Key,
        repository: &client::Repository,
    ) -> Result<(), Refused> {
        let manifest = repository.manifest_of(&client_key(key)).await?;
        let bytes = manifest.bytes.len() as u64;
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes_fetched.fetch_add(bytes, Ordering::Relaxed);
        let (name, key) = (from.name.clone(), key.clone());
        self.blocking(move |storage| storage.manifest_keep(&name, &key, &manifest)).await?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// A tag that is gone upstream goes here; a manifest may still be of use to who knows its digest.
    async fn forget(&self, from: &Source, key: &Key) -> Outcome<()> {
        let Key::Tag(tag) = key else { return Ok(()) };
        let (name, tag) = (from.name.clone(), tag.clone());
        self.blocking(move |storage| storage.tag_forget(&name, &tag)).await
    }

    /// The tags of the upstream registry; those that are here if it says nothing.
    pub(crate) async fn tags(&self, from: &Source) -> Outcome<Option<Vec<String>>> {
        match from.repository()?.tags_of().await.map_err(Refused::from) {
            Ok(tags) => Ok(Some(tags)),
            Err(Refused::Gone) => Err(Failure::name_unknown(&from.name)),
            Err(Refused::Failed(failure)) => {
                tracing::warn!(name = from.name, error = ?failure, "tags as they are here: the upstream registry says nothing");
                Ok(None)
            }
        }
    }

    /// The same for what refers to a manifest.
    pub(crate) async fn referrers(
        &self,
        from: &Source,
        subject: &Digest,
    ) -> Outcome<Option<Vec<Descriptor>>> {
        match from.repository()?.referrers(subject, None).await {
            Ok(referrers) => Ok(Some(referrers)),
            Err(error) => {
                tracing::warn!(name = from.name, %error, "referrers as they are here: the upstream registry does not list them");
                Ok(None)
            }
        }
    }

    /// The size of a blob that need not be here.
    pub(crate) async fn blob_size(&self, from: &Source, digest: &Digest) -> Outcome<u64> {
        let (name, of) = (from.name.clone(), digest.clone());
        match self.blocking(move |storage| storage.blob_size(&name, &of)).await {
            Err(failure) if failure.is_not_found() => {}
            here => return here,
        }
        let row = row_of(&from.name, &Key::Digest(digest.clone()));
        if self.known.word(&row, self.ttl, sys::time::monotonic()) == Some(Word::Missing) {
            return Err(Failure::blob_unknown(digest));
        }
        match from.repository()?.blob_head_of(digest).await.map_err(Refused::from) {
            Ok(Some(size)) => Ok(size),
            Ok(None) | Err(Refused::Gone) => {
                self.known.learn(&row, Word::Missing, sys::time::monotonic());
                Err(Failure::blob_unknown(digest))
            }
            Err(Refused::Failed(failure)) => Err(failure),
        }
    }

    /// Sees to it that a blob is here or on its way. Who wants a part of it waits for all.
    pub(crate) async fn blob(
        self: &Arc<Self>,
        from: &Source,
        digest: &Digest,
        is_part: bool,
    ) -> Outcome<Had> {
        let (name, of) = (from.name.clone(), digest.clone());
        match self.blocking(move |storage| storage.blob_size(&name, &of)).await {
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
            Ok(_) => {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Had::Here);
            }
        }
        let row = row_of(&from.name, &Key::Digest(digest.clone()));
        if self.known.word(&row, self.ttl, sys::time::monotonic()) == Some(Word::Missing) {
            return Err(Failure::blob_unknown(digest));
        }
        let mut progress = self.transfer(from, digest, &row);
        let begun = |progress: &Progress| progress.end.is_some() || progress.begun.is_some() && !is_part;
        let seen = progress.wait_for(begun).await.map(|seen| seen.clone());
        let Ok(seen) = seen else { return Err(Failure::upstream(transfer::broken_off())) };
        match (seen.end, seen.begun) {
            (Some(End::Done), _) => Ok(Had::Here),
            (Some(End::Gone), _) => Err(Failure::blob_unknown(digest)),
            (Some(End::Failed(status, words)), _) => Err(Failure::of_status(status, words)),
            (None, Some(begun)) => Ok(Had::Coming(Following::new(begun, progress))),
            (None, None) => Err(Failure::upstream(transfer::broken_off())),
        }
    }

    /// The transfer of a blob: the one that is under way, or a new one.
    fn transfer(self: &Arc<Self>, from: &Source, digest: &Digest, row: &str) -> watch::Receiver<Progress> {
        let mut transfers = self.transfers();
        if let Some(progress) = transfers.get(row)
            && (progress.has_changed().is_ok() || progress.borrow().end.is_some())
        {
            return progress.clone();
        }
        let (tell, progress) = watch::channel(Progress::default());
        transfers.insert(row.into(), progress.clone());
        let (cache, from, digest, row) = (Arc::clone(self), from.clone(), digest.clone(), row.to_owned());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { cache.run(&from, &digest, &row, &tell).await });
        progress
    }

    /// One transfer's life. Nobody may find it after its end, so that what was evicted is fetched again.
    async fn run(&self, from: &Source, digest: &Digest, row: &str, tell: &watch::Sender<Progress>) {
        let end = match self.fetch_blob(from, digest, tell).await {
            Ok(()) => End::Done,
            Err(Refused::Gone) => {
                self.known.learn(row, Word::Missing, sys::time::monotonic());
                End::Gone
            }
            Err(Refused::Failed(failure)) => {
                tracing::warn!(row, error = ?failure, "a blob was not fetched");
                End::Failed(failure.status, failure.to_string())
            }
        };
        self.transfers().remove(row);
        tell.send_modify(|progress| progress.end = Some(end));
        if self.bytes_max.is_some_and(|bytes_max| self.bytes.load(Ordering::Relaxed) > bytes_max) {
            self.room_made().await;
        }
    }

    fn transfers(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Progress>>> {
        // Whole after any panic: each change is one insertion or removal.
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is under way.
    pub(crate) async fn close(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Storage) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let storage = Arc::clone(&self.storage);
        let done = tokio::task::spawn_blocking(move || work(&storage)).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

fn row_of(name: &str, key: &Key) -> String {
    match key {
        Key::Tag(tag) => format!("{name}:{tag}"),
        Key::Digest(digest) => format!("{name}@{digest}"),
    }
}

fn client_key(key: &Key) -> client::Key {
    match key {
        Key::Tag(tag) => client::Key::Tag(tag.clone()),
        Key::Digest(digest) => client::Key::Digest(digest.clone()),
    }
}

fn unknown(key: &Key) -> Failure {
    match key {
        Key::Tag(tag) => Failure::manifest_unknown(tag),
        Key::Digest(digest) => Failure::manifest_unknown(digest),
    }
}

fn silent() -> Refused {
    Refused::Failed(Failure::upstream(fault::Error::unavailable("no answer in time")))
}

/// Each has a connection and a file.
const TRANSFERS_MAX: usize = 64;
/// Of who can be served from here.
const PATIENCE: Duration = Duration::from_secs(10);
