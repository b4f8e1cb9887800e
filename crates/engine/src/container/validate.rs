//! Refuses what makes no sense, and what is not built yet, in Docker's words. Pure but for what
//! processors and capabilities there are.

use std::collections::BTreeSet;

use api::container::{Config, Create};
use api::host_config::{HostConfig, LogConfig, Resources};
use fault::{Error, Kind, Result};

use super::signal;
use crate::system::Limits;

/// A container's name, with or without the slash in front.
pub(super) fn name(text: &str) -> Result<&str> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let is_first = |byte: &u8| byte.is_ascii_alphanumeric();
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let valid = name.as_bytes().first().is_some_and(is_first) && name.len() > 1 && name.bytes().all(is_inner);
    if valid {
        return Ok(name);
    }
    Err(Error::invalid(bad_name(text)))
}

pub(super) fn bad_name(text: &str) -> String {
    format!("Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
}

/// Everything that can be said without looking at images and other containers.
pub(super) fn create(wanted: &Create, there: Limits) -> Result<()> {
    CHECKS.iter().try_for_each(|check| check(wanted))?;
    ability(&wanted.host_config.resources, there)
}

/// What is odd but accepted, of a container with its image's settings and the defaults.
pub(super) fn warnings(config: &Config, host: &HostConfig) -> Vec<String> {
    let publishes = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    let table = [
        (
            has_health_check(config),
            "The image's HEALTHCHECK is not supported yet. The container has no health status.",
        ),
        (
            host.network_mode == "host" && publishes,
            "Published ports are discarded when using host network mode",
        ),
        (
            host.resources.oom_kill_disable == Some(true) && host.resources.memory == 0,
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
        ),
    ];
    table.into_iter().filter(|(odd, _)| *odd).map(|(_, words)| words.to_owned()).collect()
}

fn has_health_check(config: &Config) -> bool {
    config.healthcheck.as_ref().and_then(|check| check.test.first()).is_some_and(|kind| kind != "NONE")
}

type Check = fn(&Create) -> Result<()>;

const CHECKS: &[Check] = &[
    |wanted| config(&wanted.config),
    |wanted| restart_policy(&wanted.host_config),
    |wanted| modes(&wanted.host_config),
    |wanted| network_mode(wanted),
    |wanted| extra_hosts(&wanted.host_config),
    |wanted| log(&wanted.host_config.log_config),
    |wanted| memory(&wanted.host_config.resources),
    |wanted| cpu(&wanted.host_config.resources),
    |wanted| other_limits(&wanted.host_config),
    |wanted| isolation(&wanted.host_config.isolation),
    |wanted| runtime(&wanted.host_config),
    |wanted| capabilities(&wanted.host_config),
    not_built,
];

fn invalid(words: impl Into<String>) -> Error {
    Error::invalid(words.into())
}

fn config(config: &Config) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let dir = &config.working_dir;
        return Err(invalid(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        )));
    }
    if !config.stop_signal.is_empty() {
        signal::parse(&config.stop_signal)?;
    }
    let nameless = config.env.iter().flatten().find(|entry| entry.is_empty() || entry.starts_with('='));
    match nameless {
        Some(entry) => Err(invalid(format!("invalid environment variable: {entry}"))),
        None => Ok(()),
    }
}

