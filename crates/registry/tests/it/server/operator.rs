//! What the operator sees and asks for: counters, a collection of a registry that is being served.

use std::time::Duration;

use registry::server::{Collected, ask_to_collect};

use crate::world::World;

#[test]
fn a_served_registry_collects_when_asked() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    // Longer than a socket's address may be.
    let root = folder.path().join("x".repeat(120));
    let world = World::new(&root);
    world.push_image("a", "1", b"layer");
    world.push_blob("a", b"loose");
    let collected = ask_to_collect(&root, Duration::ZERO).unwrap();
    assert_eq!(collected, Collected { bytes: 5, blobs: 1, uploads: 0 });
    assert_eq!(ask_to_collect(&root, Duration::ZERO).unwrap(), Collected::default());
    drop(world);
    let error = ask_to_collect(&root, Duration::ZERO).unwrap_err().to_string();
    assert!(error.starts_with("asking the registry that serves /dev/shm/"), "{error}");
}

#[test]
fn metrics_count_what_is_there() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    world.push_image("a", "1", b"layer");
    world.push_image("b", "1", b"layer");
    world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    let text = world.get("/metrics").text();
    for line in [
        "kogge_registry_repositories 2",
        "kogge_registry_blobs 4",
        "kogge_registry_manifests 2",
        "kogge_registry_uploads 1",
        "kogge_registry_requests_total{method=\"PUT\",status=\"201\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}
