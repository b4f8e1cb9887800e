//! Checking the whole store: every blob against its digest, every image and snapshot against what it needs, and whether
//! anything lies about that nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use fault::{Call, Kind, Result};
use oci::{Digest, Reference};
use sys::fs;

use crate::catalog::{Catalog, Entry};
use crate::index::Indexed;
use crate::layer::hash;
use crate::{ImageId, Store};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A blob's bytes do not have its digest, or cannot be read; the images that need it.
    Damaged(Digest, Vec<ImageId>),
    /// An image needs a blob that is not there.
    MissingBlob(ImageId, Digest),
    /// An image needs a layer's tree that is not there.
    MissingLayer(ImageId, Digest),
    /// A layer's tree is not what was counted, or its record makes no sense; the images that need it.
    DamagedLayer(Digest, Vec<ImageId>),
    /// A name points at an image that is not there.
    DanglingName(Reference, ImageId),
    /// A snapshot's record cannot be read.
    DamagedSnapshot(String),
    /// A snapshot stands on a layer that is not there.
    MissingLower(String, Digest),
    /// The image layout's index does not tell what the catalog does.
    StaleIndex,
    /// A writer's temporary file that a kill left behind.
    StrayFile(PathBuf),
}

impl Store {
    /// Reads everything: as slow as the disk. Images and snapshots may come and go meanwhile.
    pub fn verify(&self) -> Result<Vec<Problem>> {
        let mut problems = self.damaged_blobs()?;
        let catalog = self.catalog();
        for (id, entry) in &catalog.images {
            self.lacking(id, entry, &mut problems)?;
        }
        self.missing_indexes(&catalog, &mut problems)?;
        self.damaged_layers(&catalog, &mut problems)?;
        self.snapshot_problems(&mut problems)?;
        self.stray_files(&mut problems)?;
        let dangling = catalog.names.iter().filter(|(_, id)| !catalog.images.contains_key(id));
        problems.extend(dangling.map(|(name, id)| Problem::DanglingName(name.clone(), id.clone())));
        if self.is_index_stale()? {
            problems.push(Problem::StaleIndex);
        }
        // What an image lacks that was removed meanwhile is no problem.
        let catalog = self.catalog();
        problems.retain(|problem| match problem {
            Problem::MissingBlob(id, _) | Problem::MissingLayer(id, _) => catalog.images.contains_key(id),
            Problem::DamagedLayer(diff_id, _) => !users_of_layer(&catalog, diff_id).is_empty(),
            Problem::DanglingName(name, _) => catalog.names.contains_key(name),
            _ => true,
        });
        Ok(problems)
    }

    /// Whether all is here that an image and its names' indexes need; what it holds is not looked at.
    pub fn is_whole(&self, id: &ImageId) -> Result<bool> {
        let catalog = self.catalog();
        let Some(entry) = catalog.images.get(id) else { return Ok(false) };
        let mut lacking = Vec::new();
        self.lacking(id, entry, &mut lacking)?;
        let indexes = catalog.indexes.values().filter(|indexed| indexed.images.contains(id));
        for digest in indexes.flat_map(Indexed::blobs) {
            if !self.blob_exists(digest)? {
                return Ok(false);
            }
        }
        Ok(lacking.is_empty())
    }

    fn damaged_blobs(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for hex in fs::read_dir(self.path("content/blobs/sha256"))? {
            let Ok(digest) = format!("sha256:{}", hex.to_string_lossy()).parse::<Digest>() else { continue };
            if self.is_damaged(&digest) {
                let users = users(&self.catalog(), &digest);
                problems.push(Problem::Damaged(digest, users));
            }
        }
        Ok(problems)
    }

    /// A blob that went meanwhile is not.
    pub(crate) fn is_damaged(&self, digest: &Digest) -> bool {
        match self.blob_hash(digest) {
            Ok(found) => found != *digest,
            Err(error) => error.kind() != Kind::NotFound,
        }
    }

    fn blob_hash(&self, digest: &Digest) -> Result<Digest> {
        let hash = hash(self.blob_open(digest)?).call(|| format!("read blob {digest}"))?;
        Ok(Digest::from_sha256(hash))
    }

    fn lacking(&self, id: &ImageId, entry: &Entry, problems: &mut Vec<Problem>) -> Result<()> {
        for digest in needed(id, entry) {
            if !self.blob_exists(digest)? {
                problems.push(Problem::MissingBlob(id.clone(), digest.clone()));
            }
        }
        for layer in &entry.layers {
            if !self.has_tree(&layer.diff_id)? {
                problems.push(Problem::MissingLayer(id.clone(), layer.diff_id.clone()));
            }
        }
        Ok(())
    }

