//! The scenes of the end-to-end tests, played on Docker's own daemon too; the tests know what may differ.

use super::Peer;
use crate::{Result, task_test};

pub(crate) fn run(dockerd: &Peer<'_>) -> Result {
    let scenes = ["--package", "fixtures", "--test", "scenes"].map(str::to_owned);
    task_test::run_with(&scenes, &[(task_test::PEER, &dockerd.words.join(" "))])
}
