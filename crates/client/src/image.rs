//! Calls about images.

use api::filters::Filters;
use api::image::{Converted, HistoryRow, ListOptions, Pruned, Removed, Summary};
use api::registry::AuthConfig;
use fault::Result;

use crate::http::encode;
use crate::{Answer, Body, Client};

pub async fn list(client: &Client, options: &ListOptions) -> Result<Vec<Summary>> {
    let request = client.get("/images/json").flag("all", options.all).filters(&options.filters);
    let request = request.flag("shared-size", options.shared_size);
    request.flag("manifests", options.manifests).send().await?.list().await
}

/// The JSON as the daemon wrote it. Platforms are JSON here and below, and may be empty.
pub async fn inspect_raw(client: &Client, name: &str, platform: &str) -> Result<Vec<u8>> {
    client.get(path(name, "json")).text("platform", platform).send().await?.bytes().await
}

pub async fn history(client: &Client, name: &str, platform: &str) -> Result<Vec<HistoryRow>> {
    client.get(path(name, "history")).text("platform", platform).send().await?.list().await
}

pub async fn tag(client: &Client, name: &str, repo: &str, tag: &str) -> Result<()> {
    client.post(path(name, "tag")).text("repo", repo).text("tag", tag).send().await.map(drop)
}

/// With platforms only what the name stands for on these.
pub async fn remove(
    client: &Client,
    name: &str,
    force: bool,
    keep_parents: bool,
    platforms: &[String],
) -> Result<Vec<Removed>> {
    let request = client.delete(format!("/images/{}", encode(name)));
    let request = request.flag("force", force).flag("noprune", keep_parents);
    let request = platforms.iter().fold(request, |request, platform| request.query("platforms", platform));
    request.send().await?.list().await
}

/// Sends an archive; the answer is a progress stream.
pub async fn load(client: &Client, quiet: bool, platforms: &[String], archive: Body) -> Result<Answer> {
    let quiet = if quiet { "1" } else { "0" };
    let request = client.post("/images/load").query("quiet", quiet);
    let request = platforms.iter().fold(request, |request, platform| request.query("platform", platform));
    request.body(archive).send().await
}

/// An archive of the named images.
pub async fn save(client: &Client, names: &[String], platforms: &[String]) -> Result<Answer> {
    let request = client.get("/images/get");
    let request = platforms.iter().fold(request, |request, platform| request.query("platform", platform));
    names.iter().fold(request, |request, name| request.query("names", name)).send().await
}

/// What an import is made of. `source` is `-` or a URL that the daemon fetches.
#[derive(Clone, Debug, Default)]
pub struct Import {
    pub source: String,
    /// Name and tag of the new image, or empty.
    pub reference: String,
    pub message: String,
    pub platform: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
}

/// Makes an image from a tar archive; the answer is a progress stream.
pub async fn import(client: &Client, import: &Import, archive: Body) -> Result<Answer> {
    let mut request = client.post("/images/create").query("fromSrc", &import.source);
    request = request.text("repo", &import.reference).text("message", &import.message);
    request = request.text("platform", &import.platform.to_lowercase());
    for change in &import.changes {
        request = request.query("changes", change);
    }
    request.body(archive).send().await
}

/// What to pull or push.
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    /// The repository's whole name.
    pub repository: String,
    /// A tag, or (to pull) a digest; empty for all tags.
    pub tag: String,
    /// Empty for the daemon's own.
    pub platform: String,
    pub auth: AuthConfig,
}

/// Asks the daemon to pull; the answer is a progress stream.
pub async fn pull(client: &Client, wanted: &Transfer) -> Result<Answer> {
    let request = client.post("/images/create").query("fromImage", &wanted.repository);
    let request = request.text("tag", &wanted.tag).text("platform", &wanted.platform.to_lowercase());
    request.auth(&wanted.auth).send().await
}

/// Asks the daemon to push; the platform is JSON. The answer is a progress stream.
pub async fn push(client: &Client, wanted: &Transfer) -> Result<Answer> {
    let request = client.post(path(&wanted.repository, "push"));
    let request = request.text("tag", &wanted.tag).text("platform", &wanted.platform);
    request.auth(&wanted.auth).send().await
}

/// How layers are to be compressed; platforms are JSON.
#[derive(Clone, Debug, Default)]
pub struct Convert {
    pub source: String,
    pub repository: String,
    pub tag: String,
    pub compression: String,
    /// As typed; empty for the format's own.
    pub level: String,
    pub platforms: Vec<String>,
}

/// Makes an image whose layers are compressed otherwise. Ours alone.
pub async fn convert(client: &Client, wanted: &Convert) -> Result<Converted> {
    let request = client.post(path(&wanted.source, "convert"));
    let request = request.text("repo", &wanted.repository).text("tag", &wanted.tag);
    let request = request.text("compression", &wanted.compression).text("level", &wanted.level);
    let platforms = wanted.platforms.iter();
    platforms
        .fold(request, |request, platform| request.query("platform", platform))
        .send()
        .await?
        .json()
        .await
}

/// What the second image has otherwise than the first; the JSON as the daemon wrote it. Ours alone.
pub async fn difference(client: &Client, first: &str, second: &str, platform: &str) -> Result<Vec<u8>> {
    let request = client.get(path(first, "diff")).text("with", second).text("platform", platform);
    request.send().await?.bytes().await
}

/// What to take over from another engine on the daemon's host.
#[derive(Clone, Debug, Default)]
pub struct Adopt {
    /// `docker` or `podman`, for the path where its data root usually is.
    pub from: String,
    /// Its data root; empty for the usual one.
    pub path: String,
    /// Names; all images if there are none.
    pub images: Vec<String>,
    pub volumes: bool,
    pub dry_run: bool,
}

/// Takes images over; the answer is a progress stream. Only our own daemon can.
pub async fn adopt(client: &Client, wanted: &Adopt) -> Result<Answer> {
    let request = client.post("/images/adopt").text("from", &wanted.from).text("path", &wanted.path);
    let request = request.flag("volumes", wanted.volumes).flag("dry-run", wanted.dry_run);
    wanted.images.iter().fold(request, |request, name| request.query("image", name)).send().await
}

/// Keeps an image whatever room it takes, or no longer. Only our own daemon can.
pub async fn pin(client: &Client, name: &str, pinned: bool) -> Result<()> {
    client.post(path(name, if pinned { "pin" } else { "unpin" })).send().await.map(drop)
}

pub async fn prune(client: &Client, filters: &Filters) -> Result<Pruned> {
    client.post("/images/prune").filters(filters).send().await?.json().await
}

fn path(name: &str, verb: &str) -> String {
    format!("/images/{}/{verb}", encode(name))
}
