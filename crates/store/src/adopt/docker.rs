//! Docker's data root with the graph driver overlay2.
//!
//! ```text
//! image/overlay2/repositories.json                    repository -> reference -> image id
//! image/overlay2/imagedb/content/sha256/<image id>    configs
//! image/overlay2/layerdb/sha256/<chainID>/            diff (the diffID), cache-id, tar-split.json.gz
//! overlay2/<cache id>/diff/                           the files
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use fault::{Doing, Result};
use oci::Digest;
use serde::Deserialize;
use sys::fs;

use super::{Found, Tree, broken, document, part, references};
use crate::catalog::chain_ids;
use crate::content::DOCUMENT_BYTES_MAX;
use crate::image::{Manifest, parse_config};

pub(super) const REPOSITORIES: &str = "image/overlay2/repositories.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Repositories {
    repositories: BTreeMap<String, BTreeMap<String, Digest>>,
}

/// The images that have a name.
pub(super) fn images(root: &Path) -> Result<Vec<Result<Found>>> {
    let repositories: Repositories = document(&root.join(REPOSITORIES))?;
    let mut names: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for (name, id) in repositories.repositories.into_values().flatten() {
        names.entry(id).or_default().push(name);
    }
    let image = |(id, names): (Digest, Vec<String>)| {
        image(root, &id, &names).map_err(broken).doing(|| format!("image {}", id.short()))
    };
    Ok(names.into_iter().map(image).collect())
}

fn image(root: &Path, id: &Digest, names: &[String]) -> Result<Found> {
    let config = root.join("image/overlay2/imagedb/content/sha256").join(id.hex());
    let config = fs::read_bounded(config, DOCUMENT_BYTES_MAX)?;
    let diff_ids = parse_config(&config)?.rootfs.diff_ids;
    let chain = chain_ids(&diff_ids);
    let layers = chain.iter().zip(diff_ids).map(|(chain_id, diff_id)| tree(root, chain_id, diff_id));
    Ok(Found {
        layers: layers.collect::<Result<_>>()?,
        config,
        manifest: Manifest::New,
        names: references(names.iter()),
    })
}

fn tree(root: &Path, chain_id: &Digest, diff_id: Digest) -> Result<Tree> {
    let layer = root.join("image/overlay2/layerdb/sha256").join(chain_id.hex());
    let cache_id = fs::read_bounded(layer.join("cache-id"), DOCUMENT_BYTES_MAX)?;
    let cache_id = String::from_utf8_lossy(&cache_id);
    let files = root.join("overlay2").join(part(cache_id.trim())?).join("diff");
    Ok(Tree { diff_id, files, recipe: layer.join("tar-split.json.gz") })
}
