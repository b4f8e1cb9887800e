//! `adopt`: images out of another engine's folders, which are only read.
//!
//! The other engine has unpacked its layers and kept a recipe beside each that tells how the tar was put together; with
//! it the very bytes come back (adopt/tar_split.rs), so images keep their ids. Whatever is in those folders counts as
//! foreign: paths are resolved beneath them, documents are bounded, every layer is compared with its diffID.
//!
//! ```text
//! Docker:             image/overlay2/{repositories.json, imagedb/, layerdb/}, overlay2/<cache id>/diff
//! podman, buildah:    overlay-images/images.json, overlay-layers/{layers.json, *.tar-split.gz}, overlay/<id>/diff
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fault::{Doing, Error, Kind, Result};
use oci::{Digest, Reference};
use serde::de::DeserializeOwned;
use sys::fs;

use crate::content::DOCUMENT_BYTES_MAX;
use crate::image::{Manifest, NewImage, parse_config};
use crate::layer::StagedLayer;
use crate::lease::{Held, Lease};
use crate::load::{Loaded, Progress, in_parallel, loaded};
use crate::publish::Staged;
use crate::{Layer, Store};

mod containers;
mod docker;
mod tar_split;

use tar_split::Recipe;

/// An image in another engine's folders.
#[derive(Debug)]
struct Found {
    config: Vec<u8>,
    manifest: Manifest,
    names: Vec<Reference>,
    /// Lowest first, one for each diffID of the config.
    layers: Vec<Tree>,
}

/// An unpacked layer and what its tar is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tree {
    diff_id: Digest,
    files: PathBuf,
    recipe: PathBuf,
}

impl Store {
    /// Takes over images of Docker's data root (graph driver overlay2) or of podman's storage, all or those of some
    /// names. `NotFound` for a name that is not there, `Invalid` for a folder that is neither.
    pub fn adopt(
        &self,
        folder: &Path,
        names: &[Reference],
        report: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        let lease = self.lease();
        let found = chosen(images(folder)?, names)?;
        let layers = self.adopt_layers(&lease, &found, report)?;
        let mut images = Vec::new();
        for image in found {
            images.push(new_image(image, &layers)?);
        }
        let lines = images.iter().map(|image| (image.id(), image.names.clone())).collect();
        let staged = layers.into_values().filter_map(|adopted| adopted.staged);
        let staged: Vec<Staged> = staged.flat_map(StagedLayer::into_staged).collect();
        let moved = self.register(&lease, staged, images)?;
        Ok(loaded(lines, &moved))
    }

    /// Each layer once, on all processors.
    fn adopt_layers(
        &self,
        lease: &Lease,
        found: &[Found],
        report: &mut dyn FnMut(Progress),
    ) -> Result<BTreeMap<Digest, Adopted>> {
        let trees: BTreeMap<&Digest, &Tree> =
            found.iter().flat_map(|image| &image.layers).map(|tree| (&tree.diff_id, tree)).collect();
        let trees: Vec<&Tree> = trees.into_values().collect();
        for tree in &trees {
            lease.hold(Held::Layer(tree.diff_id.clone()));
        }
        let mut layers = BTreeMap::new();
        for adopted in in_parallel(&trees, |tree| self.adopt_layer(lease, tree))? {
            report(Progress { diff_id: adopted.layer.diff_id.clone(), size: adopted.layer.blob.size });
            layers.insert(adopted.layer.diff_id.clone(), adopted);
        }
        Ok(layers)
    }

    fn adopt_layer(&self, lease: &Lease, tree: &Tree) -> Result<Adopted> {
        if let Some(layer) = self.known_layer(lease, &tree.diff_id)? {
            return Ok(Adopted { layer, staged: None });
        }
        let adopting = || format!("layer {} in {}", tree.diff_id.short(), tree.files.display());
        let mut recipe = Recipe::open(&tree.recipe, &tree.files).doing(adopting)?;
        let staged = self.stage_layer(&mut recipe).doing(adopting)?;
        staged.hold(lease);
        let layer = staged.layer();
        if layer.diff_id != tree.diff_id {
            return Err(Error::invalid("its files have changed since it was made").doing(adopting()));
        }
        Ok(Adopted { layer, staged: Some(staged) })
    }

