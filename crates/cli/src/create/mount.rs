//! `--mount type=bind,source=/a,target=/b,readonly`.

use api::host_config::{BindOptions, Driver, Mount, TmpfsOptions, VolumeOptions};
use serde_json::json;

use super::{Checked, volume};
use crate::flags::{csv_fields, parse_bool};

pub(super) fn check(text: &str) -> Checked<String> {
    parse(text).map(|_| text.to_owned())
}

pub(super) fn all(given: &[String]) -> Vec<Mount> {
    given.iter().filter_map(|text| parse(text).ok()).collect()
}

fn parse(text: &str) -> Checked<Mount> {
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    for field in csv_fields(text)? {
        match field.split_once('=') {
            Some((key, value)) => set(&mut mount, &key.to_lowercase(), value, &field)?,
            None => switch(&mut mount, &field)?,
        }
    }
    check_whole(&mount)?;
    Ok(mount)
}

fn switch(mount: &mut Mount, field: &str) -> Checked<()> {
    match field.to_lowercase().as_str() {
        "readonly" | "ro" => mount.read_only = true,
        "volume-nocopy" => volume_options(mount).no_copy = true,
        "bind-nonrecursive" => bind_options(mount).non_recursive = true,
        _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
    }
    Ok(())
}

fn set(mount: &mut Mount, key: &str, value: &str, field: &str) -> Checked<()> {
    let bad = || format!("invalid value for {key}: {value}");
    match key {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => {
            mount.source =
                if value.starts_with('.') { volume::absolute_path(value) } else { value.to_owned() };
        }
        "target" | "dst" | "destination" => mount.target = value.into(),
        "readonly" | "ro" => mount.read_only = parse_bool(value).ok_or_else(bad)?,
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => bind_options(mount).propagation = value.to_lowercase(),
        "bind-nonrecursive" => bind_options(mount).non_recursive = parse_bool(value).ok_or_else(bad)?,
        "bind-recursive" => recursion(bind_options(mount), value)?,
        "volume-subpath" => volume_options(mount).subpath = value.into(),
        "volume-nocopy" => volume_options(mount).no_copy = parse_bool(value).ok_or_else(bad)?,
        "volume-label" => insert(&mut volume_options(mount).labels, value),
        "volume-driver" => driver(mount).name = value.into(),
        "volume-opt" => insert(&mut driver(mount).options, value),
        "image-subpath" => mount.image_options = Some(json!({ "Subpath": value })),
        "tmpfs-size" => {
            tmpfs_options(mount).size_bytes = api::units::bytes(value).map_err(|_| bad())?;
        }
        "tmpfs-mode" => tmpfs_options(mount).mode = u32::from_str_radix(value, 8).map_err(|_| bad())?,
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn recursion(options: &mut BindOptions, value: &str) -> Checked<()> {
    match value {
        "enabled" => {}
        "disabled" => options.non_recursive = true,
        "writable" => options.read_only_non_recursive = true,
        "readonly" => options.read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

fn check_whole(mount: &Mount) -> Checked<()> {
    let kind = &mount.kind;
    if kind.is_empty() {
        return Err("type is required".into());
    }
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    for (prefix, given) in [
        ("volume", mount.volume_options.is_some()),
        ("image", mount.image_options.is_some()),
        ("bind", mount.bind_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
    ] {
        if given && kind != prefix {
            return Err(format!("cannot mix '{prefix}-*' options with mount type '{kind}'"));
        }
    }
    check_recursion(mount)
}

fn check_recursion(mount: &Mount) -> Checked<()> {
    let Some(options) = &mount.bind_options else { return Ok(()) };
    let needs = |option: &str, other: &str| {
        Err(format!("option 'bind-recursive={option}' requires '{other}' to be specified in conjunction"))
    };
    if options.read_only_non_recursive && !mount.read_only {
        return needs("writable", "readonly");
    }
    if options.read_only_force_recursive && !mount.read_only {
        return needs("readonly", "readonly");
    }
    if options.read_only_force_recursive && options.propagation != "rprivate" {
        return needs("readonly", "bind-propagation=rprivate");
    }
    Ok(())
}

fn insert(map: &mut std::collections::BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        map.insert(key.into(), value.into());
    }
}

fn bind_options(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn tmpfs_options(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn volume_options(mount: &mut Mount) -> &mut VolumeOptions {
    let options = mount.volume_options.get_or_insert_default();
    options.driver_config.get_or_insert_default();
    options
}

fn driver(mount: &mut Mount) -> &mut Driver {
    volume_options(mount).driver_config.get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_reads_back() {
        let mount = parse("type=bind,src=/a,dst=/b,ro,bind-propagation=rshared").unwrap();
        assert_eq!((mount.kind.as_str(), mount.source.as_str(), mount.target.as_str()), ("bind", "/a", "/b"));
        assert!(mount.read_only);
        assert_eq!(mount.bind_options.unwrap().propagation, "rshared");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, wanted) in [
            ("type=bind", "target is required"),
            ("type=,dst=/x", "type is required"),
            ("dst=/x,foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("dst=/x,foo", "invalid field 'foo' must be a key=value pair"),
            ("type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
            ("type=bind,dst=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("dst=/x,ro=maybe", "invalid value for ro: maybe"),
        ] {
            assert_eq!(parse(text).unwrap_err(), wanted, "{text}");
        }
    }
}
