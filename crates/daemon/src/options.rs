//! The table of all settings: their flag, their key in the configuration file, and what they do.
//!
//! Docker's own are all here. Those that have no meaning for this engine are ignored with a warning, under the name
//! `dockerd` only; those that would change what a container gets and are not built are refused, never ignored.

use std::path::PathBuf;

use fault::{Error, Result};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use crate::registries;
use crate::settings::{LogFormat, Settings};

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Without dashes.
    pub(crate) flag: &'static str,
    pub(crate) short: Option<char>,
    /// In the configuration file; empty if it cannot stand there.
    pub(crate) key: &'static str,
    /// True or false, so the flag may stand alone.
    pub(crate) switch: bool,
    pub(crate) meaning: Meaning,
}

#[derive(Debug)]
pub(crate) enum Meaning {
    /// What the value does, and the line of the help.
    Set(fn(&mut Settings, &str) -> Result<()>, &'static str),
    /// These values are how it is anyway; others are not built.
    Only(&'static [&'static str]),
    /// A whole part of the configuration file.
    Document(fn(&mut Settings, &Value) -> Result<()>),
    /// Nothing to set any more, and why.
    Deprecated(&'static str),
    /// Nothing to set here.
    Ignored,
}

use Meaning::{Deprecated, Document, Ignored, Only, Set};

/// Applies one value. `given` is how the user wrote the setting.
pub(crate) fn apply(
    settings: &mut Settings,
    setting: &'static Setting,
    given: &str,
    value: &str,
) -> Result<()> {
    match &setting.meaning {
        Set(set, _) => set(settings, value).map_err(|error| match given.starts_with("--") {
            true => Error::invalid(format!("invalid argument {value:?} for \"{given}\" flag: {error}")),
            false => error.doing("merged configuration validation from file and command line flags failed"),
        }),
        Only(values) if values.contains(&value) => Ok(()),
        Only(_) => Err(Error::unsupported(format!("{given}={value}"))),
        Document(_) => Err(Error::unsupported(given)),
        Deprecated(why) => {
            settings.deprecated.push((setting.key, why));
            Ok(())
        }
        Ignored => {
            settings.ignored.push(setting.flag);
            Ok(())
        }
    }
}

const fn set(
    flag: &'static str,
    short: Option<char>,
    key: &'static str,
    set: fn(&mut Settings, &str) -> Result<()>,
    help: &'static str,
) -> Setting {
    Setting { flag, short, key, switch: false, meaning: Set(set, help) }
}

const fn only(flag: &'static str, key: &'static str, values: &'static [&'static str]) -> Setting {
    Setting { flag, short: None, key, switch: false, meaning: Only(values) }
}

const fn switch_only(flag: &'static str, key: &'static str, values: &'static [&'static str]) -> Setting {
    Setting { flag, short: None, key, switch: true, meaning: Only(values) }
}

const fn ignored(flag: &'static str, key: &'static str) -> Setting {
    Setting { flag, short: None, key, switch: false, meaning: Ignored }
}

const fn switch_ignored(flag: &'static str, key: &'static str) -> Setting {
    Setting { flag, short: None, key, switch: true, meaning: Ignored }
}

