//! Collecting while clients push: what is of use stays, what is of none goes.

use std::time::Duration;

use oci::Digest;

use crate::world::{World, bytes, files};

const NO_GRACE: Duration = Duration::ZERO;

#[test]
fn what_no_manifest_stands_on_goes() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    let digest = world.push_image("a", "1", b"layer");
    let loose = world.push_blob("a", b"loose");
    assert_eq!(world.server.collect(Duration::from_secs(3600)).unwrap().blobs, 0);
    let collected = world.server.collect(NO_GRACE).unwrap();
    assert_eq!((collected.blobs, collected.bytes), (1, 5));
    assert_eq!(world.get(&format!("/v2/a/blobs/{loose}")).status, 404);
    assert_eq!(world.get("/v2/a/manifests/1").status, 200);
    world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
    world.server.collect(NO_GRACE).unwrap();
    assert_eq!(files(folder.path(), "blobs/sha256"), 0);
    assert_eq!(world.get("/v2/_catalog").text(), r#"{"repositories":[]}"#);
}

#[test]
fn a_blob_of_two_repositories_stays_for_the_other() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    let digest = world.push_image("a", "1", b"layer");
    world.push_image("b", "1", b"layer");
    world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
    world.server.collect(NO_GRACE).unwrap();
    let layer = Digest::sha256(b"layer");
    assert_eq!(world.get(&format!("/v2/b/blobs/{layer}")).body, b"layer");
    assert_eq!(world.get(&format!("/v2/a/blobs/{layer}")).status, 404);
}

#[test]
fn images_pushed_while_it_collects_are_whole() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            for _ in 0..50 {
                world.server.collect(Duration::from_secs(60)).unwrap();
            }
        });
        let mut count = 0;
        while !collecting.is_finished() {
            let digest = world.push_image("a", "1", &bytes(1000 + count));
            let manifest: oci::Manifest =
                serde_json::from_slice(&world.get("/v2/a/manifests/1").body).unwrap();
            assert_eq!(world.get(&format!("/v2/a/blobs/{}", manifest.layers[0].digest)).status, 200);
            world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
            count += 1;
        }
        assert!(count > 0);
    });
}
