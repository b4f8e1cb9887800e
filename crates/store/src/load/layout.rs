//! An OCI image layout (image-spec, image-layout.md): `index.json` leads to manifests, these to configs and layers.
//!
//! Of an image for several platforms all is taken that the archive holds, or what was asked for; the name means the image
//! that fits this machine best. Manifests and indexes are kept byte for byte, so their digests stay.

use std::collections::BTreeSet;

use fault::{Error, Result};
use oci::manifest::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME};
use oci::{Descriptor, Digest, Index, Platform, Reference, media_type};

use super::members::Members;
use super::{Plan, Planned, PlannedLayer};
use crate::Document;
use crate::content::blob_name;
use crate::image::{Manifest, parse_config};
use crate::index::{DEPTH_MAX, VARIANTS_MAX};

pub(super) fn plan(members: &Members, platforms: &[Platform]) -> Result<Plan> {
    let index: Index = members.json("index.json")?;
    let mut plan = Plan::default();
    for entry in index.manifests.iter().filter(|entry| !is_attestation(entry)) {
        let name = name_of(entry)?;
        let mut walk = Walk { members, seen: BTreeSet::new(), indexes: Vec::new(), found: Vec::new() };
        walk.visit(entry, None, DEPTH_MAX)?;
        let found = chosen(walk.found, platforms);
        if found.is_empty() {
            continue;
        }
        let group = (!walk.indexes.is_empty()).then_some(plan.groups.len());
        plan.groups.extend(group.map(|_| walk.indexes));
        for (number, found) in found.into_iter().enumerate() {
            let names = name.iter().filter(|_| number == 0).cloned().collect();
            plan.add(Planned { names, group, ..found.planned });
        }
    }
    if plan.images.is_empty() {
        return Err(match platforms {
            [] => {
                let Platform { os, architecture, .. } = Platform::host();
                Error::invalid(format!("invalid image archive: no image for {os}/{architecture}"))
            }
            platforms => super::lacking(platforms),
        });
    }
    Ok(plan)
}

impl Plan {
    /// One image under several names has an entry for each.
    fn add(&mut self, image: Planned) {
        match self.images.iter_mut().find(|known| known.config == image.config) {
            Some(known) => {
                known.names.extend(image.names);
                known.group = known.group.or(image.group);
            }
            None => self.images.push(image),
        }
    }
}

/// An image that the archive holds.
struct Found {
    platform: Platform,
    planned: Planned,
}

/// A look at all that an entry leads to.
struct Walk<'a> {
    members: &'a Members,
    seen: BTreeSet<Digest>,
    indexes: Vec<Document>,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn visit(&mut self, entry: &Descriptor, above: Option<&Descriptor>, depth: u32) -> Result<()> {
        let is_new = self.seen.insert(entry.digest.clone());
        if !is_new || self.found.len() == VARIANTS_MAX {
            return Ok(());
        }
        if media_type::is_manifest(&entry.media_type) {
            let planned = plan_one(self.members, entry)?;
            // An archive may hold some platforms only; the manifests of the others may be there all the same.
            if above.is_some() && !is_whole(self.members, &planned) {
                return Ok(());
            }
            let platform = self.platform(entry, &planned)?;
            self.found.push(Found { platform, planned });
            return Ok(());
        }
        if !media_type::is_index(&entry.media_type) || depth == 0 {
            return Ok(());
        }
        let bytes = self.members.document(&blob_name(&entry.digest))?;
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid(format!("invalid image archive: index {}: {error}", entry.digest))
        })?;
        let descriptor = Descriptor::of(entry.media_type.as_str(), &bytes);
        self.indexes.push(Document { descriptor, bytes });
        for child in index.manifests.iter().filter(|child| !is_attestation(child) && is_linux_s(child)) {
            if self.members.has(&blob_name(&child.digest)) {
                self.visit(child, Some(entry), depth - 1)?;
            }
        }
        Ok(())
    }

    fn platform(&self, entry: &Descriptor, planned: &Planned) -> Result<Platform> {
        if let Some(platform) = entry.platform.clone().filter(|platform| !platform.os.is_empty()) {
            return Ok(platform);
        }
        Ok(parse_config(&self.members.document(&planned.config)?)?.platform())
    }
}

/// What is wanted, in the order of the wish; without one all, the best for this machine at first.
fn chosen(mut found: Vec<Found>, platforms: &[Platform]) -> Vec<Found> {
    if platforms.is_empty() {
        let host = Platform::host_newest();
        let ranked = found.iter().enumerate();
        let ranked = ranked.filter_map(|(place, one)| Some((host.rank(&one.platform)?, place)));
        if let Some((_, place)) = ranked.min() {
            let first = found.remove(place);
            found.insert(0, first);
        }
        return found;
    }
    let mut all = Vec::new();
    for wanted in platforms {
        if let Some(place) = found.iter().position(|one| wanted.rank(&one.platform) == Some(0)) {
            all.push(found.remove(place));
        }
    }
    all
}

fn plan_one(members: &Members, entry: &Descriptor) -> Result<Planned> {
    let bytes = members.document(&blob_name(&entry.digest))?;
    let manifest: oci::Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        Error::invalid(format!("invalid image archive: manifest {}: {error}", entry.digest))
    })?;
    let layer = |blob: Descriptor| PlannedLayer { member: blob_name(&blob.digest), blob: Some(blob) };
    Ok(Planned {
        config: blob_name(&manifest.config.digest),
        layers: manifest.layers.into_iter().map(layer).collect(),
        manifest: Manifest::Kept { media_type: entry.media_type.clone(), bytes },
        names: Vec::new(),
        group: None,
    })
}

fn is_whole(members: &Members, planned: &Planned) -> bool {
    members.has(&planned.config) && planned.layers.iter().all(|layer| members.has(&layer.member))
}

/// BuildKit lays provenance and the like beside images, as manifests for the platform unknown/unknown.
fn is_attestation(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

/// Not for another system; nothing of these could be unpacked.
fn is_linux_s(entry: &Descriptor) -> bool {
    entry.platform.as_ref().is_none_or(|platform| matches!(platform.os.as_str(), "" | "linux"))
}

/// The full name, as containerd and Docker write it; else the reference, if it is more than a tag.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>> {
    let reference = entry.annotations.get(ANNOTATION_REF_NAME).filter(|name| name.contains([':', '/']));
    let Some(name) = entry.annotations.get(ANNOTATION_IMAGE_NAME).or(reference) else { return Ok(None) };
    let name = Reference::parse(name)?.with_default_tag();
    match name.digest() {
        Some(digest) if *digest != entry.digest => {
            Err(Error::invalid(format!("invalid image archive: {} is called {digest}", entry.digest)))
        }
        _ => Ok(Some(name)),
    }
}
