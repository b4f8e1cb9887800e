//! Calls that a daemon answers by asking a registry.

use api::registry::{AuthConfig, Authenticated, SearchOptions, SearchResult};
use fault::Result;

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
