//! Containers: their life, their output, what is to be seen of them.

mod create;

use api::container::{Attach, ListOptions, LogOptions, Remove, WaitCondition};
use bytes::Bytes;
use engine::container;
use fault::{Error, Result};
use futures_util::{StreamExt, stream};
use hyper::body::Body as _;
use hyper::header::HeaderValue;

pub(crate) use create::create;

use super::answer::{self, Answer};
use super::hijack::{Media, Takeover};
use super::request::{Request, done};
use super::version::Version;
use super::versions;

pub(crate) async fn list(request: Request) -> Result<Answer> {
    let query = &request.query;
    let options = ListOptions {
        all: query.flag("all"),
        limit: query.number("limit")?.unwrap_or_default(),
        size: query.flag("size"),
        filters: query.filters()?,
    };
    request.ok(&container::list(&request.door.engine, options).await?)
}

pub(crate) async fn inspect(request: Request) -> Result<Answer> {
    let size = request.query.flag("size");
    request.ok(&container::inspect(&request.door.engine, &request.name, size).await?)
}

pub(crate) async fn start(request: Request) -> Result<Answer> {
    // Two bytes, `{}`, are what some clients send for nothing.
    if request.body.size_hint().exact().is_none_or(|length| length > NO_BODY_BYTES_MAX) {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if request.query.given("checkpoint").is_some() {
        return Err(Error::unsupported("starting from a checkpoint"));
    }
    container::start(&request.door.engine, &request.name).await?;
    done()
}

/// A JSON object that holds anything is longer.
const NO_BODY_BYTES_MAX: u64 = 7;

pub(crate) async fn stop(request: Request) -> Result<Answer> {
    let (timeout, signal) = (request.query.number("t")?, request.query.given("signal"));
    container::stop(&request.door.engine, &request.name, timeout, signal).await?;
    done()
}

pub(crate) async fn restart(request: Request) -> Result<Answer> {
    let (timeout, signal) = (request.query.number("t")?, request.query.given("signal"));
    container::restart(&request.door.engine, &request.name, timeout, signal).await?;
    done()
}

pub(crate) async fn kill(request: Request) -> Result<Answer> {
    container::kill(&request.door.engine, &request.name, request.query.text("signal")).await?;
    done()
}

pub(crate) async fn pause(request: Request) -> Result<Answer> {
    container::pause(&request.door.engine, &request.name).await?;
    done()
}

pub(crate) async fn unpause(request: Request) -> Result<Answer> {
    container::unpause(&request.door.engine, &request.name).await?;
    done()
}

pub(crate) async fn rename(request: Request) -> Result<Answer> {
    container::rename(&request.door.engine, &request.name, request.query.text("name")).await?;
    done()
}

pub(crate) async fn resize(request: Request) -> Result<Answer> {
    let (height, width) = (request.query.size("h", "height")?, request.query.size("w", "width")?);
    container::resize(&request.door.engine, &request.name, height, width).await?;
    Ok(answer::empty(hyper::StatusCode::OK).into())
}

pub(crate) async fn update(mut request: Request) -> Result<Answer> {
    let wanted = request.json().await?;
    container::update(&request.door.engine, &request.name, wanted).await?;
    request.ok(&serde_json::json!({ "Warnings": null }))
}

pub(crate) async fn remove(request: Request) -> Result<Answer> {
    let query = &request.query;
    let options = Remove { force: query.flag("force"), volumes: query.flag("v"), link: query.flag("link") };
    container::remove(&request.door.engine, &request.name, options).await?;
    done()
}

/// The head goes out at once, which tells the client that nothing from now on is missed; the body when it is over.
/// Before 1.30 both came at the end.
pub(crate) async fn wait(request: Request) -> Result<Answer> {
    let condition = match request.query.text("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(Error::invalid(format!("invalid condition: {other:?}"))),
    };
    let waiting = container::wait(&request.door.engine, &request.name, condition)?;
    if request.version < Version::v1(30) {
        return request.ok(&waiting.await);
    }
    // Before 1.34 a failed removal could only be told by an empty answer.
    let mute = request.version < Version::v1(34) && condition == WaitCondition::Removed;
    let body = stream::once(async move {
        let over = waiting.await;
        let silent = mute && over.error.is_some();
        Ok(if silent { Bytes::new() } else { answer::line(&over).into() })
    });
    Ok(answer::stream(answer::JSON, body).into())
}

pub(crate) async fn top(request: Request) -> Result<Answer> {
    let arguments = request.query.text("ps_args");
    request.ok(&engine::top::list(&request.door.engine, &request.name, arguments).await?)
}

pub(crate) async fn logs(request: Request) -> Result<Answer> {
    let options = log_options(&request)?;
    let logs = engine::logs::read(&request.door.engine, &request.name, options).await?;
    let media = media(logs.tty, request.version);
    Ok(answer::stream(HeaderValue::from_static(media.as_str()), logs.parts).into())
}

fn log_options(request: &Request) -> Result<LogOptions> {
    let query = &request.query;
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    Ok(LogOptions {
        follow: query.flag("follow"),
        stdout,
        stderr,
        since: query.moment("since")?.filter(|since| *since != 0),
        until: query.moment("until")?.filter(|until| *until != 0),
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        // Anything but a number, `all` above all, means every line.
        tail: query.text("tail").parse().ok(),
    })
}

/// Before 1.42 clients knew by themselves whether output is framed.
pub(crate) fn media(tty: bool, version: Version) -> Media {
    if tty || version < Version::v1(42) { Media::Raw } else { Media::Multiplexed }
}

pub(crate) async fn stats(request: Request) -> Result<Answer> {
    let query = &request.query;
    let (follow, one_shot) = (query.flag_or("stream", true), query.flag("one-shot"));
    let samples = engine::stats::stream(&request.door.engine, &request.name, follow, one_shot).await?;
    let (route, version) = (request.route, request.version);
    let lines = samples.map(move |sample| {
        let line = versions::bend_line(route, version, &sample?).unwrap_or_default();
        Ok(Bytes::from(line))
    });
    Ok(answer::stream(answer::JSON, lines).into())
}

pub(crate) async fn attach(request: Request) -> Result<Answer> {
    let query = &request.query;
    let options = Attach {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        detach_keys: query.text("detachKeys").to_owned(),
    };
    let attached = container::attach(&request.door.engine, &request.name, options).await?;
    Ok(Answer::Takeover(Takeover {
        upgrade: request.upgrade(),
        media: media(attached.tty, request.version),
        preface: Bytes::new(),
        process: Some(attached.io),
    }))
}

pub(crate) async fn prune(request: Request) -> Result<Answer> {
    request.ok(&engine::prune::containers(&request.door.engine, request.query.filters()?).await?)
}
