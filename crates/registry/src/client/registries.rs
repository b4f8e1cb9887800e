//! Everything that requests share: routes, connections, tokens, limits.

use std::sync::Arc;

use fault::{Error, Result};
use oci::Reference;

use crate::client::{Access, Config, Credentials, Repository};

/// The registries as the operator has set them up. Clones share connections, tokens and limits.
#[derive(Clone, Debug)]
pub struct Registries {
    inner: Arc<Config>,
}

impl Registries {
    /// `Invalid`, with dockerd's words, for a mirror, an insecure registry, a proxy or a rule that makes no sense.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { inner: Arc::new(config) })
    }

    /// The repository of a name, not asked for yet. `Denied` if a rule blocks it.
    pub fn repository(
        &self,
        name: &Reference,
        credentials: &Credentials,
        access: Access,
    ) -> Result<Repository> {
        drop((name, credentials, access));
        Err(Error::unsupported("registries"))
    }

    /// The repositories that a registry lists (`/v2/_catalog`), at most a bounded number.
    pub async fn catalogue(&self, registry: &str, credentials: &Credentials) -> Result<Vec<String>> {
        drop((registry, credentials));
        Err(Error::unsupported("registries"))
    }
}
