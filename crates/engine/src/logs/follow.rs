//! The stream of a log: chunks from the files, then waiting for more until the container ends.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fault::{Call, Error, Result};
use futures_util::Stream;
use futures_util::stream;
use sys::inotify::{Changes, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::entry::{Format, Outcome};
use super::files::LogFiles;
use crate::Engine;
use crate::container::View;
use crate::readiness::{self, Watched};

/// Decodes a log chunk by chunk.
#[derive(Debug)]
pub(super) struct Reader {
    files: LogFiles,
    format: Format,
    over: bool,
}

/// What a step of reading brought.
enum Step {
    Bytes(Bytes),
    /// All that is there was read.
    Drained,
    /// Nothing that comes later is wanted.
    Over,
}

impl Reader {
    pub(super) fn new(files: LogFiles, format: Format) -> Self {
        Self { files, format, over: false }
    }

    fn step(&mut self) -> Result<Step> {
        let mut out = Vec::new();
        while out.is_empty() && !self.over {
            let (format, over) = (&self.format, &mut self.over);
            let more = self.files.read(|line| {
                *over |= format.append(line, &mut out) == Outcome::Over;
            })?;
            if !more {
                return Ok(Step::Drained);
            }
        }
        Ok(if out.is_empty() { Step::Over } else { Step::Bytes(out.into()) })
    }
}

/// Waits for a log to grow, as long as its container runs.
#[derive(Debug)]
pub(super) struct Follower {
    folder: AsyncFd<Watched<Inotify>>,
    view: watch::Receiver<Arc<View>>,
    engine_ending: watch::Receiver<bool>,
    /// The container has ended: what is there now is all there will be.
    ended: bool,
}

impl Follower {
    /// Must be made before the first read, so that no growth is missed.
    pub(super) fn new(engine: &Engine, folder: &Path, view: watch::Receiver<Arc<View>>) -> Result<Self> {
        let inotify = Inotify::new()?;
        inotify.watch(folder, Changes::ALL)?;
        let folder = readiness::watch(inotify)?;
        Ok(Self { folder, view, engine_ending: engine.tasks().ending(), ended: false })
    }

    /// Waits for more. False if nothing more will come.
    async fn more(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        tokio::select! {
            ready = self.folder.readable() => {
                let mut ready = ready.call(|| "epoll_wait inotify")?;
                // What changed does not matter: the files are looked at again.
                ready.get_inner().0.read().call(|| "read inotify")?;
                ready.clear_ready();
            }
            // The monitor writes everything before it tells the end, so one more read sees all; the same holds when
            // the container's task is gone.
            _ = self.view.wait_for(|view| !view.is_running()) => self.ended = true,
            _ = self.engine_ending.wait_for(|ending| *ending) => return Ok(false),
        }
        Ok(true)
    }
}

/// The log as it is, and what is appended as long as there is a follower. Ends after an error.
pub(super) fn stream(
    engine: Engine,
    reader: Reader,
    follower: Option<Follower>,
) -> impl Stream<Item = Result<Bytes>> + Send {
    stream::unfold(Some((engine, reader, follower)), async |state| {
        let (engine, reader, follower) = state?;
        match next(&engine, reader, follower).await {
            Ok((bytes, reader, follower)) => Some((Ok(bytes), Some((engine, reader, follower)))),
            Err(None) => None,
            Err(Some(error)) => Some((Err(error), None)),
        }
    })
}

/// The next bytes; an error of `None` is the end.
async fn next(
    engine: &Engine,
    mut reader: Reader,
    mut follower: Option<Follower>,
) -> Result<(Bytes, Reader, Option<Follower>), Option<Error>> {
    loop {
        let read = engine.blocking(move |_| reader.step().map(|step| (step, reader)));
        let (step, back) = read.await.map_err(Some)?;
        reader = back;
        let more = match (step, &mut follower) {
            (Step::Bytes(bytes), _) => return Ok((bytes, reader, follower)),
            (Step::Drained, Some(follower)) => follower.more().await.map_err(Some)?,
            (Step::Drained, None) | (Step::Over, _) => false,
        };
        if !more {
            return Err(None);
        }
    }
}
