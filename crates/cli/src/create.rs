//! From the flags of `run` and `create` to the API's request: everything that makes a container.
//!
//! Pure but for the files that flags name (`--env-file`, `--label-file`, a seccomp profile) and the variables that `-e NAME`
//! takes over. What flags mean, their checks and their order, and the texts of mistakes are Docker's.

mod check;
mod device;
mod environment;
mod flags;
mod health;
mod mount;
mod network;
mod ports;
mod resources;
mod security;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use api::container::{Config, Create, NetworkingConfig};
use api::host_config::{HostConfig, LogConfig, RestartPolicy};

use crate::flags::Matches;

pub(crate) use check::{
    environment as check_environment, label as check_label, link as check_link, swap as check_swap,
    uint16 as check_uint16,
};
pub(crate) use environment::{collect as collect_environment, pairs as label_pairs, unreadable};
pub(crate) use flags::FLAGS;
pub(crate) use resources::{CPUS_CHECK, nano_cpus, swap};
pub(crate) use volume::absolute_path;

/// Without `.`, `..` and a slash at the end.
pub(crate) fn clean_path(path: &Path) -> String {
    volume::clean(path)
}

/// A request, or Docker's words for what is wrong with the flags.
pub(crate) type Checked<T> = Result<T, String>;

/// The request for `image` with `args`; `proxies` are variables that the user's settings add.
pub(crate) fn container(
    matches: &Matches,
    image: &str,
    args: &[String],
    proxies: &[String],
) -> Checked<Create> {
    check_early(matches)?;
    let volumes = volume::sort(&matches.list("volume"))?;
    let ports = ports::wanted(matches)?;
    let resources = resources::of(matches)?;
    let environment = environment::collect(&matches.list("env-file"), &with(matches.list("env"), proxies))?;
    let labels = environment::labels(&matches.list("label-file"), &matches.list("label"))?;
    check_modes(matches)?;
    let restart = restart_policy(matches.text("restart"))?;
    let log = log_config(matches)?;
    let security = security::options(matches.list("security-opt"))?;
    let storage = storage(&matches.list("storage-opt"))?;
    let healthcheck = health::check(matches)?;
    if matches.is_on("rm") && !matches!(restart.name.as_str(), "" | "no") {
        return Err("conflicting options: cannot specify both --restart and --rm".into());
    }
    let endpoints = network::endpoints(matches)?;
    let config = Config {
        exposed_ports: ports.exposed,
        env: Some(environment).filter(|list| !list.is_empty()),
        healthcheck,
        volumes: Some(volumes.anonymous),
        labels,
        ..plain_config(matches, image, args)
    };
    let host_config = HostConfig {
        binds: some(volumes.binds),
        log_config: log,
        port_bindings: Some(ports.bindings),
        restart_policy: restart,
        security_opt: some(security.options),
        storage_opt: storage,
        resources,
        masked_paths: security.masked_paths,
        readonly_paths: security.readonly_paths,
        ..plain_host_config(matches)
    };
    let networking_config = NetworkingConfig { endpoints_config: endpoints };
    Ok(Create { config, host_config, networking_config, ..Create::default() })
}

/// What goes from flags to the configuration as it is.
fn plain_config(matches: &Matches, image: &str, args: &[String]) -> Config {
    let streams = Streams::of(matches);
    Config {
        hostname: matches.text("hostname").into(),
        domainname: matches.text("domainname").into(),
        user: matches.text("user").into(),
        attach_stdin: streams.stdin,
        attach_stdout: streams.stdout,
        attach_stderr: streams.stderr,
        tty: matches.is_on("tty"),
        open_stdin: matches.is_on("interactive"),
        stdin_once: matches.is_on("interactive") && streams.stdin,
        cmd: Some(args.to_vec()).filter(|list| !list.is_empty()),
        image: image.into(),
        working_dir: matches.text("workdir").into(),
        entrypoint: matches.is_given("entrypoint").then(|| vec![matches.text("entrypoint").into()]),
        stop_signal: matches.text("stop-signal").into(),
        stop_timeout: matches.is_given("stop-timeout").then(|| matches.int("stop-timeout")),
        ..Config::default()
    }
}

