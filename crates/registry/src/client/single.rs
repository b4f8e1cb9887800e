//! One at a time, by digest: whoever comes second waits, and finds the work done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use oci::Digest;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

#[derive(Debug, Default)]
pub(crate) struct Singles {
    gates: Mutex<HashMap<Digest, Weak<Gate<()>>>>,
}

impl Singles {
    fn gate(&self, digest: &Digest) -> Arc<Gate<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(digest).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::new(()));
        gates.insert(digest.clone(), Arc::downgrade(&gate));
        gate
    }

    /// `waiting` is called if somebody else is at it.
    pub(crate) async fn enter(&self, digest: &Digest, waiting: impl FnOnce()) -> OwnedMutexGuard<()> {
        let gate = self.gate(digest);
        match Arc::clone(&gate).try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => {
                waiting();
                gate.lock_owned().await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_second_waits_and_nothing_is_kept() {
        let singles = Singles::default();
        let digest = Digest::sha256(b"");
        let first = singles.enter(&digest, || panic!("nobody is there")).await;
        let mut waited = false;
        let mut second = Box::pin(singles.enter(&digest, || waited = true));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        drop(second.await);
        assert!(waited);
        drop(singles.enter(&Digest::sha256(b"other"), || ()).await);
        assert_eq!(singles.gates.lock().unwrap().len(), 1);
    }
}
