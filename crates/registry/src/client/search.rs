//! `search`: repositories whose name or description has a term.

use fault::{Error, Result};

use crate::client::{Credentials, Registries};

/// What to look for.
#[derive(Clone, Debug)]
pub struct Search {
    /// A registry may stand in front: `localhost:5000/app`; else docker.io is asked.
    pub term: String,
    /// At most so many; dockerd allows 1 to 100 and takes 25 if nothing is said.
    pub limit: u32,
    pub credentials: Credentials,
}

/// One repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub description: String,
    pub stars: i64,
    pub official: bool,
    pub automated: bool,
}

/// Asks the index (`/v1/search`); a registry that has none lists its repositories, of which those with the term in
/// their name are answered.
pub async fn search(registries: &Registries, search: &Search) -> Result<Vec<Found>> {
    drop((registries, search));
    Err(Error::unsupported("search"))
}
