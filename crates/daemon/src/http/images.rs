//! Images: lists, names, transport as archives; making them from trees and containers.

use api::image::ListOptions;
use api::progress::Message;
use bytes::Bytes;
use engine::image;
use fault::{Error, Result};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hyper::StatusCode;
use hyper::body::Body as _;
use oci::{Platform, Reference};

use super::answer::{self, Answer};
use super::distribution;
use super::request::Request;

pub(crate) async fn list(request: Request) -> Result<Answer> {
    let query = &request.query;
    let options = ListOptions {
        all: query.flag("all"),
        digests: query.flag("digests"),
        shared_size: query.flag("shared-size"),
        manifests: query.flag("manifests"),
        filters: query.filters()?,
    };
    request.ok(&image::list(&request.door.engine, options).await?)
}

pub(crate) async fn inspect(request: Request) -> Result<Answer> {
    let viewing =
        image::Viewing { platform: wanted_platform(&request)?, manifests: request.query.flag("manifests") };
    request.ok(&image::inspect_as(&request.door.engine, &request.name, viewing).await?)
}

pub(crate) async fn history(request: Request) -> Result<Answer> {
    let platform = wanted_platform(&request)?;
    request.ok(&image::history(&request.door.engine, &request.name, platform).await?)
}

pub(crate) async fn tag(request: Request) -> Result<Answer> {
    let (repo, tag) = (request.query.text("repo"), request.query.text("tag"));
    let Some(reference) = reference(repo, tag)? else {
        return Err(Error::invalid("invalid reference format"));
    };
    if reference.familiar().starts_with("sha256:") {
        return Err(Error::invalid("refusing to create an ambiguous tag using digest algorithm as name"));
    }
    image::tag(&request.door.engine, &request.name, &reference).await?;
    Ok(answer::empty(StatusCode::CREATED).into())
}

pub(crate) async fn remove(request: Request) -> Result<Answer> {
    if request.name.trim().is_empty() {
        return Err(Error::invalid("image name cannot be blank"));
    }
    let platforms = wanted_platforms(&request, "platforms")?;
    let (force, prune) = (request.query.flag("force"), !request.query.flag("noprune"));
    request.ok(&image::remove(&request.door.engine, &request.name, force, prune, platforms).await?)
}

pub(crate) async fn save(request: Request) -> Result<Answer> {
    let platforms = wanted_platforms(&request, "platform")?;
    let names = if request.name.is_empty() {
        request.query.all("names").map(str::to_owned).collect()
    } else {
        vec![request.name.clone()]
    };
    let parts = image::save(&request.door.engine, names, platforms).await?;
    Ok(answer::stream(answer::TAR, parts).into())
}

pub(crate) async fn load(request: Request) -> Result<Answer> {
    let platforms = wanted_platforms(&request, "platform")?;
    let quiet = request.query.flag_or("quiet", true);
    let engine = request.door.engine.clone();
    progress(image::load(&engine, request.into_stream().boxed(), quiet, platforms).await?)
}

/// Pull and import share one path, told apart by the query.
pub(crate) async fn create(request: Request) -> Result<Answer> {
    match request.query.given("fromImage") {
        Some(_) => distribution::pull(request).await,
        None => import(request).await,
    }
}

async fn import(request: Request) -> Result<Answer> {
    let query = &request.query;
    let source = query.text("fromSrc").to_owned();
    if source != "-" {
        return Err(Error::unsupported(format!("importing from {source}; send the archive instead")));
    }
    let message = match query.given("message") {
        Some(message) => message.to_owned(),
        None => format!("Imported from {source}"),
    };
    let wanted = image::Import {
        reference: reference(query.text("repo"), query.text("tag"))?,
        message,
        changes: query.all("changes").map(str::to_owned).collect(),
        platform: query.given("platform").map(str::to_owned),
    };
    let engine = request.door.engine.clone();
    progress(image::import(&engine, wanted, request.into_stream().boxed()).await?)
}

