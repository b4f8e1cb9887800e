//! `image convert`: an image whose layers are compressed otherwise. What is in them stays the same, and so do the diffIDs.
//!
//! ```text
//!   name --> its images here, one a platform --> each layer: blob, inflate, deflate, hash --> new manifests, new index
//! ```
//! An image is known by its configuration, and one configuration has one manifest here. So the new image gets a step more
//! in its history, which says what was done; the step has the source's time, so the same comes out again (decision 0051).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use archive::compression::{self, Compression, Effort};
use fault::{Call, Doing, Error, Result};
use oci::{Descriptor, Digest, Index, Platform, Reference, media_type};
use serde_json::{Value, json};

use crate::content::StagedBlob;
use crate::image::{Manifest, NewImage, new_manifest, parse_config};
use crate::index::Indexed;
use crate::layer::{layer_type, piped, spool};
use crate::lease::{Held, Lease};
use crate::load::in_parallel;
use crate::publish::Staged;
use crate::{Document, ImageId, Layer, Signed, Store};

/// What to make.
#[derive(Clone, Debug)]
pub struct Convert {
    /// A name or an id.
    pub source: String,
    pub target: Reference,
    pub compression: Compression,
    /// The format's own if not given.
    pub level: Option<i32>,
    /// All that are here if none is named.
    pub platforms: Vec<Platform>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// What the name means without a platform.
    pub id: ImageId,
    /// Of the index if there are several platforms, else of the manifest.
    pub target: Descriptor,
    /// Of all layers, before and after, in bytes.
    pub size_before: u64,
    pub size_after: u64,
}

impl Store {
    /// Makes an image and gives it the name. `Invalid` for a level that the format does not know.
    pub fn convert(&self, wanted: &Convert) -> Result<Converted> {
        let effort = effort(wanted)?;
        self.convert_all(wanted, effort).doing(|| format!("converting {}", wanted.source))
    }

    fn convert_all(&self, wanted: &Convert, effort: Effort) -> Result<Converted> {
        let lease = self.lease();
        let sources = self.sources(wanted)?;
        let mut layers = BTreeMap::new();
        for (id, _) in &sources {
            for layer in self.hold_image(&lease, id)?.layers {
                layers.insert(layer.blob.digest.clone(), layer);
            }
        }
        let made = self.recompress(&lease, &layers.into_values().collect::<Vec<_>>(), wanted, effort)?;
        let mut images = Vec::new();
        let mut entries = Vec::new();
        let (mut size_before, mut size_after) = (0, 0);
        for (id, platform) in &sources {
            let image = self.new_form(&lease, id, &made.blobs, &step(wanted, effort))?;
            let before = self.hold_image(&lease, id)?.layers;
            size_before += before.iter().map(|layer| layer.blob.size).sum::<u64>();
            size_after += image.layers.iter().map(|layer| layer.blob.size).sum::<u64>();
            let (manifest, _) = new_manifest(&image.config, &image.layers);
            entries.push(Descriptor { platform: Some(platform.clone()), ..manifest });
            images.push(image);
        }
        let mut staged: Vec<Staged> = made.staged.into_iter().map(Staged::Blob).collect();
        let first = images.first_mut().ok_or_else(|| Error::internal("an image has no platform"))?;
        let id = first.id();
        let mut target = Descriptor { platform: None, ..entries[0].clone() };
        first.names.push(wanted.target.clone().with_default_tag());
        if images.len() > 1 {
            let index = index_of(entries);
            target = index.descriptor.clone();
            let indexes = [index];
            staged.extend(self.stage_indexes(&lease, &indexes)?);
            let ids: BTreeSet<ImageId> = images.iter().map(NewImage::id).collect();
            images[0].indexed = Indexed::of(&indexes, &id).map(|indexed| Indexed { images: ids, ..indexed });
        }
        self.register(&lease, staged, images)?;
        Ok(Converted { id, target, size_before, size_after })
    }

    /// The images that are meant, by platforms; what the name means without one is the first.
    fn sources(&self, wanted: &Convert) -> Result<Vec<(ImageId, Platform)>> {
        let mut ids = Vec::new();
        for platform in &wanted.platforms {
            ids.push(self.resolve_exactly(&wanted.source, platform)?);
        }
        if ids.is_empty() {
            ids = self.all_of(&wanted.source)?;
        }
        let mut sources = Vec::new();
        for id in ids {
            let platform = self.image(&id)?.config.platform();
            sources.push((id, platform));
        }
        Ok(sources)
    }

    /// Each blob in its new form.
    fn recompress(&self, lease: &Lease, layers: &[Layer], wanted: &Convert, effort: Effort) -> Result<Made> {
        let made = in_parallel(layers, |layer| {
            let blob = self.recompressed(&layer.blob.digest, wanted.compression, effort)?;
            Ok((layer.blob.digest.clone(), blob))
        })?;
        let mut all = Made { blobs: BTreeMap::new(), staged: Vec::new() };
        for (before, blob) in made {
            lease.hold(Held::Blob(blob.digest.clone()));
            let descriptor = Descriptor::new(layer_type(wanted.compression), blob.digest.clone(), blob.size);
            all.blobs.insert(before, descriptor);
            all.staged.push(blob);
        }
        Ok(all)
    }