    /// A layer that an image here has already.
    fn known_layer(&self, lease: &Lease, diff_id: &Digest) -> Result<Option<Layer>> {
        let catalog = self.catalog();
        let mut layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let Some(layer) = layers.find(|layer| layer.diff_id == *diff_id) else { return Ok(None) };
        lease.hold(Held::Blob(layer.blob.digest.clone()));
        let is_here = self.has_layer(diff_id)? && self.blob_exists(&layer.blob.digest)?;
        Ok(is_here.then(|| layer.clone()))
    }
}

/// A layer that is here now, or was before.
#[derive(Debug)]
struct Adopted {
    layer: Layer,
    staged: Option<StagedLayer>,
}

fn images(folder: &Path) -> Result<Vec<Found>> {
    if fs::exists(folder.join(docker::REPOSITORIES))? {
        return docker::images(folder);
    }
    if fs::exists(folder.join(containers::IMAGES))? {
        return containers::images(folder);
    }
    Err(Error::invalid(format!(
        "{} is neither Docker's data root with the storage driver overlay2 ({}) nor podman's storage ({})",
        folder.display(),
        docker::REPOSITORIES,
        containers::IMAGES
    )))
}

/// All images, or those that have one of the names, with those names alone.
fn chosen(found: Vec<Found>, names: &[Reference]) -> Result<Vec<Found>> {
    if names.is_empty() {
        return Ok(found);
    }
    let names: Vec<Reference> = names.iter().map(|name| name.clone().with_default_tag()).collect();
    if let Some(missing) = names.iter().find(|name| !found.iter().any(|image| image.names.contains(name))) {
        return Err(Error::not_found(format!("No such image there: {}", missing.familiar())));
    }
    let only_wanted = |mut image: Found| {
        image.names.retain(|name| names.contains(name));
        (!image.names.is_empty()).then_some(image)
    };
    Ok(found.into_iter().filter_map(only_wanted).collect())
}

fn new_image(image: Found, layers: &BTreeMap<Digest, Adopted>) -> Result<NewImage> {
    let diff_ids = parse_config(&image.config)?.rootfs.diff_ids;
    if !diff_ids.iter().eq(image.layers.iter().map(|tree| &tree.diff_id)) {
        return Err(Error::invalid("an image's layers are not those of its config"));
    }
    let layers: Vec<Layer> = diff_ids.iter().map(|diff_id| layers[diff_id].layer.clone()).collect();
    let manifest = if stands_on(&image.manifest, &layers) { image.manifest } else { Manifest::New };
    Ok(NewImage { config: image.config, manifest, layers, names: image.names, indexed: None, parent: None })
}

/// Whether a manifest that was kept names the blobs that are here. Layers come back uncompressed, so the manifest of
/// an image that was pulled compressed does not.
fn stands_on(manifest: &Manifest, layers: &[Layer]) -> bool {
    let Manifest::Kept { bytes, .. } = manifest else { return true };
    let Ok(manifest) = serde_json::from_slice::<oci::Manifest>(bytes) else { return false };
    let named = manifest.layers.iter().map(|layer| &layer.digest);
    named.eq(layers.iter().map(|layer| &layer.blob.digest))
}

/// A JSON document of the other engine.
fn document<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read_bounded(path, DOCUMENT_BYTES_MAX)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("{} is not understood", path.display())).with_source(error))
}

/// Names that are none by our grammar are left out: the image keeps its others.
fn references<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Reference> {
    names.filter_map(|name| Reference::parse(name).ok()).collect()
}

/// One part of a path that a document names: it must not lead elsewhere.
fn part(name: &str) -> Result<&str> {
    match name {
        "" | "." | ".." => Err(Error::invalid(format!("\"{name}\" is no name of a folder"))),
        name if name.contains('/') => Err(Error::invalid(format!("\"{name}\" is no name of a folder"))),
        name => Ok(name),
    }
}

/// What is missing there is the other engine's mistake, not a name that the user got wrong.
fn broken(error: Error) -> Error {
    if error.kind() == Kind::NotFound { error.with_kind(Kind::Invalid) } else { error }
}
