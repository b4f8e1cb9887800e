//! The engine's background tasks: spawned here only, ended at shutdown.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

/// All tasks of one engine.
#[derive(Debug)]
pub(crate) struct Tasks {
    set: Mutex<Option<JoinSet<()>>>,
    ending: watch::Sender<bool>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { set: Mutex::new(Some(JoinSet::new())), ending: watch::Sender::new(false) }
    }

    /// Runs a task until it ends or the engine does; after shutdown it is dropped at once.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(set) = set.as_mut() else { return };
        while set.try_join_next().is_some() {}
        set.spawn(task);
    }

    /// Resolves at shutdown; for the select of a task that must not be cut in the middle of something.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Asks all to end and waits; who does not listen is cut after the patience.
    pub(crate) async fn end(&self) {
        self.ending.send_replace(true);
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut set) = set else { return };
        let all = async { while set.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            set.shutdown().await;
        }
    }
}

/// Long enough for a record on a slow disk; whatever is cut is crash-safe anyway.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
