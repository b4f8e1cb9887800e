//! Names that stand for an image on several platforms: what is fetched, kept and pushed.

use std::sync::Mutex;

use oci::{Descriptor, Digest, Index, Manifest, Platform, Reference, media_type};
use registry::client::{Access, Action, Credentials, Key, Pull, Pulled, Push, pull, push};
use serde_json::json;
use store::Store;

use super::scene::{Scene, registries, run, wanted};

/// Puts an image for a platform into the registry, by its digest; its entry in an index.
pub(super) fn image(scene: &Scene, repository: &str, platform: &str) -> Descriptor {
    let platform = Platform::parse(platform).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let content = platform.to_string();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, "for", content.as_bytes()).unwrap();
    let layer = builder.into_inner().unwrap();
    let config = json!({
        "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer)]},
    })
    .to_string();
    scene.world.push_blob(repository, &layer);
    scene.world.push_blob(repository, config.as_bytes());
    let layers = vec![Descriptor::of(media_type::OCI_LAYER, &layer)];
    let manifest = Manifest::new(Descriptor::of(media_type::OCI_CONFIG, config.as_bytes()), layers);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::sha256(&manifest);
    assert_eq!(scene.world.put_manifest(repository, digest.as_str(), &manifest).status, 201);
    Descriptor { platform: Some(platform), ..Descriptor::of(media_type::OCI_MANIFEST, &manifest) }
}

/// Puts an index into the registry; its entry in another.
pub(super) fn index(scene: &Scene, repository: &str, key: &str, entries: &[Descriptor]) -> Descriptor {
    let bytes = serde_json::to_vec(&Index::new(entries.to_vec())).unwrap();
    let descriptor = Descriptor::of(media_type::OCI_INDEX, &bytes);
    let key = if key.is_empty() { descriptor.digest.to_string() } else { key.to_owned() };
    let path = format!("/v2/{repository}/manifests/{key}");
    let reply = scene.world.ask("PUT", &path, &[("Content-Type", media_type::OCI_INDEX)], &bytes);
    assert_eq!(reply.status, 201, "{}", reply.text());
    descriptor
}

fn pulled(store: &Store, name: &Reference, platform: &str) -> Result<Pulled, String> {
    let platform = (!platform.is_empty()).then(|| Platform::parse(platform).unwrap());
    let wanted = Pull { platform, ..wanted(name) };
    let pulled = run(pull(&registries(), store, &wanted, &|_| ()));
    pulled.map(|mut all| all.remove(0)).map_err(|error| error.to_string())
}

/// What was pushed, and whether that was less than the index.
fn pushed(store: &Store, name: &Reference, platform: &str) -> Result<(Digest, bool), String> {
    let platform = (!platform.is_empty()).then(|| Platform::parse(platform).unwrap());
    let wanted = Push { reference: name.clone(), platform, credentials: Credentials::Anonymous };
    let told = Mutex::new(false);
    let report = |step: registry::client::Progress| {
        *told.lock().unwrap() |= matches!(step.action, Action::PushedInstead { .. });
    };
    let pushed = run(push(&registries(), store, &wanted, &report)).map_err(|error| error.to_string())?;
    Ok((pushed[0].manifest.digest.clone(), told.into_inner().unwrap()))
}

fn host() -> String {
    Platform::host().to_string()
}

#[test]
fn a_tag_keeps_every_platform_that_was_pulled() {
    let scene = Scene::honest();
    let entries = [image(&scene, "app", "linux/s390x"), image(&scene, "app", &host())];
    let top = index(&scene, "app", "many", &entries);
    let (store, name) = (scene.store("mine"), scene.name("app:many"));
    let ours = pulled(&store, &name, "").unwrap();
    assert_eq!(ours.digest, top.digest);
    assert_eq!(store.variants(&ours.id).unwrap().all.iter().filter(|one| one.is_here).count(), 1);
    let other = pulled(&store, &name, "linux/s390x").unwrap();
    assert_eq!((&other.digest, other.newer), (&top.digest, true));
    // As with dockerd the name means what was pulled last, and the digest with it; nothing else is lost.
    let image = store.image(&other.id).unwrap();
    assert_eq!(image.tags, std::slice::from_ref(&name));
    assert_eq!(image.digests, [name.with_digest(top.digest.clone())]);
    let text = name.familiar();
    assert_eq!(store.resolve_for(&text, Some(&Platform::host())).unwrap(), ours.id);
    assert!(store.variants(&other.id).unwrap().are_whole());
    store.collect().unwrap();
    assert_eq!(store.verify().unwrap(), []);
    // Back again costs no layer.
    scene.double.forget();
    assert_eq!(pulled(&store, &name, "").unwrap().id, ours.id);
    assert_eq!(scene.double.count("GET", "/blobs/"), 0);
    let words = "no matching manifest for linux/riscv64 in the manifest list entries";
    assert_eq!(pulled(&store, &name, "linux/riscv64").unwrap_err(), words);
}

