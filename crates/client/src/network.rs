//! Calls about networks.

use api::filters::Filters;
use api::network::{Connect, Create, Created, Disconnect, Inspect, Pruned};
use fault::Result;

use crate::http::encode;
use crate::{Body, Client};

pub async fn list(client: &Client, filters: &Filters) -> Result<Vec<Inspect>> {
    client.get("/networks").filters(filters).send().await?.list().await
}

/// The JSON as the daemon wrote it.
pub async fn inspect_raw(client: &Client, name: &str, verbose: bool) -> Result<Vec<u8>> {
    let request = client.get(path(name));
    let request = if verbose { request.query("verbose", "true") } else { request };
    request.send().await?.bytes().await
}

/// Returns the new network's id.
pub async fn create(client: &Client, network: &Create) -> Result<String> {
    let created: Created =
        client.post("/networks/create").body(Body::json(network)).send().await?.json().await?;
    Ok(created.id)
}

pub async fn remove(client: &Client, name: &str) -> Result<()> {
    client.delete(path(name)).send().await.map(drop)
}

pub async fn connect(client: &Client, name: &str, request: &Connect) -> Result<()> {
    client.post(format!("{}/connect", path(name))).body(Body::json(request)).send().await.map(drop)
}

pub async fn disconnect(client: &Client, name: &str, request: &Disconnect) -> Result<()> {
    client.post(format!("{}/disconnect", path(name))).body(Body::json(request)).send().await.map(drop)
}

pub async fn prune(client: &Client, filters: &Filters) -> Result<Pruned> {
    client.post("/networks/prune").filters(filters).send().await?.json().await
}

fn path(name: &str) -> String {
    format!("/networks/{}", encode(name))
}
