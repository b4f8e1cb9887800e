//! Calls about volumes.

use api::filters::Filters;
use api::volume::{Create, List, Pruned, Volume};
use fault::Result;

use crate::http::encode;
use crate::{Body, Client};

pub async fn create(client: &Client, volume: &Create) -> Result<Volume> {
    client.post("/volumes/create").body(Body::json(volume)).send().await?.json().await
}

pub async fn list(client: &Client, filters: &Filters) -> Result<List> {
    client.get("/volumes").filters(filters).send().await?.json().await
}

/// The JSON as the daemon wrote it.
pub async fn inspect_raw(client: &Client, name: &str) -> Result<Vec<u8>> {
    client.get(path(name)).send().await?.bytes().await
}

pub async fn remove(client: &Client, name: &str, force: bool) -> Result<()> {
    client.delete(path(name)).flag("force", force).send().await.map(drop)
}

pub async fn prune(client: &Client, filters: &Filters) -> Result<Pruned> {
    client.post("/volumes/prune").filters(filters).send().await?.json().await
}

fn path(name: &str) -> String {
    format!("/volumes/{}", encode(name))
}
