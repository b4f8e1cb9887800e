//! A server that has the images of another registry: our own, or a double that does not do its part.

use std::path::Path;
use std::time::Duration;

use oci::{Digest, media_type};
use registry::client::Credentials;
use registry::server::{Config, Upstream};

use crate::client::scene;
use crate::faulty::double::{Auth, Double, Effect};
use crate::world::{CONFIG, Reply, World, bytes, files, image};

/// A double that has an image of one layer, `app:1`.
fn upstream(layer: &[u8]) -> Double {
    let double = Double::start();
    double.put_blob("app", CONFIG);
    double.put_blob("app", layer);
    double.put_manifest("app", "1", media_type::OCI_MANIFEST, &image(layer));
    double
}

pub(super) fn config(root: &Path, host: &str) -> Config {
    let location = format!("http://{host}");
    Config { upstreams: vec![Upstream { location, ..Upstream::default() }], ..Config::new(root) }
}

struct Scene {
    folder: tempfile::TempDir,
    world: World,
}

impl Scene {
    fn new(host: &str) -> Self {
        Self::with(host, |config| config)
    }

    fn with(host: &str, change: impl FnOnce(Config) -> Config) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let world = World::with(change(config(folder.path(), host)));
        Self { folder, world }
    }

    fn blob(&self, bytes: &[u8]) -> Reply {
        self.world.get(&format!("/v2/app/blobs/{}", Digest::sha256(bytes)))
    }

    fn stored(&self) -> usize {
        files(self.folder.path(), "blobs/sha256")
    }

    fn counter(&self, name: &str) -> u64 {
        let text = self.world.get("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn count(double: &Double, begins: &str) -> usize {
    double.state().log.iter().filter(|seen| seen.line().starts_with(begins)).count()
}

#[test]
fn an_image_is_fetched_once() {
    let layer = bytes(3_000_000);
    let double = upstream(&layer);
    let scene = Scene::new(&double.host());
    for _ in 0..2 {
        let manifest = scene.world.get("/v2/app/manifests/1");
        assert_eq!((manifest.status, &manifest.body), (200, &image(&layer)), "{}", manifest.text());
        assert_eq!(manifest.header("content-type"), media_type::OCI_MANIFEST);
        for content in [CONFIG, &layer] {
            let blob = scene.blob(content);
            assert!((blob.status, blob.body.as_slice()) == (200, content), "{}", blob.status);
            assert_eq!(blob.header("docker-content-digest"), Digest::sha256(content).as_str());
        }
    }
    assert_eq!((count(&double, "GET /v2/app/blobs/"), count(&double, "GET /v2/app/manifests/")), (2, 1));
    assert_eq!((scene.stored(), files(scene.folder.path(), "uploads")), (3, 0));
    assert_eq!(scene.counter("kogge_registry_cache_misses_total"), 3);
}

#[test]
fn our_client_pulls_through_our_server() {
    let origin = scene::Scene::honest();
    let id = origin.publish("team/app:1", 400_000);
    let through = Scene::new(&origin.world.address.to_string());
    let name = oci::Reference::parse(&format!("{}/team/app:1", through.world.address)).unwrap();
    let pulled = scene::run(scene::pull_with(&scene::registries(), &origin.store("mine"), &name)).unwrap();
    assert_eq!(pulled[0].id, id);
    assert_eq!(through.world.get("/v2/team/app/tags/list").text(), r#"{"name":"team/app","tags":["1"]}"#);
    drop(origin);
    assert_eq!(through.world.get("/v2/team/app/manifests/1").status, 200);
    assert_eq!(through.world.get("/v2/team/app/tags/list").text(), r#"{"name":"team/app","tags":["1"]}"#);
}

#[test]
fn the_first_asker_gets_bytes_while_they_come_and_others_follow() {
    let layer = bytes(2_000_000);
    let double = upstream(&layer);
    let begins = format!("GET /v2/app/blobs/{}", Digest::sha256(&layer));
    double.fault(&begins, 1, Effect::Hang(1_000_000));
    let scene = Scene::new(&double.host());
    let asking = |scene: &Scene| {
        let mut client = scene.world.client();
        client.send("GET", &format!("/v2/app/blobs/{}", Digest::sha256(&layer)), &[], 0, b"");
        client
    };
    let (mut one, mut other) = (asking(&scene), asking(&scene));
    // The upstream registry hangs, and half of it is here already.
    assert_eq!(one.begun(500_000).len(), 500_000);
    assert_eq!(other.begun(500_000), layer[..500_000]);
    assert_eq!(count(&double, "GET /v2/app/blobs/"), 1);
}

#[test]
fn many_at_once_are_one_fetch() {
    let layer = bytes(2_000_000);
    let double = upstream(&layer);
    let scene = Scene::new(&double.host());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                assert_eq!(scene.world.get("/v2/app/manifests/1").status, 200);
                assert!(scene.blob(&layer).body == layer);
            });
        }
    });
    assert_eq!((count(&double, "GET /v2/app/blobs/"), count(&double, "GET /v2/app/manifests/")), (1, 1));
}

