//! `resolve`: what a name stands for, and for which platforms (`GET /distribution/{name}/json`).

use fault::{Error, Result};
use oci::{Descriptor, Index, Platform, Reference, media_type};

use crate::client::manifest::is_schema_1;
use crate::client::pull::schema_1;
use crate::client::trouble::Trouble;
use crate::client::{Access, Credentials, Key, Manifest, Registries, Repository};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Of the index or the manifest.
    pub descriptor: Descriptor,
    /// An index names its own; a manifest's stands in its config.
    pub platforms: Vec<Platform>,
}

/// Asks mirrors first, as a pull does.
pub async fn resolve(
    registries: &Registries,
    reference: &Reference,
    credentials: &Credentials,
) -> Result<Resolved> {
    let repositories = registries.repositories(reference, credentials, Access::Pull)?;
    let mut failure = Error::not_found(format!("no endpoints found for {}", reference.familiar()));
    for repository in &repositories {
        match resolve_at(repository, reference).await {
            Ok(resolved) => return Ok(resolved),
            Err(trouble) => failure = trouble.into(),
        }
    }
    Err(failure)
}

async fn resolve_at(repository: &Repository, reference: &Reference) -> Result<Resolved, Trouble> {
    let manifest = repository.manifest_of(&Key::of(reference)).await?;
    if is_schema_1(&manifest.descriptor.media_type) {
        return Err(schema_1(reference).into());
    }
    let platforms = platforms(repository, &manifest).await?;
    Ok(Resolved { descriptor: manifest.descriptor, platforms })
}

async fn platforms(repository: &Repository, manifest: &Manifest) -> Result<Vec<Platform>, Trouble> {
    if media_type::is_index(&manifest.descriptor.media_type) {
        let index: Index = manifest.read()?;
        return Ok(index.manifests.into_iter().map(|entry| entry.platform.unwrap_or_default()).collect());
    }
    if !media_type::is_manifest(&manifest.descriptor.media_type) {
        return Ok(Vec::new());
    }
    let image: oci::Manifest = manifest.read()?;
    // What is no image has no platform; that its config cannot be read is no reason to say nothing of the name.
    let config = repository.blob_of(&image.config).await;
    let platform = config.ok().and_then(|config| serde_json::from_slice::<Platform>(&config).ok());
    Ok(platform.filter(|platform| *platform != Platform::default()).into_iter().collect())
}
