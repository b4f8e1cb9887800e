//! Calls about processes started in a running container.

use api::exec::{Create, Created, Inspect, Start};
use fault::Result;

use crate::http::encode;
use crate::{Body, Client, Hijacked};

/// Returns the exec's id.
pub async fn create(client: &Client, container: &str, exec: &Create) -> Result<String> {
    let path = format!("/containers/{}/exec", encode(container));
    let created: Created = client.post(path).body(Body::json(exec)).send().await?.json().await?;
    Ok(created.id)
}

/// Starts it and takes its streams.
pub async fn attach(client: &Client, id: &str, start: &Start) -> Result<Hijacked> {
    client.post(path(id, "start")).body(Body::json(start)).hijack().await
}

pub async fn start_detached(client: &Client, id: &str, start: &Start) -> Result<()> {
    client.post(path(id, "start")).body(Body::json(start)).send().await.map(drop)
}

pub async fn resize(client: &Client, id: &str, height: u16, width: u16) -> Result<()> {
    let request = client.post(path(id, "resize"));
    request.query("h", height.to_string()).query("w", width.to_string()).send().await.map(drop)
}

pub async fn inspect(client: &Client, id: &str) -> Result<Inspect> {
    client.get(path(id, "json")).send().await?.json().await
}

fn path(id: &str, verb: &str) -> String {
    format!("/exec/{}/{verb}", encode(id))
}
