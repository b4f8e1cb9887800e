//! How long to wait before the next attempt: pure, the waiting is the caller's.

use std::time::Duration;

use crate::client::Backoff;

impl Backoff {
    /// After this many failed attempts. What a server asks for counts as long as it is bearable; `None` if it is not.
    pub(crate) fn delay(&self, failed: u32, asked: Option<Duration>) -> Option<Duration> {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
        let own = doubled.min(self.longest);
        match asked {
            Some(asked) if asked > PATIENCE => None,
            Some(asked) => Some(own.max(asked)),
            None => Some(own),
        }
    }
}

/// Whoever asks for more would let people wait for a pull that they had better begin anew.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let seconds = |failed| Backoff::default().delay(failed, None).unwrap().as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 100].map(seconds), [1, 2, 4, 8, 16, 30, 30, 30]);
        let none = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
        assert_eq!(none.delay(9, None), Some(Duration::ZERO));
    }

    #[test]
    fn servers_may_ask_for_a_bearable_wait() {
        let delay = |asked| Backoff::default().delay(1, Some(Duration::from_secs(asked)));
        assert_eq!(delay(0), Some(Duration::from_secs(1)));
        assert_eq!(delay(20), Some(Duration::from_secs(20)));
        assert_eq!(delay(61), None);
    }
}
