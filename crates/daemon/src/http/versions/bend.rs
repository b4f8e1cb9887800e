//! The bends themselves: each changes one thing in a JSON value. `/A/B` are JSON pointers (RFC 6901).

use fault::{Error, Result};
use serde_json::{Map, Value, json};

use super::super::query::Query;

const MOUNTS: &str = "/HostConfig/Mounts";
const ENDPOINTS: &str = "/NetworkingConfig/EndpointsConfig";

// Requests.

pub(super) fn no_auto_remove(create: &mut Value) -> Result<()> {
    remove(create, "/HostConfig/AutoRemove");
    Ok(())
}

pub(super) fn no_non_recursive_binds(create: &mut Value) -> Result<()> {
    for mount in items(create, MOUNTS) {
        remove(mount, "/BindOptions/NonRecursive");
    }
    remove(create, "/HostConfig/KernelMemoryTCP");
    Ok(())
}

pub(super) fn shareable_ipc(create: &mut Value) -> Result<()> {
    default(create, "/HostConfig", "IpcMode", "shareable");
    Ok(())
}

pub(super) fn host_cgroupns(create: &mut Value) -> Result<()> {
    default(create, "/HostConfig", "CgroupnsMode", "host");
    Ok(())
}

/// Older versions did not look at options of another type's mount.
pub(super) fn no_mismatched_mount_options(create: &mut Value) -> Result<()> {
    for mount in items(create, MOUNTS) {
        remove(mount, "/BindOptions/CreateMountpoint");
        let kind = text(mount, "/Type").to_owned();
        for (options, owner) in OPTIONS_BY_TYPE {
            if kind != *owner && *owner != "bind" {
                remove(mount, &format!("/{options}"));
            }
        }
    }
    Ok(())
}

pub(super) fn refuse_mismatched_mount_options(create: &mut Value) -> Result<()> {
    for mount in items(create, MOUNTS) {
        let kind = text(mount, "/Type");
        let wrong = OPTIONS_BY_TYPE.iter().find(|(options, owner)| {
            kind != *owner && mount.get(options).is_some_and(|found| !found.is_null())
        });
        if let Some((options, _)) = wrong {
            return Err(Error::invalid(format!("{options} must not be specified on mount type {kind:?}")));
        }
    }
    Ok(())
}

const OPTIONS_BY_TYPE: &[(&str, &str)] =
    &[("VolumeOptions", "volume"), ("BindOptions", "bind"), ("TmpfsOptions", "tmpfs")];

pub(super) fn no_console_size(create: &mut Value) -> Result<()> {
    remove(create, "/HostConfig/ConsoleSize");
    Ok(())
}

pub(super) fn no_exec_console_size(exec: &mut Value) -> Result<()> {
    remove(exec, "/ConsoleSize");
    Ok(())
}

pub(super) fn no_kernel_memory(create: &mut Value) -> Result<()> {
    remove(create, "/HostConfig/KernelMemory");
    Ok(())
}

pub(super) fn no_annotations(create: &mut Value) -> Result<()> {
    remove(create, "/HostConfig/Annotations");
    Ok(())
}

pub(super) fn no_start_interval(create: &mut Value) -> Result<()> {
    remove(create, "/Healthcheck/StartInterval");
    Ok(())
}