pub(crate) async fn commit(mut request: Request) -> Result<Answer> {
    let config =
        if request.body.is_end_stream() { None } else { Some(api::from_value(request.json_value().await?)?) };
    let query = &request.query;
    // Only to refuse a bad name before the container is looked at.
    reference(query.text("repo"), query.text("tag"))?;
    let wanted = api::container::Commit {
        container: query.text("container").to_owned(),
        repo: query.text("repo").to_owned(),
        tag: query.text("tag").to_owned(),
        comment: query.text("comment").to_owned(),
        author: query.text("author").to_owned(),
        pause: query.flag_or("pause", true),
        changes: query.all("changes").map(str::to_owned).collect(),
        config,
    };
    let id = image::commit(&request.door.engine, wanted).await?;
    Ok(request.answer(StatusCode::CREATED, &api::exec::Created { id }))
}

pub(crate) async fn prune(request: Request) -> Result<Answer> {
    request.ok(&engine::prune::images(&request.door.engine, request.query.filters()?).await?)
}

/// A route of our own: images of another engine on this host.
pub(crate) async fn adopt(request: Request) -> Result<Answer> {
    let query = &request.query;
    let path = match (query.given("path"), query.text("from")) {
        (Some(path), _) => path,
        (None, "" | "docker") => "/var/lib/docker",
        (None, "podman") => "/var/lib/containers/storage",
        (None, from) => {
            return Err(Error::invalid(format!("images come from docker or podman, not from {from:?}")));
        }
    };
    let wanted = image::Adopt {
        path: path.into(),
        images: query.all("image").map(Reference::parse).collect::<Result<_>>()?,
        volumes: query.flag("volumes"),
        dry_run: query.flag("dry-run"),
    };
    progress(image::adopt(&request.door.engine, wanted).await?)
}

/// Routes of our own.
pub(crate) async fn pin(request: Request, pinned: bool) -> Result<Answer> {
    image::pin(&request.door.engine, &request.name, pinned).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT).into())
}

/// Ours alone.
pub(crate) async fn convert(request: Request) -> Result<Answer> {
    let query = &request.query;
    let Some(target) = reference(query.text("repo"), query.text("tag"))? else {
        return Err(Error::invalid("invalid reference format"));
    };
    let level = query.number("level")?;
    let level = level.map(|level| i32::try_from(level).unwrap_or(i32::MAX));
    let wanted = image::Convert {
        source: request.name.clone(),
        target,
        compression: compression(query.text("compression"))?,
        level,
        platforms: wanted_platforms(&request, "platform")?,
    };
    request.ok(&image::convert(&request.door.engine, wanted).await?)
}

fn compression(name: &str) -> Result<image::Compression> {
    match name {
        "none" => Ok(image::Compression::None),
        "gzip" => Ok(image::Compression::Gzip),
        "zstd" => Ok(image::Compression::Zstd),
        name => Err(Error::invalid(format!("unknown compression {name:?}: must be one of gzip, zstd, none"))),
    }
}

/// Ours alone.
pub(crate) async fn difference(request: Request) -> Result<Answer> {
    let platform = wanted_platform(&request)?;
    let other = request.query.text("with");
    request.ok(&image::difference(&request.door.engine, &request.name, other, platform).await?)
}

/// The one platform that a request is about.
fn wanted_platform(request: &Request) -> Result<Option<Platform>> {
    request.query.given("platform").map(distribution::platform).transpose()
}

/// All platforms that a request names.
fn wanted_platforms(request: &Request, name: &str) -> Result<Vec<Platform>> {
    let given = request.query.all(name).filter(|text| !text.is_empty());
    given.map(distribution::platform).collect()
}

/// A name from its two parts, `latest` if there is no tag; `None` without a repository.
fn reference(repo: &str, tag: &str) -> Result<Option<Reference>> {
    if repo.is_empty() {
        return Ok(None);
    }
    let reference = Reference::parse(repo)?;
    Ok(Some(match tag {
        "" => reference.with_default_tag(),
        digest if digest.contains(':') => reference.with_digest(digest.parse()?),
        tag => reference.with_tag(tag)?,
    }))
}

/// Docker ends these lines, and no others, by a carriage return as well.
pub(super) fn progress(messages: BoxStream<'static, Message>) -> Result<Answer> {
    let lines = messages.map(|message| {
        let mut line = answer::line(&message);
        line.insert(line.len() - 1, b'\r');
        Ok(Bytes::from(line))
    });
    Ok(answer::stream(answer::JSON, lines).into())
}
