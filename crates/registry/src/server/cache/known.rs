//! What upstream registries said lately of tags, manifests and blobs. Lost with the process: then it is asked again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<String, (Word, Duration)>>);

/// An upstream registry's word of a row (`name:tag`, `name@digest`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is as it is here.
    Same,
    /// It is not there.
    Missing,
    /// Nothing was to be heard.
    Silent,
}

impl Known {
    pub(crate) fn learn(&self, row: &str, word: Word, now: Duration) {
        let mut rows = self.lock();
        if rows.len() >= ROWS_MAX {
            rows.clear();
        }
        rows.insert(row.into(), (word, now));
    }

    /// What need not be asked again yet. `ttl` is for what is the same.
    pub(crate) fn word(&self, row: &str, ttl: Duration, now: Duration) -> Option<Word> {
        let (word, since) = *self.lock().get(row)?;
        let lasts = match word {
            Word::Same => ttl,
            Word::Missing => MISSING_LASTS,
            Word::Silent => SILENT_LASTS,
        };
        (now.saturating_sub(since) < lasts).then_some(word)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Word, Duration)>> {
        // Whole after any panic: each change is one insertion.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients make up names: a table that full is begun anew.
const ROWS_MAX: usize = 64 << 10;
/// What is pushed upstream appears here no later.
const MISSING_LASTS: Duration = Duration::from_secs(10);
/// Clients that can be served from here do not all wait for an upstream registry that is down.
const SILENT_LASTS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_last_for_their_time() {
        let (known, ttl) = (Known::default(), Duration::from_secs(60));
        let at = Duration::from_secs;
        known.learn("a:1", Word::Same, at(100));
        known.learn("a:2", Word::Missing, at(100));
        known.learn("a:3", Word::Silent, at(100));
        assert_eq!(known.word("a:1", ttl, at(159)), Some(Word::Same));
        assert_eq!(known.word("a:1", ttl, at(160)), None);
        assert_eq!(known.word("a:1", Duration::ZERO, at(100)), None);
        assert_eq!(known.word("a:2", ttl, at(109)), Some(Word::Missing));
        assert_eq!(known.word("a:2", ttl, at(110)), None);
        assert_eq!(known.word("a:3", ttl, at(110)), None);
        assert_eq!(known.word("b", ttl, at(0)), None);
    }
}
