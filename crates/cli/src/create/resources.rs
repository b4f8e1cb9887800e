//! Limits: memory, CPU, block I/O, processes, resource limits.

use api::host_config::{Resources, Ulimit};
use serde_json::json;

use super::{Checked, device};
use crate::flags::{Check, Matches, go_error};

pub(super) fn of(matches: &Matches) -> Checked<Resources> {
    let (devices, cdi_names) = device::sort(&matches.list("device"))?;
    let mut requests = list(matches, "gpus", device::gpus)?;
    if !cdi_names.is_empty() {
        requests.push(json!({
            "Driver": "cdi", "Count": 0, "DeviceIDs": cdi_names, "Capabilities": null, "Options": null
        }));
    }
    Ok(Resources {
        cpu_shares: matches.int("cpu-shares"),
        memory: matches.bytes("memory"),
        nano_cpus: nano_cpus(matches.text("cpus")).unwrap_or_default(),
        cgroup_parent: matches.text("cgroup-parent").into(),
        blkio_weight: u16::try_from(matches.int("blkio-weight")).unwrap_or_default(),
        blkio_weight_device: Some(list(matches, "blkio-weight-device", device::weight)?),
        blkio_device_read_bps: Some(list(matches, "device-read-bps", device::bps)?),
        blkio_device_write_bps: Some(list(matches, "device-write-bps", device::bps)?),
        blkio_device_read_iops: Some(list(matches, "device-read-iops", device::iops)?),
        blkio_device_write_iops: Some(list(matches, "device-write-iops", device::iops)?),
        cpu_period: matches.int("cpu-period"),
        cpu_quota: matches.int("cpu-quota"),
        cpu_realtime_period: matches.int("cpu-rt-period"),
        cpu_realtime_runtime: matches.int("cpu-rt-runtime"),
        cpuset_cpus: matches.text("cpuset-cpus").into(),
        cpuset_mems: matches.text("cpuset-mems").into(),
        devices: Some(devices),
        device_cgroup_rules: super::some(matches.list("device-cgroup-rule")),
        device_requests: Some(requests).filter(|requests| !requests.is_empty()),
        memory_reservation: matches.bytes("memory-reservation"),
        memory_swap: swap(matches.text("memory-swap")),
        memory_swappiness: Some(matches.int("memory-swappiness")),
        oom_kill_disable: Some(matches.is_on("oom-kill-disable")),
        pids_limit: Some(matches.int("pids-limit")),
        ulimits: Some(ulimits(matches)?),
        cpu_count: matches.int("cpu-count"),
        cpu_percent: matches.int("cpu-percent"),
        io_maximum_iops: u64::try_from(matches.int("io-maxiops")).unwrap_or_default(),
        io_maximum_bandwidth: u64::try_from(matches.bytes("io-maxbandwidth")).unwrap_or_default(),
        ..Resources::default()
    })
}

fn list<T>(matches: &Matches, flag: &str, parse: impl Fn(&str) -> Checked<T>) -> Checked<Vec<T>> {
    matches.list(flag).iter().map(|text| parse(text)).collect()
}

/// Bytes, or -1 for no limit.
pub(crate) fn swap(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}

pub(crate) const CPUS_CHECK: Check = |text| nano_cpus(text).map(|_| text.to_owned());

/// Billionths of a processor, exactly: no digit may be lost.
pub(crate) fn nano_cpus(text: &str) -> Checked<i64> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(bad());
    }
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > NANO_DIGITS {
        return Err("value is too precise".into());
    }
    let number = format!("{whole}{fraction:0<NANO_DIGITS$}");
    number.parse::<i64>().map(|nano| sign * nano).map_err(|_| bad())
}

/// Each limit once, the last one given, ordered by name.
fn ulimits(matches: &Matches) -> Checked<Vec<Ulimit>> {
    let mut limits: Vec<Ulimit> = Vec::new();
    for limit in list(matches, "ulimit", ulimit)? {
        limits.retain(|known| known.name != limit.name);
        limits.push(limit);
    }
    limits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(limits)
}

pub(super) fn check_ulimit(text: &str) -> Checked<String> {
    ulimit(text).map(|_| text.to_owned())
}

/// `name=soft[:hard]`; -1 is unlimited.
fn ulimit(text: &str) -> Checked<Ulimit> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !LIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = values.split(':').collect();
    let (soft, hard) = match parts.as_slice() {
        [soft] => (limit(soft)?, limit(soft)?),
        [soft, hard] => {
            let hard = limit(hard)?;
            (limit(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    let excess =
        |what: String| Err(format!("ulimit soft limit must be less than or equal to hard limit: {what}"));
    match hard {
        -1 => {}
        _ if soft == -1 => return excess(format!("soft: -1 (unlimited), hard: {hard}")),
        _ if soft > hard => return excess(format!("{soft} > {hard}")),
        _ => {}
    }
    Ok(Ulimit { name: name.into(), hard, soft })
}

fn limit(text: &str) -> Checked<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_number { "value out of range" } else { "invalid syntax" };
    text.parse().map_err(|_| go_error("ParseInt", text, problem))
}

const NANO_DIGITS: usize = 9;

/// The resource limits of setrlimit(2) that a container may have.
const LIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_exact() {
        for (text, nano) in
            [("1.5", 1_500_000_000), ("0.000000001", 1), (".5", 500_000_000), ("2", 2_000_000_000)]
        {
            assert_eq!(nano_cpus(text), Ok(nano));
        }
        assert_eq!(nano_cpus("0.0000000001").unwrap_err(), "value is too precise");
        assert_eq!(nano_cpus("abc").unwrap_err(), "failed to parse abc as a rational number");
    }

    #[test]
    fn limits_are_checked() {
        let both = ulimit("nofile=10:20").unwrap();
        assert_eq!((both.soft, both.hard), (10, 20));
        for (text, wanted) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("x=1", "invalid ulimit type: x"),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            ("nofile=5:2", "ulimit soft limit must be less than or equal to hard limit: 5 > 2"),
            ("nofile=a", "strconv.ParseInt: parsing \"a\": invalid syntax"),
            ("nofile=infinity", "strconv.ParseInt: parsing \"infinity\": invalid syntax"),
            (
                "nofile=99999999999999999999",
                "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(ulimit(text).unwrap_err(), wanted);
        }
    }
}
