//! A container held still for a moment, so that its files are read as of one instant.
//!
//! ```text
//! marker beside the run --> freeze --> work --> thaw --> no marker
//! ```
//!
//! An engine that finds the marker lets the container go on: nobody asked for a pause that lasts.

use std::path::PathBuf;

use fault::{Error, Result};
use runtime::cgroup::Cgroup;
use tokio::sync::oneshot;

use crate::{ContainerId, Engine};

/// Runs blocking work while the container is frozen. All of it comes to its end, also if the caller goes away.
pub(crate) async fn while_still<T: Send + 'static>(
    engine: &Engine,
    id: ContainerId,
    work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (tell, told) = oneshot::channel();
    let held = engine.clone();
    engine.tasks().spawn(async move {
        // Whoever asked may be gone.
        drop(tell.send(hold(&held, &id, work).await));
    });
    told.await.unwrap_or_else(|_| Err(Error::unavailable("the engine ends")))
}

async fn hold<T: Send + 'static>(
    engine: &Engine,
    id: &ContainerId,
    work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
) -> Result<T> {
    let marker = marker(engine, id);
    let marked = marker.clone();
    engine.blocking(move |_| sys::fs::write(marked, "")).await?;
    let done = freeze_and_work(engine, id, work).await;
    engine.blocking(move |_| sys::fs::remove_file_if_exists(marker)).await?;
    done
}

async fn freeze_and_work<T: Send + 'static>(
    engine: &Engine,
    id: &ContainerId,
    work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
) -> Result<T> {
    super::pause(engine, id.as_str()).await?;
    let done = engine.blocking(work).await;
    if let Err(error) = super::unpause(engine, id.as_str()).await {
        // Whoever stopped it in the meantime has thawed it.
        tracing::debug!(container = %id, %error, "not thawed");
    }
    done
}

/// Lets a container go on that an earlier engine froze for a moment only; tells whether it stays frozen. Blocks.
pub(crate) fn is_frozen(engine: &Engine, id: &ContainerId, cgroup: &Cgroup) -> Result<bool> {
    let marker = marker(engine, id);
    if !sys::fs::exists(&marker)? {
        return cgroup.is_frozen();
    }
    cgroup.thaw()?;
    sys::fs::remove_file_if_exists(marker)?;
    Ok(false)
}

fn marker(engine: &Engine, id: &ContainerId) -> PathBuf {
    engine.config().run_folder(id).join("held-still")
}
