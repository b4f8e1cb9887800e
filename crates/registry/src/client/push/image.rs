//! An image to its repository: layers side by side, then the config, and the manifest last, so that a registry never has a
//! manifest without what it needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fault::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use oci::{Descriptor, Reference};
use store::{Image, ImageId, Lease, Signed, Variants};

use super::{Pushed, Pusher};
use crate::client::trouble::Trouble;
use crate::client::upload::{Source, upload};
use crate::client::{Action, Key, blocking};

impl Pusher<'_> {
    pub(super) async fn image(&self, reference: &Reference, id: &ImageId) -> Result<Pushed> {
        let Some(tag) = reference.tag() else { return Err(Error::invalid("cannot push a digest reference")) };
        let (image, lease) = self.content(reference, id).await?;
        self.put(&Key::Tag(tag.into()), &image.manifest).await?;
        self.tell_manifest(tag, &image.manifest);
        self.signatures(&image.manifest.digest, &image.signed).await?;
        let name = reference.with_digest(image.manifest.digest.clone());
        let (store, image_id) = (self.store.clone(), id.clone());
        blocking(move || store.name(&image_id, &[name])).await?;
        drop(lease);
        Ok(Pushed { reference: reference.clone(), id: id.clone(), manifest: image.manifest })
    }

    /// All platforms: the manifests by their digests, what lies above them after them, the uppermost under the tag.
    pub(super) async fn index(
        &self,
        reference: &Reference,
        id: &ImageId,
        variants: &Variants,
    ) -> Result<Pushed> {
        let Some(tag) = reference.tag() else { return Err(Error::invalid("cannot push a digest reference")) };
        let (mut leases, mut signed) = (Vec::new(), Signed::default());
        for variant in &variants.all {
            let Some(image) = &variant.image else { continue };
            let (image, lease) = self.content(reference, image).await?;
            leases.push(lease);
            self.put(&Key::Digest(variant.manifest.digest.clone()), &variant.manifest).await?;
            self.signatures(&variant.manifest.digest, &image.signed).await?;
            signed.add(image.signed);
        }
        for nested in variants.nested.iter().rev() {
            self.put(&Key::Digest(nested.digest.clone()), nested).await?;
        }
        self.put(&Key::Tag(tag.into()), &variants.target).await?;
        self.tell_manifest(tag, &variants.target);
        self.signatures(&variants.target.digest, &signed).await?;
        let names = [reference.with_digest(variants.target.digest.clone()), reference.clone()];
        let (store, image) = (self.store.clone(), id.clone());
        blocking(move || store.name(&image, &names)).await?;
        drop(leases);
        Ok(Pushed { reference: reference.clone(), id: id.clone(), manifest: variants.target.clone() })
    }

    /// Layers and config; the lease holds them as long as the manifest is not there.
    async fn content(&self, reference: &Reference, id: &ImageId) -> Result<(Image, Arc<Lease>)> {
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
            let config = Source::Bytes(Bytes::from(image.config_bytes.clone()));
            upload(&self.repository.speaker, &id.0, &config, &[]).await.map_err(Error::from)?;
        }
        Ok((image, lease))
    }

    async fn put(&self, key: &Key, manifest: &Descriptor) -> Result<()> {
        let (store, digest) = (self.store.clone(), manifest.digest.clone());
        let bytes = blocking(move || store.blob_read(&digest)).await?;
        self.repository.manifest_put(key, &manifest.media_type, &bytes).await.map(drop)
    }

    fn tell_manifest(&self, tag: &str, manifest: &Descriptor) {
        let (digest, size) = (manifest.digest.clone(), manifest.size);
        self.tell("", Action::PushedManifest { tag: tag.into(), digest, size });
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
