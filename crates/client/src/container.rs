//! Calls about containers.

use api::container::{
    Attach, Change, Commit, Create, Created, Inspect, ListOptions, PathStat, Pruned, Remove, Summary, Top,
    Update, WaitAnswer, WaitCondition,
};
use api::filters::Filters;
use api::stats::Stats;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};

use crate::http::encode;
use crate::{Answer, Body, Client, Hijacked, Lines};

/// `platform` is `os[/arch[/variant]]` or empty, and so may be `name`.
pub async fn create(client: &Client, name: &str, platform: &str, container: &Create) -> Result<Created> {
    let request = client.post("/containers/create").text("name", name).text("platform", platform);
    request.body(Body::json(container)).send().await?.json().await
}

/// Starting a container that runs is no error.
pub async fn start(client: &Client, id: &str) -> Result<()> {
    quiet(client.post(path(id, "start"))).await
}

/// A timeout of -1 waits for ever; `None` takes the container's own.
pub async fn stop(client: &Client, id: &str, timeout: Option<i64>, signal: &str) -> Result<()> {
    let request = client.post(path(id, "stop")).text("signal", signal).text("t", &seconds(timeout));
    quiet(request).await
}

pub async fn restart(client: &Client, id: &str, timeout: Option<i64>, signal: &str) -> Result<()> {
    let request = client.post(path(id, "restart")).text("signal", signal).text("t", &seconds(timeout));
    quiet(request).await
}

pub async fn kill(client: &Client, id: &str, signal: &str) -> Result<()> {
    quiet(client.post(path(id, "kill")).text("signal", signal)).await
}

pub async fn pause(client: &Client, id: &str) -> Result<()> {
    quiet(client.post(path(id, "pause"))).await
}

pub async fn unpause(client: &Client, id: &str) -> Result<()> {
    quiet(client.post(path(id, "unpause"))).await
}

/// A wait that the daemon has taken note of: what happens from now on is not missed.
#[derive(Debug)]
pub struct Waiting(Answer);

impl Waiting {
    pub async fn answer(self) -> Result<WaitAnswer> {
        self.0.json().await
    }
}

pub async fn wait(client: &Client, id: &str, condition: WaitCondition) -> Result<Waiting> {
    let condition = match condition {
        WaitCondition::NotRunning => "",
        WaitCondition::NextExit => "next-exit",
        WaitCondition::Removed => "removed",
    };
    client.post(path(id, "wait")).text("condition", condition).send().await.map(Waiting)
}

pub async fn remove(client: &Client, id: &str, options: Remove) -> Result<()> {
    let request = client.delete(format!("/containers/{}", encode(id)));
    quiet(request.flag("v", options.volumes).flag("link", options.link).flag("force", options.force)).await
}

pub async fn rename(client: &Client, id: &str, name: &str) -> Result<()> {
    quiet(client.post(path(id, "rename")).query("name", name)).await
}

pub async fn resize(client: &Client, id: &str, height: u16, width: u16) -> Result<()> {
    let request = client.post(path(id, "resize"));
    quiet(request.query("h", height.to_string()).query("w", width.to_string())).await
}

pub async fn attach(client: &Client, id: &str, options: &Attach) -> Result<Hijacked> {
    let request = client.post(path(id, "attach")).text("detachKeys", &options.detach_keys);
    let request = request.flag("stdin", options.stdin).flag("stdout", options.stdout);
    let request = request.flag("stderr", options.stderr).flag("logs", options.logs);
    request.flag("stream", options.stream).hijack().await
}

pub async fn list(client: &Client, options: &ListOptions) -> Result<Vec<Summary>> {
    let limit = if options.limit > 0 { options.limit.to_string() } else { String::new() };
    let request = client.get("/containers/json").flag("all", options.all).text("limit", &limit);
    request.flag("size", options.size).filters(&options.filters).send().await?.list().await
}

pub async fn inspect(client: &Client, id: &str) -> Result<Inspect> {
    api::from_slice(&inspect_raw(client, id, false).await?)
}

/// The JSON as the daemon wrote it.
pub async fn inspect_raw(client: &Client, id: &str, size: bool) -> Result<Vec<u8>> {
    client.get(path(id, "json")).flag("size", size).send().await?.bytes().await
}

