//! What a pull brings, what it asks for, and what it says.

use fault::Kind;
use oci::{Descriptor, Digest, Index, Platform, media_type};
use registry::client::{Pull, pull};
use store::Owners;

use super::scene::{Scene, Told, pull_with, registries, run, wanted};

#[test]
fn an_image_comes_whole_and_is_named_by_tag_and_digest() {
    let scene = Scene::honest();
    let id = scene.publish("team/app:1", 100_000);
    let (store, name, told) = (scene.store("mine"), scene.name("team/app:1"), Told::default());
    let pulled = run(pull(&registries(), &store, &wanted(&name), &|step| told.take(&step))).unwrap();
    assert_eq!((&pulled[0].id, pulled[0].newer), (&id, true));
    let image = store.image(&id).unwrap();
    assert_eq!(image.tags, std::slice::from_ref(&name));
    assert_eq!(image.digests, [name.with_digest(pulled[0].digest.clone())]);
    assert!(store.verify().unwrap().is_empty());
    let expected = [
        "Pulling from team/app".to_owned(),
        "Pulling fs layer".into(),
        "Verifying Checksum".into(),
        "Download complete".into(),
        "Pull complete".into(),
        format!("Digest: {}", pulled[0].digest),
        format!("Status: Downloaded newer image for {}", name.familiar()),
    ];
    assert_eq!(told.lines(), expected);
}

/// After a repair set a damaged blob aside.
#[test]
fn what_an_image_lost_is_fetched_again() {
    let scene = Scene::honest();
    let id = scene.publish("app:1", 1000);
    index(&scene, &[Platform::host()]);
    for name in ["app:1", "app:many"] {
        let (store, reference) = (scene.store(&name.replace(':', "-")), scene.name(name));
        let digest = run(pull_with(&registries(), &store, &reference)).unwrap()[0].digest.clone();
        let image = store.image(&id).unwrap();
        for lost in [&digest, &id.0, &image.manifest.digest, &image.layers[0].blob.digest] {
            let folder = store.layer_path(&image.layers[0].diff_id).join("../../content/blobs/sha256");
            std::fs::write(folder.join(lost.hex()), b"rot").unwrap();
            store.repair(&Owners::none()).unwrap();
            run(pull_with(&registries(), &store, &reference)).unwrap();
            assert_eq!(store.verify().unwrap(), [], "{name} {lost}");
        }
    }
}

/// Puts an index over `app:1` under `app:many`, as if it were for this platform and another.
fn index(scene: &Scene, platforms: &[Platform]) {
    let manifest = scene.world.get("/v2/app/manifests/1");
    let entry = |platform: &Platform| Descriptor {
        platform: Some(platform.clone()),
        ..Descriptor::of(media_type::OCI_MANIFEST, &manifest.body)
    };
    let index = Index::new(platforms.iter().map(entry).collect());
    let bytes = serde_json::to_vec(&index).unwrap();
    let kind = ("Content-Type", media_type::OCI_INDEX);
    let put = scene.world.ask("PUT", "/v2/app/manifests/many", &[kind], &bytes);
    assert_eq!(put.status, 201, "{}", put.text());
}

fn platform(architecture: &str) -> Platform {
    Platform { os: "linux".into(), architecture: architecture.into(), ..Platform::default() }
}

#[test]
fn an_index_leads_to_the_hosts_platform_and_gives_the_digest() {
    let scene = Scene::honest();
    let id = scene.publish("app:1", 1000);
    index(&scene, &[platform("s390x"), Platform::host()]);
    let (store, name) = (scene.store("mine"), scene.name("app:many"));
    let pulled = run(pull_with(&registries(), &store, &name)).unwrap();
    let of_index = Digest::sha256(&scene.world.get("/v2/app/manifests/many").body);
    assert_eq!((&pulled[0].id, &pulled[0].digest), (&id, &of_index));
}

#[test]
fn a_platform_that_is_not_there_is_named() {
    let scene = Scene::honest();
    scene.publish("app:1", 1000);
    index(&scene, &[platform("s390x")]);
    let store = scene.store("mine");
    let wanted = Pull { platform: Some(platform("riscv64")), ..wanted(&scene.name("app:many")) };
    let error = run(pull(&registries(), &store, &wanted, &|_| ())).unwrap_err();
    assert!(
        error.to_string().contains("no matching manifest for linux/riscv64 in the manifest list entries"),
        "{error}"
    );
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn what_is_not_there_is_told_as_dockerd_tells_it() {
    let scene = Scene::honest();
    scene.publish("app:1", 1000);
    let store = scene.store("mine");
    let refusal = |name: &str| run(pull_with(&registries(), &store, &scene.name(name))).unwrap_err();
    let error = refusal("app:9");
    assert_eq!(error.kind(), Kind::NotFound);
    let name = scene.name("app:9").familiar();
    assert!(
        error.to_string().starts_with(&format!("manifest for {name} not found: manifest unknown")),
        "{error}"
    );
}
