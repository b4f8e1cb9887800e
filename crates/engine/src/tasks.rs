//! The engine's background tasks: spawned here only, ended at shutdown.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// All tasks of one engine.
#[derive(Debug)]
pub(crate) struct Tasks {
    set: Mutex<Option<JoinSet<()>>>,
    ending: watch::Sender<bool>,
    runtime: Handle,
}

impl Tasks {
    /// For the runtime that the caller is in.
    pub(crate) fn new() -> Self {
        let set = Mutex::new(Some(JoinSet::new()));
        Self { set, ending: watch::Sender::new(false), runtime: Handle::current() }
    }

    /// Runs a task until it ends or the engine does; after shutdown it is dropped at once. Any thread may call it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(set) = set.as_mut() else { return };
        while set.try_join_next().is_some() {}
        set.spawn_on(task, &self.runtime);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_outside_of_the_runtime_may_spawn() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tasks = runtime.block_on(async { Tasks::new() });
        let (tell, told) = std::sync::mpsc::channel();
        tasks.spawn(async move { tell.send("ran").unwrap() });
        assert_eq!(told.recv(), Ok("ran"));
        runtime.block_on(tasks.end());
    }
}
