//! Pulls that go well, and what they tell.

use archive::compression::Compression;
use oci::{Descriptor, Platform, media_type};
use registry::client::{Config, Pull, Registries};

use crate::faulty::double::Double;
use crate::faulty::make::{
    assert_clean, at, config, docker_io, image, image_of, index, name, noise, packed, pull_fails, pull_with,
    pulls, registries, store, tar, wanted,
};

#[tokio::test]
async fn an_image_comes_whole_with_its_names() {
    let double = Double::start();
    let tars = [tar("a", b"1"), tar("b", &noise(300_000))];
    let made = image(&double, "team/app", "1", &tars);
    let (folder, store) = store();
    let (pulled, told) = pulls(&store, &at(&double, "team/app:1")).await;
    assert_eq!((&pulled.id, &pulled.digest, pulled.newer), (&made.id, &made.manifest.digest, true));
    let image = store.image(&pulled.id).unwrap();
    assert_eq!(image.tags, [at(&double, "team/app:1")]);
    assert_eq!(image.digests, [at(&double, "team/app").with_digest(made.manifest.digest.clone())]);
    assert_eq!(
        image.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
        made.trees.iter().collect::<Vec<_>>()
    );
    assert_eq!(image.manifest.digest, made.manifest.digest);
    assert_clean(&folder, &store);
    let (one, two) = (made.layers[0].digest.short(), made.layers[1].digest.short());
    let of = |id: &str| told.iter().filter(|line| line.starts_with(id)).cloned().collect::<Vec<_>>();
    let size = made.layers[0].size;
    assert_eq!(
        of(one),
        [
            format!("{one}: Pulling fs layer"),
            format!("{one}: Downloading {size}/{size}"),
            format!("{one}: Verifying Checksum"),
            format!("{one}: Download complete"),
            format!("{one}: Extracting {size}/{size}"),
            format!("{one}: Pull complete"),
        ]
    );
    assert_eq!(
        told[..3],
        ["1: Pulling from team/app".to_owned(), of(one)[0].clone(), format!("{two}: Pulling fs layer")]
    );
    assert_eq!(
        told[told.len() - 2..],
        [
            format!("Digest: {}", made.manifest.digest),
            format!("Status: Downloaded newer image for {}/team/app:1", double.host())
        ]
    );
}

#[tokio::test]
async fn layers_come_packed_or_plain_in_both_families() {
    let (gzip, zstd) = (Compression::Gzip, Compression::Zstd);
    let double = Double::start();
    let tars = [tar("a", b"1"), tar("b", b"2"), tar("c", b"3"), tar("d", b"4")];
    let blobs = [
        (media_type::OCI_LAYER_GZIP, packed(&tars[0], gzip)),
        (media_type::OCI_LAYER_ZSTD, packed(&tars[1], zstd)),
        (media_type::OCI_LAYER, tars[2].clone()),
        (media_type::DOCKER_LAYER_GZIP, packed(&tars[3], gzip)),
    ];
    let made = image_of(&double, "app", "latest", &tars, &blobs, &Platform::host());
    let (folder, store) = store();
    let (pulled, _) = pulls(&store, &at(&double, "app")).await;
    assert_eq!(pulled.id, made.id);
    let layers = store.image(&made.id).unwrap().layers;
    assert_eq!(layers.iter().map(|layer| layer.blob.clone()).collect::<Vec<_>>(), made.layers);
    assert_clean(&folder, &store);
    // Docker's own form.
    let manifest = double.state().manifests[&("app".into(), "latest".into())].1.clone();
    let text = String::from_utf8(manifest).unwrap();
    let text = text
        .replace(media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST)
        .replace(media_type::OCI_CONFIG, media_type::DOCKER_CONFIG);
    double.put_manifest("app", "docker", media_type::DOCKER_MANIFEST, text.as_bytes());
    let (_folder, elsewhere) = crate::faulty::make::store();
    let (pulled, _) = pulls(&elsewhere, &at(&double, "app:docker")).await;
    assert_eq!(elsewhere.image(&pulled.id).unwrap().manifest.media_type, media_type::DOCKER_MANIFEST);
}

