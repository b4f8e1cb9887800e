//! From a manifest to an image: config, layers side by side, and all of it in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use fault::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use oci::{Descriptor, Digest, Reference, media_type};
use store::{Fetched, ImageId, Layer, Lease, Naming};

use super::layer::Wanted;
use super::{Chosen, Puller};
use crate::client::trouble::Trouble;
use crate::client::{Action, blocking};

impl Puller<'_> {
    /// The image of a manifest; nothing is fetched if it is here. Of one that lost something only that is fetched.
    pub(super) async fn image(
        &self,
        reference: &Reference,
        chosen: Chosen,
        naming: Naming,
    ) -> Result<ImageId, Trouble> {
        let manifest: oci::Manifest = chosen.manifest.read()?;
        check_types(&chosen.manifest.descriptor.media_type, &manifest)?;
        let id = ImageId(manifest.config.digest.clone());
        let (store, wanted) = (self.store.clone(), id.clone());
        if blocking(move || store.is_whole(&wanted)).await? {
            if chosen.indexes.is_empty() {
                self.warn_of_known(reference, &id).await?;
            }
            return Ok(id);
        }
        let config = self.repository.blob_of(&manifest.config).await;
        let config = config.map_err(|trouble| match trouble {
            Trouble::Ours(error) => Trouble::Ours(error.doing("error pulling image configuration")),
            other => other,
        })?;
        let parsed: oci::Image = serde_json::from_slice(&config)
            .map_err(|error| Error::invalid(format!("error pulling image configuration: {error}")))?;
        check_config(&manifest, &parsed)?;
        if chosen.indexes.is_empty() {
            self.warn_of_platform(reference, &parsed);
        }
        let lease = Arc::new(self.store.lease());
        let layers = self.layers(&lease, &manifest.layers, &parsed.rootfs.diff_ids).await?;
        let image = Fetched {
            manifest_type: chosen.manifest.descriptor.media_type,
            manifest: chosen.manifest.bytes,
            config: config.into(),
            layers,
            naming,
        };
        let store = self.store.clone();
        Ok(blocking(move || store.image_add(&lease, image)).await?)
    }

    async fn layers(
        &self,
        lease: &Arc<Lease>,
        blobs: &[Descriptor],
        diff_ids: &[Digest],
    ) -> Result<Vec<Layer>, Trouble> {
        let wanted: Vec<Wanted> = blobs
            .iter()
            .zip(diff_ids)
            .map(|(blob, diff_id)| Wanted { blob: blob.clone(), diff_id: diff_id.clone() })
            .collect();
        let mut here = BTreeMap::new();
        let mut missing: BTreeMap<&Digest, &Wanted> = BTreeMap::new();
        for one in &wanted {
            let digest = &one.blob.digest;
            if here.contains_key(digest) || missing.contains_key(digest) {
                continue;
            }
            let held = self.hold(lease, one).await?;
            let action = if held.is_some() { Action::AlreadyExists } else { Action::PullingLayer };
            self.tell(digest.short(), action);
            match held {
                Some(layer) => drop(here.insert(digest, layer)),
                None => drop(missing.insert(digest, one)),
            }
        }
        let fetching: Vec<_> = missing.values().map(|one| self.fetch(lease, one).boxed()).collect();
        let fetched = try_join_all(fetching).await?;
        here.extend(missing.into_keys().zip(fetched));
        // The same blob under two diffIDs is refused here: a layer knows its own.
        let all = wanted.iter().map(|one| here[&one.blob.digest].clone());
        Ok(all.collect())
    }

    async fn warn_of_known(&self, reference: &Reference, id: &ImageId) -> Result<()> {
        let (store, id) = (self.store.clone(), id.clone());
        let image = blocking(move || store.image(&id)).await?;
        self.warn_of_platform(reference, &image.config);
        Ok(())
    }

    fn warn_of_platform(&self, reference: &Reference, image: &oci::Image) {
        let Some(wanted) = self.platform else { return };
        let platform = image.platform();
        if wanted.rank(&platform).is_none() {
            self.tell(
                "",
                Action::Warning(format!(
                    "image with reference {} was found but its platform ({}) does not match the specified platform ({wanted})",
                    reference.familiar(),
                    platform.normalized()
                )),
            );
        }
    }
}