pub(super) fn no_forced_recursion(create: &mut Value) -> Result<()> {
    for mount in items(create, MOUNTS) {
        if text(mount, "/Type") == "bind" && flag(mount, "/BindOptions/ReadOnlyForceRecursive") {
            return Err(Error::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
        }
    }
    Ok(())
}

pub(super) fn one_endpoint(create: &mut Value) -> Result<()> {
    let Some(endpoints) = create.pointer(ENDPOINTS).and_then(Value::as_object) else { return Ok(()) };
    if endpoints.len() <= 1 {
        return Ok(());
    }
    let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
    Err(Error::invalid(format!(
        "Container cannot be created with multiple network endpoints: {}",
        names.join(", ")
    )))
}

/// The address stood beside the container's name; now it stands at the endpoint.
pub(super) fn endpoint_mac_address(create: &mut Value) -> Result<()> {
    let address = create.get("MacAddress").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(endpoints) = create.pointer_mut(ENDPOINTS).and_then(Value::as_object_mut) {
        for endpoint in endpoints.values_mut() {
            remove(endpoint, "/MacAddress");
        }
    }
    if address.is_empty() {
        return Ok(());
    }
    let mode = text(create, "/HostConfig/NetworkMode").to_owned();
    if mode == "host" || mode == "none" || mode.starts_with("container:") {
        return Err(Error::invalid("conflicting options: mac-address and the network mode"));
    }
    remove(create, "/MacAddress");
    let network = if mode.is_empty() { "default" } else { &mode };
    let endpoints = object(child(create, "NetworkingConfig"), "EndpointsConfig");
    if endpoints.is_empty() {
        endpoints.insert(network.to_owned(), json!({}));
    }
    for endpoint in endpoints.values_mut() {
        make_object(endpoint).insert("MacAddress".into(), address.clone().into());
    }
    Ok(())
}

pub(super) fn refuse_subpath(create: &mut Value) -> Result<()> {
    if items(create, MOUNTS).iter().any(|mount| !text(mount, "/VolumeOptions/Subpath").is_empty()) {
        return Err(Error::invalid("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    Ok(())
}

pub(super) fn no_gateway_priority(create: &mut Value) -> Result<()> {
    if let Some(endpoints) = create.pointer_mut(ENDPOINTS).and_then(Value::as_object_mut) {
        endpoints.values_mut().for_each(|endpoint| remove(endpoint, "/GwPriority"));
    }
    Ok(())
}

pub(super) fn refuse_image_mounts(create: &mut Value) -> Result<()> {
    if items(create, MOUNTS).iter().any(|mount| text(mount, "/Type") == "image") {
        return Err(Error::invalid("Mount type \"Image\" needs API v1.48 or newer"));
    }
    Ok(())
}

// Queries.

/// `filter` was a glob on names before it became one of `filters`.
pub(super) fn filter_by_reference(query: &mut Query) {
    add_filter(query, "reference", |query| query.given("filter").map(str::to_owned));
}

/// All unused volumes were pruned, not the nameless ones only.
pub(super) fn prune_named_volumes_too(query: &mut Query) {
    add_filter(query, "all", |_| Some("true".to_owned()));
}

fn add_filter(query: &mut Query, name: &str, value: impl Fn(&Query) -> Option<String>) {
    let (Some(value), Ok(mut filters)) = (value(query), query.filters()) else { return };
    filters.insert(name, value);
    query.set("filters", filters.to_json());
}

// Answers.

pub(super) fn no_online_cpus(stats: &mut Value) {
    remove(stats, "/cpu_stats/online_cpus");
    remove(stats, "/precpu_stats/online_cpus");
}

pub(super) fn no_listed_annotations(containers: &mut Value) {
    each(containers, |container| remove(container, "/HostConfig/Annotations"));
}

/// Containers in networks of their own were known there by their short id, too.
pub(super) fn aliases_with_id(container: &mut Value) {
    let id = text(container, "/Id").chars().take(SHORT_ID_LEN).collect::<String>();
    let hostname = text(container, "/Config/Hostname").to_owned();
    let networks = container.pointer_mut("/NetworkSettings/Networks").and_then(Value::as_object_mut);
    for (name, endpoint) in networks.into_iter().flatten() {
        if PREDEFINED_NETWORKS.contains(&name.as_str()) {
            continue;
        }
        let mut aliases = endpoint.get("Aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        for alias in [&id, &hostname] {
            if !aliases.iter().any(|known| known == alias) {
                aliases.push(alias.as_str().into());
            }
        }
        make_object(endpoint).insert("Aliases".into(), aliases.into());
    }
}

const SHORT_ID_LEN: usize = 12;
const PREDEFINED_NETWORKS: &[&str] = &["default", "bridge", "host", "none"];

pub(super) fn untagged_images_say_none(images: &mut Value) {
    each(images, |image| {
        let empty = |name: &str| image.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty);
        if empty("RepoTags") && empty("RepoDigests") {
            image["RepoTags"] = json!(["<none>:<none>"]);
            image["RepoDigests"] = json!(["<none>@<none>"]);
        }
    });
}

pub(super) fn virtual_size(image: &mut Value) {
    image["VirtualSize"] = image["Size"].clone();
}

pub(super) fn containers_not_counted(image: &mut Value) {
    image["Containers"] = json!(-1);
}

pub(super) fn created_never(image: &mut Value) {
    if text(image, "/Created").is_empty() {
        image["Created"] = json!("0001-01-01T00:00:00Z");
    }
}

/// The configuration of the container that made the image; nobody fills it in any more.
pub(super) fn container_config(image: &mut Value) {
    image["ContainerConfig"] =
        serde_json::to_value(api::container::Config::default()).expect("a configuration is JSON");
}

/// An image's configuration was shown as a container's, with all its fields.
pub(super) fn container_fields_in_image_config(image: &mut Value) {
    let config = object(image, "Config");
    for name in ["AttachStderr", "AttachStdin", "AttachStdout", "OpenStdin", "StdinOnce", "Tty"] {
        config.entry(name).or_insert(false.into());
    }
    for name in ["Domainname", "Hostname", "Image"] {
        config.entry(name).or_insert("".into());
    }
}

/// `name=seccomp,profile=builtin` was `seccomp`.
pub(super) fn security_option_names(info: &mut Value) {
    for option in items(info, "/SecurityOptions") {
        let whole = option.as_str().unwrap_or_default();
        let name = whole.split(',').find_map(|part| part.strip_prefix("name=")).unwrap_or(whole);
        *option = name.into();
    }
}

pub(super) fn no_runtime_status(info: &mut Value) {
    if let Some(runtimes) = info.get_mut("Runtimes").and_then(Value::as_object_mut) {
        runtimes.values_mut().for_each(|runtime| remove(runtime, "/status"));
    }
}

pub(super) fn nondistributable_artifacts(info: &mut Value) {
    let registry = object(info, "RegistryConfig");
    registry.insert("AllowNondistributableArtifactsCIDRs".into(), Value::Null);
    registry.insert("AllowNondistributableArtifactsHostnames".into(), Value::Null);
}

pub(super) fn expected_commits(info: &mut Value) {
    for name in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
        let commit = object(info, name);
        if let Some(id) = commit.get("ID").cloned().filter(|id| id != "") {
            commit.insert("Expected".into(), id);
        }
    }
}

pub(super) fn bridge_netfilter(info: &mut Value) {
    info["BridgeNfIptables"] = json!(false);
    info["BridgeNfIp6tables"] = json!(false);
}

pub(super) fn no_image_create_event(event: &mut Value) {
    if event["Type"] == "image" && event["Action"] == "create" {
        *event = Value::Null;
    }
}

pub(super) fn builder_size(usage: &mut Value) {
    usage["BuilderSize"] = json!(0);
}

pub(super) fn virtual_sizes_of_usage(usage: &mut Value) {
    items(usage, "/Images").iter_mut().for_each(virtual_size);
}

// Tools.

pub(super) fn each(list: &mut Value, bend: impl FnMut(&mut Value)) {
    list.as_array_mut().into_iter().flatten().for_each(bend);
}

pub(super) fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.remove(name);
    }
}

fn items<'a>(value: &'a mut Value, pointer: &str) -> &'a mut [Value] {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// Sets a text that is missing or empty; `parent` is made if need be.
fn default(value: &mut Value, parent: &str, name: &str, wanted: &str) {
    let parent = object(value, parent.trim_start_matches('/'));
    if parent.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
        parent.insert(name.to_owned(), wanted.into());
    }
}

fn child<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    make_object(value).entry(name).or_insert_with(|| json!({}))
}

fn object<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    make_object(child(value, name))
}

/// What is no object (`null`, as Go writes a missing one) becomes an empty one.
fn make_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("just made")
}
