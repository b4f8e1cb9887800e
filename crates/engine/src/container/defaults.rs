//! What dockerd fills into a request, so that inspect shows it. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api::container::Create;
use api::host_config::HostConfig;
use api::network::EndpointSettings;

use crate::{ContainerId, Defaults};

/// Facts of the host that defaults depend on.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// All controllers are in the one hierarchy of cgroup v2.
    pub(super) unified: bool,
    pub(super) hostname: String,
}

impl Host {
    /// Reads the facts. Blocks.
    pub(super) fn read() -> fault::Result<Self> {
        let unified = sys::fs::exists("/sys/fs/cgroup/cgroup.controllers")?;
        let hostname = sys::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned();
        Ok(Self { unified, hostname })
    }
}

pub(super) fn fill(wanted: &mut Create, id: &ContainerId, host: &Host, defaults: &Defaults) {
    network(wanted);
    let config = &mut wanted.config;
    if config.hostname.is_empty() {
        let shares_name = wanted.host_config.network_mode == "host" || wanted.host_config.uts_mode == "host";
        config.hostname = if shares_name { host.hostname.clone() } else { id.short().to_owned() };
    }
    defaults.fill(&mut wanted.host_config);
    fill_host(&mut wanted.host_config, host);
}

/// `default` is the default bridge's other name.
fn network(wanted: &mut Create) {
    let mode = &mut wanted.host_config.network_mode;
    if matches!(mode.as_str(), "" | "default") {
        *mode = if wanted.config.network_disabled { "none".into() } else { "bridge".into() };
    }
    let endpoints = std::mem::take(&mut wanted.networking_config.endpoints_config);
    let mut renamed: BTreeMap<String, EndpointSettings> = endpoints
        .into_iter()
        .map(|(name, settings)| (if name == "default" { "bridge".into() } else { name }, settings))
        .collect();
    if !mode.starts_with("container:") {
        renamed.entry(mode.clone()).or_default();
    }
    wanted.networking_config.endpoints_config = renamed;
}

fn fill_host(config: &mut HostConfig, host: &Host) {
    default_text(&mut config.restart_policy.name, "no");
    default_text(&mut config.cgroupns_mode, if host.unified { "private" } else { "host" });
    memory(config, host);
    paths(config);
    if config.privileged || config.pid_mode == "host" || config.ipc_mode == "host" {
        config.security_opt.get_or_insert_default().push("label=disable".into());
    }
}

fn default_text(own: &mut String, default: &str) {
    if own.is_empty() {
        default.clone_into(own);
    }
}

fn memory(config: &mut HostConfig, host: &Host) {
    let limits = &mut config.resources;
    if limits.memory > 0 && limits.memory_swap == 0 {
        limits.memory_swap = limits.memory * 2;
    }
    if limits.memory_swappiness == Some(-1) {
        limits.memory_swappiness = None;
    }
    if limits.pids_limit.is_some_and(|limit| limit <= 0) {
        limits.pids_limit = None;
    }
    limits.oom_kill_disable = match (limits.oom_kill_disable, host.unified) {
        (Some(false) | None, true) => None,
        (disable, _) => Some(disable.unwrap_or(false)),
    };
}

/// A privileged container sees and writes everything.
fn paths(config: &mut HostConfig) {
    if config.privileged {
        config.masked_paths = None;
        config.readonly_paths = None;
        return;
    }
    let texts = |paths: Vec<PathBuf>| {
        paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    config.masked_paths.get_or_insert_with(|| texts(runtime::defaults::masked_paths()));
    config.readonly_paths.get_or_insert_with(|| texts(runtime::defaults::readonly_paths()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(json: &str, unified: bool) -> Create {
        let mut wanted: Create = api::from_slice(json.as_bytes()).unwrap();
        let id = "4f".repeat(32).parse().unwrap();
        fill(&mut wanted, &id, &Host { unified, hostname: "hostess".into() }, &Defaults::default());
        wanted
    }

    #[test]
    fn an_empty_request_gets_docker_s_defaults() {
        let mut wanted = filled("{}", false);
        wanted.host_config.masked_paths = None;
        wanted.host_config.readonly_paths = None;
        insta::assert_json_snapshot!(wanted);
    }

    #[test]
    fn swap_is_twice_the_memory() {
        let limits = |json: &str| filled(json, true).host_config.resources;
        assert_eq!(limits(r#"{"HostConfig":{"Memory":8}}"#).memory_swap, 16);
        assert_eq!(limits(r#"{"HostConfig":{"Memory":8,"MemorySwap":-1}}"#).memory_swap, -1);
        assert_eq!(limits(r#"{"HostConfig":{"MemorySwappiness":-1}}"#).memory_swappiness, None);
        assert_eq!(limits("{}").oom_kill_disable, None);
    }

    #[test]
    fn a_privileged_container_has_nothing_masked() {
        let config = filled(r#"{"HostConfig":{"Privileged":true}}"#, true).host_config;
        assert_eq!((config.masked_paths, config.readonly_paths), (None, None));
        assert_eq!(config.security_opt, Some(vec!["label=disable".to_owned()]));
        assert_eq!(config.cgroupns_mode, "private");
        let open = filled(r#"{"HostConfig":{"MaskedPaths":[]}}"#, true).host_config;
        assert_eq!(open.masked_paths, Some(Vec::new()));
    }

    #[test]
    fn who_shares_the_host_s_name_is_called_so() {
        assert_eq!(filled("{}", true).config.hostname, "4f4f4f4f4f4f");
        assert_eq!(filled(r#"{"HostConfig":{"NetworkMode":"host"}}"#, true).config.hostname, "hostess");
        assert_eq!(
            filled(r#"{"Hostname":"x","HostConfig":{"NetworkMode":"host"}}"#, true).config.hostname,
            "x"
        );
    }
}
