//! Calls about the daemon itself.

use api::events::Message;
use api::filters::Filters;
use api::system::{BuildPruned, Check, DiskUsage, Version};
use fault::Result;

use crate::{Client, Lines};

pub async fn version(client: &Client) -> Result<Version> {
    client.get("/version").send().await?.json().await
}

/// The JSON as the daemon wrote it.
pub async fn info_raw(client: &Client) -> Result<Vec<u8>> {
    client.get("/info").send().await?.bytes().await
}

/// Times are Unix seconds with nanoseconds, or empty.
pub async fn events(client: &Client, since: &str, until: &str, filters: &Filters) -> Result<Lines<Message>> {
    let request = client.get("/events").text("since", since).text("until", until).filters(filters);
    Ok(request.send().await?.lines())
}

pub async fn disk_usage(client: &Client) -> Result<DiskUsage> {
    client.get("/system/df").send().await?.json().await
}

/// Has the daemon verify its whole store, which takes as long as reading it. Only our own daemon can.
pub async fn check(client: &Client) -> Result<Check> {
    client.get("/system/check").send().await?.json().await
}

/// The same, and mends what can be mended; with `force` files of containers that nobody knows any more go, too.
pub async fn repair(client: &Client, force: bool) -> Result<Check> {
    client.post("/system/check").flag("force", force).send().await?.json().await
}

/// Empties a builder's cache: all of it, or what is not used.
pub async fn build_prune(client: &Client, all: bool, filters: &Filters) -> Result<BuildPruned> {
    client.post("/build/prune").flag("all", all).filters(filters).send().await?.json().await
}
