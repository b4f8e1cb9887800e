//! User namespaces and mounts whose ids are mapped.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use oci::runtime::{IdMapping, Mount, Namespace, NamespaceKind};

use crate::bundle::Bundle;

const MAP: IdMapping = IdMapping { container_id: 0, host_id: 100_000, size: 65_536 };

/// The mapped root is nobody in particular outside, so the bundle is open to all.
fn mapped(bundle: Bundle) -> Bundle {
    std::fs::set_permissions(bundle.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    bundle.with_linux(|linux| {
        linux.namespaces.push(NamespaceKind::User.into());
        (linux.uid_mappings, linux.gid_mappings) = (vec![MAP], vec![MAP]);
    })
}

fn source(bundle: &Bundle, name: &str, owner: u32) {
    let folder = bundle.path(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "content\n").unwrap();
    for path in [folder.join("file"), folder] {
        chown(path, Some(owner), Some(owner)).unwrap();
    }
}

fn bind(source: &str, destination: &str, options: &[&str], maps: &[IdMapping]) -> Mount {
    Mount {
        source: source.into(),
        destination: destination.into(),
        kind: "bind".into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        uid_mappings: maps.into(),
        gid_mappings: maps.into(),
    }
}

#[test]
fn a_user_namespace_of_another_container_is_joined() {
    let first = mapped(Bundle::program(&["sleep", "600"]));
    first.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    let path = format!("/proc/{}/ns/user", first.state()["pid"]);
    let script =
        "readlink /proc/self/ns/user; cat /proc/self/uid_map; id -u; echo x > /dev/null && echo null";
    let second = mapped(Bundle::script(script)).with_linux(|linux| {
        linux.namespaces.retain(|ns| ns.kind != NamespaceKind::User);
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: path.clone().into() });
        linux.uid_mappings.clear();
        linux.gid_mappings.clear();
    });
    let text = second.run().succeeded();
    let words: Vec<_> = text.split_whitespace().collect();
    let joined = std::fs::read_link(path).unwrap().display().to_string();
    assert_eq!(words, [&*joined, "0", "100000", "65536", "0", "null"]);
    second.assert_nothing_left();
}

#[test]
fn a_map_that_is_not_that_of_the_joined_namespace_is_refused() {
    let first = mapped(Bundle::program(&["sleep", "600"]));
    first.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    let path = format!("/proc/{}/ns/user", first.state()["pid"]);
    let second = mapped(Bundle::script("true")).with_linux(|linux| {
        linux.namespaces.retain(|ns| ns.kind != NamespaceKind::User);
        linux.namespaces.push(Namespace { kind: NamespaceKind::User, path: path.into() });
        linux.uid_mappings[0].host_id = 200_000;
    });
    second.run().failed_with("the user namespace to join has other mappings than the config");
    second.assert_nothing_left();
}

#[test]
fn ids_of_a_mount_are_mapped() {
    let bundle = Bundle::script("stat -c '%u:%g' /plain/file /mapped/file");
    source(&bundle, "files", 5);
    let map = IdMapping { container_id: 5, host_id: 7, size: 1 };
    let bundle = bundle.with(|spec| {
        spec.mounts.push(bind("files", "/plain", &["bind"], &[]));
        spec.mounts.push(bind("files", "/mapped", &["rbind"], &[map]));
    });
    assert_eq!(bundle.run().succeeded(), "5:5\n7:7\n");
    bundle.assert_nothing_left();
}

#[test]
fn ids_of_a_mount_are_the_containers() {
    let bundle =
        mapped(Bundle::script("stat -c '%u' /files/file; touch /files/new && stat -c '%u' /files/new"));
    source(&bundle, "files", 0);
    std::fs::create_dir(bundle.path("rootfs/files")).unwrap();
    let bundle = bundle.with(|spec| spec.mounts.push(bind("files", "/files", &["rbind", "idmap"], &[])));
    assert_eq!(bundle.run().succeeded(), "0\n0\n");
    assert_eq!(owner(&bundle.path("files/new")), 0);
}

fn owner(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap())
}

#[test]
fn sources_out_of_the_mapped_roots_reach_are_mounted() {
    let bundle = mapped(Bundle::script("cat /a/file"));
    source(&bundle, "a", 0);
    std::fs::create_dir(bundle.path("rootfs/a")).unwrap();
    std::fs::create_dir(bundle.path("secret")).unwrap();
    std::fs::set_permissions(bundle.path("secret"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::rename(bundle.path("a"), bundle.path("secret/a")).unwrap();
    let bundle = bundle.with(|spec| spec.mounts.push(bind("secret/a", "/a", &["bind"], &[])));
    assert_eq!(bundle.run().succeeded(), "content\n");
}

#[test]
fn maps_are_for_clones_and_whole() {
    let check = |mount: Mount, message: &str| {
        let bundle = Bundle::script("true").with(|spec| spec.mounts.push(mount));
        bundle.run().failed_with(message);
        bundle.assert_nothing_left();
    };
    let tmpfs = Mount { kind: "tmpfs".into(), options: vec![], ..bind("tmpfs", "/x", &[], &[MAP]) };
    check(tmpfs, "id-mapped mounts are only supported for bind-mounts");
    let half = Mount { gid_mappings: vec![], ..bind("/etc", "/x", &["bind"], &[MAP]) };
    check(half, "must have both uid and gid mappings specified");
    check(bind("/etc", "/x", &["bind", "idmap"], &[]), "needs a user namespace");
}
