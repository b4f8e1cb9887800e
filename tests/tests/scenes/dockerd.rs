//! Docker's own daemon as the third to play a scene, and what may differ from it.

use fixtures::transcript::Known;
use fixtures::{Daemon, Host};

/// The words that start a `dockerd`; none: the scenes are played on ours only.
pub(crate) fn words() -> Option<String> {
    std::env::var("KOGGE_PEER_DOCKERD").ok()
}

pub(crate) fn start<'h>(host: &'h Host, words: &str) -> Daemon<'h> {
    host.start_dockerd(&words.split_whitespace().collect::<Vec<_>>())
}

pub(crate) const KNOWN: &[Known] = &[Known {
    theirs: &["docker0"],
    ours: &["kogge0"],
    because: "both may run on one machine; under the name `dockerd` ours is docker0 as well",
}];
