//! Reading a container's log: rotated files oldest first, then whatever the monitor appends.
//!
//! ```text
//! <id>-json.log.2  <id>-json.log.1  <id>-json.log     oldest to newest, one JSON object a line
//! ```
//!
//! Lines are decoded a chunk at a time on the blocking pool, so that a slow client holds neither a thread nor more
//! than a chunk. It only reads; the monitor alone writes.

mod attributes;
mod entry;
mod files;
mod follow;
mod tail;

use api::container::LogOptions;
use bytes::Bytes;
use fault::{Error, Kind, Result};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use runtime::protocol::LogEnd;

use crate::{Engine, Record};
use entry::Format;
use files::LogFiles;
use follow::{Follower, Reader};

pub(crate) use attributes::{attributes, check as check_attributes};
pub(crate) use files::end;

/// The log of a container as bytes for the client.
pub struct Logs {
    /// Raw output; else every entry is framed by `api::stdcopy`.
    pub tty: bool,
    pub parts: BoxStream<'static, Result<Bytes>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Logs").field("tty", &self.tty).finish_non_exhaustive()
    }
}

/// Opens the log; with `follow` the stream ends when the container does.
pub async fn read(engine: &Engine, id: &str, options: LogOptions) -> Result<Logs> {
    if !options.stdout && !options.stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    let container = engine.containers().find(id)?;
    let view = container.view();
    check_readable(&view.record)?;
    let tty = view.record.config.tty;
    let format = Format { options: options.clone(), framed: !tty };
    let path = engine.config().log_file(&container.id);
    let follower = match options.follow && view.is_running() {
        true => Some(Follower::new(engine, &engine.config().folder(&container.id), container.view.clone())?),
        false => None,
    };
    let reader =
        engine.blocking(move |_| Ok(Reader::new(LogFiles::open(&path, options.tail)?, format))).await?;
    Ok(Logs { tty, parts: follow::stream(engine.clone(), reader, follower).boxed() })
}

/// The log up to an end, or as it is now; for clients that go on with the process's streams.
pub(crate) async fn replay(
    engine: &Engine,
    record: &Record,
    options: LogOptions,
    end: Option<LogEnd>,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let format = Format { options, framed: !record.config.tty };
    let path = engine.config().log_file(&record.id);
    let reader = engine.blocking(move |_| {
        let files = match end {
            Some(end) => LogFiles::open_until(&path, end),
            None => LogFiles::open(&path, None),
        };
        Ok(Reader::new(files?, format))
    });
    Ok(follow::stream(engine.clone(), reader.await?, None).boxed())
}

/// Refuses what has no log here.
pub(crate) fn check_readable(record: &Record) -> Result<()> {
    match record.host_config.log_config.kind.as_str() {
        "none" => Err(Error::new(Kind::Unsupported, "configured logging driver does not support reading")),
        _ => Ok(()),
    }
}
