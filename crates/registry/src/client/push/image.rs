//! An image to its repository: layers side by side, then the config, and the manifest last, so that a registry never has a
//! manifest without what it needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fault::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use oci::Reference;
use store::{Image, ImageId};

use super::{Pushed, Pusher};
use crate::client::trouble::Trouble;
use crate::client::upload::{Source, upload};
use crate::client::{Action, Key, blocking};

impl Pusher<'_> {
    pub(super) async fn image(&self, reference: &Reference, id: &ImageId) -> Result<Pushed> {
        let Some(tag) = reference.tag() else { return Err(Error::invalid("cannot push a digest reference")) };
        for layer in self.described(id).await?.layers.iter().rev() {
            self.tell(layer.diff_id.short(), Action::Preparing);
        }
        // Before anything is compressed: whether the registry is there, and takes our credentials.
        let has_config = self.repository.blob_head_of(&id.0).await?.is_some();
        let lease = Arc::new(self.store.lease());
        let (store, held, image) = (self.store.clone(), Arc::clone(&lease), id.clone());
        blocking(move || store.image_compress(&held, &image)).await?;
        let image = self.described(id).await?;
        self.layers(reference, &image).await?;
        if !has_config {
            let config = Source::Bytes(Bytes::from(image.config_bytes));
            upload(&self.repository.speaker, &id.0, &config, &[]).await.map_err(Error::from)?;
        }
        let (store, digest) = (self.store.clone(), image.manifest.digest.clone());
        let manifest = blocking(move || store.blob_read(&digest)).await?;
        self.repository.manifest_put(&Key::Tag(tag.into()), &image.manifest.media_type, &manifest).await?;
        let (digest, size) = (image.manifest.digest.clone(), image.manifest.size);
        self.tell("", Action::PushedManifest { tag: tag.into(), digest: digest.clone(), size });
        let (store, image_id, name) = (self.store.clone(), id.clone(), reference.with_digest(digest));
        blocking(move || store.name(&image_id, &[name])).await?;
        drop(lease);
        Ok(Pushed { reference: reference.clone(), id: id.clone(), manifest: image.manifest })
    }

    async fn described(&self, id: &ImageId) -> Result<Image> {
        let (store, id) = (self.store.clone(), id.clone());
        blocking(move || store.image(&id)).await
    }

    async fn layers(&self, reference: &Reference, image: &Image) -> Result<(), Trouble> {
        let mut known = BTreeSet::new();
        let layers = image.layers.iter().rev().filter(|layer| known.insert(&layer.blob.digest));
        let pushing: Vec<_> = layers.map(|layer| self.layer(reference, layer).boxed()).collect();
        try_join_all(pushing).await.map(drop)
    }
}