#[tokio::test]
async fn pulling_again_costs_one_request() {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let registries = registries();
    let wanted = wanted(&at(&double, "app"));
    let first = pull_with(&registries, &store, &wanted).await;
    assert!(first.0.unwrap()[0].newer);
    double.take_log();
    let (again, told) = pull_with(&registries, &store, &wanted).await;
    let again = again.unwrap().remove(0);
    assert_eq!((again.id, again.newer), (made.id, false));
    assert_eq!(double.take_log(), ["HEAD /v2/app/manifests/latest"]);
    assert_eq!(
        told,
        [
            "latest: Pulling from app".to_owned(),
            format!("Digest: {}", made.manifest.digest),
            format!("Status: Image is up to date for {}/app:latest", double.host()),
        ]
    );
    // The same under another name: the manifest says that everything is here.
    double.put_manifest("app", "2", media_type::OCI_MANIFEST, &double_manifest(&double, "app", "latest"));
    let (other, _) = pulls(&store, &at(&double, "app:2")).await;
    assert!(other.newer);
    assert_eq!(double.take_log(), ["GET /v2/app/manifests/2"]);
}

fn double_manifest(double: &Double, repository: &str, key: &str) -> Vec<u8> {
    double.state().manifests[&(repository.into(), key.into())].1.clone()
}