/// What goes from flags to the host's side as it is.
fn plain_host_config(matches: &Matches) -> HostConfig {
    HostConfig {
        container_id_file: matches.text("cidfile").into(),
        network_mode: network::mode(matches),
        auto_remove: matches.is_on("rm"),
        volume_driver: matches.text("volume-driver").into(),
        volumes_from: some(matches.list("volumes-from")),
        annotations: environment::pairs(&matches.list("annotation")),
        cap_add: some(capabilities(&matches.list("cap-add"))),
        cap_drop: some(capabilities(&matches.list("cap-drop"))),
        cgroupns_mode: matches.text("cgroupns").into(),
        dns: Some(matches.list("dns")),
        dns_options: Some(matches.list("dns-option")),
        dns_search: Some(matches.list("dns-search")),
        extra_hosts: some(matches.list("add-host")),
        group_add: some(matches.list("group-add")),
        ipc_mode: matches.text("ipc").into(),
        links: some(matches.list("link")),
        oom_score_adj: matches.int("oom-score-adj"),
        pid_mode: matches.text("pid").into(),
        privileged: matches.is_on("privileged"),
        publish_all_ports: matches.is_on("publish-all"),
        readonly_rootfs: matches.is_on("read-only"),
        tmpfs: volume::tmpfs(&matches.list("tmpfs")),
        uts_mode: matches.text("uts").into(),
        userns_mode: matches.text("userns").into(),
        shm_size: matches.bytes("shm-size"),
        sysctls: environment::pairs(&matches.list("sysctl")),
        runtime: matches.text("runtime").into(),
        isolation: matches.text("isolation").into(),
        mounts: mount::all(&matches.list("mount")),
        init: matches.is_given("init").then(|| matches.is_on("init")),
        ..HostConfig::default()
    }
}

/// The streams that the client wants to hold.
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Streams {
    fn of(matches: &Matches) -> Self {
        let named = matches.list("attach");
        let has = |stream: &str| named.iter().any(|name| name == stream);
        Self {
            stdin: has("stdin") || matches.is_on("interactive"),
            stdout: has("stdout") || named.is_empty(),
            stderr: has("stderr") || named.is_empty(),
        }
    }
}

fn check_early(matches: &Matches) -> Checked<()> {
    let mac_address = matches.text("mac-address");
    if !mac_address.is_empty() && !check::is_mac_address(mac_address) {
        return Err(format!("{mac_address} is not a valid mac address"));
    }
    let swappiness = matches.int("memory-swappiness");
    if !(-1..=100).contains(&swappiness) {
        return Err(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100"));
    }
    Ok(())
}

fn check_modes(matches: &Matches) -> Checked<()> {
    let is_container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let pid = matches.text("pid");
    if !matches!(pid, "" | "host") && !is_container(pid) {
        return Err("--pid: invalid PID mode".into());
    }
    if !matches!(matches.text("uts"), "" | "host") {
        return Err("--uts: invalid UTS mode".into());
    }
    if !matches!(matches.text("userns"), "" | "host") {
        return Err("--userns: invalid USER mode".into());
    }
    if !matches!(matches.text("cgroupns"), "" | "host" | "private") {
        return Err("--cgroupns: invalid CGROUP mode".into());
    }
    Ok(())
}

/// `no`, `always`, `unless-stopped`, `on-failure[:tries]`; the daemon checks the name.
pub(crate) fn restart_policy(text: &str) -> Checked<RestartPolicy> {
    let (name, tries) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && text.contains(':') {
        return Err("invalid restart policy format: no policy provided before colon".into());
    }
    let maximum_retry_count = match tries {
        "" => 0,
        tries => tries.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicy { name: name.into(), maximum_retry_count })
}

fn log_config(matches: &Matches) -> Checked<LogConfig> {
    let (driver, options) = (matches.text("log-driver"), matches.list("log-opt"));
    if driver == "none" && !options.is_empty() {
        return Err("invalid logging opts for driver none".into());
    }
    Ok(LogConfig { kind: driver.into(), config: environment::pairs(&options) })
}

fn storage(options: &[String]) -> Checked<BTreeMap<String, String>> {
    match options.iter().all(|option| option.contains('=')) {
        true => Ok(environment::pairs(options)),
        false => Err("invalid storage option".into()),
    }
}

/// Their whole names, each once and in order.
fn capabilities(given: &[String]) -> Vec<String> {
    let whole = |name: &String| match name.trim().to_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    given.iter().map(whole).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The settings' variables come first, so that `-e` overrides them.
fn with(given: Vec<String>, proxies: &[String]) -> Vec<String> {
    proxies.iter().cloned().chain(given).collect()
}

/// Go's nil slice: a list that nobody filled is `null`.
fn some(list: Vec<String>) -> Option<Vec<String>> {
    Some(list).filter(|list| !list.is_empty())
}
