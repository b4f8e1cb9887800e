//! The storage that podman, buildah and CRI-O share (containers/storage), with the driver overlay.
//!
//! ```text
//! overlay-images/images.json              images: names, top layer, manifest's digest
//! overlay-images/<image id>/manifest      and further files named "=" and their name in base64
//! overlay-layers/layers.json              layers: parent, diffID
//! overlay-layers/<layer id>.tar-split.gz
//! overlay/<layer id>/diff/                the files
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Doing, Error, Result};
use oci::Digest;
use serde::Deserialize;
use sys::fs;

use super::{Found, Tree, broken, document, part, references};
use crate::content::DOCUMENT_BYTES_MAX;
use crate::image::Manifest;

pub(super) const IMAGES: &str = "overlay-images/images.json";

#[derive(Deserialize)]
struct Image {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// The topmost; an image without layers has none.
    #[serde(default)]
    layer: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Layer {
    id: String,
    #[serde(default)]
    parent: String,
    diff_digest: Option<Digest>,
    #[serde(default)]
    flags: BTreeMap<String, serde_json::Value>,
}

/// All images, those without a name too.
pub(super) fn images(root: &Path) -> Result<Vec<Result<Found>>> {
    let images: Vec<Image> = document(&root.join(IMAGES))?;
    let layers: Vec<Layer> = document(&root.join("overlay-layers/layers.json"))?;
    let layers: BTreeMap<&str, &Layer> = layers.iter().map(|layer| (layer.id.as_str(), layer)).collect();
    let image = |image: &Image| {
        found(root, image, &layers).map_err(broken).doing(|| format!("image {:.12}", image.id))
    };
    Ok(images.iter().map(image).collect())
}

fn found(root: &Path, image: &Image, layers: &BTreeMap<&str, &Layer>) -> Result<Found> {
    let folder = root.join("overlay-images").join(part(&image.id)?);
    let bytes = fs::read_bounded(folder.join("manifest"), DOCUMENT_BYTES_MAX)?;
    let manifest: oci::Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid("its manifest is not understood").with_source(error))?;
    let config = format!("={}", STANDARD.encode(manifest.config.digest.as_str()));
    Ok(Found {
        config: fs::read_bounded(folder.join(config), DOCUMENT_BYTES_MAX)?,
        manifest: Manifest::Kept { media_type: media_type(&manifest).into(), bytes },
        names: references(image.names.iter()),
        layers: trees(root, &image.layer, layers)?,
    })
}

fn media_type(manifest: &oci::Manifest) -> &str {
    manifest.media_type.as_deref().unwrap_or(oci::media_type::OCI_MANIFEST)
}

/// From the top down to the layer without a parent; each is taken once, so that a circle ends.
fn trees(root: &Path, top: &str, layers: &BTreeMap<&str, &Layer>) -> Result<Vec<Tree>> {
    let mut trees = Vec::new();
    let mut id = top;
    while !id.is_empty() {
        let Some(layer) = layers.get(id).filter(|_| trees.len() < layers.len()) else {
            return Err(Error::invalid(format!("its layer {id:.12} is missing")));
        };
        trees.push(tree(root, layer)?);
        id = &layer.parent;
    }
    trees.reverse();
    Ok(trees)
}

fn tree(root: &Path, layer: &Layer) -> Result<Tree> {
    let id = part(&layer.id)?;
    if layer.flags.get("incomplete") == Some(&serde_json::Value::Bool(true)) {
        return Err(Error::invalid(format!("its layer {id:.12} was never finished")));
    }
    let Some(diff_id) = layer.diff_digest.clone() else {
        return Err(Error::invalid(format!("its layer {id:.12} has no digest")));
    };
    let recipe = root.join("overlay-layers").join(format!("{id}.tar-split.gz"));
    Ok(Tree { diff_id, files: root.join("overlay").join(id).join("diff"), recipe })
}