    fn recompressed(&self, digest: &Digest, compression: Compression, effort: Effort) -> Result<StagedBlob> {
        let mut tar = compression::reader(self.blob_open(digest)?)?;
        piped(
            |writer| {
                let mut packed = compression::writer(writer, compression, effort)?;
                io::copy(&mut tar, &mut packed).call(|| format!("compress blob {digest}"))?;
                packed.finish().map(drop)
            },
            |reader| spool(self.blob_writer()?, reader),
        )
    }

    fn new_form(
        &self,
        lease: &Lease,
        id: &ImageId,
        blobs: &BTreeMap<Digest, Descriptor>,
        step: &str,
    ) -> Result<NewImage> {
        let mut layers = self.hold_image(lease, id)?.layers;
        for layer in &mut layers {
            if let Some(blob) = blobs.get(&layer.blob.digest) {
                layer.blob = blob.clone();
            }
        }
        let config = with_step(&self.blob_read(&id.0)?, step)?;
        Ok(NewImage {
            config,
            manifest: Manifest::New,
            layers,
            names: Vec::new(),
            indexed: None,
            signed: Signed::default(),
            parent: None,
        })
    }
}

struct Made {
    /// By the digest before.
    blobs: BTreeMap<Digest, Descriptor>,
    staged: Vec<StagedBlob>,
}

fn effort(wanted: &Convert) -> Result<Effort> {
    let Some(level) = wanted.level else { return Ok(Effort::Small) };
    match compression::levels(wanted.compression) {
        None => Err(Error::invalid("a level needs a compression that has levels: gzip or zstd")),
        Some(levels) if !levels.contains(&level) => Err(Error::invalid(format!(
            "level {level} is outside the range of [{}, {}]",
            levels.start(),
            levels.end()
        ))),
        Some(_) => Ok(Effort::Level(level)),
    }
}

/// As the history shows it.
fn step(wanted: &Convert, effort: Effort) -> String {
    let name = match wanted.compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        _ => "none",
    };
    match effort {
        Effort::Level(level) => format!("image convert --compression {name} --level {level}"),
        _ => format!("image convert --compression {name}"),
    }
}

/// A config with one step more; what we do not know of it stays.
fn with_step(config: &[u8], step: &str) -> Result<Vec<u8>> {
    let created = parse_config(config)?.created;
    let mut value: Value = serde_json::from_slice(config)
        .map_err(|error| Error::invalid(format!("invalid image config: {error}")))?;
    let Some(fields) = value.as_object_mut() else { return Err(Error::invalid("invalid image config")) };
    let mut history = fields.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut row = json!({ "created_by": step, "empty_layer": true });
    if let Some(created) = created {
        row["created"] = created.into();
    }
    history.push(row);
    fields.insert("history".into(), history.into());
    serde_json::to_vec(&value).map_err(|error| Error::internal(format!("write an image config: {error}")))
}

fn index_of(entries: Vec<Descriptor>) -> Document {
    let bytes = serde_json::to_vec(&Index::new(entries)).expect("an index is always JSON");
    Document { descriptor: Descriptor::of(media_type::OCI_INDEX, &bytes), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(compression: Compression, level: Option<i32>) -> Convert {
        let target = Reference::parse("x").unwrap();
        Convert { source: "a".into(), target, compression, level, platforms: Vec::new() }
    }

    #[test]
    fn levels_are_those_of_the_format() {
        let words = |compression, level| effort(&convert(compression, Some(level))).unwrap_err().to_string();
        assert_eq!(words(Compression::Gzip, 10), "level 10 is outside the range of [1, 9]");
        assert_eq!(words(Compression::Zstd, 23), "level 23 is outside the range of [1, 22]");
        assert!(words(Compression::None, 1).contains("gzip or zstd"));
        assert_eq!(effort(&convert(Compression::Zstd, Some(22))).unwrap(), Effort::Level(22));
        assert_eq!(effort(&convert(Compression::None, None)).unwrap(), Effort::Small);
    }

    #[test]
    fn a_step_is_added_and_the_rest_stays() {
        let config = br#"{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","own":{"x":1},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let with = with_step(config, "image convert --compression zstd").unwrap();
        let value: Value = serde_json::from_slice(&with).unwrap();
        assert_eq!(value["own"]["x"], 1);
        assert_eq!(
            value["history"],
            json!([{"created": "2024-01-02T03:04:05Z", "created_by": "image convert --compression zstd", "empty_layer": true}])
        );
        assert!(with_step(b"[]", "x").is_err());
    }
}
