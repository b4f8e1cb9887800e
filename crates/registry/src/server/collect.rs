//! Garbage collection while clients push: blobs that no manifest stands on go, and uploads that nobody goes on with.
//!
//! ```text
//! mark     a state of the catalog, read at leisure: what is of use, which links and files are not
//! sweep    links, then files, in batches; each is spared if somebody came to rely on it since the mark (promise.rs)
//! ```
//!
//! A push sends blobs first and the manifest last, so what was linked, mounted or asked for within the grace is kept.
//! Clients wait for a batch, never for a collection.

use std::collections::HashSet;

use fault::Result;
use oci::Digest;
use sys::fs;

use crate::server::catalog::View;
use crate::server::failure::Outcome;
use crate::server::promise::Mark;
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
    /// Takes away what has been of no use for longer than the grace, in seconds. One collection at a time.
    pub(crate) fn collect(&self, grace: u64) -> Outcome<Collected> {
        let _alone = self.collecting();
        let uploads = self.collect_uploads(now().saturating_sub(grace.max(UPLOAD_SECONDS_MIN)))?;
        let mark = self.promises.mark();
        let plan = self.mark(grace)?;
        sys::crash::point("registry.collect.marked");
        for links in plan.loose.chunks(LINKS_A_BATCH) {
            self.drop_links(links, mark)?;
        }
        self.forget_empty()?;
        let mut collected = Collected { uploads, ..Collected::default() };
        self.remove_files(&plan.wanted, mark, &mut collected)?;
        Ok(collected)
    }

    fn mark(&self, grace: u64) -> Outcome<Plan> {
        let since = if grace > 0 { now().saturating_sub(grace) } else { u64::MAX };
        let promised: HashSet<Digest> = self.promises.since(since).into_iter().collect();
        Ok(plan(&self.catalog.view()?, since, promised)?)
    }

    /// A repository lets go of blobs that none of its manifests stands on.
    fn drop_links(&self, links: &[(String, Digest)], mark: Mark) -> Outcome<()> {
        self.catalog.change(|change| {
            for (name, digest) in links {
                if let Some(dropped) =
                    self.promises.unless_given(digest, mark, || change.unlink(name, digest))
                {
                    dropped?;
                }
            }
            Ok(())
        })
    }

    fn remove_files(&self, wanted: &HashSet<Digest>, mark: Mark, collected: &mut Collected) -> Result<()> {
        for algorithm in ["sha256", "sha512"] {
            for hex in fs::read_dir(self.path("blobs").join(algorithm))? {
                // What has no digest's name is none of ours.
                let Ok(digest) = format!("{algorithm}:{}", hex.to_string_lossy()).parse() else { continue };
                if wanted.contains(&digest) {
                    continue;
                }
                let removed = self.promises.unless_given(&digest, mark, || self.remove_file(&digest));
                if let Some(bytes) = removed.transpose()? {
                    collected.bytes += bytes;
                    collected.blobs += 1;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn remove_file(&self, digest: &Digest) -> Result<u64> {
        let path = self.blob_path(digest);
        let size = fs::lstat(&path)?.size;
        fs::remove_file(path)?;
        sys::crash::point("registry.collect.blob");
        Ok(size)
    }

    fn collect_uploads(&self, since: u64) -> Result<usize> {
        self.uploads.close_idle();
        self.collect_idle("hashes", since)?;
        self.collect_idle("uploads", since)
    }

    /// Files of uploads that nobody goes on with.
    fn collect_idle(&self, folder: &str, since: u64) -> Result<usize> {
        let mut count = 0;
        for name in fs::read_dir(self.path(folder))? {
            let path = self.path(folder).join(&name);
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
        let empty = self.catalog.view()?.empty_repositories()?;
        if empty.is_empty() {
            return Ok(());
        }
        self.catalog.change(|change| {
            for name in empty {
                if change.before.is_empty(&name)? {
                    change.forget(&name)?;
                }
            }
            Ok(())
        })
    }
}

/// A manifest on its way lies among the uploads for a moment.
const UPLOAD_SECONDS_MIN: u64 = 60;
/// What one transaction takes; pushes wait for it.
const LINKS_A_BATCH: usize = 512;

#[derive(Debug, Default)]
struct Plan {
    /// Links to drop.
    loose: Vec<(String, Digest)>,
    /// Files that stay.
    wanted: HashSet<Digest>,
}

/// `since`: links are spared that are not older, in seconds since 1970; so is what was promised.
fn plan(view: &View<'_>, since: u64, promised: HashSet<Digest>) -> Result<Plan> {
    let used = used(view)?;
    let mut plan = Plan::default();
    for (name, digest, link) in view.links()? {
        let row = (name, digest);
        if used.contains(&row) {
            continue;
        }
        if link.since >= since || promised.contains(&row.1) {
            plan.wanted.insert(row.1);
        } else {
            plan.loose.push(row);
        }
    }
    plan.wanted.extend(used.into_iter().map(|(_, digest)| digest));
    plan.wanted.extend(promised);
    Ok(plan)
}

/// Manifests, and what they stand on in their repositories.
fn used(view: &View<'_>) -> Result<HashSet<(String, Digest)>> {
    let mut used = HashSet::new();
    for (name, digest, record) in view.manifests()? {
        used.extend(record.needs.into_iter().map(|needed| (name.clone(), needed)));
        used.insert((name, digest));
    }
    Ok(used)
}
