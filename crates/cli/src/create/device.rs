//! Devices: those of the host, limits on them, rules for them, GPUs.

use api::host_config::{DeviceMapping, ThrottleDevice, WeightDevice};
use serde_json::{Value, json};

use super::volume::clean;
use super::{Checked, environment};
use crate::flags::csv_fields;

/// Devices by path, and those by their name in the Container Device Interface (`vendor.com/class=name`).
pub(super) fn sort(given: &[String]) -> Checked<(Vec<DeviceMapping>, Vec<String>)> {
    let (by_name, by_path): (Vec<String>, Vec<String>) =
        given.iter().cloned().partition(|text| is_cdi_name(text));
    let mappings = by_path.iter().map(|text| mapping(text)).collect::<Checked<_>>()?;
    Ok((mappings, by_name))
}

fn is_cdi_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else { return false };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c))
    };
    kind.split_once('/').is_some_and(|(vendor, class)| is_part(vendor) && is_part(class)) && is_part(name)
}

/// `path[:path inside][:rwm]`
fn mapping(text: &str) -> Checked<DeviceMapping> {
    let bad = || format!("bad format for path: {text}");
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, mode) = match parts.as_slice() {
        ["", ..] => return Err(bad()),
        [host] => (clean_if_absolute(host), None, None),
        [host, mode] if is_mode(mode) => (clean_if_absolute(host), None, Some(*mode)),
        [host, inside] => ((*host).to_owned(), Some(clean_if_absolute(inside)), None),
        [_, _, mode] if !is_mode(mode) => return Err(format!("bad mode specified: {mode}")),
        [host, inside, mode] => ((*host).to_owned(), Some((*inside).to_owned()), Some(*mode)),
        _ => return Err(bad()),
    };
    let path_in_container = inside.unwrap_or_else(|| host.clone());
    if !path_in_container.starts_with('/') {
        return Err(format!("{path_in_container} is not an absolute path"));
    }
    let cgroup_permissions = mode.unwrap_or("rwm").to_owned();
    Ok(DeviceMapping { path_on_host: host, path_in_container, cgroup_permissions })
}

fn clean_if_absolute(path: &str) -> String {
    if path.starts_with('/') { clean(path.as_ref()) } else { path.to_owned() }
}

/// Each of `r`, `w` and `m` at most once.
fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| "rwm".contains(c))
        && text.chars().enumerate().all(|(at, c)| !text[..at].contains(c))
}

/// `type major:minor mode`
pub(super) fn check_rule(text: &str) -> Checked<String> {
    let is_number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = text.split(' ').collect();
    let is_valid = matches!(parts.as_slice(), ["a" | "c" | "b", numbers, mode]
        if numbers.split_once(':').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
            && (1..=3).contains(&mode.len()) && mode.chars().all(|c| "rwm".contains(c)));
    if is_valid { Ok(text.into()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

pub(super) fn check_weight(text: &str) -> Checked<String> {
    weight(text).map(|_| text.to_owned())
}

pub(super) fn weight(text: &str) -> Checked<WeightDevice> {
    let (path, value) = split(text)?;
    match value.parse::<u16>() {
        Ok(weight @ (0 | 10..=1000)) => Ok(WeightDevice { path: path.into(), weight }),
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

pub(super) fn check_bps(text: &str) -> Checked<String> {
    bps(text).map(|_| text.to_owned())
}

pub(super) fn bps(text: &str) -> Checked<ThrottleDevice> {
    let (path, value) = split(text)?;
    let rate = api::units::bytes(value).ok().and_then(|rate| u64::try_from(rate).ok());
    let rate = rate.ok_or_else(|| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. \
             Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

pub(super) fn check_iops(text: &str) -> Checked<String> {
    iops(text).map(|_| text.to_owned())
}

pub(super) fn iops(text: &str) -> Checked<ThrottleDevice> {
    let (path, value) = split(text)?;
    let rate = value.parse().map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        )
    })?;
    Ok(ThrottleDevice { path: path.into(), rate })
}

fn split(text: &str) -> Checked<(&str, &str)> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    match path.starts_with("/dev/") {
        true => Ok((path, value)),
        false => Err(format!("bad format for device path: {text}")),
    }
}

pub(super) fn check_gpus(text: &str) -> Checked<String> {
    gpus(text).map(|_| text.to_owned())
}

/// A request for GPUs: a count, or `key=value` pairs.
pub(super) fn gpus(text: &str) -> Checked<Value> {
    let mut request = json!({
        "Driver": "", "Count": 0, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}
    });
    let mut seen: Vec<String> = Vec::new();
    for field in csv_fields(text)? {
        let (key, value) = field.split_once('=').unwrap_or((&field, ""));
        if seen.iter().any(|known| known == key) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        seen.push(key.to_owned());
        match key {
            key if !field.contains('=') => {
                seen.push("count".into());
                request["Count"] = count(key)?.into();
            }
            "driver" => request["Driver"] = value.into(),
            "count" => request["Count"] = count(value)?.into(),
            "device" => request["DeviceIDs"] = value.split(',').collect::<Vec<_>>().into(),
            "capabilities" => {
                request["Capabilities"] = json!([value.split(',').chain(["gpu"]).collect::<Vec<_>>()]);
            }
            "options" => request["Options"] = json!(environment::pairs(&csv_fields(value)?)),
            key => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if request["DeviceIDs"].is_null() && !seen.iter().any(|key| key == "count") {
        request["Count"] = 1.into();
    }
    Ok(request)
}

fn count(text: &str) -> Checked<i64> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!("invalid count ({text}): value must be either \"all\" or an integer: invalid syntax")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_path_inside_and_a_mode() {
        let check = |text: &str, wanted: [&str; 3]| {
            let device = mapping(text).unwrap();
            assert_eq!([device.path_on_host, device.path_in_container, device.cgroup_permissions], wanted);
        };
        check("/dev/null", ["/dev/null", "/dev/null", "rwm"]);
        check("/dev/null:r", ["/dev/null", "/dev/null", "r"]);
        check("/dev/null:/dev/x:rw", ["/dev/null", "/dev/x", "rw"]);
        assert_eq!(mapping("/dev/a:/dev/b:x").unwrap_err(), "bad mode specified: x");
        assert_eq!(mapping("dev").unwrap_err(), "dev is not an absolute path");
        assert_eq!(mapping("/a:/b:r:x").unwrap_err(), "bad format for path: /a:/b:r:x");
    }

    #[test]
    fn rules_and_limits_are_checked() {
        assert!(check_rule("c 1:* rwm").is_ok());
        assert_eq!(check_rule("c 1").unwrap_err(), "invalid device cgroup format 'c 1'");
        assert_eq!(bps("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(weight("/dev/sda:5").unwrap_err(), "invalid weight for device: /dev/sda:5");
        assert_eq!(gpus("all").unwrap()["Count"], -1);
        assert_eq!(gpus("device=1").unwrap()["Count"], 0);
    }
}
