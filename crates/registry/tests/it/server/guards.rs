//! Who may do what: passwords, a registry that only reads, quotas, methods, TLS.

use std::time::Duration;

use base64::Engine as _;
use oci::Digest;
use registry::server::{Config, Quota, Server};

use crate::world::{World, bytes};

fn basic(user: &str, password: &str) -> String {
    let text = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

#[test]
fn a_password_file_shuts_others_out() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let world =
        World::with(Config { htpasswd: Some(file), realm: "ours".into(), ..Config::new(folder.path()) });
    let refused = world.get("/v2/");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Basic realm=\"ours\""));
    let ask = |authorization: &str| world.ask("GET", "/v2/", &[("Authorization", authorization)], b"").status;
    assert_eq!(ask(&basic("ann", "secret")), 200);
    assert_eq!(ask(&basic("ann", "wrong")), 401);
    assert_eq!(ask(&basic("bob", "secret")), 401);
    for other in ["Bearer x", "Basic %", "Basic", "Basic YQ=="] {
        assert_eq!(ask(other), 401, "{other}");
    }
}

#[test]
fn a_registry_that_only_reads_takes_nothing() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let digest = World::new(folder.path()).push_blob("a", b"content");
    let world = World::with(Config { read_only: true, ..Config::new(folder.path()) });
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).body, b"content");
    assert_eq!(world.ask("POST", "/v2/a/blobs/uploads/", &[], b"").status, 405);
    assert_eq!(world.ask("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"").status, 405);
}

#[test]
fn deletion_can_be_switched_off_but_not_that_of_uploads() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::with(Config { deletion: false, ..Config::new(folder.path()) });
    let digest = world.push_blob("a", b"content");
    let refused = world.ask("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"");
    assert_eq!((refused.status, refused.code().as_str()), (405, "UNSUPPORTED"));
    assert_eq!(refused.header("allow"), "GET, HEAD, DELETE");
    let begun = world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    assert_eq!(world.ask("DELETE", begun.header("location"), &[], b"").status, 204);
}

#[test]
fn a_quota_bounds_what_is_below_its_prefix() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let quotas = vec![Quota { prefix: "team".into(), bytes_max: 1500 }];
    let world = World::with(Config { quotas, ..Config::new(folder.path()) });
    world.push_blob("team/a", &bytes(1000));
    // What is there already does not count again.
    world.push_blob("team/a", &bytes(1000));
    let second = bytes(600);
    let digest = Digest::sha256(&second);
    let path = format!("/v2/team/b/blobs/uploads/?digest={digest}");
    let refused = world.ask("POST", &path, &[], &second);
    assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"));
    assert!(refused.text().contains("quota of team exceeded: 1000 of 1500 bytes"), "{}", refused.text());
    world.push_blob("teams/b", &second);
    assert_eq!(
        world.ask("POST", &format!("/v2/team/b/blobs/uploads/?mount={digest}&from=teams/b"), &[], b"").status,
        403
    );
}

#[test]
fn what_a_quota_has_no_room_for_is_refused_before_it_came() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let quotas = vec![Quota { prefix: String::new(), bytes_max: 1500 }];
    let world = World::with(Config { quotas, ..Config::new(folder.path()) });
    let begun = world.ask("POST", "/v2/a/blobs/uploads/", &[], b"");
    let place = begun.header("location").to_owned();
    assert_eq!(world.ask("PATCH", &place, &[], &bytes(1000)).status, 202);
    let mut client = world.client();
    client.send("PATCH", &place, &[], 1 << 40, b"");
    let refused = client.reply("PATCH");
    assert_eq!((refused.status, refused.code().as_str()), (403, "DENIED"));
    assert!(refused.text().contains("quota of the registry exceeded"), "{}", refused.text());
    assert_eq!(crate::world::files(folder.path(), "uploads"), 0);
}

#[test]
fn a_refusal_reaches_a_client_that_still_sends() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("htpasswd");
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
    let world = World::with(Config { htpasswd: Some(file), ..Config::new(folder.path()) });
    let refused = world.ask("POST", "/v2/a/blobs/uploads/?digest=x", &[], &bytes(5_000_000));
    assert_eq!(refused.status, 401);
    assert_eq!(world.get("/metrics").status, 401);
}

#[test]
fn wrong_paths_and_methods_are_told_apart() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    assert_eq!(world.get("/v1/").status, 404);
    assert_eq!(world.get("/v2/UPPER/tags/list").code(), "NAME_INVALID");
    assert_eq!(world.ask("POST", "/v2/a/tags/list", &[], b"").status, 405);
    assert_eq!(world.ask("PUT", "/v2/a/manifests/1", &[], b"{}").code(), "MANIFEST_INVALID");
    let metrics = world.get("/metrics").text();
    assert!(metrics.contains("kogge_registry_requests_total{method=\"GET\",status=\"404\"} 1"), "{metrics}");
}

#[test]
fn a_folder_is_served_once_and_a_wrong_file_is_named() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let _world = World::new(folder.path());
    let error = Server::open(Config::new(folder.path())).unwrap_err().to_string();
    assert!(error.ends_with("another process serves it"), "{error}");
    let other = folder.path().join("other");
    let missing = Config { htpasswd: Some("/nowhere".into()), ..Config::new(&other) };
    let error = Server::open(missing).unwrap_err().to_string();
    assert!(error.contains("/nowhere"), "{error}");
    let tls = Some(("/nowhere.crt".into(), "/nowhere.key".into()));
    let missing = Config { tls, collect_every: Duration::ZERO, ..Config::new(&other) };
    let error = Server::open(missing).unwrap_err().to_string();
    assert!(error.contains("/nowhere.crt"), "{error}");
}
