//! `resolve`: what a name stands for, and for which platforms (`GET /distribution/{name}/json`).

use fault::{Error, Result};
use oci::{Descriptor, Platform, Reference};

use crate::client::{Credentials, Registries};

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
    drop((registries, reference, credentials));
    Err(Error::unsupported("resolve"))
}
