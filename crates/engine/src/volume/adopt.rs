//! Taking over another engine's named volumes: their files are copied, the other engine's stay as they are. Of a volume on
//! a device the options are all there is.
//!
//! A volume is made, then filled from a whole copy (populate.rs), so one that was cut off is filled by the next try. One
//! that holds something already is never touched.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use fault::{Doing, Error, Kind, Result};
use serde::Deserialize;

use super::{DATA, DOCKERS_RECORDS, Wish, is_empty, verbs};
use crate::Engine;

/// What became of a volume there.
#[derive(Debug)]
pub(crate) enum Adopted {
    /// Taken, or with a dry run: to be taken.
    Taken,
    /// A volume of this name holds something here.
    IsHere,
    /// It could not be taken.
    Left(Error),
}

/// Takes over all volumes with a name of their own below `root`, another engine's `volumes`. Blocks.
///
/// `Unavailable` while a Docker daemon has them, for its containers may be writing.
pub(crate) fn adopt(
    engine: &Engine,
    root: &Path,
    dry_run: bool,
    tell: &mut dyn FnMut(&str, Adopted),
) -> Result<()> {
    refuse_in_use(root)?;
    let names = match sys::fs::read_dir(root) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        names => names?,
    };
    let named = names.iter().filter_map(|name| name.to_str());
    for name in named.filter(|name| !is_random(name)) {
        let folder = root.join(name);
        if sys::fs::exists(folder.join(DATA))? {
            let adopted = adopt_one(engine, name, &folder, dry_run);
            tell(name, adopted.unwrap_or_else(Adopted::Left));
        }
    }
    Ok(())
}

/// dockerd holds its database by flock(2) for as long as it runs.
fn refuse_in_use(root: &Path) -> Result<()> {
    let records = root.join(DOCKERS_RECORDS);
    if sys::fs::exists(&records)? && sys::fs::Lock::try_share(&records)?.is_none() {
        return Err(Error::unavailable(format!(
            "a Docker daemon has the volumes in {} and may write to them: stop it first, or leave out --volumes",
            root.display()
        )));
    }
    Ok(())
}

fn adopt_one(engine: &Engine, name: &str, folder: &Path, dry_run: bool) -> Result<Adopted> {
    let options = options(folder)?;
    let volumes = engine.volumes();
    let is_same = is_same_folder(folder, &volumes.folder(name))?;
    let is_known = volumes.find(name)?.is_some();
    if is_known && (is_same || !options.is_empty() || !is_empty(&volumes.folder(name))?) {
        return Ok(Adopted::IsHere);
    }
    if dry_run {
        return Ok(Adopted::Taken);
    }
    let has_files = options.is_empty();
    let (record, new) = volumes.create(&Wish { name, options, ..Wish::default() })?;
    if new {
        verbs::tell(engine, "create", &record.name);
    }
    if has_files && !is_same {
        let source = sys::fs::open_dir(folder).doing(|| format!("reading volume {name}"))?;
        volumes.populate(name, source.as_fd(), Path::new(DATA))?;
    }
    Ok(Adopted::Taken)
}

/// What Docker mounts over the folder while a container runs: the files are elsewhere (moby, volume/local/local.go).
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Mounted {
    mount_type: String,
    mount_opts: String,
    mount_device: String,
    quota: Quota,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Quota {
    size: u64,
}

/// The local driver's options, as a user gave them.
fn options(folder: &Path) -> Result<BTreeMap<String, String>> {
    let path = folder.join("opts.json");
    let Some(json) = sys::fs::read_to_string_if_exists(&path)? else { return Ok(BTreeMap::new()) };
    let mounted: Option<Mounted> = serde_json::from_str(&json)
        .map_err(|error| Error::invalid(format!("options in {}", path.display())).with_source(error))?;
    let mounted = mounted.unwrap_or_default();
    if mounted.quota.size > 0 {
        return Err(Error::unsupported("a volume with a quota"));
    }
    let given = [("type", mounted.mount_type), ("device", mounted.mount_device), ("o", mounted.mount_opts)];
    let given = given.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(given.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Under the name `dockerd` Docker's data root is ours, too: then the volume gets its record where it is.
fn is_same_folder(one: &Path, other: &Path) -> Result<bool> {
    let other = sys::fs::lstat_if_exists(other)?;
    Ok(other.is_some_and(|other| sys::fs::lstat(one).is_ok_and(|one| one.same_file(&other))))
}

/// As Docker and podman name those that nobody named.
fn is_random(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