pub(crate) static SETTINGS: &[Setting] = &[
    set(
        "host",
        Some('H'),
        "hosts",
        hosts,
        "Daemon socket(s) to connect to: unix://path, tcp://host:port, fd://",
    ),
    set("data-root", None, "data-root", data_root, "Root directory of persistent state"),
    set("exec-root", None, "exec-root", exec_root, "Root directory for execution state files"),
    set("pidfile", Some('p'), "pidfile", pid_file, "Path to use for daemon PID file"),
    set("config-file", None, "", config_file, "Daemon configuration file"),
    Setting {
        flag: "debug",
        short: Some('D'),
        key: "debug",
        switch: true,
        meaning: Set(debug, "Enable debug mode"),
    },
    set(
        "log-level",
        Some('l'),
        "log-level",
        log_level,
        "Set the logging level (debug, info, warn, error, fatal)",
    ),
    set("log-format", None, "log-format", log_format, "Set the logging format (text, json)"),
    set("group", Some('G'), "group", group, "Group for the unix socket"),
    set("bridge", Some('b'), "bridge", bridge, "Bridge device of the default network"),
    set("cgroup-parent", None, "cgroup-parent", cgroup_parent, "Parent cgroup of all containers"),
    set("mtu", None, "mtu", mtu, "MTU of the default network"),
    set("dns", None, "dns", dns, "DNS server to use"),
    set("label", None, "labels", label, "Set key=value labels to the daemon"),
    set(
        "registry-mirror",
        None,
        "registry-mirrors",
        registries::mirror,
        "Ask this registry first for images of docker.io",
    ),
    set(
        "insecure-registry",
        None,
        "insecure-registries",
        registries::insecure,
        "Registry (or network of registries) without valid certificates",
    ),
    set(
        "max-concurrent-downloads",
        None,
        "max-concurrent-downloads",
        registries::downloads,
        "Layers to fetch from one registry at the same time (default 3)",
    ),
    set(
        "max-concurrent-uploads",
        None,
        "max-concurrent-uploads",
        registries::uploads,
        "Layers to send to one registry at the same time (default 5)",
    ),
    set(
        "max-download-attempts",
        None,
        "max-download-attempts",
        registries::attempts,
        "How often to try to fetch or send a layer (default 5)",
    ),
    set("http-proxy", None, "http-proxy", registries::http_proxy, "Proxy for registries without TLS"),
    set("https-proxy", None, "https-proxy", registries::https_proxy, "Proxy for registries with TLS"),
    set(
        "no-proxy",
        None,
        "no-proxy",
        registries::no_proxy,
        "Hosts to reach without a proxy, parted by commas",
    ),
    Setting {
        flag: "",
        short: None,
        key: "registry-rules",
        switch: false,
        meaning: Document(registries::rules),
    },
    Setting {
        flag: "allow-nondistributable-artifacts",
        short: None,
        key: "allow-nondistributable-artifacts",
        switch: false,
        meaning: Deprecated("such layers are pushed like all others"),
    },
    // How it is anyway, or not built.
    only("authorization-plugin", "authorization-plugins", &[]),
    only("add-runtime", "runtimes", &[]),
    only("bip", "bip", &[""]),
    only("bip6", "bip6", &[""]),
    only("cpu-rt-period", "cpu-rt-period", &["0"]),
    only("cpu-rt-runtime", "cpu-rt-runtime", &["0"]),
    only("default-address-pool", "default-address-pools", &[]),
    only("default-cgroupns-mode", "default-cgroupns-mode", &["", "private"]),
    only("default-gateway", "default-gateway", &[""]),
    only("default-gateway-v6", "default-gateway-v6", &[""]),
    only("default-ipc-mode", "default-ipc-mode", &["", "private"]),
    only("default-network-opt", "default-network-opts", &[]),
    only("default-runtime", "default-runtime", &["runc", "io.containerd.runc.v2", "kogge-runtime"]),
    only("default-shm-size", "default-shm-size", &["64m", "64M", "67108864"]),
    only("default-ulimit", "default-ulimits", &[]),
    only("dns-opt", "dns-opts", &[]),
    only("dns-search", "dns-search", &[]),
    only("exec-opt", "exec-opts", &["native.cgroupdriver=cgroupfs"]),
    only("fixed-cidr", "fixed-cidr", &[""]),
    only("fixed-cidr-v6", "fixed-cidr-v6", &[""]),
    only("host-gateway-ip", "host-gateway-ips", &[""]),
    only("ip", "ip", &["", "0.0.0.0"]),
    only("log-driver", "log-driver", &["json-file"]),
    only("log-opt", "log-opts", &[]),
    only("metrics-addr", "metrics-addr", &[""]),
    only("seccomp-profile", "seccomp-profile", &["", "builtin"]),
    only("storage-opt", "storage-opts", &[]),
    Setting {
        flag: "storage-driver",
        short: Some('s'),
        key: "storage-driver",
        switch: false,
        meaning: Only(&["", "overlay2"]),
    },
    only("userns-remap", "userns-remap", &[""]),
    switch_only("allow-direct-routing", "allow-direct-routing", &["true"]),
    switch_only("icc", "icc", &["true"]),
    switch_only("init", "init", &["false"]),
    switch_only("ip6tables", "ip6tables", &["true", "false"]),
    switch_only("ip-forward", "ip-forward", &["true"]),
    switch_only("ip-forward-no-drop", "ip-forward-no-drop", &["true", "false"]),
    switch_only("ip-masq", "ip-masq", &["true"]),
    switch_only("iptables", "iptables", &["true"]),
    switch_only("ipv6", "ipv6", &["false"]),
    switch_only("no-new-privileges", "no-new-privileges", &["false"]),
    switch_only("rootless", "rootless", &["false"]),
    switch_only("selinux-enabled", "selinux-enabled", &["false"]),
    switch_only("tls", "tls", &["false"]),
    switch_only("tlsverify", "tlsverify", &["false"]),
    only("tlscacert", "tlscacert", &[""]),
    only("tlscert", "tlscert", &[""]),
    only("tlskey", "tlskey", &[""]),
    // Of Docker's insides, or of parts that are not here.
    ignored("api-cors-header", "api-cors-header"),
    ignored("cdi-spec-dir", "cdi-spec-dirs"),
    ignored("containerd", "containerd"),
    ignored("containerd-namespace", "containerd-namespace"),
    ignored("containerd-plugins-namespace", "containerd-plugin-namespace"),
    ignored("feature", "features"),
    ignored("init-path", "init-path"),
    ignored("network-control-plane-mtu", "network-control-plane-mtu"),
    ignored("network-diagnostic-port", "network-diagnostic-port"),
    ignored("node-generic-resource", "node-generic-resources"),
    ignored("shutdown-timeout", "shutdown-timeout"),
    ignored("swarm-default-advertise-addr", "swarm-default-advertise-addr"),
    ignored("userland-proxy-path", "userland-proxy-path"),
    ignored("", "builder"),
    switch_ignored("cri-containerd", "cri-containerd"),
    switch_ignored("experimental", "experimental"),
    switch_ignored("live-restore", "live-restore"),
    switch_ignored("raw-logs", "raw-logs"),
    switch_ignored("userland-proxy", "userland-proxy"),
    Setting { flag: "restart", short: Some('r'), key: "", switch: true, meaning: Ignored },
];

