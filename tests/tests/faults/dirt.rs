//! A host as it can look when a daemon, its machine or its containers have died in the worst moment.

use std::fs;
use std::path::Path;

use fixtures::{Client, Host, image, remains};

use crate::witness;

/// Leaves things half-made and without an owner in every place; no daemon runs before and after.
pub(crate) fn make(host: &Host) {
    let daemon = host.start();
    let client = daemon.own();
    client.ok_with(&["import", "-", "spare"], &image::single_file_root("spare", b"spare", 0o644).unwrap());
    let run = ["run", "-d", "--name", "work", "-p", "8081:80", "busybox", "sleep", "1000"];
    let dead = client.ok(&run);
    let dead_pid: i32 = witness::pid(&client, &dead).parse().unwrap();
    let spare = layer_of(&client, "spare");
    daemon.kill();
    // A container dies with its monitor.
    remains::end(&[remains::parent(dead_pid).unwrap()], &format!("{}/{dead}", host.cgroup()));
    let data = host.folder().join("data");
    lose_power(&data.join("store/layers").join(spare));
    // The snapshot of a create is not synced.
    fs::write(data.join("store/snapshots").join(&dead).join("snapshot.json"), "").unwrap();
    rubbish(&data.join("store"));
    let stranger = "5".repeat(64);
    for folder in ["run/containers", "data/containers", "data/store/snapshots"] {
        fs::create_dir_all(host.folder().join(folder).join(&stranger)).unwrap();
    }
    fs::create_dir_all(data.join(format!("containers/removing-{}", "6".repeat(64)))).unwrap();
    fs::create_dir_all(data.join("volumes/half")).unwrap();
    fs::create_dir_all(data.join("volumes/.removing-gone/_data")).unwrap();
    fs::create_dir_all(format!("/sys/fs/cgroup/pids{}/{stranger}", host.cgroup())).unwrap();
    for arguments in ["link add vethlost type veth peer name vethpeer", "link set vethlost master kogge0"] {
        host.ok("ip", &arguments.split(' ').collect::<Vec<_>>());
    }
}

fn layer_of(client: &Client, image: &str) -> String {
    let layer = client.ok(&["inspect", "-f", "{{index .RootFS.Layers 0}}", image]);
    layer.trim_start_matches("sha256:").to_owned()
}

/// As if the layer had been made before the last boot and had not reached the disk.
fn lose_power(layer: &Path) {
    let record = layer.join("layer.json");
    let mut layer: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    layer["boot"] = "another boot".into();
    fs::write(record, layer.to_string()).unwrap();
}

/// Blobs and layers that nothing refers to, and half-made ones.
fn rubbish(store: &Path) {
    fs::write(store.join("content/blobs/sha256").join("7".repeat(64)), "rubbish").unwrap();
    fs::create_dir_all(store.join("layers").join("8".repeat(64)).join("diff")).unwrap();
    fs::create_dir_all(store.join("trash/old/folder")).unwrap();
    fs::write(store.join("ingest/half"), "rubbish").unwrap();
}