#[test]
fn a_blob_that_has_not_its_digest_breaks_the_answer_and_is_not_kept() {
    let layer = bytes(1_000_000);
    let double = upstream(&layer);
    let begins = format!("GET /v2/app/blobs/{}", Digest::sha256(&layer));
    double.fault(&begins, 1, Effect::Spoil);
    let scene = Scene::new(&double.host());
    let path = format!("/v2/app/blobs/{}", Digest::sha256(&layer));
    let broken = scene.world.client().try_ask("GET", &path, &[], b"");
    assert!(broken.is_err(), "{:?}", broken.map(|reply| reply.status));
    assert_eq!((scene.stored(), files(scene.folder.path(), "uploads")), (0, 0));
    assert!(scene.blob(&layer).body == layer);
}

#[test]
fn manifests_have_to_be_what_they_are_called() {
    let layer = bytes(100);
    let double = upstream(&layer);
    double.fault("GET /v2/app/manifests/", 1, Effect::Spoil);
    let scene = Scene::new(&double.host());
    let path = format!("/v2/app/manifests/{}", Digest::sha256(&image(&layer)));
    assert_eq!(scene.world.get(&path).status, 502);
    assert_eq!(scene.stored(), 0);
    assert_eq!(scene.world.get(&path).status, 200);
}

#[test]
fn lengths_that_lie_break_the_answer() {
    let layer = bytes(1_000_000);
    for length in [900_000, 1_100_000] {
        let double = upstream(&layer);
        let begins = format!("GET /v2/app/blobs/{}", Digest::sha256(&layer));
        double.fault(&begins, 9, Effect::Length(length));
        let scene = Scene::new(&double.host());
        let path = format!("/v2/app/blobs/{}", Digest::sha256(&layer));
        let broken = scene.world.client().try_ask("GET", &path, &[], b"");
        assert!(broken.is_err(), "{length}: {:?}", broken.map(|reply| reply.status));
        assert_eq!(scene.stored(), 0);
    }
}

#[test]
fn a_cut_goes_on_and_clients_do_not_notice() {
    let layer = bytes(3_000_000);
    let double = upstream(&layer);
    let begins = format!("GET /v2/app/blobs/{}", Digest::sha256(&layer));
    for at in [700_000, 900_000, 0, 600_000] {
        double.fault(&begins, 1, Effect::Cut(at));
    }
    let scene = Scene::new(&double.host());
    assert!(scene.blob(&layer).body == layer);
    let without_length = upstream(&layer);
    without_length.fault(&begins, 1, Effect::NoLength);
    let scene = Scene::new(&without_length.host());
    assert!(scene.blob(&layer).body == layer);
}

#[test]
fn parts_come_after_the_whole() {
    let layer = bytes(1_000_000);
    let double = upstream(&layer);
    let scene = Scene::new(&double.host());
    let path = format!("/v2/app/blobs/{}", Digest::sha256(&layer));
    let part = scene.world.ask("GET", &path, &[("Range", "bytes=10-19")], b"");
    assert_eq!((part.status, part.body.as_slice()), (206, &layer[10..20]));
    assert_eq!(scene.world.ask("HEAD", &path, &[], b"").header("content-length"), "1000000");
}

#[test]
fn a_head_fetches_nothing() {
    let layer = bytes(1000);
    let double = upstream(&layer);
    let scene = Scene::new(&double.host());
    let head = scene.world.ask("HEAD", &format!("/v2/app/blobs/{}", Digest::sha256(&layer)), &[], b"");
    assert_eq!((head.status, head.header("content-length")), (200, "1000"));
    assert_eq!(scene.stored(), 0);
}

