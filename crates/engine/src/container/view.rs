//! What everybody may see of a container; its task publishes a new one at every change.

use crate::Record;

/// A container at one moment.
#[derive(Clone, Debug)]
pub struct View {
    pub record: Record,
    /// While it runs on a network.
    pub endpoint: Option<network::Endpoint>,
    /// Execs that were created and not forgotten.
    pub execs: Vec<String>,
    /// How often its process ended since the engine started, for those who wait for the next time.
    pub exits: u64,
    /// It was removed.
    pub gone: bool,
}

impl View {
    pub(crate) fn of(record: Record) -> Self {
        Self { record, endpoint: None, execs: Vec::new(), exits: 0, gone: false }
    }

    pub fn is_running(&self) -> bool {
        self.record.state.status.has_process()
    }

    /// The container's cgroup; see [`Record::cgroup`].
    pub fn cgroup(&self, config: &crate::Config) -> std::path::PathBuf {
        self.record.cgroup(config)
    }
}
