//! The store's images in the API's shapes. Pure but for the paths of layers.

use std::collections::BTreeMap;

use api::image::{Config, Empty, GraphDriver, HistoryRow, Inspect, Metadata, Removed, RootFs, Summary};
use oci::Reference;
use store::{Image, ImageUsage, Store};

pub(super) fn inspect(store: &Store, image: &Image) -> Inspect {
    let config = &image.config;
    Inspect {
        id: image.id.to_string(),
        repo_tags: familiar(&image.tags),
        repo_digests: familiar(&image.digests),
        parent: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        comment: comment(image),
        created: config.created.clone(),
        docker_version: docker_version(image),
        author: config.author.clone().unwrap_or_default(),
        config: self::config(config.config.as_ref()),
        architecture: config.architecture.clone(),
        variant: config.variant.clone().unwrap_or_default(),
        os: config.os.clone(),
        os_version: config.os_version.clone().unwrap_or_default(),
        size: signed(image.size),
        graph_driver: graph_driver(store, image),
        root_fs: RootFs { kind: "layers".into(), layers: diff_ids(image) },
        metadata: Metadata {
            last_tag_time: image.tagged.clone().unwrap_or_else(|| crate::record::NEVER.into()),
        },
        manifests: None,
        descriptor: None,
        pinned: image.pinned,
        trust: None,
    }
}

pub(super) fn summary(image: &Image, usage: Option<&ImageUsage>, containers: i64) -> Summary {
    let or_null = |names: Vec<String>| Some(names);
    Summary {
        containers,
        created: image.created.as_deref().map_or(0, unix_seconds),
        id: image.id.to_string(),
        labels: image
            .config
            .config
            .as_ref()
            .map(|config| config.labels.clone())
            .filter(|labels| !labels.is_empty()),
        parent_id: image.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        repo_digests: or_null(familiar(&image.digests)),
        repo_tags: or_null(familiar(&image.tags)),
        shared_size: usage.map_or(-1, |usage| signed(usage.shared)),
        size: signed(image.size),
        manifests: None,
        descriptor: None,
        trust: String::new(),
    }
}

pub(super) fn history_row(row: store::HistoryRow) -> HistoryRow {
    HistoryRow {
        id: row.id.map_or_else(|| "<missing>".into(), |id| id.to_string()),
        created: row.created.as_deref().map_or(0, unix_seconds),
        created_by: row.created_by,
        tags: Some(row.tags).filter(|tags| !tags.is_empty()),
        size: signed(row.size),
        comment: row.comment,
    }
}

pub(super) fn removed(step: store::Removed) -> Removed {
    match step {
        store::Removed::Untagged(name, _) => Removed { untagged: name, ..Removed::default() },
        store::Removed::Deleted(id) => Removed { deleted: id.to_string(), ..Removed::default() },
        store::Removed::Layer(chain) => Removed { deleted: chain.to_string(), ..Removed::default() },
    }
}

fn config(config: Option<&oci::image::Config>) -> Config {
    let Some(config) = config else { return Config::default() };
    let set = |names: &std::collections::BTreeSet<String>| {
        names.iter().map(|name| (name.clone(), Empty {})).collect()
    };
    let or_absent = |words: &Vec<String>| Some(words.clone()).filter(|words| !words.is_empty());
    Config {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        args_escaped: config.args_escaped,
        healthcheck: config.healthcheck.clone(),
        on_build: or_absent(&config.on_build),
        shell: or_absent(&config.shell),
    }
}

/// Which engine made it, if that one says so.
fn docker_version(image: &Image) -> String {
    let version = image.config.unknown.get("docker_version").and_then(|version| version.as_str());
    version.unwrap_or_default().to_owned()
}

/// The comment of the config, or of its newest step.
fn comment(image: &Image) -> String {
    let config = &image.config;
    let newest = config.history.last().and_then(|step| step.comment.clone());
    config.comment.clone().or(newest).unwrap_or_default()
}

/// Where the layers lie: the topmost as upper, those below it as lower, the highest first.
fn graph_driver(store: &Store, image: &Image) -> GraphDriver {
    let mut folders: Vec<String> = image
        .layers
        .iter()
        .rev()
        .map(|layer| store.layer_path(&layer.diff_id).join("diff").display().to_string())
        .collect();
    let mut data = BTreeMap::new();
    if !folders.is_empty() {
        data.insert("UpperDir".into(), folders.remove(0));
    }
    if !folders.is_empty() {
        data.insert("LowerDir".into(), folders.join(":"));
    }
    GraphDriver { data: Some(data), name: "overlay2".into() }
}

fn diff_ids(image: &Image) -> Vec<String> {
    image.config.rootfs.diff_ids.iter().map(ToString::to_string).collect()
}

fn familiar(names: &[Reference]) -> Vec<String> {
    names.iter().map(Reference::familiar).collect()
}

/// Seconds since 1970; 0 for what is no time.
pub(crate) fn unix_seconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
