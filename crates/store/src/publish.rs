//! Giving staged blobs and layers their final names: blobs on disk first, then the renames.
//!
//! A rename that happened leaves a whole blob or layer that nobody refers to yet; the collector takes it if the next
//! step never comes. Trees need not be on disk yet (`settle.rs`).

use fault::{Kind, Result};
use sys::fs;

use crate::Store;
use crate::content::StagedBlob;
use crate::layer::StagedTree;
use crate::scratch::Scratch;

#[derive(Debug)]
pub(crate) enum Staged {
    Blob(StagedBlob),
    Tree(StagedTree),
}

impl Store {
    /// Puts everything written so far on disk: one syncfs instead of an fsync for each of a layer's files.
    pub(crate) fn sync(&self) -> Result<()> {
        fs::syncfs(fs::open(self.path("ingest"), &fs::OpenHow::DIRECTORY)?)
    }

    /// Moves staged things to their places. The caller's lease holds them.
    pub(crate) fn publish(&self, staged: Vec<Staged>) -> Result<()> {
        sys::crash::point("store.publish.sync");
        for one in &staged {
            match one {
                Staged::Blob(blob) => blob.sync()?,
                Staged::Tree(tree) => self.inner.unsettled.add(&tree.diff_id),
            }
        }
        for one in staged {
            sys::crash::point("store.publish.rename");
            match one {
                Staged::Blob(blob) => settle(blob.scratch, &self.blob_path(&blob.digest))?,
                Staged::Tree(tree) => settle(tree.scratch, &self.layer_path(&tree.diff_id))?,
            }
        }
        sys::crash::point("store.publish.renamed");
        fs::fsync_dir(self.path("content/blobs/sha256"))?;
        fs::fsync_dir(self.path("layers"))
    }
}

/// Content-addressed things of one name are the same: whoever came first stays. Two pulls of one blob share the file, and
/// the first to be done moves it.
pub(crate) fn settle(scratch: Scratch, place: &std::path::Path) -> Result<()> {
    match scratch.move_to(place) {
        Err(error) if error.kind() == Kind::Conflict => Ok(()),
        Err(error) if error.kind() == Kind::NotFound && fs::exists(place)? => Ok(()),
        result => result,
    }
}
