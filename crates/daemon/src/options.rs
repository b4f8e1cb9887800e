//! The table of all settings: their flag, their key in the configuration file, and what they do.
//!
//! Docker's own are all here. Those that have no meaning for this engine are ignored with a warning, under the name
//! `dockerd` only. Of those that are not built, the harmless ones are warned of, in the log and in `info`; those that
//! would change who reaches a container or what becomes of its data are refused. docs/settings.md says which and why.

use std::path::PathBuf;

use fault::{Error, Result};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use crate::settings::{LogFormat, Settings};
use crate::{defaults, networks, policy, registries};

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
    /// These values are how it is anyway; others are not built. How it is.
    Only(&'static [&'static str], &'static str),
    /// The same, but nobody is harmed: others are warned of. What the user will not have.
    Warned(&'static [&'static str], &'static str),
    /// A whole part of the configuration file.
    Document(fn(&mut Settings, &Value) -> Result<()>),
    /// Nothing to set any more, and why.
    Deprecated(&'static str),
    /// Nothing to set here.
    Ignored,
}

use Meaning::{Deprecated, Document, Ignored, Only, Set, Warned};

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
        Only(values, _) | Warned(values, _) if values.contains(&value) => Ok(()),
        Only(_, truth) => Err(Error::unsupported(format!(
            "{given}={value}\nhint: without it the daemon starts, but {truth}"
        ))),
        Warned(_, truth) => {
            settings.warnings.push(format!("{given}={value}: {truth}"));
            Ok(())
        }
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

const fn set_switch(
    flag: &'static str,
    set: fn(&mut Settings, &str) -> Result<()>,
    help: &'static str,
) -> Setting {
    Setting { flag, short: None, key: flag, switch: true, meaning: Set(set, help) }
}

const fn only(
    flag: &'static str,
    key: &'static str,
    values: &'static [&'static str],
    truth: &'static str,
) -> Setting {
    Setting { flag, short: None, key, switch: false, meaning: Only(values, truth) }
}