fn hosts(settings: &mut Settings, value: &str) -> Result<()> {
    settings.hosts.push(value.to_owned());
    Ok(())
}

fn data_root(settings: &mut Settings, value: &str) -> Result<()> {
    settings.data_root = absolute(value)?;
    Ok(())
}

fn exec_root(settings: &mut Settings, value: &str) -> Result<()> {
    settings.exec_root = absolute(value)?;
    Ok(())
}

fn pid_file(settings: &mut Settings, value: &str) -> Result<()> {
    settings.pid_file = absolute(value)?;
    Ok(())
}

/// A relative path counts from where the daemon was started.
fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::invalid(error.to_string()))
}

fn config_file(settings: &mut Settings, value: &str) -> Result<()> {
    settings.config_file = Some(value.into());
    Ok(())
}

fn debug(settings: &mut Settings, value: &str) -> Result<()> {
    settings.debug = boolean(value)?;
    Ok(())
}

fn log_level(settings: &mut Settings, value: &str) -> Result<()> {
    settings.log_level = match value {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        _ => return Err(Error::invalid(format!("invalid logging level: {value}"))),
    };
    Ok(())
}

fn log_format(settings: &mut Settings, value: &str) -> Result<()> {
    settings.log_format = match value {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(Error::invalid(format!("unknown log format: {value}"))),
    };
    Ok(())
}

fn group(settings: &mut Settings, value: &str) -> Result<()> {
    settings.group = value.to_owned();
    Ok(())
}

fn bridge(settings: &mut Settings, value: &str) -> Result<()> {
    if value == "none" {
        return Err(Error::unsupported("a daemon without the default network"));
    }
    if value.len() > DEVICE_NAME_LEN_MAX || value.contains(['/', ':']) || value.contains(char::is_whitespace)
    {
        return Err(Error::invalid("not the name of a network device"));
    }
    // An empty name is the default, as in Docker.
    if !value.is_empty() {
        settings.bridge = value.to_owned();
    }
    Ok(())
}

fn cgroup_parent(settings: &mut Settings, value: &str) -> Result<()> {
    if value.split('/').any(|part| part == "..") {
        return Err(Error::invalid("a cgroup's path has no `..`"));
    }
    if !value.is_empty() {
        settings.cgroup_parent = format!("/{}", value.trim_matches('/'));
    }
    Ok(())
}

/// IFNAMSIZ of netdevice(7), without the zero at its end.
const DEVICE_NAME_LEN_MAX: usize = 15;

fn mtu(settings: &mut Settings, value: &str) -> Result<()> {
    let mtu = value.parse().map_err(|_| Error::invalid("not a number of bytes"))?;
    settings.mtu = Some(mtu).filter(|mtu| *mtu > 0);
    Ok(())
}

fn dns(settings: &mut Settings, value: &str) -> Result<()> {
    for address in value.split(',') {
        let broken = |_| Error::invalid(format!("{address} is not an ip address"));
        settings.dns.push(address.parse().map_err(broken)?);
    }
    Ok(())
}

fn label(settings: &mut Settings, value: &str) -> Result<()> {
    if !value.contains('=') {
        return Err(Error::invalid(format!("bad attribute format: {value}")));
    }
    settings.labels.push(value.to_owned());
    Ok(())
}

/// As Go's strconv.ParseBool.
pub(crate) fn boolean(value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Error::invalid(format!("strconv.ParseBool: parsing {value:?}: invalid syntax"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice() {
        let check = |names: Vec<String>| {
            let unique: BTreeSet<_> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "{names:?}");
        };
        check(SETTINGS.iter().map(|s| s.flag.to_owned()).filter(|flag| !flag.is_empty()).collect());
        check(SETTINGS.iter().map(|s| s.key.to_owned()).filter(|key| !key.is_empty()).collect());
        check(SETTINGS.iter().filter_map(|s| s.short).map(String::from).collect());
    }
}
