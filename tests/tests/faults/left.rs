//! Nothing without an owner is left: looked for by name, in every place where something could be.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fixtures::{Daemon, Host, remains};

use crate::witness::Witness;

/// Removes all but the witnesses, which must succeed, and looks for remains.
#[track_caller]
pub(crate) fn only(witnesses: &[&Witness], host: &Host, daemon: &Daemon<'_>) {
    clear(witnesses, daemon);
    let ids: BTreeSet<&str> = witnesses.iter().map(|witness| witness.id.as_str()).collect();
    folders(&ids, host);
    // A monitor removes its container's cgroup after it has told the end, off everybody's path.
    assert!(
        remains::comes_true(|| strange_cgroups(&ids, host).is_empty()),
        "cgroups without an owner: {:?}",
        strange_cgroups(&ids, host)
    );
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", daemon.pid())).unwrap();
    let folder = host.folder().display().to_string();
    // The data root may be a disk of its own.
    let of_ours: Vec<_> = mounts.lines().filter(|line| line.contains(&format!("{folder}/"))).collect();
    let is_root = |line: &&str| line.contains(&format!(" {folder}/data "));
    assert!(of_ours.iter().all(is_root), "mounts without an owner:\n{of_ours:#?}");
    // Devices are deleted in batches, off everybody's path.
    assert!(
        remains::comes_true(|| veths(host) == ids.len()),
        "interfaces without an owner:\n{}",
        host.ok("ip", &["link"])
    );
}

/// After all containers, images and volumes were removed: the daemon's end leaves folders alone, and a teardown no
/// trace of it in the kernel.
pub(crate) fn nothing(host: &Host, daemon: Daemon<'_>) {
    only(&[], host, &daemon);
    daemon.own().ok(&["image", "prune", "-af"]);
    daemon.end();
    assert!(
        remains::comes_true(|| host.processes().is_empty()),
        "processes without an owner: {:?}",
        host.processes()
    );
    host.teardown();
    assert_eq!(remains::cgroups(host.cgroup()), Vec::<PathBuf>::new(), "cgroups");
    assert_eq!(host.ok("nft", &["list", "tables"]), "", "rules");
    let links = host.ok("ip", &["-o", "link"]);
    assert_eq!(links.lines().count(), 1, "more than lo:\n{links}");
    for folder in ["data/store/content/blobs/sha256", "data/store/layers"] {
        let left = listed(host, folder);
        assert!(left.iter().all(|name| name == "init"), "{folder} holds {left:?}");
    }
}

#[track_caller]
fn clear(witnesses: &[&Witness], daemon: &Daemon<'_>) {
    let client = daemon.own();
    let containers = client.ok(&["ps", "-aq", "--no-trunc"]);
    for id in containers.lines().filter(|id| !witnesses.iter().any(|witness| witness.id == *id)) {
        client.ok(&["rm", "-f", "-v", id]);
    }
    for volume in client.ok(&["volume", "ls", "-q"]).lines() {
        client.ok(&["volume", "rm", volume]);
    }
    for image in
        client.ok(&["images", "--format", "{{.Repository}}"]).lines().filter(|name| *name != "busybox")
    {
        if image != "<none>" {
            client.ok(&["rmi", image]);
        }
    }
    client.ok(&["image", "prune", "-f"]);
}

#[track_caller]
fn folders(ids: &BTreeSet<&str>, host: &Host) {
    for folder in ["data/containers", "data/store/snapshots", "run/containers", "data/network/endpoints"] {
        let left = listed(host, folder);
        assert_eq!(
            left.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            *ids,
            "{folder}\n{}",
            host.log()
        );
    }
    for folder in ["data/store/ingest", "data/volumes"] {
        let left = listed(host, folder);
        assert!(left.is_empty(), "{folder} holds {left:?}\n{}", host.log());
    }
}

fn listed(host: &Host, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(host.folder().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.map(|name| name.trim_end_matches(".json").to_owned()).collect()
}

fn strange_cgroups(ids: &BTreeSet<&str>, host: &Host) -> Vec<PathBuf> {
    remains::cgroups(host.cgroup())
        .into_iter()
        .filter(|folder| !folder.ends_with(host.cgroup().trim_start_matches('/')))
        .filter(|folder| !ids.iter().any(|id| folder.components().any(|part| part.as_os_str() == *id)))
        .collect()
}

fn veths(host: &Host) -> usize {
    host.ok("ip", &["-o", "link", "show", "type", "veth"]).lines().count()
}
