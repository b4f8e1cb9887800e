//! Connections cut, servers that fail and lie: nothing wrong is believed, nothing right is fetched twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci::Digest;

use super::double::{Fault, Seen};
use super::scene::{Scene, pull_with, registries, run};

fn is_blob(seen: &Seen) -> bool {
    seen.method == "GET" && seen.path.contains("/blobs/")
}

/// Breaks the answers to the first so many requests that fit.
fn first(
    count: usize,
    fits: impl Fn(&Seen) -> bool + Send + 'static,
    fault: Fault,
) -> impl FnMut(&Seen) -> Option<Fault> + Send + 'static {
    let done = Arc::new(AtomicUsize::new(0));
    move |seen| (fits(seen) && done.fetch_add(1, Ordering::Relaxed) < count).then(|| fault.clone())
}

const SIZE: usize = 3_000_000;

/// Pulls through a double with this rule; the scene, to look at what was asked.
#[track_caller]
fn pulls_in_spite_of(rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) -> Scene {
    let scene = Scene::new(rule);
    let id = scene.publish("app:1", SIZE);
    let store = scene.store("mine");
    let pulled = run(pull_with(&registries(), &store, &scene.name("app:1"))).unwrap();
    assert_eq!(pulled[0].id, id);
    assert!(store.verify().unwrap().is_empty());
    scene
}

/// A pull that fails; its words. Nothing of it is to be seen.
#[track_caller]
fn fails_because_of(rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) -> String {
    let scene = Scene::new(rule);
    scene.publish("app:1", 1000);
    let store = scene.store("mine");
    let error = run(pull_with(&registries(), &store, &scene.name("app:1"))).unwrap_err();
    assert!(store.images().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(scene.folder().join("mine/content/blobs/sha256")).unwrap().count(), 0);
    error.to_string()
}

#[test]
fn a_cut_blob_goes_on_where_it_was_cut() {
    for at in [0, 1, 100, 5000] {
        // Each blob twice: the config is fetched whole again, a layer from where it was.
        let mut cuts = std::collections::HashMap::<String, usize>::new();
        let scene = pulls_in_spite_of(move |seen| {
            let count = cuts.entry(seen.path.clone()).or_default();
            *count += 1;
            (is_blob(seen) && *count <= 2).then_some(Fault::Cut(at))
        });
        let is_resumed = scene.double.seen().iter().any(|seen| seen.header("range").is_some());
        assert_eq!(is_resumed, at > 0, "cut at {at}");
    }
}

#[test]
fn a_server_that_forgets_ranges_is_read_from_the_beginning() {
    let cut = Arc::new(AtomicUsize::new(0));
    let scene = pulls_in_spite_of(move |seen| {
        if !is_blob(seen) {
            return None;
        }
        Some(if cut.fetch_add(1, Ordering::Relaxed) < 2 { Fault::Cut(5000) } else { Fault::ForgetRange })
    });
    assert!(scene.double.seen().iter().any(|seen| seen.header("range").is_some()));
}

#[test]
fn a_busy_server_is_asked_again() {
    for status in ["503 Service Unavailable", "500 Internal Server Error", "429 Too Many Requests"] {
        let headers = vec![("Retry-After", "0".to_owned())];
        pulls_in_spite_of(first(2, is_blob, Fault::Say(status, headers, Vec::new())));
    }
}

#[test]
fn a_tampered_blob_is_refused() {
    let words = fails_because_of(|seen| is_blob(seen).then_some(Fault::Tamper));
    assert!(words.contains("verification failed") || words.contains("digest"), "{words}");
}

#[test]
fn a_tampered_manifest_is_refused() {
    let by_digest = |seen: &Seen| seen.method == "GET" && seen.path.contains("/manifests/");
    let other =
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;
    let headers = vec![
        ("Content-Type", oci::media_type::OCI_MANIFEST.to_owned()),
        ("Docker-Content-Digest", Digest::sha256(b"another").to_string()),
    ];
    let words = fails_because_of(move |seen| {
        by_digest(seen).then(|| Fault::Say("200 OK", headers.clone(), other.to_vec()))
    });
    assert!(words.contains("digest") || words.contains("manifest"), "{words}");
}

#[test]
fn a_blob_longer_than_the_manifest_says_is_refused() {
    fails_because_of(|seen| is_blob(seen).then_some(Fault::Longer(10)));
}

#[test]
fn an_old_manifest_is_refused_by_name() {
    let manifest = br#"{"schemaVersion":1,"name":"app","tag":"1","fsLayers":[],"history":[]}"#;
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let words = fails_because_of(move |seen| {
        let headers = vec![("Content-Type", kind.to_owned())];
        (seen.method != "HEAD" && seen.path.contains("/manifests/"))
            .then(|| Fault::Say("200 OK", headers, manifest.to_vec()))
    });
    assert!(words.contains("v1+prettyjws") || words.contains("schema"), "{words}");
}

#[test]
fn what_a_dropped_pull_had_is_not_fetched_again() {
    let scene = Scene::honest();
    scene.publish("app:1", SIZE);
    let (store, name, registries) = (scene.store("mine"), scene.name("app:1"), registries());
    run(async {
        let (begun, mut wait) = tokio::sync::mpsc::unbounded_channel();
        let report = move |step: registry::client::Progress| {
            if let registry::client::Action::Downloading(amount) = step.action
                && amount.current > 0
            {
                begun.send(()).unwrap_or_default();
            }
        };
        let wanted = super::scene::wanted(&name);
        tokio::select! {
            _ = registry::client::pull(&registries, &store, &wanted, &report) => {}
            _ = wait.recv() => {}
        }
        pull_with(&registries, &store, &name).await.unwrap();
    });
    assert!(store.verify().unwrap().is_empty());
}