#[test]
fn tags_are_asked_for_again_after_their_time() {
    let (old, new) = (bytes(100), bytes(200));
    let double = upstream(&old);
    let scene = Scene::with(&double.host(), |config| Config { cache_ttl: Duration::ZERO, ..config });
    let digest =
        |scene: &Scene| scene.world.get("/v2/app/manifests/1").header("docker-content-digest").to_owned();
    let first = double.put_manifest("app", "1", media_type::OCI_MANIFEST, &image(&old));
    assert_eq!(digest(&scene), first.as_str());
    assert_eq!(digest(&scene), first.as_str());
    assert_eq!((count(&double, "GET /v2/app/man"), count(&double, "HEAD /v2/app/man")), (1, 1));
    let second = double.put_manifest("app", "1", media_type::OCI_MANIFEST, &image(&new));
    assert_eq!(digest(&scene), second.as_str());
    // Who knows the old one by its digest still gets it, from here.
    assert_eq!(scene.world.get(&format!("/v2/app/manifests/{first}")).status, 200);
    double.state().manifests.clear();
    assert_eq!(scene.world.get("/v2/app/manifests/1").code(), "MANIFEST_UNKNOWN");
}

#[test]
fn what_is_here_is_served_when_nobody_answers() {
    let layer = bytes(1000);
    let double = upstream(&layer);
    let ttl = |config| Config { cache_ttl: Duration::ZERO, ..config };
    let scene = Scene::with(&double.host(), ttl);
    assert_eq!(scene.world.get("/v2/app/manifests/1").status, 200);
    assert!(scene.blob(&layer).body == layer);
    double.fault("HEAD /v2/app/manifests/", 9, Effect::Answer(503, vec![], vec![]));
    assert_eq!(scene.world.get("/v2/app/manifests/1").status, 200);
    assert_eq!(scene.counter("kogge_registry_cache_stale_total"), 1);
    double.fault("GET ", 99, Effect::Answer(429, vec![], vec![]));
    // What is not here is not there, and says why.
    assert_eq!(scene.world.get("/v2/app/manifests/2").status, 429);
    assert_eq!(scene.blob(b"other").status, 429);
    // After a restart as well.
    let Scene { folder, world } = scene;
    let address = "127.0.0.1:1";
    drop(world);
    let scene = Scene { world: World::with(ttl(config(folder.path(), address))), folder };
    assert_eq!(scene.world.get("/v2/app/manifests/1").status, 200);
    assert!(scene.blob(&layer).body == layer);
}

#[test]
fn what_is_missing_is_not_asked_for_at_once_again() {
    let double = upstream(b"layer");
    let scene = Scene::new(&double.host());
    let wanted = Digest::sha256(b"other");
    for _ in 0..3 {
        assert_eq!(scene.world.get("/v2/app/manifests/2").code(), "MANIFEST_UNKNOWN");
        assert_eq!(scene.world.get(&format!("/v2/app/blobs/{wanted}")).code(), "BLOB_UNKNOWN");
    }
    assert_eq!((count(&double, "GET /v2/app/manifests/2"), count(&double, "GET /v2/app/blobs/")), (1, 1));
}

#[test]
fn nothing_can_be_pushed_or_deleted() {
    let double = upstream(b"layer");
    let scene = Scene::new(&double.host());
    let digest = Digest::sha256(b"layer");
    for (method, path) in [
        ("POST", "/v2/app/blobs/uploads/".to_owned()),
        ("PUT", "/v2/app/manifests/2".into()),
        ("DELETE", "/v2/app/manifests/1".into()),
        ("DELETE", format!("/v2/app/blobs/{digest}")),
    ] {
        let refused = scene.world.ask(method, &path, &[], b"");
        assert_eq!((refused.status, refused.code().as_str()), (405, "UNSUPPORTED"), "{method} {path}");
    }
}

