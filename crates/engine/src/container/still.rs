//! A container held still for a moment, so that its files are read as of one instant.
//!
//! ```text
//! marker beside the run --> freeze --> work --> thaw --> no marker
//! ```
//!
//! An engine that finds the marker lets the container go on: nobody asked for a pause that lasts.

use std::path::PathBuf;
use std::sync::Arc;

use fault::{Error, Result};
use runtime::cgroup::Cgroup;
use tokio::sync::oneshot;

use super::Container;
use crate::{ContainerId, Engine, Status};

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
    let (done, is_thawed) = match super::pause(engine, id.as_str()).await {
        Ok(()) => (engine.blocking(work).await, thaw(engine, id).await),
        Err(error) => (Err(error), true),
    };
    // The marker stays with a container that stays frozen, so that at least the next engine lets it go on.
    if is_thawed {
        engine.blocking(move |_| sys::fs::remove_file_if_exists(marker)).await?;
    }
    done
}

/// Whether it is frozen no more; whoever stopped it in the meantime has thawed it.
async fn thaw(engine: &Engine, id: &ContainerId) -> bool {
    let Err(error) = super::unpause(engine, id.as_str()).await else { return true };
    let is_paused = |container: Arc<Container>| container.view().record.state.status == Status::Paused;
    let is_left = engine.containers().get(id.as_str()).is_some_and(is_paused);
    if is_left {
        tracing::error!(container = %id, %error, "frozen for a moment, and not thawed");
    }
    !is_left
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
