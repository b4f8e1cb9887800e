//! An image on all its platforms, as Docker's API tells it.

use api::image::{AttestationData, ImageData, ImageSize, ManifestSize, ManifestSummary};
use fault::Result;
use oci::{Platform, Reference};
use store::{ImageId, Variant, Variants};

use super::show::signed;
use super::users;
use crate::Engine;

/// What a name stands for; of an id, what the first of the image's names does.
pub(super) fn of_name(engine: &Engine, name: &str, id: &ImageId) -> Result<Variants> {
    match Reference::parse(name).ok().filter(|name| engine.store().named(name).as_ref() == Some(id)) {
        Some(name) => engine.store().variants_of(&name),
        None => engine.store().variants(id),
    }
}

pub(super) fn summaries(engine: &Engine, variants: &Variants) -> Result<Vec<ManifestSummary>> {
    variants.all.iter().map(|variant| summary(engine, variant)).collect()
}

fn summary(engine: &Engine, variant: &Variant) -> Result<ManifestSummary> {
    let mut summary = ManifestSummary {
        id: variant.manifest.digest.to_string(),
        descriptor: Some(variant.manifest.clone()),
        available: variant.is_here,
        kind: "image".into(),
        ..ManifestSummary::default()
    };
    if let Some(about) = variant.attests() {
        summary.kind = "attestation".into();
        summary.attestation_data = Some(AttestationData { about: about.into() });
        return Ok(summary);
    }
    let mut data =
        ImageData { platform: variant.manifest.platform.clone().unwrap_or_default(), ..ImageData::default() };
    if let Some(id) = &variant.image {
        let image = engine.store().image(id)?;
        let config = signed(image.config_bytes.len() as u64);
        let blobs: u64 = image.layers.iter().map(|layer| layer.blob.size).sum();
        let content = signed(blobs).saturating_add(signed(variant.manifest.size)).saturating_add(config);
        summary.size = ManifestSize { total: content.saturating_add(signed(image.size)), content };
        data.size = ImageSize { unpacked: signed(image.size) };
        data.containers = users(engine, id).into_iter().map(|user| user.container).collect();
        if data.platform == Platform::default() {
            data.platform = image.config.platform();
        }
    }
    if data.platform.os.is_empty() || data.platform.os == "unknown" {
        summary.kind = "unknown".into();
        return Ok(summary);
    }
    summary.image_data = Some(data);
    Ok(summary)
}
