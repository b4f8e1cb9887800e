//! What clients rely on, so that no collection takes it: blobs that they were told to be here, that they sent, or that
//! their manifests stand on.
//!
//! A collection decides by a state of the catalog that is older than what it does. Whatever came to be of use since then
//! was promised before it was used, and a promise is asked for again under the lock under which the file goes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci::Digest;

use crate::server::storage::now;

#[derive(Debug, Default)]
pub(crate) struct Promises {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    given: HashMap<Digest, Promise>,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    /// Seconds since 1970.
    when: u64,
    /// Promises are counted, because two may fall into one second.
    number: u64,
}

/// A moment between promises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u64);

impl Promises {
    /// Somebody relies on a blob from now on.
    pub(crate) fn give(&self, digest: &Digest) {
        let mut state = self.lock();
        state.count += 1;
        let promise = Promise { when: now(), number: state.count };
        match state.given.get_mut(digest) {
            Some(given) => *given = promise,
            None => drop(state.given.insert(digest.clone(), promise)),
        }
    }

    /// The moment before all promises to come.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.lock().count)
    }

    /// Forgets promises that were given before a time, and says which are left.
    pub(crate) fn since(&self, time: u64) -> Vec<Digest> {
        let mut state = self.lock();
        state.given.retain(|_, promise| promise.when >= time);
        state.given.keys().cloned().collect()
    }

    /// Runs `take` unless the blob was promised after the mark; nobody can promise it meanwhile.
    pub(crate) fn unless_given<T>(&self, digest: &Digest, mark: Mark, take: impl FnOnce() -> T) -> Option<T> {
        let state = self.lock();
        let given = state.given.get(digest).is_some_and(|promise| promise.number > mark.0);
        (!given).then(take)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after any panic: each change is one insertion or removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_after_the_mark_is_not_taken() {
        let promises = Promises::default();
        let (old, new) = (Digest::sha256(b"old"), Digest::sha256(b"new"));
        promises.give(&old);
        let mark = promises.mark();
        promises.give(&new);
        assert_eq!(promises.unless_given(&old, mark, || "taken"), Some("taken"));
        assert_eq!(promises.unless_given(&new, mark, || "taken"), None);
        promises.give(&old);
        assert_eq!(promises.unless_given(&old, mark, || "taken"), None);
        assert_eq!(promises.since(0).len(), 2);
        assert!(promises.since(u64::MAX).is_empty());
    }
}
