//! What an engine is told at its start, and where its files lie.
//!
//! ```text
//! <data_root>/                             durable
//!   store/                                 blobs, layers, snapshots (the store's own)
//!   network/  volumes/                     (their own)
//!   containers/<id>/creating.json          a create that is not finished
//!                   record.json            the record
//!                   run.json               that a run began; counts until the record knows its end
//!                   <id>-json.log hosts hostname resolv.conf
//!                   execs/<exec>.json      what was started, and <exec>.exit how it ended
//!   containers/removing-<id>/              a removal that is not finished
//! <run_root>/                              volatile, keyed by boot id
//!   containers/<id>/monitor.sock exit.json made before a start touches the kernel
//! ```

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{ContainerId, Defaults};

/// All settings of the engine.
#[derive(Clone, Debug)]
pub struct Config {
    pub data_root: PathBuf,
    pub run_root: PathBuf,
    /// The `kogge-runtime` program.
    pub runtime: PathBuf,
    /// The cgroup under which containers get theirs, `/kogge`.
    pub cgroup_parent: String,
    /// How the default network looks; `state_dir` is set by the engine.
    pub network: network::Config,
    /// How registries are reached.
    pub registries: registry::client::Config,
    /// What is asked of images that are pulled or used.
    pub policy: trust::Policy,
    /// Used where a container names none; empty: the host's.
    pub dns: Vec<IpAddr>,
    /// As it is at the start.
    pub live: Live,
    /// How much room images may take; `None`: all there is.
    pub image_budget: Option<store::Budget>,
    /// How long the root of a stopped container stays mounted, for a restart or the next look into it.
    pub root_kept_for: Duration,
    /// How long a monitor of an earlier engine may take to say its first word. One answers at once, unless a start is in
    /// the middle of something slow.
    pub monitor_patience: Duration,
}

/// What may change while the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Live {
    pub defaults: Defaults,
    /// Shown by `info`.
    pub labels: Vec<String>,
    /// What the configuration asks for and will not get; shown by `info`.
    pub warnings: Vec<String>,
    pub debug: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_root: "/var/lib/kogge".into(),
            run_root: "/run/kogge".into(),
            runtime: "kogge-runtime".into(),
            cgroup_parent: "/kogge".into(),
            network: network::Config::default(),
            registries: registry::client::Config::default(),
            policy: trust::Policy::default(),
            dns: Vec::new(),
            live: Live::default(),
            image_budget: None,
            root_kept_for: Duration::from_secs(10),
            monitor_patience: Duration::from_secs(10),
        }
    }
}

impl Config {
    pub(crate) fn store(&self) -> PathBuf {
        self.data_root.join("store")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    /// A container's durable folder.
    pub(crate) fn folder(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// Where the folder goes while its container is removed.
    pub(crate) fn removing_folder(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(format!("{REMOVING}{id}"))
    }

    pub(crate) fn log_file(&self, id: &ContainerId) -> PathBuf {
        self.folder(id).join(format!("{id}-json.log"))
    }

    pub(crate) fn run_containers(&self) -> PathBuf {
        self.run_root.join("containers")
    }

    /// A container's volatile folder.
    pub(crate) fn run_folder(&self, id: &ContainerId) -> PathBuf {
        self.run_containers().join(id.as_str())
    }
}

/// The socket where a monitor can be met again.
pub(crate) fn monitor_socket(run_folder: &Path) -> PathBuf {
    run_folder.join("monitor.sock")
}

/// Where a monitor writes how its container ended.
pub(crate) fn exit_file(run_folder: &Path) -> PathBuf {
    run_folder.join("exit.json")
}

/// Begins the name of a folder whose container is being removed.
pub(crate) const REMOVING: &str = "removing-";
