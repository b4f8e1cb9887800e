//! Repairing what [`Store::verify`] finds, as far as that is safe.
//!
//! Everything is made anew from what is whole: a tree from its blob, a blob from its tree where that gives the very same
//! bytes, a manifest from its config. What cannot be made anew is told and stays broken until its image is pulled or
//! loaded again; a damaged blob is set aside, so that its bytes are fetched. Nothing is deleted but names that point
//! nowhere, damaged blobs that nobody needs and temporary files. Each repair ends in one rename or one transaction: one
//! that is cut off is begun again.

use fault::{Kind, Result};
use oci::Digest;
use sys::fs;

use crate::catalog::Entry;
use crate::content::StagedBlob;
use crate::image::new_manifest;
use crate::layer::{StagedTree, pack, piped, spool};
use crate::lease::Held;
use crate::publish::Staged;
use crate::verify::Problem;
use crate::{ImageId, Store};

/// Whose snapshots are: the store does not know.
pub struct Owners<'a> {
    /// The image of the snapshot with this key, if somebody remembers.
    pub image_of: &'a dyn Fn(&str) -> Option<ImageId>,
    /// Whether a container runs on it, or is about to. What this process has mounted the store knows by itself.
    pub is_mounted: &'a dyn Fn(&str) -> bool,
}

impl Owners<'static> {
    /// Nobody remembers anything, and nothing is mounted.
    pub fn none() -> Self {
        Self { image_of: &|_| None, is_mounted: &|_| false }
    }
}

impl std::fmt::Debug for Owners<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Owners").finish_non_exhaustive()
    }
}

/// A problem, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    pub problem: Problem,
    pub outcome: Outcome,
}

/// In words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was done.
    Mended(&'static str),
    /// What keeps it from being mended.
    Left(String),
}

impl Store {
    /// Verifies the store, and mends what can be mended.
    pub fn repair(&self, owners: &Owners<'_>) -> Result<Vec<Repaired>> {
        let mend = |problem: Problem| {
            let outcome =
                self.mend(&problem, owners).unwrap_or_else(|error| Outcome::Left(error.to_string()));
            sys::crash::point("store.repair.one");
            Repaired { problem, outcome }
        };
        Ok(self.verify()?.into_iter().map(mend).collect())
    }

    fn mend(&self, problem: &Problem, owners: &Owners<'_>) -> Result<Outcome> {
        match problem {
            Problem::Damaged(blob, images) => self.mend_damaged(blob, images),
            Problem::MissingBlob(id, blob) => self.mend_missing(id, blob),
            Problem::MissingLayer(_, diff_id) | Problem::DamagedLayer(diff_id, _) => {
                self.mend_layer(diff_id, owners)
            }
            Problem::MissingLower(_, diff_id) => self.mend_layer(diff_id, owners),
            Problem::DanglingName(name, _) => {
                self.inner.db.update(|catalog| {
                    let dangles = catalog.names.get(name).is_some_and(|id| !catalog.images.contains_key(id));
                    dangles.then(|| catalog.untag(name));
                    Ok(())
                })?;
                self.write_layout();
                Ok(Outcome::Mended("the name was removed"))
            }
            Problem::DamagedSnapshot(key) => self.mend_snapshot(key, owners),
            Problem::StaleIndex => {
                self.write_layout();
                Ok(Outcome::Mended("written anew"))
            }
            Problem::StrayFile(path) => {
                fs::remove_file_if_exists(path)?;
                Ok(Outcome::Mended("removed"))
            }
        }
    }

    fn mend_damaged(&self, blob: &Digest, images: &[ImageId]) -> Result<Outcome> {
        // Somebody may have replaced it since.
        if !self.is_damaged(blob) {
            return Ok(Outcome::Mended("it is whole again"));
        }
        let remade = match images.first() {
            Some(id) => self.remade(id, blob)?,
            None => None,
        };
        match remade {
            Some(staged) => {
                staged.sync()?;
                sys::crash::point("store.repair.remade");
                staged.scratch.replace(&self.blob_path(blob))?;
                fs::fsync_dir(self.path("content/blobs/sha256"))?;
                Ok(Outcome::Mended("made anew"))
            }
            None if images.is_empty() => {
                self.discard(&self.blob_path(blob))?;
                Ok(Outcome::Mended("removed, for nobody needs it"))
            }
            None => {
                self.set_aside(blob)?;
                Ok(lost())
            }
        }
    }

    /// Bytes that came from nowhere else may be worth something even so.
    fn set_aside(&self, blob: &Digest) -> Result<()> {
        fs::create_dir_all(self.path(ASIDE), 0o700)?;
        fs::rename(self.blob_path(blob), self.path(ASIDE).join(blob.hex()))?;
        sys::crash::point("store.repair.aside");
        fs::fsync_dir(self.path("content/blobs/sha256"))
    }

    fn mend_missing(&self, id: &ImageId, blob: &Digest) -> Result<Outcome> {
        if self.blob_exists(blob)? {
            return Ok(Outcome::Mended("it is here again"));
        }
        if let Some(staged) = self.remade(id, blob)? {
            self.publish(vec![Staged::Blob(staged)])?;
            return Ok(Outcome::Mended("made anew"));
        }
        match self.catalog().images.get(id) {
            Some(entry) if entry.manifest.digest == *blob && self.blob_exists(&id.0)? => {
                self.renew_manifest(id, entry)?;
                Ok(Outcome::Mended("another manifest was made from the image's config"))
            }
            _ => Ok(lost()),
        }
    }

