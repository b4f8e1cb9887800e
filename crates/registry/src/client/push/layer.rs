//! One layer: not at all if the registry has it, from another repository there if that has it, else byte for byte.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fault::Result;
use futures_util::future::{Either, select};
use oci::{Digest, Reference};
use store::Layer;
use tokio::time::sleep;

use super::Pusher;
use crate::client::trouble::Trouble;
use crate::client::upload::{Placed, Source, upload};
use crate::client::{Access, Action, Amount, blocking};

impl Pusher<'_> {
    pub(super) async fn layer(&self, reference: &Reference, layer: &Layer) -> Result<(), Trouble> {
        let id = layer.diff_id.short();
        let uploads = self.repository.speaker.host().uploads;
        let _room = match Arc::clone(&uploads).try_acquire_owned() {
            Ok(room) => Some(room),
            Err(_) => {
                self.tell(id, Action::Waiting);
                uploads.acquire_owned().await.ok()
            }
        };
        let digest = &layer.blob.digest;
        if self.repository.blob_head_of(digest).await?.is_some() {
            self.tell(id, Action::LayerAlreadyExists);
            return Ok(());
        }
        match self.send(reference, layer).await? {
            Placed::Sent => self.tell(id, Action::Pushed),
            Placed::Mounted(from) => self.tell(id, Action::MountedFrom(from)),
        }
        Ok(())
    }

    async fn send(&self, reference: &Reference, layer: &Layer) -> Result<Placed, Trouble> {
        let (digest, size) = (layer.blob.digest.clone(), layer.blob.size);
        let others = self.others(reference, &digest);
        let (store, wanted) = (self.store.clone(), digest.clone());
        let file = Arc::new(blocking(move || store.blob_open(&wanted)).await?);
        let sent = Arc::new(AtomicU64::new(0));
        let source = Source::File { file, size, sent: Arc::clone(&sent) };
        let mut sending = pin!(upload(&self.repository.speaker, &digest, &source, &others));
        let tell =
            |current| self.tell(layer.diff_id.short(), Action::Pushing(Amount { current, total: size }));
        loop {
            match select(sending.as_mut(), pin!(sleep(TELL))).await {
                Either::Left((placed, _)) => {
                    if matches!(placed, Ok(Placed::Sent)) {
                        tell(size);
                    }
                    return placed;
                }
                Either::Right(_) => match sent.load(Ordering::Relaxed) {
                    0 => {}
                    current => tell(current),
                },
            }
        }
    }

    /// Other repositories of the same registry that may have the blob, as they are called there.
    fn others(&self, reference: &Reference, digest: &Digest) -> Vec<String> {
        let speaker = &self.repository.speaker;
        let known = self.store.repositories_with(digest, reference.domain());
        let other = known.into_iter().filter(|known| *known != reference.repository());
        let places = other.filter_map(|other| {
            let place =
                speaker.registries.repository(&other, self.credentials, Access::Push).ok()?.speaker.place;
            (place.host == speaker.place.host).then(|| place.path.clone())
        });
        places.take(OTHERS_MAX).collect()
    }
}

/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);
/// A registry that refuses to give a blob from three repositories has its reasons; dockerd tries four at most.
const OTHERS_MAX: usize = 3;
