//! The lists on this side: `manifests/<list>/<manifest>` in the folder of the client's settings, as Docker's client has them.

use std::path::PathBuf;

use fault::{Error, Result};
use oci::Reference;
use sys::fs;

use super::document::ImageManifest;
use crate::cli::Cli;
use crate::exit::Outcome;

pub(super) struct Lists {
    folder: PathBuf,
}

impl Lists {
    pub(super) fn of(cli: &Cli) -> Self {
        Self { folder: cli.config_folder().join("manifests") }
    }

    pub(super) fn has(&self, list: &Reference) -> bool {
        self.place(list).is_dir()
    }

    pub(super) fn get(&self, list: &Reference, name: &Reference) -> Result<Option<ImageManifest>> {
        let path = self.place(list).join(safe(name));
        if !fs::exists(&path)? {
            return Ok(None);
        }
        ImageManifest::read(&fs::read_bounded(&path, FILE_BYTES_MAX)?)
            .map(Some)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }

    /// All of a list, in the order of their files.
    pub(super) fn all(&self, list: &Reference) -> Result<Vec<ImageManifest>> {
        let folder = self.place(list);
        let mut names = fs::read_dir(&folder)?;
        names.sort();
        let read = |name| {
            let path = folder.join(name);
            ImageManifest::read(&fs::read_bounded(&path, FILE_BYTES_MAX)?)
                .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
        };
        names.into_iter().filter(|name| !name.to_string_lossy().starts_with('.')).map(read).collect()
    }

    pub(super) fn put(&self, list: &Reference, name: &Reference, manifest: &ImageManifest) -> Outcome {
        let folder = self.place(list);
        fs::create_dir_all(&folder, 0o755)?;
        Ok(fs::write_swapped(folder.join(safe(name)), manifest.to_json()?.as_bytes(), 0o644)?)
    }

    pub(super) fn remove(&self, list: &Reference) -> Outcome {
        Ok(fs::remove_tree(self.place(list))?)
    }

    fn place(&self, list: &Reference) -> PathBuf {
        self.folder.join(safe(list))
    }
}

/// A name as Docker's client makes a file's of it.
fn safe(name: &Reference) -> String {
    name.canonical().replace(':', "-").replace('/', "_")
}

pub(super) fn missing(name: &Reference) -> Error {
    Error::not_found(format!("No such manifest: {}", name.canonical()))
}

/// A manifest is in it twice, once in base64.
const FILE_BYTES_MAX: u64 = 32 << 20;