const fn switch_only(flag: &'static str, values: &'static [&'static str], truth: &'static str) -> Setting {
    Setting { flag, short: None, key: flag, switch: true, meaning: Only(values, truth) }
}

const fn warned(
    flag: &'static str,
    key: &'static str,
    values: &'static [&'static str],
    truth: &'static str,
) -> Setting {
    Setting { flag, short: None, key, switch: false, meaning: Warned(values, truth) }
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
        "image-budget",
        None,
        "image-budget",
        image_budget,
        "Room that images may take (50GB); those unused longest go first. Ours alone",
    ),
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
    set(
        "trust-policy",
        None,
        "trust-policy",
        policy::setting,
        "Which images must be signed, pinned or refused (default /etc/kogge/policy.json)",
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
    // What containers get that ask for nothing else.
    set("log-driver", None, "log-driver", defaults::log_driver, "Default log driver: json-file, none"),
    set("log-opt", None, "log-opts", defaults::log_opt, "Default log driver option, key=value"),
    set("default-shm-size", None, "default-shm-size", defaults::shm_size, "Default size of /dev/shm"),
    set("default-ulimit", None, "default-ulimits", defaults::ulimit, "Default ulimit, name=soft[:hard]"),
    set("default-ipc-mode", None, "default-ipc-mode", defaults::ipc_mode, "Default ipc: private, shareable"),
    set(
        "default-cgroupns-mode",
        None,
        "default-cgroupns-mode",
        defaults::cgroupns_mode,
        "Default cgroup namespace: private, host",
    ),
    set("default-runtime", None, "default-runtime", defaults::runtime, "Default OCI runtime"),
    set("dns-search", None, "dns-search", defaults::dns_search, "DNS search domain to use"),
    set("dns-opt", None, "dns-opts", defaults::dns_option, "DNS option to use"),
    set_switch("init", defaults::init, "Run an init in containers that forwards signals and reaps processes"),
    set_switch("no-new-privileges", defaults::no_new_privileges, "Set no-new-privileges in containers"),
    set("bip", None, "bip", networks::bip, "Address of the bridge, 192.168.5.1/24"),
    set(
        "default-address-pool",
        None,
        "default-address-pools",
        networks::pool,
        "Pool of networks, base=10.0.0.0/16,size=24",
    ),
    // How it is anyway, or not built.
    only("authorization-plugin", "authorization-plugins", &[], "nobody asks a plugin who may do what"),
    only("bip6", "bip6", &[""], NO_IPV6),
    only("cpu-rt-period", "cpu-rt-period", &["0"], "real-time scheduling is not limited"),
    only("cpu-rt-runtime", "cpu-rt-runtime", &["0"], "real-time scheduling is not limited"),
    only("default-gateway", "default-gateway", &[""], "the bridge itself is the gateway of its containers"),
    only("default-gateway-v6", "default-gateway-v6", &[""], NO_IPV6),
    only("fixed-cidr", "fixed-cidr", &[""], "containers get addresses of the bridge's whole network"),
    only("fixed-cidr-v6", "fixed-cidr-v6", &[""], NO_IPV6),
    only("host-gateway-ip", "host-gateway-ips", &[""], "`host-gateway` is the bridge's address"),
    only("ip", "ip", &["", "0.0.0.0"], "ports without an address are published on all of the host's"),
    only("seccomp-profile", "seccomp-profile", &["", "builtin"], "containers get the built-in profile"),
    only(
        "storage-opt",
        "storage-opts",
        &["overlay2.override_kernel_check=true"],
        "containers may fill the disk",
    ),
    Setting {
        flag: "storage-driver",
        short: Some('s'),
        key: "storage-driver",
        switch: false,
        meaning: Only(&["", "overlay2"], "layers are kept by overlay2"),
    },
    only("userns-remap", "userns-remap", &[""], "root in a container is root of the host"),
    switch_only("allow-direct-routing", &["true"], "published containers are reached directly as well"),
    switch_only("icc", &["true"], "containers of the default network reach each other"),
    switch_only("ip6tables", &["true", "false"], NO_IPV6),
    switch_only("ip-forward", &["true"], "the daemon makes the host forward packets"),
    switch_only("ip-forward-no-drop", &["true", "false"], "the policy of FORWARD stays as it is"),
    switch_only("ip-masq", &["true"], "containers reach out under the host's address"),
    switch_only("iptables", &["true"], "the daemon adds a table of its own to the firewall"),
    switch_only("ipv6", &["false"], NO_IPV6),
    switch_only("rootless", &["false"], "it needs root"),
    switch_only("selinux-enabled", &["false"], "SELinux does not confine containers"),
    switch_only("tls", &["false"], NO_TLS),
    switch_only("tlsverify", &["false"], NO_TLS),
    only("tlscacert", "tlscacert", &[""], NO_TLS),
    only("tlscert", "tlscert", &[""], NO_TLS),
    only("tlskey", "tlskey", &[""], NO_TLS),
    // Not built, and nobody is harmed.
    warned("add-runtime", "runtimes", &[], "a container that asks for this runtime is refused"),
    warned(
        "default-network-opt",
        "default-network-opts",
        &[],
        "there are no networks but the default one, which it does not concern",
    ),
    warned("exec-opt", "exec-opts", &["native.cgroupdriver=cgroupfs"], "the cgroup driver is cgroupfs"),
    warned("metrics-addr", "metrics-addr", &[""], "no metrics are served"),
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

const NO_IPV6: &str = "containers get no IPv6 addresses";

const NO_TLS: &str = "TCP sockets are open to everyone who can reach them; `ssh://` is a safe way in";

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

fn image_budget(settings: &mut Settings, value: &str) -> Result<()> {
    settings.image_budget = Some(bytes(value)?).filter(|bytes| *bytes > 0);
    Ok(())
}

/// `50GB` are 50,000,000,000 bytes, `50GiB` 50 times 2 to the 30th; without a unit they are bytes.
fn bytes(text: &str) -> Result<u64> {
    let wrong = || Error::invalid(format!("{text:?} is no size such as 50GB or 50GiB"));
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024),
        None => (unit, 1000_u64),
    };
    let power = match letter {
        "" => 0,
        letter => 1 + "kmgtp".find(letter).filter(|_| letter.len() == 1).ok_or_else(wrong)?,
    };
    let factor = base.pow(u32::try_from(power).map_err(|_| wrong())?);
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
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
    fn sizes_have_units() {
        for (text, wanted) in [
            ("0", 0),
            ("17", 17),
            ("50GB", 50_000_000_000),
            ("2 gib", 2 << 30),
            ("3k", 3000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(bytes(text).unwrap(), wanted, "{text}");
        }
        for wrong in ["", "GB", "-1", "1.5GB", "5XB", "99999999999PB", "5kmB", "5ibb"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

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
