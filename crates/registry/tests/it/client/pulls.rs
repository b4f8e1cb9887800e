//! What a pull brings, what it asks for, and what it says.

use fault::Kind;
use oci::{Descriptor, Digest, Index, Platform, media_type};
use registry::client::{Pull, pull};

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

#[test]
fn pulling_again_asks_for_the_manifest_alone() {
    let scene = Scene::honest();
    scene.publish("app:1", 1000);
    let (store, name, registries) = (scene.store("mine"), scene.name("app:1"), registries());
    run(async {
        pull_with(&registries, &store, &name).await.unwrap();
        scene.double.forget();
        let told = Told::default();
        let again = pull(&registries, &store, &wanted(&name), &|step| told.take(&step)).await.unwrap();
        assert!(!again[0].newer);
        assert_eq!(
            told.lines().last().unwrap(),
            &format!("Status: Image is up to date for {}", name.familiar())
        );
    });
    assert_eq!(scene.double.count("GET", "/blobs/"), 0);
    assert_eq!(scene.double.count("HEAD", "/manifests/1"), 1);
}

#[test]
fn a_digest_is_a_name_too() {
    let scene = Scene::honest();
    let id = scene.publish("app:1", 1000);
    let digest =
        scene.world.get("/v2/app/manifests/1").header("docker-content-digest").parse::<Digest>().unwrap();
    let (store, name) = (scene.store("mine"), scene.name("app").with_digest(digest));
    run(pull_with(&registries(), &store, &name)).unwrap();
    let image = store.image(&id).unwrap();
    assert_eq!((image.tags.len(), image.digests), (0, vec![name]));
}

#[test]
fn all_tags_come_with_their_layers_once() {
    let scene = Scene::honest();
    scene.publish("app:1", 50_000);
    scene.publish("app:2", 50_000);
    let store = scene.store("mine");
    let all = Pull { all_tags: true, ..wanted(&scene.name("app")) };
    let pulled = run(pull(&registries(), &store, &all, &|_| ())).unwrap();
    let tags: Vec<_> = pulled.iter().filter_map(|one| one.reference.tag()).collect();
    assert_eq!(tags, ["1", "2"]);
    let layer = &store.image(&pulled[0].id).unwrap().layers[0].blob.digest;
    assert_eq!(scene.double.count("GET", layer.as_str()), 1);
}

#[test]
fn two_pulls_at_once_fetch_each_blob_once() {
    let scene = Scene::honest();
    scene.publish("app:1", 500_000);
    let (store, name, registries) = (scene.store("mine"), scene.name("app:1"), registries());
    let (one, other) = run(async {
        tokio::join!(pull_with(&registries, &store, &name), pull_with(&registries, &store, &name))
    });
    let layer = store.image(&one.unwrap()[0].id).unwrap().layers[0].blob.digest.clone();
    other.unwrap();
    assert_eq!(scene.double.count("GET", layer.as_str()), 1);
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