/// Query of the logs, as the user wrote it; times are Unix seconds with nanoseconds, or empty.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    pub follow: bool,
    pub timestamps: bool,
    pub details: bool,
    pub since: String,
    pub until: String,
    pub tail: String,
}

pub async fn logs(client: &Client, id: &str, options: &Logs) -> Result<Answer> {
    let request = client.get(path(id, "logs")).flag("stdout", true).flag("stderr", true);
    let request = request.text("since", &options.since).text("until", &options.until);
    let request = request.flag("timestamps", options.timestamps).flag("details", options.details);
    request.flag("follow", options.follow).text("tail", &options.tail).send().await
}

pub async fn top(client: &Client, id: &str, ps_args: &str) -> Result<Top> {
    client.get(path(id, "top")).text("ps_args", ps_args).send().await?.json().await
}

/// One reading, with the one before it, or a reading every second.
pub async fn stats(client: &Client, id: &str, stream: bool) -> Result<Lines<Stats>> {
    let stream = if stream { "1" } else { "0" };
    Ok(client.get(path(id, "stats")).query("stream", stream).send().await?.lines())
}

pub async fn changes(client: &Client, id: &str) -> Result<Vec<Change>> {
    client.get(path(id, "changes")).send().await?.list().await
}

/// A tar stream of the whole file system.
pub async fn export(client: &Client, id: &str) -> Result<Answer> {
    client.get(path(id, "export")).send().await
}

pub async fn archive_stat(client: &Client, id: &str, inside: &str) -> Result<PathStat> {
    let answer = client.head(path(id, "archive")).query("path", inside).send().await?;
    path_stat(&answer)
}

/// A tar stream of what lies at a path, and what that is.
pub async fn archive_get(client: &Client, id: &str, inside: &str) -> Result<(PathStat, Answer)> {
    let answer = client.get(path(id, "archive")).query("path", inside).send().await?;
    Ok((path_stat(&answer)?, answer))
}

/// Unpacks a tar stream into a folder; owners stay as they are in the stream if `keep_owners`.
pub async fn archive_put(
    client: &Client,
    id: &str,
    inside: &str,
    keep_owners: bool,
    tar: Body,
) -> Result<()> {
    let request = client.put(path(id, "archive")).query("path", inside);
    let request = request.query("noOverwriteDirNonDir", "true");
    let request = if keep_owners { request.query("copyUIDGID", "true") } else { request };
    quiet(request.body(tar)).await
}

pub async fn prune(client: &Client, filters: &Filters) -> Result<Pruned> {
    client.post("/containers/prune").filters(filters).send().await?.json().await
}

/// Returns the new image's id.
pub async fn commit(client: &Client, options: &Commit) -> Result<String> {
    let mut request = client.post("/commit").text("container", &options.container);
    request = request.text("repo", &options.repo).text("tag", &options.tag).text("comment", &options.comment);
    request = request.text("author", &options.author);
    for change in &options.changes {
        request = request.query("changes", change);
    }
    if !options.pause {
        request = request.query("pause", "0");
    }
    let created: Created = request.send().await?.json().await?;
    Ok(created.id)
}

/// Returns the daemon's warnings.
pub async fn update(client: &Client, id: &str, update: &Update) -> Result<Vec<String>> {
    let created: Created =
        client.post(path(id, "update")).body(Body::json(update)).send().await?.json().await?;
    Ok(created.warnings)
}

fn path(id: &str, verb: &str) -> String {
    format!("/containers/{}/{verb}", encode(id))
}

/// Sends what has no answer worth reading. 304 means that it was so before.
async fn quiet(request: crate::http::Request<'_>) -> Result<()> {
    match request.send().await {
        Err(error) if error.kind() == fault::Kind::Unchanged => Ok(()),
        other => other.map(drop),
    }
}

fn seconds(timeout: Option<i64>) -> String {
    timeout.map(|seconds| seconds.to_string()).unwrap_or_default()
}

/// The stat travels in a header, as JSON in base 64.
fn path_stat(answer: &Answer) -> Result<PathStat> {
    let broken = || Error::internal("error from daemon: no stat of the path in the answer");
    let header = answer.header("x-docker-container-path-stat").ok_or_else(broken)?;
    api::from_slice(&STANDARD.decode(header).map_err(|_| broken())?)
}