#[test]
fn a_blob_of_another_repository_is_not_given_away() {
    let layer = bytes(1000);
    let double = upstream(&layer);
    let scene = Scene::new(&double.host());
    assert_eq!(scene.blob(&layer).status, 200);
    let path = format!("/v2/other/blobs/{}", Digest::sha256(&layer));
    assert_eq!(scene.world.get(&path).code(), "BLOB_UNKNOWN");
    let third = format!("/v2/third/blobs/{}", Digest::sha256(&layer));
    double.put_blob("third", &layer);
    assert!(scene.world.get(&third).body == layer);
    assert_eq!((count(&double, "GET /v2/third/"), count(&double, "HEAD /v2/third/")), (0, 1));
}

#[test]
fn prefixes_and_namespaces_lead_to_several_registries() {
    let (one, other) = (upstream(b"one"), upstream(b"other"));
    let scene = Scene::with(&one.host(), |config| {
        let location = format!("http://{}", other.host());
        let prefix = Upstream { prefix: "other".into(), location, ..Upstream::default() };
        let mine = Upstream { prefix: "hub".into(), ..config.upstreams[0].clone() };
        Config { upstreams: vec![mine, prefix], ..config }
    });
    assert_eq!(scene.world.get("/v2/hub/app/manifests/1").body, image(b"one"));
    assert_eq!(scene.world.get("/v2/other/app/manifests/1").body, image(b"other"));
    let named = |host: &str| scene.world.get(&format!("/v2/app/manifests/1?ns={host}"));
    assert_eq!(named(&other.host()).body, image(b"other"));
    assert_eq!(named("quay.io").status, 404);
    // Beside them is room for our own.
    scene.world.push_image("mine", "1", b"layer");
    assert_eq!(scene.world.get("/v2/_catalog").text(), r#"{"repositories":["hub/app","mine","other/app"]}"#);
}

#[test]
fn the_upstream_registry_s_password_is_sent_there() {
    let double = upstream(b"layer");
    double.state().auth = Auth::Bearer { user: Some(("me", "secret")), uses: 9 };
    let with = |credentials: Credentials| {
        Scene::with(&double.host(), |mut config| {
            config.upstreams[0].credentials = credentials;
            config
        })
    };
    let known = with(Credentials::Basic { user: "me".into(), password: "secret".into() });
    assert_eq!(known.world.get("/v2/app/manifests/1").status, 200);
    assert_eq!(known.blob(b"layer").status, 200);
    assert_eq!(with(Credentials::Anonymous).world.get("/v2/app/manifests/1").status, 404);
}

#[test]
fn the_longest_unused_makes_room() {
    let double = Double::start();
    let scene = Scene::with(&double.host(), |config| Config { cache_bytes_max: Some(2_500_000), ..config });
    let layers: Vec<Vec<u8>> = (0..4).map(|number| bytes(1_000_000 + number)).collect();
    for (age, layer) in layers.iter().enumerate() {
        double.put_blob("app", layer);
        assert!(scene.blob(layer).body == *layer);
        // Older than it is, so that the order does not hang on the clock.
        let path = scene.folder.path().join("blobs/sha256").join(Digest::sha256(layer).hex());
        if let Ok(file) = std::fs::File::open(path) {
            let time = sys::time::Timestamp::new(1_000_000 + age as i64, 0);
            sys::fs::set_times(&file, time, time).unwrap();
        }
    }
    // Room is made behind the answer.
    while scene.stored() > 2 {
        std::thread::yield_now();
    }
    assert!(layers.iter().all(|layer| scene.blob(layer).body == *layer));
}

#[test]
fn what_was_on_its_way_when_the_process_ended_is_no_blob() {
    let layer = bytes(2_000_000);
    let double = upstream(&layer);
    let begins = format!("GET /v2/app/blobs/{}", Digest::sha256(&layer));
    double.fault(&begins, 1, Effect::Hang(1_000_000));
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = folder.path().join("registry");
    let process = super::crash::Process::start_through(&root, &double.host());
    let mut client = crate::world::Client::connect(process.address).unwrap();
    client.send("GET", &format!("/v2/app/blobs/{}", Digest::sha256(&layer)), &[], 0, b"");
    assert_eq!(client.begun(900_000).len(), 900_000);
    process.kill();
    assert_eq!((files(&root, "blobs/sha256"), files(&root, "uploads")), (0, 1));
    let world = World::with(config(&root, &double.host()));
    assert!(world.get(&format!("/v2/app/blobs/{}", Digest::sha256(&layer))).body == layer);
}
