//! `--device`, `--device-cgroup-rule` and `--privileged`: which devices there are and what may be done with them.

use std::path::{Path, PathBuf};

use api::host_config::{DeviceMapping, HostConfig};
use fault::{Doing, Error, Result};
use oci::runtime::{Device, DeviceRule};
use runtime::defaults;

/// A device that was asked for, under its name in the container.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) device: Device,
    access: String,
}

/// The nodes of all `--device`s; a folder stands for all nodes in it.
pub(super) fn asked(host: &HostConfig, find: fn(&Path) -> Result<Vec<Device>>) -> Result<Vec<Asked>> {
    let mut all = Vec::new();
    if host.privileged {
        return Ok(all);
    }
    for mapping in host.resources.devices.iter().flatten() {
        let source = Path::new(&mapping.path_on_host);
        let found = find(source).doing(|| {
            format!("error gathering device information while adding custom device \"{}\"", source.display())
        })?;
        all.extend(found.into_iter().map(|device| placed(device, mapping)));
    }
    Ok(all)
}

fn placed(mut device: Device, mapping: &DeviceMapping) -> Asked {
    let (source, target) = (Path::new(&mapping.path_on_host), Path::new(&mapping.path_in_container));
    if !mapping.path_in_container.is_empty() && source != target {
        device.path = match device.path.strip_prefix(source) {
            Ok(rest) if rest != Path::new("") => target.join(rest),
            _ => PathBuf::from(target),
        };
    }
    let access = if mapping.cgroup_permissions.is_empty() { "rwm" } else { &mapping.cgroup_permissions };
    Asked { device, access: access.to_owned() }
}

/// What the cgroup lets through.
pub(super) fn rules(host: &HostConfig, asked: &[Asked]) -> Result<Vec<DeviceRule>> {
    if host.privileged {
        return Ok(defaults::privileged_device_rules());
    }
    let mut rules = defaults::device_rules();
    rules.extend(asked.iter().map(|Asked { device, access }| DeviceRule {
        allow: true,
        kind: Some(device.kind.clone()),
        major: Some(device.major),
        minor: Some(device.minor),
        access: access.clone(),
    }));
    for text in host.resources.device_cgroup_rules.iter().flatten() {
        rules.push(parse_rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 mr`, with `*` for any number and `a` for any kind.
pub(super) fn parse_rule(text: &str) -> Result<DeviceRule> {
    let wrong = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = parts[..] else { return Err(wrong()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse::<u32>().map(|number| Some(i64::from(number))).map_err(|_| wrong()),
    };
    if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(wrong());
    }
    let (major, minor) = (number(major)?, number(minor)?);
    Ok(DeviceRule { allow: true, kind: Some(kind.into()), major, minor, access: access.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_docker_reads_them() {
        let rule = parse_rule("c 42:* rmw").unwrap();
        assert_eq!((rule.kind.as_deref(), rule.major, rule.minor), (Some("c"), Some(42), None));
        for bad in ["", "x 1:1 r", "c 1 r", "c 1:1 x", "c a:1 r", "c 1:1"] {
            let words = format!("invalid device cgroup rule format: '{bad}'");
            assert_eq!(parse_rule(bad).unwrap_err().to_string(), words);
        }
    }
}
