//! Limits: memory, CPU, block I/O, processes, resource limits.

use api::host_config::{Resources, Ulimit};
use api::units;
use serde_json::json;

use super::{Checked, device};
use crate::flags::{Check, Matches};

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
    for limit in list(matches, "ulimit", units::ulimit)? {
        limits.retain(|known| known.name != limit.name);
        limits.push(limit);
    }
    limits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(limits)
}

pub(super) fn check_ulimit(text: &str) -> Checked<String> {
    units::ulimit(text).map(|_| text.to_owned())
}

const NANO_DIGITS: usize = 9;

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
}