    /// The very bytes of a blob, from what is made of it.
    fn remade(&self, id: &ImageId, blob: &Digest) -> Result<Option<StagedBlob>> {
        let catalog = self.catalog();
        let Some(entry) = catalog.images.get(id) else { return Ok(None) };
        let staged = if entry.manifest.digest == *blob {
            self.remade_manifest(id, entry)?
        } else if let Some(layer) = entry.layers.iter().find(|layer| layer.blob.digest == *blob) {
            self.remade_layer(&layer.diff_id)?
        } else {
            None
        };
        Ok(staged.filter(|staged| staged.digest == *blob))
    }

    fn remade_manifest(&self, id: &ImageId, entry: &Entry) -> Result<Option<StagedBlob>> {
        match self.blob_read(&id.0) {
            Ok(config) => self.stage_document(&new_manifest(&config, &entry.layers).1).map(Some),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was packed here packs the same way again.
    fn remade_layer(&self, diff_id: &Digest) -> Result<Option<StagedBlob>> {
        let tree = self.layer_path(diff_id).join("diff");
        if !fs::exists(&tree)? {
            return Ok(None);
        }
        let root = fs::open_dir(tree)?;
        let writer = self.blob_writer()?;
        piped(|to| pack(&root, to), |from| spool(writer, from)).map(Some)
    }

    fn renew_manifest(&self, id: &ImageId, entry: &Entry) -> Result<()> {
        let (manifest, bytes) = new_manifest(&self.blob_read(&id.0)?, &entry.layers);
        let lease = self.lease();
        lease.hold(Held::Blob(manifest.digest.clone()));
        self.publish(vec![Staged::Blob(self.stage_document(&bytes)?)])?;
        self.inner.db.update(|catalog| {
            if let Some(entry) = catalog.images.get_mut(id) {
                entry.manifest = manifest;
            }
            Ok(())
        })?;
        self.write_layout();
        Ok(())
    }

    /// Unpacks a layer again.
    fn mend_layer(&self, diff_id: &Digest, owners: &Owners<'_>) -> Result<Outcome> {
        let catalog = self.catalog();
        let mut layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let Some(layer) = layers.find(|layer| layer.diff_id == *diff_id) else {
            return Ok(Outcome::Left("no image has the layer any more".into()));
        };
        let lease = self.lease();
        lease.hold(Held::Layer(diff_id.clone()));
        lease.hold(Held::Blob(layer.blob.digest.clone()));
        match self.remade_tree(diff_id, &layer.blob.digest) {
            Ok(tree) => self.swap_tree(tree, owners),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid | Kind::Internal) => {
                tracing::warn!(layer = %diff_id, %error, "not unpacked again");
                Ok(lost())
            }
            Err(error) => Err(error),
        }
    }

    /// A tree that somebody has mounted must not be taken away below him, and nobody mounts while it goes.
    fn swap_tree(&self, tree: StagedTree, owners: &Owners<'_>) -> Result<Outcome> {
        let _frozen = self.inner.mounts.freeze();
        if let Some(why) = self.mounted_over(&tree.diff_id, owners)? {
            return Ok(Outcome::Left(why));
        }
        self.replace_tree(tree)?;
        Ok(Outcome::Mended("unpacked again"))
    }

    /// Who has it mounted, in words.
    fn mounted_over(&self, diff_id: &Digest, owners: &Owners<'_>) -> Result<Option<String>> {
        for key in self.snapshot_keys()? {
            let stands = match self.snapshot(&key) {
                Ok(snapshot) => snapshot.layers().contains(diff_id),
                // What it stands on is not known.
                Err(_) => true,
            };
            if stands && (owners.is_mounted)(&key) {
                return Ok(Some(format!("container {key:.12} runs on it: stop that first")));
            }
            if stands && self.inner.mounts.has(&key) {
                return Ok(Some(format!("the files of container {key:.12} are still open: try again soon")));
            }
        }
        Ok(None)
    }

    fn mend_snapshot(&self, key: &str, owners: &Owners<'_>) -> Result<Outcome> {
        let Some(image) = (owners.image_of)(key) else {
            return Ok(Outcome::Left("nobody knows its image; its files stay".into()));
        };
        self.snapshot_restore(key, Some(&image))?;
        Ok(Outcome::Mended("its record was made anew"))
    }

    /// Bytes that were set aside and that no image waits for any more go.
    pub(crate) fn discard_set_aside(&self) -> Result<()> {
        let names = match fs::read_dir(self.path(ASIDE)) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            names => names?,
        };
        let catalog = self.catalog();
        for hex in names {
            let digest = format!("sha256:{}", hex.to_string_lossy()).parse::<Digest>();
            let is_waited_for = digest.is_ok_and(|digest| {
                !crate::verify::users(&catalog, &digest).is_empty()
                    && !self.blob_exists(&digest).unwrap_or(false)
            });
            if !is_waited_for {
                self.discard(&self.path(ASIDE).join(hex))?;
            }
        }
        Ok(())
    }
}

fn lost() -> Outcome {
    Outcome::Left("its bytes are lost: pull or load the image again".into())
}

/// Damaged blobs that images need.
pub(crate) const ASIDE: &str = "damaged";
