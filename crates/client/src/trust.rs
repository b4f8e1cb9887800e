//! Calls about signatures and the policy. Only Kogge's daemon knows them.

use api::registry::AuthConfig;
use api::trust::{Policy, Signatures, Trust};
use fault::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::encode;
use crate::{Body, Client};

/// What a name stands for in its registry, and the signatures of that.
pub async fn signatures<S: DeserializeOwned>(
    client: &Client,
    name: &str,
    auth: &AuthConfig,
) -> Result<Signatures<S>> {
    client.get(path(name)).auth(auth).send().await?.json().await
}

/// Has signatures put beside an image in its registry.
pub async fn sign<S: Serialize>(
    client: &Client,
    name: &str,
    signatures: &Signatures<S>,
    auth: &AuthConfig,
) -> Result<()> {
    client.post(path(name)).auth(auth).body(Body::json(signatures)).send().await.map(drop)
}

pub async fn policy(client: &Client) -> Result<Policy> {
    client.get("/trust/policy").send().await?.json().await
}

/// What the policy says of an image that the daemon has.
pub async fn check(client: &Client, image: &str) -> Result<Trust> {
    client.get("/trust/check").query("image", image).send().await?.json().await
}

fn path(name: &str) -> String {
    format!("/images/{}/signatures", encode(name))
}
