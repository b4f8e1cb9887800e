//! `search`: repositories whose name or description has a term.

use fault::{Error, Result};
use hyper::Method;
use hyper::http::Uri;
use serde::Deserialize;

use crate::client::address::escaped;
use crate::client::exchange::Ask;
use crate::client::repository::DOCUMENT_BYTES_MAX;
use crate::client::routes::{DOCKER_IO, Place};
use crate::client::speaker::{Manner, Speaker};
use crate::client::trouble::Trouble;
use crate::client::{Credentials, Registries};

/// What to look for.
#[derive(Clone, Debug)]
pub struct Search {
    /// A registry may stand in front: `localhost:5000/app`; else docker.io is asked.
    pub term: String,
    /// At most so many; dockerd allows 1 to 100 and takes 25 if nothing is said (0).
    pub limit: u32,
    pub credentials: Credentials,
}

/// One repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    pub name: String,
    pub description: String,
    #[serde(rename = "star_count")]
    pub stars: i64,
    #[serde(rename = "is_official")]
    pub official: bool,
    #[serde(rename = "is_automated")]
    pub automated: bool,
}

/// Asks the index (`/v1/search`); a registry that has none lists its repositories, of which those with the term in
/// their name are answered, with the registry in front.
pub async fn search(registries: &Registries, search: &Search) -> Result<Vec<Found>> {
    let limit = if search.limit == 0 { LIMIT } else { search.limit };
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Error::invalid(format!("limit {limit} is outside the range of [1, {LIMIT_MAX}]")));
    }
    let term = &search.term;
    if term.contains("://") {
        return Err(Error::invalid(format!(
            "invalid repository name: repository name ({term}) should not have a scheme"
        )));
    }
    let (domain, term) = split(term);
    let place = registries.inner.routes.registry(domain, &search.credentials)?;
    let place =
        if place.host == DOCKER_REGISTRY { Place { host: DOCKER_INDEX.into(), ..place } } else { place };
    let speaker = Speaker::new(registries, place, vec!["registry:catalog:search".into()]);
    match by_index(&speaker, term, limit).await {
        Err(trouble) if trouble.status() == Some(404) => {
            let names = registries.catalogue(domain, &search.credentials).await?;
            Ok(by_name(domain, &names, term, limit))
        }
        Err(trouble) => match trouble.status() {
            Some(status) if status != 401 => {
                Err(Error::unavailable(format!("unexpected status code {status}")))
            }
            _ => Err(trouble.into()),
        },
        Ok(found) => Ok(found),
    }
}

async fn by_index(speaker: &Speaker, term: &str, limit: u32) -> Result<Vec<Found>, Trouble> {
    let Place { host, base, .. } = &*speaker.place;
    let ask = |scheme| {
        let text = format!("{scheme}://{host}{base}/v1/search?q={}&n={limit}", escaped(term));
        let address: Uri = text.parse().map_err(|_| Error::invalid(format!("{text:?} is no address")))?;
        Ok(Ask::new(Method::GET, address))
    };
    let answer = speaker.ask_by(Manner::Convincing, ask).await?;
    let (_, body) = answer.with_bytes(DOCUMENT_BYTES_MAX).await?;
    let page: Page = serde_json::from_slice(&body)
        .map_err(|error| Error::unavailable(format!("error decoding registry search results: {error}")))?;
    let mut found = page.results.unwrap_or_default();
    found.truncate(limit as usize);
    Ok(found)
}

fn by_name(domain: &str, names: &[String], term: &str, limit: u32) -> Vec<Found> {
    let term = term.to_lowercase();
    let fitting = names.iter().filter(|name| name.to_lowercase().contains(&term)).take(limit as usize);
    fitting.map(|name| Found { name: format!("{domain}/{name}"), ..Found::default() }).collect()
}

/// The registry and what to look for there (moby, daemon/pkg/registry/search.go, `splitReposSearchTerm`).
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => match host {
            DOCKER_IO | DOCKER_INDEX => (DOCKER_IO, rest.strip_prefix("library/").unwrap_or(rest)),
            host => (host, rest),
        },
        _ => (DOCKER_IO, term.strip_prefix("library/").unwrap_or(term)),
    }
}

#[derive(Deserialize)]
struct Page {
    results: Option<Vec<Found>>,
}

/// Docker's index lives beside its registry.
const DOCKER_INDEX: &str = "index.docker.io";
const DOCKER_REGISTRY: &str = "registry-1.docker.io";
const LIMIT: u32 = 25;
const LIMIT_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_may_name_a_registry() {
        assert_eq!(split("busybox"), ("docker.io", "busybox"));
        assert_eq!(split("library/busybox"), ("docker.io", "busybox"));
        assert_eq!(split("me/app"), ("docker.io", "me/app"));
        assert_eq!(split("localhost:5000/app"), ("localhost:5000", "app"));
        assert_eq!(split("index.docker.io/library/a"), ("docker.io", "a"));
    }

    #[test]
    fn lists_are_filtered_by_name() {
        let names = ["team/App", "app2", "other"].map(String::from);
        let found: Vec<_> = by_name("h:1", &names, "aPP", 25).into_iter().map(|one| one.name).collect();
        assert_eq!(found, ["h:1/team/App", "h:1/app2"]);
        assert_eq!(by_name("h:1", &names, "", 1).len(), 1);
    }
}
