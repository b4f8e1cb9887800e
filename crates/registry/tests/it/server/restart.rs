//! What was acknowledged is there after a restart, and an upload goes on where it was.

use oci::Digest;
use registry::server::Config;

use crate::world::{World, bytes};

#[test]
fn images_and_uploads_outlive_the_process() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let content = bytes(2000);
    let (digest, place) = {
        let world = World::new(folder.path());
        let digest = world.push_image("a", "1", b"layer");
        let begun = world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
        let place = begun.header("location").to_owned();
        assert_eq!(world.ask("PATCH", &place, &[], &content[..500]).status, 202);
        (digest, place)
    };
    let world = World::with(Config::new(folder.path()));
    assert_eq!(world.get("/v2/a/manifests/1").header("docker-content-digest"), digest.as_str());
    assert_eq!(world.get(&place).header("range"), "0-499");
    let whole = Digest::sha256(&content);
    let last = world.ask("PUT", &format!("{place}?digest={whole}"), &[], &content[500..]);
    assert_eq!(last.status, 201, "{}", last.text());
    assert_eq!(world.get(&format!("/v2/a/blobs/{whole}")).body, content);
}