#[tokio::test]
async fn a_new_image_under_an_old_name_brings_only_what_is_new() {
    let double = Double::start();
    let base = tar("a", b"1");
    image(&double, "app", "latest", std::slice::from_ref(&base));
    let (folder, store) = store();
    let (old, _) = pulls(&store, &at(&double, "app")).await;
    let made = image(&double, "app", "latest", &[base, tar("b", b"2")]);
    double.take_log();
    let (new, told) = pulls(&store, &at(&double, "app")).await;
    assert!(new.newer && new.id == made.id);
    let shared = made.layers[0].digest.short();
    assert!(told.contains(&format!("{shared}: Already exists")), "{told:?}");
    let blobs: Vec<_> = double.take_log().into_iter().filter(|line| line.contains("/blobs/")).collect();
    assert_eq!(
        blobs,
        [format!("GET /v2/app/blobs/{}", made.id), format!("GET /v2/app/blobs/{}", made.layers[1].digest)]
    );
    assert_eq!(store.image(&old.id).unwrap().tags, []);
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn of_an_index_the_best_platform_is_taken() {
    let double = Double::start();
    let platform = |text: &str| Platform::parse(text).unwrap();
    let make = |text: &str| {
        let tar = tar("platform", text.as_bytes());
        let blobs = [(media_type::OCI_LAYER, tar.clone())];
        image_of(&double, "app", &text.replace('/', "-"), &[tar], &blobs, &platform(text))
    };
    let (v5, v6, v8, host) = (
        make("linux/arm/v5"),
        make("linux/arm/v6"),
        make("linux/arm64"),
        make(&Platform::host().to_string()),
    );
    let attestation = Descriptor {
        platform: Some(Platform {
            architecture: "unknown".into(),
            os: "unknown".into(),
            ..Platform::default()
        }),
        ..Descriptor::of(media_type::OCI_MANIFEST, b"not there")
    };
    let entries = [&v5, &v6, &v8, &host].map(|made| made.manifest.clone());
    let inner = index(&double, "app", "inner", &[vec![attestation], entries.to_vec()].concat());
    let (_folder, store) = store();
    let registries = registries();
    let pull = async |tag: &str, platform: Option<Platform>| {
        let wanted = Pull { platform, ..wanted(&at(&double, tag)) };
        pull_with(&registries, &store, &wanted).await.0.map(|mut pulled| pulled.remove(0))
    };
    let pulled = pull("app:inner", None).await.unwrap();
    assert_eq!((pulled.id, &pulled.digest), (host.id.clone(), &inner));
    // Pulled again without platform it stays; with another one it changes, though the index is the same.
    double.take_log();
    assert!(!pull("app:inner", None).await.unwrap().newer);
    assert_eq!(double.take_log().len(), 1);
    assert_eq!(pull("app:inner", Some(platform("linux/arm/v7"))).await.unwrap().id, v6.id);
    assert_eq!(pull("app:inner", Some(platform("linux/arm64"))).await.unwrap().id, v8.id);
    assert_eq!(pull("app:inner", None).await.unwrap().id, host.id);
    let error = pull("app:inner", Some(platform("linux/s390x"))).await.unwrap_err();
    assert_eq!(error.to_string(), "no matching manifest for linux/s390x in the manifest list entries");
    // An index in an index.
    let nested = Descriptor::of(media_type::OCI_INDEX, &double_manifest(&double, "app", "inner"));
    index(&double, "app", "outer", &[nested]);
    assert_eq!(pull("app:outer", None).await.unwrap().id, host.id);
}

#[tokio::test]
async fn an_image_for_another_platform_than_asked_for_is_taken_with_a_warning() {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let platform = Some(Platform::parse("linux/s390x").unwrap());
    let (pulled, told) =
        pull_with(&registries(), &store, &Pull { platform, ..wanted(&at(&double, "app")) }).await;
    assert_eq!(pulled.unwrap()[0].id, made.id);
    assert!(told.iter().any(|line| line.starts_with("WARNING: image with reference ")), "{told:?}");
}

#[tokio::test]
async fn a_digest_names_an_image_without_a_tag() {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let by_digest = at(&double, "app").with_digest(made.manifest.digest.clone());
    let (pulled, told) = pulls(&store, &by_digest).await;
    let image = store.image(&pulled.id).unwrap();
    assert_eq!((image.tags, image.digests), (vec![], vec![by_digest.clone()]));
    assert_eq!(told[0], format!("{}: Pulling from app", made.manifest.digest));
    let (again, _) = pulls(&store, &by_digest).await;
    assert!(!again.newer);
}

#[tokio::test]
async fn all_tags_of_a_repository_come() {
    let double = Double::start();
    for tag in ["1", "2", "3", "4", "5"] {
        image(&double, "app", tag, &[tar("a", b"1"), tar("tag", tag.as_bytes())]);
    }
    let (folder, store) = store();
    let wanted = Pull { all_tags: true, ..wanted(&at(&double, "app")) };
    let (pulled, told) = pull_with(&registries(), &store, &wanted).await;
    assert_eq!(pulled.unwrap().len(), 5);
    assert_eq!(store.names_in(&at(&double, "app")).len(), 10);
    assert_eq!(*told.last().unwrap(), format!("Status: Downloaded newer image for {}/app", double.host()));
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn the_same_layer_twice_is_fetched_once() {
    let double = Double::start();
    let empty = tar("a", b"");
    let made = image(&double, "app", "latest", &[empty.clone(), tar("b", b"2"), empty]);
    let (_folder, store) = store();
    pulls(&store, &at(&double, "app")).await;
    let line = format!("GET /v2/app/blobs/{}", made.layers[0].digest);
    assert_eq!(double.take_log().iter().filter(|seen| **seen == line).count(), 1);
    assert_eq!(store.image(&made.id).unwrap().layers.len(), 3);
}

#[tokio::test]
async fn pulls_at_the_same_time_fetch_a_blob_once() {
    let double = Double::start();
    let tars = [tar("a", &noise(100_000)), tar("b", &noise(200_000))];
    image(&double, "app", "1", &tars);
    let made = image(&double, "other", "1", &tars);
    let (folder, store) = store();
    let registries = registries();
    let (one, other) = (wanted(&at(&double, "app:1")), wanted(&at(&double, "other:1")));
    let pulls = [pull_with(&registries, &store, &one), pull_with(&registries, &store, &other)];
    for (pulled, _) in futures_util::future::join_all(pulls).await {
        assert_eq!(pulled.unwrap()[0].id, made.id);
    }
    let log = double.take_log();
    for layer in &made.layers {
        let fetched = log.iter().filter(|line| line.ends_with(layer.digest.as_str())).count();
        assert_eq!(fetched, 1, "{log:?}");
    }
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn no_more_layers_than_allowed_are_fetched_at_once() {
    let double = Double::start();
    let tars: Vec<_> = (0..4).map(|number| tar("n", &[number])).collect();
    image(&double, "app", "latest", &tars);
    let (_folder, store) = store();
    let registries = Registries::new(Config { downloads_max: 1, ..config() }).unwrap();
    let (pulled, told) = pull_with(&registries, &store, &wanted(&at(&double, "app"))).await;
    pulled.unwrap();
    assert_eq!(told.iter().filter(|line| line.ends_with(": Waiting")).count(), 3, "{told:?}");
}

#[tokio::test]
async fn what_is_missing_is_said_in_docker_s_words() {
    let double = Double::start();
    image(&double, "app", "latest", &[tar("a", b"1")]);
    let (folder, store) = store();
    let check = async |reference: &str, words: &str| {
        let error = pull_fails(&store, &at(&double, reference)).await;
        assert_eq!(
            (error.kind(), error.to_string()),
            (fault::Kind::NotFound, words.replace("HOST", &double.host()))
        );
    };
    check("app:2", "manifest for HOST/app:2 not found: manifest unknown: manifest unknown").await;
    check("none", "repository HOST/none not found: name unknown: repository name not known to registry")
        .await;
    let error = pull_fails(&store, &name("scratch")).await;
    assert_eq!(error.to_string(), "'scratch' is a reserved name");
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let double = Double::start();
    let (folder, store) = store();
    let check = async |media_type: &str, manifest: &str, words: &str| {
        double.put_manifest("app", "latest", media_type, manifest.as_bytes());
        let words = words.replace("HOST", &double.host());
        assert_eq!(pull_fails(&store, &at(&double, "app")).await.to_string(), words);
    };
    check(
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        r#"{"schemaVersion":1,"fsLayers":[]}"#,
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author of \
         HOST/app:latest to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. More information at \
         https://docs.docker.com/go/deprecated-image-specs/",
    )
    .await;
    let digest = oci::Digest::sha256(b"");
    let config = |media_type: &str| format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":0}}"#);
    let manifest =
        |media_type: &str| format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, config(media_type));
    check(
        media_type::DOCKER_MANIFEST,
        &manifest("application/vnd.docker.plugin.v1+json"),
        "Encountered remote \"application/vnd.docker.plugin.v1+json\"(plugin) when fetching",
    )
    .await;
    check(
        media_type::OCI_MANIFEST,
        &manifest("application/vnd.cncf.helm.config.v1+json"),
        "unsupported media type application/vnd.cncf.helm.config.v1+json",
    )
    .await;
    check("application/json", r#"{"mediaType":"application/x"}"#, "unsupported manifest format").await;
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn docker_io_s_short_names_lead_where_a_rule_says() {
    let double = Double::start();
    let made = image(&double, "library/busybox", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let registries = Registries::new(docker_io(&double)).unwrap();
    let (pulled, told) = pull_with(&registries, &store, &wanted(&name("busybox"))).await;
    assert_eq!(pulled.unwrap()[0].reference, name("busybox:latest"));
    assert_eq!(store.resolve("busybox").unwrap(), made.id);
    assert_eq!(told[0], "latest: Pulling from library/busybox");
    assert_eq!(*told.last().unwrap(), "Status: Downloaded newer image for busybox:latest");
}

/// The engine gives pulls to tasks of its own.
#[tokio::test]
async fn the_futures_may_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let (_folder, store) = store();
    let registries = registries();
    let wanted = wanted(&name("localhost:1/x"));
    let pull = registry::client::pull(&registries, &store, &wanted, &|_| ());
    is_send(&pull);
    let wanted = registry::client::Push {
        reference: name("localhost:1/x"),
        platform: None,
        credentials: Default::default(),
    };
    let push = registry::client::push(&registries, &store, &wanted, &|_| ());
    is_send(&push);
    let reference = name("localhost:1/x");
    let anonymous = Default::default();
    is_send(&registry::client::resolve(&registries, &reference, &anonymous));
}
