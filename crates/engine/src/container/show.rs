//! How containers are shown: the list and inspect. Pure but for sizes.

use std::path::Path;
use std::sync::Arc;

use api::container::{
    Inspect, ListOptions, MountPoint, NetworkSettings, PublishedPort, Summary, SummaryHostConfig,
    SummaryNetworks,
};
use api::image::GraphDriver;
use api::network::EndpointSettings;
use api::port::{Binding, Port, PortMap};
use fault::{Kind, Result};
use network::Endpoint;

use super::registry::Container;
use super::view::View;
use super::{etc, filters, ports, status};
use crate::image::{signed, unix_seconds};
use crate::record::{MountKind, State};
use crate::state::Status;
use crate::{Engine, Record};

/// Newest first.
pub(super) async fn list(engine: &Engine, options: ListOptions) -> Result<Vec<Summary>> {
    let mut views: Vec<Arc<View>> = engine.containers().all().iter().map(|one| one.view()).collect();
    views.retain(|view| !view.gone);
    views.sort_by(|a, b| b.record.created.cmp(&a.record.created));
    let wanted = filters::Chosen::new(engine, &options.filters)?;
    let explicit = options.all || options.limit > 0 || options.filters.contains("status");
    let chosen = views.iter().filter(|view| explicit || view.record.state.status.is_up());
    let limit = usize::try_from(options.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let chosen: Vec<Arc<View>> = chosen.filter(|view| wanted.matches(view)).take(limit).cloned().collect();
    let size = options.size;
    engine.blocking(move |engine| chosen.iter().map(|view| summary(engine, view, size)).collect()).await
}

/// One line of the list. Blocks if sizes are wanted.
pub(crate) fn summary(engine: &Engine, view: &View, size: bool) -> Result<Summary> {
    let record = &view.record;
    let (size_rw, size_root_fs) = if size { sizes(engine, record)? } else { (0, 0) };
    Ok(Summary {
        id: record.id.to_string(),
        names: vec![format!("/{}", record.name)],
        image: image_name(engine, record),
        image_id: record.image_id.clone(),
        command: command(record),
        created: unix_seconds(&record.created),
        ports: published(record, view.endpoint.as_ref()),
        size_rw,
        size_root_fs,
        labels: record.config.labels.clone(),
        state: record.state.status.as_str().into(),
        status: status::text(&record.state, sys::time::Timestamp::now().seconds),
        host_config: SummaryHostConfig {
            network_mode: record.host_config.network_mode.clone(),
            annotations: record.host_config.annotations.clone(),
        },
        network_settings: SummaryNetworks { networks: endpoints(engine, view) },
        mounts: mounts(engine, record),
    })
}

/// Words with a space in them stand between quotes; those that have quotes already are left to the reader.
fn command(record: &Record) -> String {
    let mut words = record.command();
    let program = words.next().cloned().unwrap_or_default();
    words.fold(program, |line, word| match word.contains(' ') {
        true => format!("{line} '{word}'"),
        false => format!("{line} {word}"),
    })
}

/// The name it was made from, while that still names its image; else the image's id.
fn image_name(engine: &Engine, record: &Record) -> String {
    let named = engine.store().resolve(&record.config.image);
    match named {
        Ok(id) if id.to_string() == record.image_id => record.config.image.clone(),
        _ => record.image_id.trim_start_matches("sha256:").chars().take(12).collect(),
    }
}

/// Of its changes, and of all its files. A container that goes meanwhile, or whose root was lost, has none.
fn sizes(engine: &Engine, record: &Record) -> Result<(i64, i64)> {
    let measured = engine
        .store()
        .snapshot(record.id.as_str())
        .and_then(|snapshot| Ok((snapshot.size_rw()?, snapshot.size_root()?)));
    let (changes, all) = match measured {
        Err(error) if error.kind() == Kind::NotFound => (0, 0),
        measured => measured?,
    };
    Ok((signed(changes), signed(all)))
}

pub(super) fn published(record: &Record, endpoint: Option<&Endpoint>) -> Vec<PublishedPort> {
    if !record.state.status.has_process() {
        return Vec::new();
    }
    let bound = endpoint.iter().flat_map(|endpoint| endpoint.published());
    let mut all: Vec<PublishedPort> = bound
        .map(|(private_port, proto, host)| PublishedPort {
            ip: host.ip().to_string(),
            private_port,
            public_port: host.port(),
            protocol: proto.to_string(),
        })
        .collect();
    for exposed in record.config.exposed_ports.keys() {
        let is_it = |port: &PublishedPort| {
            port.private_port == exposed.number && port.protocol == exposed.protocol.as_str()
        };
        if !all.iter().any(is_it) {
            let protocol = exposed.protocol.as_str().to_owned();
            all.push(PublishedPort { private_port: exposed.number, protocol, ..PublishedPort::default() });
        }
    }
    all.sort();
    all
}

pub(super) async fn inspect(engine: &Engine, container: Arc<Container>, size: bool) -> Result<Inspect> {
    let view = container.view();
    engine.blocking(move |engine| describe(engine, &view, size)).await
}

fn describe(engine: &Engine, view: &View, size: bool) -> Result<Inspect> {
    let record = &view.record;
    let folder = engine.config().folder(&record.id);
    let files = etc::folder(engine, record);
    let inside = |folder: &Path, name: &str| match record.state.started_at.as_str() {
        crate::record::NEVER => String::new(),
        _ => folder.join(name).to_string_lossy().into_owned(),
    };
    let file = |name: &str| inside(&files, name);
    let logs = record.host_config.log_config.kind != "none";
    let sizes = size.then(|| sizes(engine, record)).transpose()?;
    let mut command = record.command().cloned();
    Ok(Inspect {
        id: record.id.to_string(),
        created: record.created.clone(),
        path: command.next().unwrap_or_default(),
        args: command.collect(),
        state: state(&record.state),
        image: record.image_id.clone(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: if logs { inside(&folder, &format!("{}-json.log", record.id)) } else { String::new() },
        name: format!("/{}", record.name),
        restart_count: record.restart_count,
        driver: "overlay2".into(),
        platform: "linux".into(),
        exec_ids: (!view.execs.is_empty() && view.is_running()).then(|| view.execs.clone()),
        host_config: record.host_config.clone(),
        graph_driver: graph_driver(engine, record),
        size_rw: sizes.map(|(rw, _)| rw),
        size_root_fs: sizes.map(|(_, root)| root),
        mounts: mounts(engine, record),
        config: record.config.clone(),
        network_settings: network_settings(engine, view),
        ..Inspect::default()
    })
}

fn state(state: &State) -> api::container::State {
    api::container::State {
        status: state.status.as_str().into(),
        running: state.status.is_up(),
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: state.status == Status::Dead,
        pid: state.pid.into(),
        exit_code: state.exit_code.into(),
        error: state.error.clone(),
        started_at: state.started_at.clone(),
        finished_at: state.finished_at.clone(),
        health: None,
    }
}

/// The merged folder exists in the container's mount namespace only, so none is shown.
fn graph_driver(engine: &Engine, record: &Record) -> GraphDriver {
    let Ok(snapshot) = engine.store().snapshot(record.id.as_str()) else {
        return GraphDriver { name: "overlay2".into(), data: None };
    };
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let lower: Vec<String> = snapshot.lower_dirs().into_iter().map(text).collect();
    let data = [
        ("ID", record.id.to_string()),
        ("LowerDir", lower.join(":")),
        ("MergedDir", String::new()),
        ("UpperDir", text(snapshot.upper())),
        ("WorkDir", text(snapshot.work())),
    ];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    GraphDriver { name: snapshot.driver().into(), data: Some(data) }
}

/// Those of `--tmpfs` stand in the host configuration only, as with Docker.
fn mounts(engine: &Engine, record: &Record) -> Vec<MountPoint> {
    let shown = record.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs || mount.from_mounts);
    shown
        .map(|mount| {
            let is_volume = mount.kind == MountKind::Volume;
            let source = match mount.kind {
                MountKind::Volume => engine.volumes().data(&mount.name),
                MountKind::Bind | MountKind::Tmpfs => mount.source.clone(),
            };
            MountPoint {
                kind: mount.kind.as_str().into(),
                name: mount.name.clone(),
                source: source.to_string_lossy().into_owned(),
                destination: mount.destination.to_string_lossy().into_owned(),
                driver: if is_volume { "local".into() } else { String::new() },
                mode: if is_volume && mount.mode.is_empty() && !mount.anonymous {
                    "z".into()
                } else {
                    mount.mode.clone()
                },
                rw: !mount.read_only,
                propagation: mount.propagation.clone(),
            }
        })
        .collect()
}

fn network_settings(engine: &Engine, view: &View) -> NetworkSettings {
    let endpoints = endpoints(engine, view);
    let running = view.record.state.status.has_process();
    let mut settings = NetworkSettings {
        sandbox_id: if running { view.record.id.to_string() } else { String::new() },
        sandbox_key: if running { format!("/proc/{}/ns/net", view.record.state.pid) } else { String::new() },
        ports: port_map(view),
        ..NetworkSettings::default()
    };
    if let Some(bridge) = endpoints.get("bridge") {
        settings.endpoint_id.clone_from(&bridge.endpoint_id);
        settings.gateway.clone_from(&bridge.gateway);
        settings.ip_address.clone_from(&bridge.ip_address);
        settings.ip_prefix_len = bridge.ip_prefix_len;
        settings.mac_address.clone_from(&bridge.mac_address);
    }
    settings.networks = endpoints;
    settings
}

fn port_map(view: &View) -> PortMap {
    let mut map = PortMap::new();
    if !view.record.state.status.has_process() {
        return map;
    }
    for port in view
        .record
        .config
        .exposed_ports
        .keys()
        .chain(view.record.host_config.port_bindings.iter().flatten().map(|(port, _)| port))
    {
        map.insert(*port, None);
    }
    for (number, proto, host) in view.endpoint.iter().flat_map(Endpoint::published) {
        let key = Port { number, protocol: ports::protocol(proto) };
        let binding = Binding { host_ip: host.ip().to_string(), host_port: host.port().to_string() };
        map.entry(key).or_default().get_or_insert_default().push(binding);
    }
    map
}

/// What was asked for, filled with what is while it runs.
fn endpoints(engine: &Engine, view: &View) -> std::collections::BTreeMap<String, EndpointSettings> {
    let running = view.record.state.status.has_process();
    let has_run = view.record.state.started_at != crate::record::NEVER;
    let fill = |name: &String, asked: &EndpointSettings| {
        let mut settings = asked.clone();
        // Before its first run it is in no network yet.
        if has_run && let Ok(network) = engine.networks().name(name) {
            settings.network_id = network.id;
        }
        match &view.endpoint {
            Some(endpoint) if running => {
                settings.endpoint_id.clone_from(&endpoint.endpoint_id);
                settings.gateway = endpoint.gateway.to_string();
                settings.ip_address = endpoint.address.addr().to_string();
                settings.ip_prefix_len = endpoint.address.prefix_len();
                settings.mac_address = endpoint.mac.to_string();
            }
            None if running => settings.endpoint_id = crate::network::endpoint_id(&view.record),
            _ => {}
        }
        (name.clone(), settings)
    };
    view.record.endpoints.iter().map(|(name, asked)| fill(name, asked)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ContainerId;
    use crate::record::NEVER;

    #[test]
    fn words_with_spaces_are_quoted() {
        let mut record = Record::new(ContainerId::random().unwrap(), "x".into(), NEVER.into());
        record.config.cmd = Some(["sh", "-c", "exit 4", "d\"e"].map(str::to_owned).to_vec());
        assert_eq!(command(&record), "sh -c 'exit 4' d\"e");
    }
}
