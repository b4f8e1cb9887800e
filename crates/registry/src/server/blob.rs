//! Blobs of a repository: reading, mounting, deleting.

use std::fs::File;

use fault::Kind;
use oci::Digest;
use sys::fs;

use crate::server::catalog::{Link, View};
use crate::server::failure::{Failure, Outcome};
use crate::server::storage::{Storage, now};

impl Storage {
    /// The size of a blob that a repository has, or `BLOB_UNKNOWN`. A manifest counts as one, too.
    pub(crate) fn blob_size(&self, name: &str, digest: &Digest) -> Outcome<u64> {
        let view = self.catalog.view()?;
        if let Some(link) = view.link(name, digest)? {
            self.promises.give(digest);
            return Ok(link.size);
        }
        let record = view.manifest(name, digest)?.ok_or_else(|| Failure::blob_unknown(digest))?;
        Ok(record.size)
    }

    pub(crate) fn blob_open(&self, name: &str, digest: &Digest) -> Outcome<(File, u64)> {
        let size = self.blob_size(name, digest)?;
        match fs::open(self.blob_path(digest), &fs::OpenHow::READ) {
            Ok(file) => Ok((file, size)),
            // It was deleted since.
            Err(error) if error.kind() == Kind::NotFound => Err(Failure::blob_unknown(digest)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a repository has a blob, and whether any has.
    pub(crate) fn blob_found(&self, name: &str, digest: &Digest) -> Outcome<(bool, bool)> {
        let is_linked = match self.blob_size(name, digest) {
            Ok(_) => true,
            Err(failure) if failure.is_not_found() => false,
            Err(failure) => return Err(failure),
        };
        Ok((is_linked, fs::exists(self.blob_path(digest))?))
    }

    /// Gives a repository a blob that another one has, or that lies here at all if none is named; its size, or `None` if
    /// there is none.
    pub(crate) fn blob_mount(&self, name: &str, digest: &Digest, from: Option<&str>) -> Outcome<Option<u64>> {
        if self.size_elsewhere(&self.catalog.view()?, digest, from)?.is_none() {
            return Ok(None);
        }
        self.promises.give(digest);
        // Asked again behind the promise and the writer's lock, where no collection comes between.
        self.catalog.change(|change| {
            let Some(size) = self.size_elsewhere(&change.before, digest, from)? else { return Ok(None) };
            self.check_room(&change.before, name, digest, size)?;
            change.link(name, digest, Link { size, since: now() })?;
            Ok(Some(size))
        })
    }

    fn size_elsewhere(&self, view: &View<'_>, digest: &Digest, from: Option<&str>) -> Outcome<Option<u64>> {
        if let Some(from) = from {
            return Ok(view.link(from, digest)?.map(|link| link.size));
        }
        Ok(fs::lstat_if_exists(self.blob_path(digest))?.map(|stat| stat.size))
    }

    /// Takes a blob from a repository; its bytes go with the next collection if no other has it.
    pub(crate) fn blob_delete(&self, name: &str, digest: &Digest) -> Outcome<()> {
        let removed = self.catalog.change(|change| Ok(change.unlink(name, digest)?))?;
        if removed { Ok(()) } else { Err(Failure::blob_unknown(digest)) }
    }
}
