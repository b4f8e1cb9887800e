//! Whether and when an ended container runs again. Pure: time comes in as durations.

use std::time::Duration;

use api::host_config::RestartPolicy;

/// How one run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) ran_for: Duration,
    /// A user stopped or killed it.
    pub(crate) by_user: bool,
}

/// The wait before the next run: doubles from run to run, starts anew after a run that lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    wait: Duration,
    /// Runs that failed in a row, for `on-failure:N`.
    retries: i64,
}

impl Backoff {
    /// The wait before another run; `None` if the policy wants none.
    pub(crate) fn next(&mut self, policy: &RestartPolicy, ended: Ended) -> Option<Duration> {
        if ended.by_user || !self.wanted(policy, ended.exit_code) {
            return None;
        }
        if ended.ran_for >= LASTED {
            *self = Self::default();
        }
        self.wait = match self.wait {
            Duration::ZERO => WAIT_FIRST,
            wait => (wait * 2).min(WAIT_MAX),
        };
        self.retries += 1;
        Some(self.wait)
    }

    fn wanted(&self, policy: &RestartPolicy, exit_code: i32) -> bool {
        let may_retry = policy.maximum_retry_count == 0 || self.retries < policy.maximum_retry_count;
        match policy.name.as_str() {
            "always" | "unless-stopped" => true,
            "on-failure" => exit_code != 0 && may_retry,
            _ => false,
        }
    }
}

/// Whether a container that ran, or should have, when an earlier engine ended is started with a new one.
pub(crate) fn wanted_at_start(policy: &RestartPolicy, exit_code: i32, stopped_by_user: bool) -> bool {
    match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !stopped_by_user,
        "on-failure" => !stopped_by_user && exit_code != 0,
        _ => false,
    }
}

const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(60);
const LASTED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, maximum_retry_count: i64) -> RestartPolicy {
        RestartPolicy { name: name.into(), maximum_retry_count }
    }

    fn ended(exit_code: i32, seconds: u64) -> Ended {
        Ended { exit_code, ran_for: Duration::from_secs(seconds), by_user: false }
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_starts_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        let always = policy("always", 0);
        let waits: Vec<_> =
            (0..12).map(|_| backoff.next(&always, ended(0, 0)).unwrap().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(backoff.next(&always, ended(0, 10)).unwrap().as_millis(), 100);
    }

    #[test]
    fn on_failure_counts_its_retries() {
        let mut backoff = Backoff::default();
        let twice = policy("on-failure", 2);
        assert!(backoff.next(&twice, ended(1, 0)).is_some());
        assert!(backoff.next(&twice, ended(1, 0)).is_some());
        assert!(backoff.next(&twice, ended(1, 0)).is_none());
        assert!(Backoff::default().next(&twice, ended(0, 0)).is_none());
    }

    #[test]
    fn what_a_user_stopped_stays_stopped() {
        for name in ["always", "unless-stopped", "on-failure", "no", ""] {
            let by_user = Ended { by_user: true, ..ended(1, 0) };
            assert!(Backoff::default().next(&policy(name, 0), by_user).is_none(), "{name}");
        }
        assert!(Backoff::default().next(&policy("no", 0), ended(1, 0)).is_none());
    }

    #[test]
    fn a_new_engine_starts_what_should_run() {
        let table = [
            ("always", 0, true, true),
            ("unless-stopped", 0, true, false),
            ("unless-stopped", 0, false, true),
            ("on-failure", 1, false, true),
            ("on-failure", 0, false, false),
            ("no", 1, false, false),
        ];
        for (name, code, by_user, wanted) in table {
            assert_eq!(wanted_at_start(&policy(name, 0), code, by_user), wanted, "{name} {code} {by_user}");
        }
    }
}