    /// An index is told of the image that its name means.
    fn missing_indexes(&self, catalog: &Catalog, problems: &mut Vec<Problem>) -> Result<()> {
        for (name, indexed) in &catalog.indexes {
            let Some(id) = catalog.names.get(name) else { continue };
            for digest in indexed.blobs() {
                let problem = Problem::MissingBlob(id.clone(), digest.clone());
                if !self.blob_exists(digest)? && !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        Ok(())
    }

    fn has_tree(&self, diff_id: &Digest) -> Result<bool> {
        fs::exists(self.layer_path(diff_id).join("diff"))
    }

    fn damaged_layers(&self, catalog: &Catalog, problems: &mut Vec<Problem>) -> Result<()> {
        let layers = catalog.images.values().flat_map(|entry| &entry.layers);
        let layers: BTreeMap<&Digest, ()> = layers.map(|layer| (&layer.diff_id, ())).collect();
        for diff_id in layers.into_keys() {
            if self.has_tree(diff_id)? && !self.is_as_counted(diff_id)? {
                problems.push(Problem::DamagedLayer(diff_id.clone(), users_of_layer(catalog, diff_id)));
            }
        }
        Ok(())
    }

    /// Whether the tree holds as many bytes as when it was settled; one that is not settled yet is made anew from its
    /// blob anyway when the power goes.
    fn is_as_counted(&self, diff_id: &Digest) -> Result<bool> {
        let Some(record) = self.layer_record(diff_id)? else { return Ok(false) };
        let Some(counted) = record.tree else { return Ok(true) };
        match self.count_tree(diff_id) {
            Ok(found) => Ok(found.content == counted.content),
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn snapshot_problems(&self, problems: &mut Vec<Problem>) -> Result<()> {
        for key in self.snapshot_keys()? {
            match self.snapshot(&key) {
                Ok(snapshot) => {
                    for diff_id in snapshot.layers() {
                        if !self.has_tree(diff_id)? {
                            problems.push(Problem::MissingLower(key.clone(), diff_id.clone()));
                        }
                    }
                }
                // It may have gone meanwhile.
                Err(_) if fs::exists(self.path("snapshots").join(&key))? => {
                    problems.push(Problem::DamagedSnapshot(key));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Temporary files beside those that are replaced whole. One of this process is being written.
    fn stray_files(&self, problems: &mut Vec<Problem>) -> Result<()> {
        let mut folders = vec![self.path("content")];
        for parent in ["layers", "snapshots"] {
            folders.extend(fs::read_dir(self.path(parent))?.iter().map(|name| self.path(parent).join(name)));
        }
        for folder in folders {
            let names = match fs::read_dir(&folder) {
                Err(error) if error.kind() == Kind::NotFound => continue,
                names => names?,
            };
            let strays = names.iter().filter(|name| is_stray(name, std::process::id()));
            problems.extend(strays.map(|name| Problem::StrayFile(folder.join(name))));
        }
        Ok(())
    }

    fn is_index_stale(&self) -> Result<bool> {
        let is = |path: &str, wanted: &[u8]| -> Result<bool> {
            match fs::read(self.path(path)) {
                Err(error) if error.kind() == Kind::NotFound => Ok(false),
                found => Ok(found? == wanted),
            }
        };
        let is_told = is("content/index.json", &self.index())?
            && is("content/oci-layout", crate::content::OCI_LAYOUT.as_bytes())?;
        Ok(!is_told)
    }
}

/// `.<name>.<pid>-<count>`, as `sys::fs` names them.
fn is_stray(name: &OsStr, own_pid: u32) -> bool {
    let Some(rest) = name.to_str().and_then(|name| name.strip_prefix('.')) else { return false };
    let Some((_, (pid, count))) =
        rest.rsplit_once('.').and_then(|(file, writer)| Some((file, writer.split_once('-')?)))
    else {
        return false;
    };
    let number = |text: &str| text.parse::<u64>().ok();
    number(count).is_some() && number(pid).is_some_and(|pid| pid != u64::from(own_pid))
}

/// The blobs of an image itself: its layers', its configuration and its manifest.
fn needed<'e>(id: &'e ImageId, entry: &'e Entry) -> impl Iterator<Item = &'e Digest> {
    entry.layers.iter().map(|layer| &layer.blob.digest).chain([&id.0, &entry.manifest.digest])
}

pub(crate) fn users(catalog: &Catalog, blob: &Digest) -> Vec<ImageId> {
    let uses = |(id, entry): &(&ImageId, &Entry)| needed(id, entry).any(|digest| digest == blob);
    let indexes = catalog.indexes.values().filter(|indexed| indexed.blobs().any(|digest| digest == blob));
    let mut users: BTreeSet<&ImageId> = indexes.flat_map(|indexed| &indexed.images).collect();
    users.extend(catalog.images.iter().filter(uses).map(|(id, _)| id));
    users.into_iter().cloned().collect()
}

fn users_of_layer(catalog: &Catalog, diff_id: &Digest) -> Vec<ImageId> {
    let uses = |(_, entry): &(&ImageId, &Entry)| entry.layers.iter().any(|layer| layer.diff_id == *diff_id);
    catalog.images.iter().filter(uses).map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_process_left_is_stray() {
        let check = |name: &str| is_stray(OsStr::new(name), 7);
        assert!(check(".index.json.8-0"));
        for kept in [".index.json.7-0", "index.json", ".index.json", ".index.json.x-1", ".8-", "."] {
            assert!(!check(kept), "{kept}");
        }
    }
}
