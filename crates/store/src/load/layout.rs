//! An OCI image layout (image-spec, image-layout.md): `index.json` leads to manifests, these to configs and layers.
//!
//! Of an image for several platforms the host's is taken. Manifests are kept byte for byte, so their digests stay.

use fault::{Error, Result};
use oci::manifest::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME};
use oci::{Descriptor, Index, Platform, Reference, media_type};

use super::members::Members;
use super::{Planned, PlannedLayer};
use crate::image::Manifest;

pub(super) fn plan(members: &Members) -> Result<Vec<Planned>> {
    let index: Index = members.json("index.json")?;
    let mut planned: Vec<Planned> = Vec::new();
    for entry in index.manifests.iter().filter(|entry| !is_attestation(entry)) {
        let Some(manifest) = choose(members, entry, DEPTH_MAX)? else { continue };
        let one = plan_one(members, &manifest, name_of(entry)?)?;
        // One image under several names has an entry for each.
        match planned.iter_mut().find(|known| known.config == one.config) {
            Some(known) => known.names.extend(one.names),
            None => planned.push(one),
        }
    }
    if planned.is_empty() {
        let Platform { os, architecture, .. } = Platform::host();
        return Err(Error::invalid(format!("invalid image archive: no image for {os}/{architecture}")));
    }
    Ok(planned)
}

/// Follows nested indexes to the manifest that fits this machine.
fn choose(members: &Members, entry: &Descriptor, depth: u32) -> Result<Option<Descriptor>> {
    if media_type::is_manifest(&entry.media_type) {
        return Ok(Some(entry.clone()));
    }
    if !media_type::is_index(&entry.media_type) || depth == 0 {
        return Ok(None);
    }
    let index: Index = members.json(&blob_name(entry))?;
    let fitting = index.manifests.iter().filter(|entry| entry.platform.as_ref().is_none_or(fits_host));
    // An archive may hold some platforms' blobs only.
    for entry in fitting.filter(|entry| members.has(&blob_name(entry))) {
        if let Some(found) = choose(members, entry, depth - 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn plan_one(members: &Members, entry: &Descriptor, name: Option<Reference>) -> Result<Planned> {
    let bytes = members.document(&blob_name(entry))?;
    let manifest: oci::Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        Error::invalid(format!("invalid image archive: manifest {}: {error}", entry.digest))
    })?;
    let layer = |blob: Descriptor| PlannedLayer { member: blob_name(&blob), blob: Some(blob) };
    Ok(Planned {
        config: blob_name(&manifest.config),
        layers: manifest.layers.into_iter().map(layer).collect(),
        manifest: Manifest::Kept { media_type: entry.media_type.clone(), bytes },
        names: name.into_iter().collect(),
    })
}

fn blob_name(descriptor: &Descriptor) -> String {
    format!("blobs/{}/{}", descriptor.digest.algorithm(), descriptor.digest.hex())
}

fn fits_host(platform: &Platform) -> bool {
    let host = Platform::host();
    (&platform.os, &platform.architecture) == (&host.os, &host.architecture)
}

/// BuildKit lays provenance and the like beside images, as manifests for the platform unknown/unknown.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

/// The full name, as containerd and Docker write it; else the reference, if it is more than a tag.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>> {
    if let Some(name) = entry.annotations.get(ANNOTATION_IMAGE_NAME) {
        return Ok(Some(Reference::parse(name)?.with_default_tag()));
    }
    match entry.annotations.get(ANNOTATION_REF_NAME) {
        Some(name) if name.contains([':', '/']) => Ok(Some(Reference::parse(name)?.with_default_tag())),
        _ => Ok(None),
    }
}

/// An index in an index is common, more is a loop.
const DEPTH_MAX: u32 = 3;
