//! A full disk: the push fails and says so, nothing of it stays, pulls go on, and pushes too once there is room.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use oci::Digest;

use crate::world::{World, bytes, files};

/// A small file system that nobody else sees, and where it can be reached.
fn small() -> (OwnedFd, PathBuf) {
    let options = [("size", Some("8m"))];
    let mount = sys::mount::new_filesystem("tmpfs", None, &options, sys::mount::Attributes::NONE).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    (mount, path)
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let (_mount, root) = small();
    let world = World::new(&root);
    world.push_image("a", "1", b"layer");
    let big = bytes(9 << 20);
    let digest = Digest::sha256(&big);
    for _ in 0..3 {
        let refused = world.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], &big);
        assert_eq!(refused.status, 507, "{}", refused.text());
        assert_eq!(files(&root, "uploads"), 0);
    }
    assert_eq!(world.get("/v2/a/manifests/1").status, 200);
    world.push_image("a", "2", b"another layer");
}

/// The catalog's own file cannot grow: what redb refuses after that must not last.
#[test]
fn a_catalog_without_room_comes_back() {
    let (_mount, root) = small();
    let world = World::new(&root);
    world.push_image("a", "1", b"layer");
    let mut filler = vec![0; 8 << 20];
    while std::fs::write(root.join("filler"), &filler).is_err() {
        filler.truncate(filler.len().saturating_sub(4096));
    }
    let refused = (0..2000).find_map(|number| {
        let content = format!("content {number}");
        let digest = Digest::sha256(content.as_bytes());
        let reply =
            world.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], content.as_bytes());
        (reply.status != 201).then_some(reply.status)
    });
    assert_eq!(refused, Some(507));
    assert_eq!(world.get("/v2/a/manifests/1").status, 200);
    std::fs::remove_file(root.join("filler")).unwrap();
    world.push_image("a", "2", b"another layer");
    world.server.collect(Duration::ZERO).unwrap();
    assert_eq!(world.get("/v2/a/manifests/2").status, 200);
}
