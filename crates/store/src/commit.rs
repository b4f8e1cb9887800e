//! `commit`: a snapshot's changes become a new layer over the snapshot's image.

use fault::{Doing, Error, Result};
use oci::Reference;
use oci::image::{Config, History};

use crate::image::{Manifest, NewImage, new_tag};
use crate::layer::{StagedLayer, piped};
use crate::{Image, ImageId, Signed, Snapshot, Store};

/// What to commit as.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub config: Config,
    pub author: Option<String>,
    pub comment: Option<String>,
    /// What made the changes: Docker writes the container's command.
    pub created_by: String,
    /// The image that the snapshot was made from; `None` for one made from nothing.
    pub parent: Option<ImageId>,
    pub reference: Option<Reference>,
}

impl Store {
    /// Packs the changes and adds the image. Whoever writes into the snapshot meanwhile gets what he deserves: pause first.
    pub fn commit(&self, snapshot: &Snapshot, commit: &Commit) -> Result<ImageId> {
        self.commit_changes(snapshot, commit).doing(|| format!("committing {}", snapshot.key()))
    }

    fn commit_changes(&self, snapshot: &Snapshot, commit: &Commit) -> Result<ImageId> {
        let names = commit.reference.iter().map(new_tag).collect::<Result<_>>()?;
        let lease = self.lease();
        let mut layers = Vec::new();
        let mut parent = None;
        if let Some(id) = &commit.parent {
            layers = self.hold_image(&lease, id)?.layers;
            parent = Some(self.image(id)?);
        }
        if !layers.iter().map(|layer| &layer.diff_id).eq(snapshot.layers()) {
            return Err(Error::conflict("the snapshot does not stand on the parent image"));
        }
        let staged = self.stage_changes(snapshot)?;
        if let Some(staged) = &staged {
            staged.hold(&lease);
            layers.push(staged.layer());
        }
        let config = image_config(commit, parent.as_ref(), staged.as_ref());
        let image = NewImage {
            config: serde_json::to_vec(&config).expect("an image config is always JSON"),
            manifest: Manifest::New,
            layers,
            names,
            indexed: None,
            signed: Signed::default(),
            parent: commit.parent.clone(),
        };
        let id = image.id();
        let staged = staged.map(StagedLayer::into_staged).into_iter().flatten().collect();
        self.register(&lease, staged, vec![image])?;
        Ok(id)
    }

    /// `None` if nothing changed.
    fn stage_changes(&self, snapshot: &Snapshot) -> Result<Option<StagedLayer>> {
        if sys::fs::read_dir(snapshot.upper())?.is_empty() {
            return Ok(None);
        }
        piped(|writer| snapshot.pack_diff(writer), |reader| self.stage_layer(reader)).map(Some)
    }
}

/// The parent's config with one more step (moby, image/image.go, `NewChildImage`).
fn image_config(commit: &Commit, parent: Option<&Image>, layer: Option<&StagedLayer>) -> oci::Image {
    let platform = oci::Platform::host();
    let base = parent.map(|image| image.config.clone()).unwrap_or_else(|| oci::Image {
        architecture: platform.architecture,
        os: platform.os,
        ..oci::Image::default()
    });
    let mut image = oci::Image {
        created: Some(sys::time::now_rfc3339_nano()),
        author: commit.author.clone(),
        comment: commit.comment.clone(),
        config: Some(commit.config.clone()),
        ..base
    };
    image.rootfs.diff_ids.extend(layer.map(|layer| layer.tree.diff_id.clone()));
    image.history.push(History {
        created: image.created.clone(),
        created_by: Some(commit.created_by.clone()),
        author: commit.author.clone(),
        comment: commit.comment.clone(),
        empty_layer: layer.is_none(),
    });
    image
}
