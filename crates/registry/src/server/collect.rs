//! Garbage collection while clients push: blobs that no manifest stands on go, and uploads that nobody goes on with.
//!
//! A push sends blobs first and the manifest last, so what was linked, mounted or asked for within the grace is kept. What
//! goes is decided and taken away behind the writer's lock: whoever links a blob does so before or after, never between.

use std::collections::HashSet;

use fault::Result;
use oci::Digest;
use sys::fs;

use crate::server::catalog::View;
use crate::server::failure::Outcome;
use crate::server::storage::{Storage, now};

/// What a collection took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Of files.
    pub bytes: u64,
    pub blobs: usize,
    pub uploads: usize,
}

impl Storage {
    /// Takes away what has been of no use for longer than the grace, in seconds.
    pub(crate) fn collect(&self, grace: u64) -> Outcome<Collected> {
        let since = now().saturating_sub(grace);
        let uploads_since = now().saturating_sub(grace.max(UPLOAD_SECONDS_MIN));
        let mut collected =
            Collected { uploads: self.collect_uploads(uploads_since)?, ..Collected::default() };
        self.catalog.change(|change| {
            let used = used(&change.before)?;
            let promised = self.promised_since(since);
            let mut wanted: HashSet<Digest> = used.iter().map(|(_, digest)| digest.clone()).collect();
            for (name, digest, link) in change.before.links()? {
                let young = link.since >= since && grace > 0;
                if young || promised.contains_key(&digest) || used.contains(&(name.clone(), digest.clone())) {
                    wanted.insert(digest);
                } else {
                    change.unlink(&name, &digest)?;
                }
            }
            Ok(self.remove_files(&wanted, &mut collected)?)
        })?;
        self.forget_empty()?;
        Ok(collected)
    }

    fn remove_files(&self, wanted: &HashSet<Digest>, collected: &mut Collected) -> Result<()> {
        for algorithm in ["sha256", "sha512"] {
            for hex in fs::read_dir(self.path("blobs").join(algorithm))? {
                let digest = format!("{algorithm}:{}", hex.to_string_lossy()).parse::<Digest>();
                if digest.as_ref().is_ok_and(|digest| wanted.contains(digest)) {
                    continue;
                }
                let path = self.path("blobs").join(algorithm).join(&hex);
                collected.bytes += fs::lstat(&path)?.size;
                collected.blobs += 1;
                sys::crash::point("registry.collect.blob");
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn collect_uploads(&self, since: u64) -> Result<usize> {
        self.uploads.close_idle();
        let mut count = 0;
        for name in fs::read_dir(self.path("uploads"))? {
            let path = self.path("uploads").join(&name);
            let Some(stat) = fs::lstat_if_exists(&path)? else { continue };
            let changed = u64::try_from(stat.mtime.seconds).unwrap_or(0);
            if changed <= since && self.uploads.is_idle(&name.to_string_lossy()) {
                count += usize::from(fs::remove_file_if_exists(path)?);
            }
        }
        Ok(count)
    }

    /// Repositories that have nothing any more are not listed.
    fn forget_empty(&self) -> Outcome<()> {
        self.catalog.change(|change| {
            let view = &change.before;
            let held: HashSet<String> = view.links()?.into_iter().map(|(name, ..)| name).collect();
            let named: HashSet<String> = view.manifests()?.into_iter().map(|(name, ..)| name).collect();
            for (name, _) in view.sizes()? {
                if !held.contains(&name) && !named.contains(&name) {
                    change.forget(&name)?;
                }
            }
            Ok(())
        })
    }
}

/// A manifest on its way lies among the uploads for a moment.
const UPLOAD_SECONDS_MIN: u64 = 60;

/// Manifests, and what they stand on in their repositories.
fn used(view: &View<'_>) -> Result<HashSet<(String, Digest)>> {
    let mut used = HashSet::new();
    for (name, digest, record) in view.manifests()? {
        used.extend(record.needs.into_iter().map(|needed| (name.clone(), needed)));
        used.insert((name, digest));
    }
    Ok(used)
}
