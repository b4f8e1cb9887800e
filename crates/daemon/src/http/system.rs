//! The engine as a whole: ping, version, info, disk usage, events, a check of the store.

use api::system::DiskUsageOptions;
use bytes::Bytes;
use fault::{Error, Result};
use futures_util::StreamExt;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, PRAGMA};
use hyper::{Method, StatusCode};

use super::answer::{self, Answer};
use super::request::Request;
use super::versions;

pub(crate) async fn options(_: Request) -> Result<Answer> {
    Ok(answer::empty(StatusCode::OK).into())
}

pub(crate) async fn ping(request: Request) -> Result<Answer> {
    let head = request.route.method == Method::HEAD;
    let mut response = answer::text(StatusCode::OK, if head { "" } else { "OK" });
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    if head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(response.into())
}

pub(crate) async fn version(request: Request) -> Result<Answer> {
    request.ok(&engine::system::version(&request.door.engine).await?)
}

pub(crate) async fn info(request: Request) -> Result<Answer> {
    request.ok(&engine::system::info(&request.door.engine).await?)
}

pub(crate) async fn disk_usage(request: Request) -> Result<Answer> {
    let mut wanted = DiskUsageOptions::default();
    for kind in request.query.all("type") {
        let part = match kind {
            "container" => &mut wanted.containers,
            "image" => &mut wanted.images,
            "volume" => &mut wanted.volumes,
            "build-cache" => &mut wanted.build_cache,
            _ => return Err(Error::invalid(format!("unknown object type: {kind}"))),
        };
        *part = true;
    }
    request.ok(&engine::system::disk_usage(&request.door.engine, wanted).await?)
}

/// A route of our own: what is wrong with the store.
pub(crate) async fn check(request: Request) -> Result<Answer> {
    if request.query.flag("repair") {
        return Err(Error::invalid("a repair is asked for by POST"));
    }
    request.ok(&engine::system::check(&request.door.engine).await?)
}

/// The same by POST: what was wrong, and what became of it.
pub(crate) async fn repair(request: Request) -> Result<Answer> {
    let how = engine::system::Repair { force: request.query.flag("force") };
    request.ok(&engine::system::repair(&request.door.engine, how).await?)
}

/// JSON values, one a line, until the client leaves or `until` has come.
pub(crate) async fn events(request: Request) -> Result<Answer> {
    let query = &request.query;
    let (since, until) = (query.moment("since")?, query.moment("until")?);
    if let (Some(from), Some(to)) = (since, until)
        && to < from
    {
        return Err(Error::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.text("since"),
            query.text("until")
        )));
    }
    let options = api::events::Options { since, until, filters: query.filters()? };
    let events = engine::events::subscribe(&request.door.engine, options)?;
    let (route, version) = (request.route, request.version);
    let lines = events.filter_map(move |event| {
        let line = versions::bend_line(route, version, &event);
        std::future::ready(line.map(|line| Ok(Bytes::from(line))))
    });
    Ok(answer::stream(answer::JSON, lines).into())
}
