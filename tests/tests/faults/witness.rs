//! Containers that must live through everything: each counts into its log.

use fixtures::{Client, image};

/// A container that must not notice what happens around it.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) id: String,
    pid: String,
}

/// Makes the image `busybox`.
pub(crate) fn image(client: &Client) {
    client.ok_with(&["import", "-", "busybox"], &image::busybox_root().unwrap());
}

impl Witness {
    /// Starts one that counts with this pause in between.
    pub(crate) fn start(client: &Client, pause_us: u32) -> Self {
        let count = format!("i=0; while :; do i=$((i+1)); echo $i; usleep {pause_us}; done");
        let id = client.ok(&["run", "-d", "busybox", "sh", "-c", &count]);
        let pid = pid(client, &id);
        Self { id, pid }
    }

    /// It runs, with the process it had, and its latest lines have no gap.
    #[track_caller]
    pub(crate) fn lives(&self, client: &Client) {
        let state = client.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", &self.id]);
        assert_eq!(state, format!("running {}", self.pid));
        let log = client.ok(&["logs", "--tail", "20", &self.id]);
        let first = log.lines().next().map_or(0, |line| line.parse().expect("it counts"));
        counts_from(first, &log);
    }

    /// Its whole log has no gap, and goes on.
    #[track_caller]
    pub(crate) fn has_lost_nothing(&self, client: &Client) {
        self.lives(client);
        let log = client.ok(&["logs", &self.id]);
        counts_from(1, &log);
        let count = log.lines().count();
        let goes_on = || client.ok(&["logs", &self.id]).lines().count() > count;
        assert!(fixtures::remains::comes_true(goes_on), "the log of {} stands still", self.id);
    }
}

pub(crate) fn pid(client: &Client, container: &str) -> String {
    client.ok(&["inspect", "-f", "{{.State.Pid}}", container])
}

#[track_caller]
fn counts_from(first: usize, log: &str) {
    for (index, line) in log.lines().enumerate() {
        assert_eq!(line, (first + index).to_string(), "a log line is lost or doubled");
    }
}
