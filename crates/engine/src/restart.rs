//! Whether and when an ended container runs again. Pure: time comes in as durations.

use std::time::Duration;

use api::host_config::RestartPolicy;

/// How one run ended, and what went before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    /// A user stopped it, or sent it a signal; only `unless-stopped` minds.
    pub(crate) manually_stopped: bool,
    /// Restarts by the policy since a user's start, for `on-failure:N`.
    pub(crate) restart_count: i64,
}

/// Whether the policy wants another run. The same at an exit and at the start of an engine that finds a container
/// ended, as with dockerd: there `always` starts what a user had stopped, and `on-failure` what he had stopped with a
/// code other than 0 (moby, restartmanager/restartmanager.go).
pub(crate) fn wanted(policy: &RestartPolicy, ended: Ended) -> bool {
    let may_retry = policy.maximum_retry_count == 0 || ended.restart_count < policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !ended.manually_stopped,
        "on-failure" => ended.exit_code != 0 && may_retry,
        _ => false,
    }
}

/// The container is to be started by an engine sooner or later.
pub(crate) fn has_policy(policy: &RestartPolicy) -> bool {
    !matches!(policy.name.as_str(), "" | "no")
}

/// The wait before the next run: doubles from run to run, starts anew after a run that lasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    wait: Duration,
}

impl Backoff {
    /// The wait before another run, after one that took so long.
    pub(crate) fn next(&mut self, ran_for: Duration) -> Duration {
        self.wait = match self.wait {
            Duration::ZERO => WAIT_FIRST,
            _ if ran_for >= LASTED => WAIT_FIRST,
            wait => (wait * 2).min(WAIT_MAX),
        };
        self.wait
    }
}

const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(60);
const LASTED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_starts_anew_after_a_long_run() {
        let mut backoff = Backoff::default();
        let mut next = |seconds| backoff.next(Duration::from_secs(seconds)).as_millis();
        let waits = [0; 12].map(&mut next);
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!([9, 10, 0].map(next), [60000, 100, 200]);
    }

    #[test]
    fn policies_want_what_docker_s_want() {
        let all = ["always", "unless-stopped", "on-failure", "on-failure:2", "no", ""];
        let wanting = |exit_code, manually_stopped, restart_count| {
            let ended = Ended { exit_code, manually_stopped, restart_count };
            let is_wanted = |name: &&str| {
                let (name, count) = name.split_once(':').unwrap_or((name, "0"));
                let maximum_retry_count = count.parse().unwrap();
                wanted(&RestartPolicy { name: name.into(), maximum_retry_count }, ended)
            };
            all.into_iter().filter(is_wanted).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(wanting(0, false, 0), "always unless-stopped");
        assert_eq!(wanting(1, false, 0), "always unless-stopped on-failure on-failure:2");
        assert_eq!(wanting(1, false, 2), "always unless-stopped on-failure");
        assert_eq!(wanting(0, true, 0), "always");
        assert_eq!(wanting(143, true, 0), "always on-failure on-failure:2");
    }
}
