//! The list of mounts: Docker's defaults less what the user replaces, the three files, and the container's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oci::runtime::Mount;
use runtime::defaults;

use crate::Record;
use crate::record::{self, MountKind};

/// Where the init program lies in a container that has one.
pub(super) const INIT: &str = "/sbin/docker-init";

/// In the order in which they are made: defaults, then the rest from the outermost folder inwards.
pub(super) fn all(record: &Record, folder: &Path, init: &Path) -> Vec<Mount> {
    let own: BTreeSet<&Path> = record.mounts.iter().map(|mount| mount.destination.as_path()).collect();
    let mut mounts = default_mounts(record, &own);
    let mut rest: Vec<Mount> = files(record, folder, &own).collect();
    rest.extend(record.mounts.iter().map(mount));
    if record.host_config.init == Some(true) {
        rest.push(bind(init.into(), INIT.into(), &["bind", "ro"]));
    }
    rest.sort_by_key(|mount| mount.destination.components().count());
    mounts.extend(rest);
    mounts
}

fn default_mounts(record: &Record, own: &BTreeSet<&Path>) -> Vec<Mount> {
    let host = &record.host_config;
    let all = if host.privileged { defaults::privileged_mounts() } else { defaults::mounts() };
    let replaced = |mount: &Mount| {
        let under_own_dev = own.contains(Path::new("/dev")) && mount.destination.starts_with("/dev");
        own.contains(mount.destination.as_path()) || under_own_dev
    };
    all.into_iter()
        .filter(|mount| !replaced(mount))
        .filter_map(|mount| match mount.destination.to_str() {
            Some("/dev/shm") => shared_memory(record, mount),
            _ => Some(mount),
        })
        .collect()
}

/// A tmpfs of the wished size, the host's, none, or a peer's: that one is put in place by whoever joins it.
fn shared_memory(record: &Record, mut mount: Mount) -> Option<Mount> {
    let host = &record.host_config;
    match host.ipc_mode.as_str() {
        "none" => None,
        "host" => Some(bind("/dev/shm".into(), mount.destination, &["rbind", "rprivate"])),
        mode if mode.starts_with("container:") => {
            Some(bind(PEER_SHM.into(), mount.destination, &["bind", "rprivate"]))
        }
        _ => {
            mount.options.push(format!("size={}", host.shm_size));
            Some(mount)
        }
    }
}

/// Stands for the `/dev/shm` of the container whose IPC namespace is joined; only its descriptor is ever used.
pub(crate) const PEER_SHM: &str = "peer:/dev/shm";

fn files<'a>(
    record: &'a Record,
    folder: &'a Path,
    own: &'a BTreeSet<&Path>,
) -> impl Iterator<Item = Mount> + 'a {
    let options: &[&str] = if record.host_config.readonly_rootfs {
        &["rbind", "rprivate", "ro"]
    } else {
        &["rbind", "rprivate"]
    };
    let place = |name: &str| Path::new("/etc").join(name);
    ["resolv.conf", "hostname", "hosts"]
        .into_iter()
        .filter(move |name| !own.contains(place(name).as_path()))
        .map(move |name| bind(folder.join(name), place(name), options))
}

fn mount(own: &record::Mount) -> Mount {
    if own.kind == MountKind::Tmpfs {
        return Mount {
            destination: own.destination.clone(),
            kind: "tmpfs".into(),
            source: "tmpfs".into(),
            options: own.options.clone(),
            ..Mount::default()
        };
    }
    let mut options = vec![if own.non_recursive { "bind" } else { "rbind" }];
    let propagation = if own.propagation.is_empty() { "rprivate" } else { own.propagation.as_str() };
    options.push(propagation);
    if own.read_only {
        options.push(if own.writable_beneath { "ro" } else { "rro" });
    }
    // Joining nothing would add a slash, which no file has.
    let source = if own.subpath.is_empty() { own.source.clone() } else { own.source.join(&own.subpath) };
    bind(source, own.destination.clone(), &options)
}

fn bind(source: PathBuf, destination: PathBuf, options: &[&str]) -> Mount {
    Mount {
        destination,
        kind: "bind".into(),
        source,
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}
