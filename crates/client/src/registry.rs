//! Calls that a daemon answers by asking a registry.

use api::registry::{
    AuthConfig, Authenticated, NewManifest, RemoteManifest, SearchOptions, SearchResult, StoredManifest,
};
use fault::Result;

use crate::http::encode;
use crate::{Body, Client};

/// Are these credentials good?
pub async fn login(client: &Client, auth: &AuthConfig) -> Result<Authenticated> {
    client.post("/auth").body(Body::json(auth)).send().await?.json().await
}

pub async fn search(
    client: &Client,
    options: &SearchOptions,
    auth: &AuthConfig,
) -> Result<Vec<SearchResult>> {
    let limit = if options.limit > 0 { options.limit.to_string() } else { String::new() };
    let request = client.get("/images/search").query("term", &options.term).text("limit", &limit);
    request.filters(&options.filters).auth(auth).send().await?.list().await
}

/// A manifest or index of a registry. Ours alone.
pub async fn manifest(
    client: &Client,
    name: &str,
    auth: &AuthConfig,
    insecure: bool,
) -> Result<RemoteManifest> {
    let request = client.get(format!("/distribution/{}/manifest", encode(name)));
    request.flag("insecure", insecure).auth(auth).send().await?.json().await
}

/// Stores a manifest or index in a registry. Ours alone.
pub async fn push_manifest(
    client: &Client,
    name: &str,
    manifest: &NewManifest,
    auth: &AuthConfig,
    insecure: bool,
) -> Result<StoredManifest> {
    let request = client.put(format!("/distribution/{}/manifest", encode(name)));
    request.flag("insecure", insecure).auth(auth).body(Body::json(manifest)).send().await?.json().await
}
