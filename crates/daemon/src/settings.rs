//! What a daemon is told: by its name, then by its configuration file and its command line.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use tracing::level_filters::LevelFilter;

use crate::registries;

/// Whose paths are the defaults, and whose flags are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persona {
    Kogged,
    Dockerd,
}

impl Persona {
    /// By the name under which the program was called.
    pub(crate) fn of(program: Option<&OsStr>) -> Self {
        let name = program.and_then(|program| Path::new(program).file_name());
        if name == Some(OsStr::new("dockerd")) { Self::Dockerd } else { Self::Kogged }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kogged => "kogged",
            Self::Dockerd => "dockerd",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) persona: Persona,
    /// As given with `-H`; empty means the default socket.
    pub(crate) hosts: Vec<String>,
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) pid_file: PathBuf,
    /// `None`: the default one, if it is there.
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) debug: bool,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: LogFormat,
    /// Who may use the sockets, beside root.
    pub(crate) group: String,
    pub(crate) bridge: String,
    pub(crate) cgroup_parent: String,
    pub(crate) mtu: Option<u32>,
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) labels: Vec<String>,
    pub(crate) defaults: engine::Defaults,
    /// The bridge's own address.
    pub(crate) address: Option<Ipv4Net>,
    /// Where the default network is taken from; empty: Docker's pools.
    pub(crate) pools: Vec<Ipv4Net>,
    /// Bytes that images may take; all there are if not given.
    pub(crate) image_budget: Option<u64>,
    pub(crate) registries: registry::client::Config,
    /// The same settings without the configuration file, for a reload.
    pub(crate) by_flags: Option<Box<Self>>,
    /// `None`: the default one, if it is there.
    pub(crate) trust_policy: Option<PathBuf>,
    /// Settings that have lost their meaning, and why.
    pub(crate) deprecated: Vec<(&'static str, &'static str)>,
    /// What was asked for and is not built, but harms nobody.
    pub(crate) warnings: Vec<String>,
    /// Settings that were given and mean nothing here; told once the log is open.
    pub(crate) ignored: Vec<&'static str>,
}

impl Settings {
    pub(crate) fn of(persona: Persona) -> Self {
        let (data_root, exec_root, pid_file, bridge, cgroup_parent) = match persona {
            Persona::Kogged => ("/var/lib/kogge", "/run/kogge", "/run/kogge/kogged.pid", "kogge0", "/kogge"),
            Persona::Dockerd => {
                ("/var/lib/docker", "/var/run/docker", "/var/run/docker.pid", "docker0", "/docker")
            }
        };
        Self {
            persona,
            hosts: Vec::new(),
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            pid_file: pid_file.into(),
            config_file: None,
            debug: false,
            log_level: LevelFilter::INFO,
            log_format: LogFormat::Text,
            group: DEFAULT_GROUP.into(),
            bridge: bridge.into(),
            cgroup_parent: cgroup_parent.into(),
            mtu: None,
            dns: Vec::new(),
            labels: Vec::new(),
            defaults: engine::Defaults::default(),
            address: None,
            pools: Vec::new(),
            image_budget: None,
            registries: registries::defaults(persona),
            by_flags: None,
            trust_policy: None,
            deprecated: Vec::new(),
            warnings: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// The hosts to listen on.
    pub(crate) fn hosts(&self) -> Vec<String> {
        if !self.hosts.is_empty() {
            return self.hosts.clone();
        }
        vec![default_host(self.persona).to_owned()]
    }

    pub(crate) fn level(&self) -> LevelFilter {
        if self.debug { LevelFilter::DEBUG } else { self.log_level }
    }
}

/// Whose members may use a daemon's socket, where there is such a group.
pub(crate) const DEFAULT_GROUP: &str = "docker";

pub(crate) fn default_host(persona: Persona) -> &'static str {
    match persona {
        Persona::Kogged => "unix:///run/kogge/kogge.sock",
        Persona::Dockerd => "unix:///var/run/docker.sock",
    }
}

pub(crate) fn default_config_file(persona: Persona) -> Option<&'static Path> {
    (persona == Persona::Dockerd).then(|| Path::new("/etc/docker/daemon.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        assert_eq!(Persona::of(Some(OsStr::new("/usr/bin/dockerd"))), Persona::Dockerd);
        assert_eq!(Persona::of(Some(OsStr::new("kogged"))), Persona::Kogged);
        assert_eq!(Persona::of(None), Persona::Kogged);
        assert_eq!(Settings::of(Persona::Dockerd).hosts(), ["unix:///var/run/docker.sock"]);
    }
}
