//! The words of the list's STATUS column: `Up 3 minutes`, `Exited (0) 2 hours ago`. Pure.

use crate::image::unix_seconds;
use crate::record::State;
use crate::state::Status;

/// `now` in unix seconds.
pub(crate) fn text(state: &State, now: i64) -> String {
    let since = |time: &str| duration(now.saturating_sub(unix_seconds(time)));
    match state.status {
        Status::Running => format!("Up {}", since(&state.started_at)),
        Status::Paused => format!("Up {} (Paused)", since(&state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(&state.finished_at)),
        Status::Removing => "Removal In Progress".into(),
        Status::Dead => "Dead".into(),
        Status::Created => "Created".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(&state.finished_at)),
    }
}

/// docker/go-units' `HumanDuration`.
fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_docker_says_them() {
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3540, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ];
        for (seconds, words) in table {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn every_status_has_its_words() {
        let state = |status| State {
            status,
            exit_code: 3,
            started_at: "1970-01-01T00:00:00Z".into(),
            finished_at: "1970-01-01T00:00:05Z".into(),
            ..State::default()
        };
        assert_eq!(text(&state(Status::Running), 10), "Up 10 seconds");
        assert_eq!(text(&state(Status::Paused), 10), "Up 10 seconds (Paused)");
        assert_eq!(text(&state(Status::Exited), 10), "Exited (3) 5 seconds ago");
        assert_eq!(text(&state(Status::Restarting), 10), "Restarting (3) 5 seconds ago");
        assert_eq!(text(&state(Status::Created), 10), "Created");
    }
}
