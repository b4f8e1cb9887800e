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
        let pushing = scope.spawn(|| {
            for count in 0..50 {
                let digest = world.push_image("a", "1", &bytes(1000 + count));
                let manifest: oci::Manifest =
                    serde_json::from_slice(&world.get("/v2/a/manifests/1").body).unwrap();
                assert_eq!(world.get(&format!("/v2/a/blobs/{}", manifest.layers[0].digest)).status, 200);
                world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"");
            }
        });
        while !pushing.is_finished() {
            world.server.collect(Duration::from_secs(60)).unwrap();
        }
        pushing.join().unwrap();
    });
}

/// Without any grace, and while clients push in every order: whatever was acknowledged and stands in a manifest is there.
#[test]
fn a_collection_without_grace_takes_nothing_that_a_push_relies_on() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    std::thread::scope(|scope| {
        let pushing: Vec<_> = (0..3)
            .map(|client| {
                let world = &world;
                scope.spawn(move || {
                    for number in 0..40 {
                        // The same layers come and go in several repositories.
                        let layer = bytes(1000 + number % 5);
                        let pushed = push(world, &format!("repository{client}"), &layer);
                        if number % 3 == 0
                            && let Some(digest) = pushed
                        {
                            let path = format!("/v2/repository{client}/manifests/{digest}");
                            world.ask("DELETE", &path, &[], b"");
                        }
                    }
                })
            })
            .collect();
        while !pushing.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            world.server.collect(NO_GRACE).unwrap();
        }
    });
    for client in 0..3 {
        let name = format!("repository{client}");
        let found = world.get(&format!("/v2/{name}/manifests/1"));
        if found.status == 200 {
            let manifest: oci::Manifest = serde_json::from_slice(&found.body).unwrap();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let blob = world.get(&format!("/v2/{name}/blobs/{}", blob.digest));
                assert_eq!(blob.status, 200, "{name}");
            }
        }
    }
}

/// A push whose blobs may be collected in its middle, since there is no grace; then its manifest is refused.
fn push(world: &World, name: &str, layer: &[u8]) -> Option<Digest> {
    world.push_blob(name, crate::world::CONFIG);
    world.push_blob(name, layer);
    let manifest = crate::world::image(layer);
    let put = world.put_manifest(name, "1", &manifest);
    assert!(put.status == 201 || put.code() == "MANIFEST_BLOB_UNKNOWN", "{}", put.text());
    (put.status == 201).then(|| Digest::sha256(&manifest))
}