#[test]
fn the_index_is_pushed_if_all_of_it_is_here() {
    let scene = Scene::honest();
    let inner = index(&scene, "app", "", &[image(&scene, "app", &host())]);
    let entries = [image(&scene, "app", "linux/s390x"), inner.clone()];
    let top = index(&scene, "app", "many", &entries);
    let (store, name, copy) = (scene.store("mine"), scene.name("app:many"), scene.name("copy:1"));
    let id = pulled(&store, &name, "").unwrap().id;
    store.tag_like(&id, &copy, Some(&name)).unwrap();
    let (digest, is_less) = pushed(&store, &copy, "").unwrap();
    assert_eq!((&digest, is_less), (&store.image(&id).unwrap().manifest.digest, true));
    let id = pulled(&store, &name, "linux/s390x").unwrap().id;
    store.tag_like(&id, &copy, Some(&name)).unwrap();
    assert_eq!(pushed(&store, &copy, "").unwrap(), (top.digest.clone(), false));
    let repository = registries().repository(&copy, &Credentials::Anonymous, Access::Pull).unwrap();
    assert_eq!(run(repository.manifest(&Key::Tag("1".into()))).unwrap().descriptor.digest, top.digest);
    run(repository.manifest(&Key::Digest(inner.digest))).unwrap();
    // What another pulls from the copy is the same on every platform.
    let other = scene.store("other");
    for platform in ["linux/s390x", &host()] {
        let id = pulled(&other, &copy, platform).unwrap().id;
        assert_eq!(id, store.resolve_for(&name.familiar(), Platform::parse(platform).ok().as_ref()).unwrap());
    }
    let (digest, is_less) = pushed(&store, &copy, &host()).unwrap();
    assert!(!is_less && digest != top.digest);
    let words = pushed(&store, &copy, "linux/riscv64").unwrap_err();
    assert!(
        words.ends_with("was found but does not provide the specified platform (linux/riscv64)"),
        "{words}"
    );
}

#[test]
fn what_an_index_says_is_bounded_and_leaves_nothing_behind() {
    let scene = Scene::honest();
    let store = scene.store("mine");
    // Ten thousand platforms of which none is ours, and attestations.
    let mut entry = image(&scene, "app", "linux/s390x");
    let mut entries = vec![entry.clone(); 10_000];
    entry.platform =
        Some(Platform { os: "unknown".into(), architecture: "unknown".into(), ..Platform::default() });
    entries.push(entry);
    index(&scene, "app", "crowd", &entries);
    let words = format!("no matching manifest for {} in the manifest list entries", host());
    assert_eq!(pulled(&store, &scene.name("app:crowd"), "").unwrap_err(), words);
    // Deeper than anybody needs.
    let mut below = image(&scene, "app", &host());
    for _ in 0..6 {
        below = index(&scene, "app", "", &[below]);
    }
    index(&scene, "app", "deep", &[below]);
    assert_eq!(pulled(&store, &scene.name("app:deep"), "").unwrap_err(), words);
    assert_eq!(store.images().unwrap().len(), 0);
    // With ours among them it is found, and the list is kept as it came.
    entries.push(image(&scene, "app", &host()));
    let top = index(&scene, "app", "found", &entries);
    let id = pulled(&store, &scene.name("app:found"), "").unwrap().id;
    let variants = store.variants(&id).unwrap();
    assert_eq!((variants.target.digest, variants.all.len()), (top.digest, 2));
}

/// A registry may answer anything under a digest: an index that is said to name itself has not its digest.
#[test]
fn an_index_that_names_itself_is_refused() {
    use super::double::Says;
    let digest = Digest::sha256(b"no document has this digest by chance");
    let entry = Descriptor {
        platform: Some(Platform::host()),
        ..Descriptor::new(media_type::OCI_INDEX, digest.clone(), 500)
    };
    let bytes = serde_json::to_vec(&Index::new(vec![entry])).unwrap();
    let scene = Scene::new(move |seen| {
        let is_asked = seen.method == "GET" && seen.path.contains("/manifests/");
        let headers = vec![("Content-Type", media_type::OCI_INDEX.to_owned())];
        is_asked.then(|| Says("200 OK", headers, bytes.clone()))
    });
    let store = scene.store("mine");
    let words = pulled(&store, &scene.name("app:loop"), "").unwrap_err();
    assert_eq!(words, format!("manifest verification failed for digest {digest}"));
    assert_eq!(store.images().unwrap().len(), 0);
}