fn restart_policy(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    let count = policy.maximum_retry_count;
    match policy.name.as_str() {
        "" | "no" | "always" | "unless-stopped" if count != 0 => {
            Err(invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'"))
        }
        "on-failure" if count < 0 => {
            Err(invalid("invalid restart policy: maximum retry count cannot be negative"))
        }
        "always" | "unless-stopped" | "on-failure" if host.auto_remove => {
            Err(invalid("can't create 'AutoRemove' container with restart policy"))
        }
        "" | "no" | "always" | "unless-stopped" | "on-failure" => Ok(()),
        unknown => Err(invalid(format!(
            "invalid restart policy: unknown policy '{unknown}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

fn modes(host: &HostConfig) -> Result<()> {
    let joins = |mode: &str| mode.strip_prefix("container:").is_some_and(|id| !id.is_empty());
    let check = |what: &str, mode: &str, known: &[&str], joinable: bool| {
        if known.contains(&mode) || (joinable && joins(mode)) {
            return Ok(());
        }
        Err(invalid(format!("invalid {what}: {mode}")))
    };
    check("IPC mode", &host.ipc_mode, &["", "none", "private", "shareable", "host"], true)?;
    check("PID mode", &host.pid_mode, &["", "host", "private"], true)?;
    check("UTS mode", &host.uts_mode, &["", "host"], false)?;
    check("cgroup namespace mode", &host.cgroupns_mode, &["", "host", "private"], false)?;
    check("user namespace mode", &host.userns_mode, &["", "host"], false)
}

/// What a joined network already has cannot be asked for again.
fn network_mode(wanted: &Create) -> Result<()> {
    let host = &wanted.host_config;
    if host.uts_mode == "host" && !wanted.config.hostname.is_empty() {
        return Err(invalid("conflicting options: hostname and the UTS mode"));
    }
    let joins = host.network_mode.starts_with("container:");
    if host.network_mode == "container:" {
        return Err(invalid("invalid network mode: invalid container format container:<name|id>"));
    }
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let has_links = given(&host.links);
    if host.network_mode == "host" && has_links {
        return Err(invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ));
    }
    let conflicts = [
        (!wanted.config.hostname.is_empty(), "hostname and the network mode"),
        (
            has_links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (given(&host.dns), "dns and the network mode"),
        (given(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (
            host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) || host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (!wanted.config.exposed_ports.is_empty(), "port exposing and the container type network mode"),
    ];
    match conflicts.iter().find(|(conflict, _)| joins && *conflict) {
        Some((_, what)) => Err(invalid(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}

fn extra_hosts(host: &HostConfig) -> Result<()> {
    for entry in host.extra_hosts.iter().flatten() {
        let Some((name, address)) = entry.split_once([':', '=']) else {
            return Err(invalid(format!("bad format for add-host: \"{entry}\"")));
        };
        if name.is_empty() {
            return Err(invalid(format!("bad format for add-host: \"{entry}\"")));
        }
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if address != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
            return Err(invalid(format!("invalid IP address in add-host: \"{address}\"")));
        }
    }
    let servers = host.dns.iter().flatten().find(|server| server.parse::<std::net::IpAddr>().is_err());
    match servers {
        Some(server) => Err(invalid(format!("bad nameserver address: {server} is not an IP address"))),
        None => Ok(()),
    }
}

/// dockerd looks at the values of some options at the start only. The words are those of a `run` all the same, but
/// nothing is left behind.
pub(crate) fn log(log: &LogConfig) -> Result<()> {
    let at_start = |words: String| {
        invalid(format!("failed to create task for container: failed to initialize logging driver: {words}"))
    };
    match log.kind.as_str() {
        "" | "json-file" => {}
        "none" => return Ok(()),
        known if LOG_DRIVERS.contains(&known) => {
            return Err(Error::unsupported(format!("log driver {known}")));
        }
        unknown => {
            return Err(invalid(format!(
                "error looking up logging plugin {unknown}: plugin \"{unknown}\" not found"
            )));
        }
    }
    for (key, value) in &log.config {
        match key.as_str() {
            "max-size" => {
                log_size(value).map_err(|error| at_start(error.to_string()))?;
            }
            "max-file" if value.parse::<u32>().is_ok_and(|count| count > 0) => {}
            "max-file" => return Err(at_start("max-file cannot be less than 1".into())),
            "tag" | "labels" | "labels-regex" | "env" | "env-regex" => {}
            "compress" if value == "false" => {}
            "compress" if !rotates(log) => {
                return Err(at_start(
                    "compress cannot be true when max-file is less than 2 or max-size is not set".into(),
                ));
            }
            "compress" => return Err(Error::unsupported("log opt compress")),
            "mode" if matches!(value.as_str(), "" | "blocking") => {}
            "mode" if value == "non-blocking" => return Err(Error::unsupported("log mode non-blocking")),
            "mode" => return Err(invalid(format!("logger: logging mode not supported: {value}"))),
            "max-buffer-size" => {
                return Err(invalid(
                    "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
                ));
            }
            unknown => {
                return Err(invalid(format!("unknown log opt '{unknown}' for json-file log driver")));
            }
        }
    }
    crate::logs::check_attributes(&log.config).map_err(|error| match error.kind() {
        Kind::Unsupported => error,
        _ => at_start(error.to_string()),
    })
}

fn rotates(log: &LogConfig) -> bool {
    let several = |count: &String| count.parse::<u32>().is_ok_and(|count| count > 1);
    log.config.contains_key("max-size") && log.config.get("max-file").is_some_and(several)
}

const LOG_DRIVERS: &[&str] =
    &["local", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs"];

/// `10m`: bytes with Docker's binary suffixes.
pub(crate) fn log_size(text: &str) -> Result<u64> {
    let wrong = || invalid(format!("invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    if number <= 0.0 {
        return Err(wrong());
    }
    Ok((number * (1_u64 << shift) as f64) as u64)
}

fn memory(limits: &Resources) -> Result<()> {
    let (memory, swap, reservation) = (limits.memory, limits.memory_swap, limits.memory_reservation);
    let table = [
        (memory != 0 && memory < MEMORY_MIN, "Minimum memory limit allowed is 6MB"),
        (
            memory > 0 && swap > 0 && swap < memory,
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            memory == 0 && swap > 0,
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (reservation > 0 && reservation < MEMORY_MIN, "Minimum memory reservation allowed is 6MB"),
        (
            memory > 0 && memory < reservation,
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
    ];
    first(&table)?;
    match limits.memory_swappiness {
        Some(value) if !(-1..=100).contains(&value) => {
            Err(invalid(format!("Invalid value: {value}, valid memory swappiness range is 0-100")))
        }
        _ => Ok(()),
    }
}

const MEMORY_MIN: i64 = 6 << 20;

fn cpu(limits: &Resources) -> Result<()> {
    let (nano, period, quota) = (limits.nano_cpus, limits.cpu_period, limits.cpu_quota);
    let (slice, cycle) = (limits.cpu_realtime_runtime, limits.cpu_realtime_period);
    let shares = limits.cpu_shares;
    if shares < 0 {
        return Err(invalid(format!("invalid CPU shares ({shares}): value must be a positive integer")));
    }
    let table = [
        (nano > 0 && period > 0, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        (nano > 0 && quota > 0, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (
            period != 0 && !(1000..=1_000_000).contains(&period),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (quota > 0 && quota < 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            slice != 0 && cycle != 0 && slice > cycle,
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
    ];
    first(&table)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = i64::try_from(processors).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if nano < 0 || nano > most || (nano > 0 && nano < 10_000_000) {
        return Err(invalid(format!(
            "range of CPUs is from 0.01 to {processors}.00, as there are only {processors} CPUs available"
        )));
    }
    among("cpus", "CPUs", &limits.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    among("mems", "memory nodes", &limits.cpuset_mems, "/sys/devices/system/node/online")
}

/// What is not dropped with a warning where the kernel lacks it.
fn ability(limits: &Resources, there: Limits) -> Result<()> {
    let is_realtime = limits.cpu_realtime_period != 0 || limits.cpu_realtime_runtime != 0;
    first(&[
        (
            limits.nano_cpus > 0 && !there.cpu_quota,
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        ),
        (is_realtime && !there.cpu_realtime, "kernel does not support CPU real-time scheduler"),
    ])
}

/// A list of processors or memory nodes must be one, and name only those that the host has.
fn among(what: &str, nouns: &str, list: &str, online: &str) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let wanted =
        numbers(list).map_err(|why| invalid(format!("Invalid value {list} for cpuset {what}: {why}")))?;
    let Some(online) = sys::fs::read_to_string_if_exists(online)? else { return Ok(()) };
    let available = online.trim();
    match numbers(available) {
        Ok(there) if !wanted.is_subset(&there) => Err(invalid(format!(
            "Requested {nouns} are not available - requested {list}, available: {available}"
        ))),
        _ => Ok(()),
    }
}

/// `0-3,5`; else why it is wrong.
fn numbers(list: &str) -> Result<BTreeSet<u16>, String> {
    let mut all = BTreeSet::new();
    for part in list.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        match (low.parse::<u32>(), high.parse::<u32>()) {
            (Ok(low), Ok(high)) if low.max(high) > CPUS_MAX => {
                return Err(format!("value of out range, maximum is {CPUS_MAX}"));
            }
            (Ok(low), Ok(high)) if low <= high => all.extend((low..=high).flat_map(u16::try_from)),
            _ => return Err(format!("invalid format: {part}")),
        }
    }
    Ok(all)
}

/// dockerd's bound, which is the kernel's for x86.
const CPUS_MAX: u32 = 8192;

fn other_limits(host: &HostConfig) -> Result<()> {
    let adjustment = host.oom_score_adj;
    if !(-1000..=1000).contains(&adjustment) {
        return Err(invalid(format!("Invalid value {adjustment}, range for oom score adj is [-1000, 1000]")));
    }
    let weight = host.resources.blkio_weight;
    if weight != 0 && !(10..=1000).contains(&weight) {
        return Err(invalid("Range of blkio weight is from 10 to 1000"));
    }
    let limits = &host.resources;
    first(&[
        (
            limits.io_maximum_bandwidth != 0,
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ),
        (
            limits.io_maximum_iops != 0,
            "invalid option: QoS maximum IOPs configuration is not supported on linux",
        ),
        (host.shm_size < 0, "SHM size can not be less than 0"),
    ])
}

fn isolation(kind: &str) -> Result<()> {
    match kind {
        "" | "default" => Ok(()),
        other => Err(invalid(format!("invalid isolation ({other}): linux only supports 'default'"))),
    }
}

fn runtime(host: &HostConfig) -> Result<()> {
    let name = &host.runtime;
    if is_ours(name) { Ok(()) } else { Err(invalid(format!("unknown or invalid runtime name: {name}"))) }
}

fn is_ours(runtime: &str) -> bool {
    matches!(runtime, "" | "runc" | "kogge-runtime" | "io.containerd.runc.v2")
}

/// Of a request that the defaults are filled into.
pub(super) fn default_runtime(host: &HostConfig) -> Result<()> {
    let name = &host.runtime;
    if is_ours(name) {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "the daemon's default-runtime {name}\nhint: `--runtime runc` takes the engine's own"
    )))
}

fn capabilities(host: &HostConfig) -> Result<()> {
    crate::resolve::container_capabilities(host).map(drop)
}

/// What the API carries and this version does not do is refused, never ignored.
fn not_built(wanted: &Create) -> Result<()> {
    let (config, host) = (&wanted.config, &wanted.host_config);
    let limits = &host.resources;
    fn given<T>(list: &Option<Vec<T>>) -> bool {
        list.as_ref().is_some_and(|list| !list.is_empty())
    }
    let table = [
        (has_health_check(config), "health checks"),
        (given(&host.links), "links"),
        (!host.storage_opt.is_empty(), "storage options"),
        (!host.cgroup.is_empty(), "cgroup to use"),
        (!matches!(host.volume_driver.as_str(), "" | "local"), "volume drivers"),
        (given(&limits.device_requests), "device requests (--gpus)"),
        (limits.cpu_count != 0, "limits of Windows"),
    ];
    match table.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(Error::unsupported(what)),
        None => Ok(()),
    }
}

/// The words of the first condition that holds.
fn first(table: &[(bool, &'static str)]) -> Result<()> {
    match table.iter().find(|(wrong, _)| *wrong) {
        Some((_, words)) => Err(Error::invalid(*words)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        let wanted: Create = api::from_slice(json.as_bytes()).unwrap();
        create(&wanted, Limits::default()).map_or_else(|error| error.to_string(), |()| "accepted".into())
    }

    #[test]
    fn names() {
        assert_eq!(name("/web-1.x_y").unwrap(), "web-1.x_y");
        for bad in ["a", "-ab", "a b", "/", "ü1", "a/b"] {
            let words = format!("Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
            assert_eq!(name(bad).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn sizes_of_logs() {
        assert_eq!(log_size("10m").unwrap(), 10 << 20);
        assert_eq!(log_size("1.5kb").unwrap(), 1536);
        assert!(log_size("x").is_err() && log_size("-1").is_err());
    }

    #[test]
    fn each_refusal_has_docker_s_words() {
        let requests = [
            r#"{}"#,
            r#"{"WorkingDir":"x"}"#,
            r#"{"StopSignal":"FOO"}"#,
            r#"{"Env":["=x"]}"#,
            r#"{"HostConfig":{"RestartPolicy":{"Name":"sometimes"}}}"#,
            r#"{"HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":2}}}"#,
            r#"{"HostConfig":{"RestartPolicy":{"Name":"always"},"AutoRemove":true}}"#,
            r#"{"HostConfig":{"IpcMode":"x"}}"#,
            r#"{"HostConfig":{"PidMode":"container:"}}"#,
            r#"{"Hostname":"x","HostConfig":{"UTSMode":"host"}}"#,
            r#"{"Hostname":"x","HostConfig":{"NetworkMode":"container:y"}}"#,
            r#"{"HostConfig":{"NetworkMode":"container:y","PublishAllPorts":true}}"#,
            r#"{"HostConfig":{"NetworkMode":"container:y","Links":["a:b"]}}"#,
            r#"{"HostConfig":{"NetworkMode":"container:y","Dns":["1.1.1.1"]}}"#,
            r#"{"HostConfig":{"NetworkMode":"container:y","ExtraHosts":["a:1.1.1.1"]}}"#,
            r#"{"HostConfig":{"NetworkMode":"container:y","PortBindings":{"80/tcp":[{}]}}}"#,
            r#"{"ExposedPorts":{"80/tcp":{}},"HostConfig":{"NetworkMode":"container:y"}}"#,
            r#"{"HostConfig":{"NetworkMode":"host","Links":["a:b"]}}"#,
            r#"{"HostConfig":{"ExtraHosts":["x"]}}"#,
            r#"{"HostConfig":{"ExtraHosts":["x:y"]}}"#,
            r#"{"HostConfig":{"ExtraHosts":["x:host-gateway","y:::1","z:1.2.3.4"]}}"#,
            r#"{"HostConfig":{"LogConfig":{"Type":"foo"}}}"#,
            r#"{"HostConfig":{"LogConfig":{"Type":"syslog"}}}"#,
            r#"{"HostConfig":{"LogConfig":{"Type":"json-file","Config":{"max-size":"10m","max-file":"3"}}}}"#,
            r#"{"HostConfig":{"LogConfig":{"Type":"json-file","Config":{"foo":"1"}}}}"#,
            r#"{"HostConfig":{"Memory":1000}}"#,
            r#"{"HostConfig":{"Memory":10000000,"MemorySwap":9000000}}"#,
            r#"{"HostConfig":{"MemorySwap":9000000}}"#,
            r#"{"HostConfig":{"NanoCpus":1}}"#,
            r#"{"HostConfig":{"NanoCpus":10000000}}"#,
            r#"{"HostConfig":{"CpuShares":-1}}"#,
            r#"{"HostConfig":{"CpuRealtimePeriod":1000,"CpuRealtimeRuntime":2000}}"#,
            r#"{"HostConfig":{"CpuRealtimeRuntime":2000}}"#,
            r#"{"HostConfig":{"IOMaximumIOps":2000}}"#,
            r#"{"HostConfig":{"Memory":-9223372036854775808}}"#,
            r#"{"HostConfig":{"MemorySwappiness":101}}"#,
            r#"{"HostConfig":{"CpusetCpus":"a"}}"#,
            r#"{"HostConfig":{"CpusetCpus":"0-9999999"}}"#,
            r#"{"HostConfig":{"OomScoreAdj":1001}}"#,
            r#"{"HostConfig":{"Runtime":"x"}}"#,
            r#"{"HostConfig":{"CapAdd":["foo"]}}"#,
            r#"{"HostConfig":{"Links":["a:b"]}}"#,
            r#"{"Healthcheck":{"Test":["CMD","true"]}}"#,
        ];
        let text: String = requests.map(|json| format!("{json}\n    {}\n", refused(json))).concat();
        let processors = std::thread::available_parallelism().unwrap();
        insta::assert_snapshot!(
            text.replace(&format!("{processors}.00"), "N.00")
                .replace(&format!("only {processors} "), "only N ")
        );
    }
}