/// moby, daemon/internal/distribution/pull_v2.go: `validateMediaType`, `checkSupportedMediaType`.
fn check_types(manifest_type: &str, manifest: &oci::Manifest) -> Result<()> {
    let config = manifest.config.media_type.as_str();
    if manifest_type == media_type::DOCKER_MANIFEST && !CONFIG_TYPES.contains(&config) {
        let class = if config == DOCKER_PLUGIN { "plugin" } else { "unknown" };
        return Err(Error::invalid(format!("Encountered remote {config:?}({class}) when fetching")));
    }
    let layers = manifest.layers.iter().map(|layer| layer.media_type.as_str());
    for media_type in [config].into_iter().chain(layers) {
        let lower = media_type.to_ascii_lowercase();
        if lower.starts_with("application/vnd.docker.ai.") {
            return Err(Error::invalid(
                "AI models are not yet supported by the Engine, please use \"docker model pull/run\" instead",
            ));
        }
        let is_below = |known: &str| {
            lower.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !IMAGE_TYPES.iter().any(|known| is_below(known)) {
            return Err(Error::invalid(format!("unsupported media type {media_type}")));
        }
    }
    Ok(())
}

fn check_config(manifest: &oci::Manifest, image: &oci::Image) -> Result<()> {
    if !matches!(image.os.as_str(), "" | "linux") {
        return Err(Error::invalid(format!(
            "cannot download image with operating system {:?} when requesting \"linux\"",
            image.os
        )));
    }
    if image.rootfs.diff_ids.is_empty() && !manifest.layers.is_empty() {
        return Err(Error::invalid("invalid rootfs in image configuration"));
    }
    if image.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(Error::invalid("layers from manifest don't match image configuration"));
    }
    Ok(())
}

const DOCKER_PLUGIN: &str = "application/vnd.docker.plugin.v1+json";
/// The last four were written by old registries.
const CONFIG_TYPES: &[&str] = &[
    media_type::DOCKER_CONFIG,
    media_type::OCI_CONFIG,
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];
/// What an image may be made of; more may follow behind a dot.
const IMAGE_TYPES: &[&str] = &[
    "application/vnd.oci.image",
    "application/vnd.docker",
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, layer: &str) -> oci::Manifest {
        oci::Manifest::new(Descriptor::of(config, b"{}"), vec![Descriptor::of(layer, b"tar")])
    }

    #[test]
    fn only_images_are_pulled() {
        let check = |manifest_type: &str, config: &str, layer: &str| {
            check_types(manifest_type, &manifest(config, layer)).map_err(|error| error.to_string())
        };
        let (docker, oci) = (media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST);
        check(docker, media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER_GZIP).unwrap();
        check(oci, media_type::OCI_CONFIG, media_type::OCI_LAYER_ZSTD).unwrap();
        check(docker, "text/html", "application/octet-stream").unwrap();
        assert_eq!(
            check(docker, DOCKER_PLUGIN, media_type::DOCKER_LAYER_GZIP).unwrap_err(),
            "Encountered remote \"application/vnd.docker.plugin.v1+json\"(plugin) when fetching"
        );
        assert_eq!(
            check(oci, "application/vnd.cncf.helm.config.v1+json", media_type::OCI_LAYER_GZIP).unwrap_err(),
            "unsupported media type application/vnd.cncf.helm.config.v1+json"
        );
        assert_eq!(
            check(oci, media_type::OCI_CONFIG, "application/vnd.oci.images_are_fun").unwrap_err(),
            "unsupported media type application/vnd.oci.images_are_fun"
        );
    }
}
