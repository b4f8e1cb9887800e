//! Lists that come in pages: tags, repositories, referrers. Pages and entries are bounded.

use fault::{Error, Result};
use hyper::Method;
use hyper::header::{ACCEPT, LINK};
use oci::{Descriptor, Digest, Index, media_type};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::address::{escaped, join, same_place};
use crate::client::exchange::Ask;
use crate::client::headers::next_page;
use crate::client::repository::DOCUMENT_BYTES_MAX;
use crate::client::speaker::Speaker;
use crate::client::trouble::Trouble;

pub(crate) async fn tags(speaker: &Speaker) -> Result<Vec<String>, Trouble> {
    let entries = |page: Tags| page.tags.unwrap_or_default();
    pages(speaker, &format!("tags/list?n={PAGE}"), entries).await
}

pub(crate) async fn catalogue(speaker: &Speaker) -> Result<Vec<String>, Trouble> {
    pages(speaker, &format!("_catalog?n={PAGE}"), |page: Repositories| page.repositories.unwrap_or_default())
        .await
}

pub(crate) async fn referrers(
    speaker: &Speaker,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, Trouble> {
    let filter = artifact_type.map(|wanted| format!("?artifactType={}", escaped(wanted))).unwrap_or_default();
    pages(speaker, &format!("referrers/{subject}{filter}"), |page: Index| page.manifests).await
}

async fn pages<P: DeserializeOwned, T>(
    speaker: &Speaker,
    tail: &str,
    entries: impl Fn(P) -> Vec<T>,
) -> Result<Vec<T>, Trouble> {
    let accept = format!("application/json, {}", media_type::OCI_INDEX);
    let ask = |address| Ask::new(Method::GET, address).with_header(ACCEPT, &accept);
    let (mut answer, mut bytes) = speaker.fetch(tail, ask, DOCUMENT_BYTES_MAX).await?;
    let mut all = Vec::new();
    for _ in 0..PAGES_MAX {
        let page = serde_json::from_slice(&bytes).map_err(|error| {
            Error::unavailable(format!("unexpected answer of {}: {error}", speaker.place.host))
        })?;
        all.extend(entries(page));
        let next =
            answer.header(LINK).and_then(next_page).map(|next| join(&answer.address, next)).transpose()?;
        let Some(next) = next.filter(|_| all.len() < ENTRIES_MAX) else { return Ok(all) };
        if !same_place(&next, &answer.address) {
            let words = format!("{} continues its list elsewhere: {next}", speaker.place.host);
            return Err(Error::unavailable(words).into());
        }
        (answer, bytes) = speaker.ask_at(&ask(next)).await?.with_bytes(DOCUMENT_BYTES_MAX).await?;
    }
    Ok(all)
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

/// What we ask for; registries give what they like.
const PAGE: u32 = 1000;
/// A list that does not end is no list.
const PAGES_MAX: usize = 1000;
const ENTRIES_MAX: usize = 100_000;
