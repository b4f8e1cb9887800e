//! `adopt`: images out of another engine's folders, which are only read.
//!
//! The other engine has unpacked its layers and kept a recipe beside each that tells how the tar was put together; with
//! it the very bytes come back (adopt/tar_split.rs), so images keep their ids. Whatever is in those folders counts as
//! foreign: paths are resolved beneath them, documents are bounded, every layer is compared with its diffID.
//!
//! The other engine need not stand still: it replaces its documents whole, and a layer's files never change. What it
//! removes in the middle is told as broken.
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
use crate::load::{Loaded, Progress, in_parallel_telling, loaded};
use crate::publish::Staged;
use crate::{ImageId, Layer, Signed, Store};

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

/// What an adoption tells while it goes on.
#[derive(Debug)]
pub enum Adopting {
    Layer(Progress),
    /// All of it is here, and stays whatever comes after.
    Image(Loaded),
    /// An image that could not be taken, and why. The others go on.
    Left(Error),
}

/// An image that could be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoptable {
    pub id: ImageId,
    pub names: Vec<Reference>,
    pub layers: usize,
    /// An image of that id is here already; only names may be missing.
    pub is_here: bool,
}

impl Store {
    /// Takes over images of Docker's data root (graph driver overlay2) or of podman's storage, all or those of some
    /// names, one after the other: an adoption that was cut off goes on where it was. The first error is told once all
    /// other images are here. `NotFound` for a name that is not there, `Invalid` for a folder that is neither.
    pub fn adopt(
        &self,
        folder: &Path,
        names: &[Reference],
        report: &mut dyn FnMut(Adopting),
    ) -> Result<Vec<Loaded>> {
        let mut all = Vec::new();
        let mut failure = None;
        for found in chosen(images(folder)?, names)? {
            match found.and_then(|image| self.adopt_image(image, report)) {
                Ok(lines) => {
                    lines.iter().for_each(|line| report(Adopting::Image(line.clone())));
                    all.extend(lines);
                }
                Err(error) => {
                    report(Adopting::Left(Error::invalid(error.to_string())));
                    failure = failure.or(Some(error));
                }
            }
            sys::crash::point("store.adopt.image");
        }
        failure.map_or(Ok(all), Err)
    }

    /// What [`Store::adopt`] would take; nothing is changed and no layer is read.
    pub fn adoptable(&self, folder: &Path, names: &[Reference]) -> Result<Vec<Adoptable>> {
        let catalog = self.catalog();
        let row = |image: Found| {
            let id = ImageId(Digest::sha256(&image.config));
            let is_here = catalog.images.contains_key(&id);
            Adoptable { id, names: image.names, layers: image.layers.len(), is_here }
        };
        chosen(images(folder)?, names)?.into_iter().map(|found| found.map(row)).collect()
    }

    fn adopt_image(&self, found: Found, report: &mut dyn FnMut(Adopting)) -> Result<Vec<Loaded>> {
        let lease = self.lease();
        let layers = self.adopt_layers(&lease, &found, report)?;
        let image = new_image(found, &layers)?;
        let lines = vec![(image.id(), image.names.clone())];
        let staged = layers.into_values().filter_map(|adopted| adopted.staged);
        let staged: Vec<Staged> = staged.flat_map(StagedLayer::into_staged).collect();
        let moved = self.register(&lease, staged, vec![image])?;
        Ok(loaded(lines, &moved))
    }

    /// Each layer once, on all processors.
    fn adopt_layers(
        &self,
        lease: &Lease,
        found: &Found,
        report: &mut dyn FnMut(Adopting),
    ) -> Result<BTreeMap<Digest, Adopted>> {
        let trees: BTreeMap<&Digest, &Tree> = found.layers.iter().map(|tree| (&tree.diff_id, tree)).collect();
        let trees: Vec<&Tree> = trees.into_values().collect();
        for tree in &trees {
            lease.hold(Held::Layer(tree.diff_id.clone()));
        }
        let told = |Adopted { layer: Layer { diff_id, blob, .. }, .. }: &Adopted| {
            report(Adopting::Layer(Progress { diff_id: diff_id.clone(), size: blob.size }));
        };
        let layers = in_parallel_telling(&trees, |tree| self.adopt_layer(lease, tree), told)?;
        Ok(layers.into_iter().map(|adopted| (adopted.layer.diff_id.clone(), adopted)).collect())
    }

    fn adopt_layer(&self, lease: &Lease, tree: &Tree) -> Result<Adopted> {
        if let Some(layer) = self.hold_layer(lease, &tree.diff_id, None)? {
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
}

/// A layer that is here now, or was before.
#[derive(Debug)]
struct Adopted {
    layer: Layer,
    staged: Option<StagedLayer>,
}

/// All images there; one that is broken does not hide the others.
fn images(folder: &Path) -> Result<Vec<Result<Found>>> {
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

/// All images, or those that have one of the names, with those names alone. What names a broken image had is not known,
/// so it is told when a name is missing.
fn chosen(found: Vec<Result<Found>>, names: &[Reference]) -> Result<Vec<Result<Found>>> {
    if names.is_empty() {
        return Ok(found);
    }
    let names: Vec<Reference> = names.iter().map(|name| name.clone().with_default_tag()).collect();
    let has = |name: &Reference| found.iter().flatten().any(|image| image.names.contains(name));
    if let Some(missing) = names.iter().find(|name| !has(name)) {
        let missing = Error::not_found(format!("No such image there: {}", missing.familiar()));
        return Err(found.into_iter().find_map(Result::err).unwrap_or(missing));
    }
    let only_wanted = |mut image: Found| {
        image.names.retain(|name| names.contains(name));
        (!image.names.is_empty()).then_some(Ok(image))
    };
    Ok(found.into_iter().flatten().filter_map(only_wanted).collect())
}

fn new_image(image: Found, layers: &BTreeMap<Digest, Adopted>) -> Result<NewImage> {
    let diff_ids = parse_config(&image.config)?.rootfs.diff_ids;
    if !diff_ids.iter().eq(image.layers.iter().map(|tree| &tree.diff_id)) {
        return Err(Error::invalid("an image's layers are not those of its config"));
    }
    let layers: Vec<Layer> = diff_ids.iter().map(|diff_id| layers[diff_id].layer.clone()).collect();
    let manifest = if stands_on(&image.manifest, &layers) { image.manifest } else { Manifest::New };
    Ok(NewImage {
        config: image.config,
        manifest,
        layers,
        names: image.names,
        indexed: None,
        signed: Signed::default(),
        parent: None,
    })
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
