//! Pushes: what was made here is compressed once, what came goes back as it came, and what is there is not sent.

use fault::Kind;
use oci::media_type;
use registry::client::Credentials;
use store::Commit;

use crate::faulty::double::{Auth, Double, Effect};
use crate::faulty::make::{
    assert_clean, at, image, import, me, noise, pulls, push_with, registries, store, tar,
};

#[tokio::test]
async fn an_image_that_was_made_here_is_compressed_once_and_comes_back_the_same() {
    let double = Double::start();
    let (folder, store) = store();
    let reference = at(&double, "team/app:1");
    let id = import(&store, &tar("a", &noise(1000)), &reference);
    let (pushed, told) = push_with(&registries(), &store, &reference, Credentials::Anonymous).await;
    let pushed = pushed.unwrap().remove(0);
    let image = store.image(&id).unwrap();
    assert_eq!(image.layers[0].blob.media_type, media_type::OCI_LAYER_GZIP);
    assert_eq!(image.digests, [reference.with_digest(pushed.manifest.digest.clone())]);
    let layer = image.layers[0].diff_id.short();
    let size = image.layers[0].blob.size;
    let told_manifest = format!("1: digest: {} size: {}", pushed.manifest.digest, pushed.manifest.size);
    let expected = [
        format!("The push refers to repository [{}/team/app]", double.host()),
        format!("{layer}: Preparing"),
        format!("{layer}: Pushing {size}/{size}"),
        format!("{layer}: Pushed"),
        told_manifest.clone(),
    ];
    assert_eq!(told, expected);
    // Again: nothing is sent but the manifest, and its digest is the same.
    double.take_log();
    let (again, told) = push_with(&registries(), &store, &reference, Credentials::Anonymous).await;
    assert_eq!(again.unwrap()[0].manifest.digest, pushed.manifest.digest);
    assert_eq!(told[2..], [format!("{layer}: Layer already exists"), told_manifest]);
    assert_eq!(
        double.take_log(),
        [
            format!("HEAD /v2/team/app/blobs/{id}"),
            format!("HEAD /v2/team/app/blobs/{}", image.layers[0].blob.digest),
            "PUT /v2/team/app/manifests/1".into()
        ]
    );
    store.collect().unwrap();
    assert_clean(&folder, &store);
    let (_folder, elsewhere) = crate::faulty::make::store();
    let (pulled, _) = pulls(&elsewhere, &reference).await;
    assert_eq!((pulled.id, pulled.digest), (id, pushed.manifest.digest));
    assert_eq!(elsewhere.verify().unwrap(), []);
}

#[tokio::test]
async fn what_was_pulled_goes_elsewhere_byte_for_byte() {
    let (one, other) = (Double::start(), Double::start());
    let made = image(&one, "app", "latest", &[tar("a", b"1"), tar("b", b"2")]);
    let (_folder, store) = store();
    pulls(&store, &at(&one, "app")).await;
    store.tag(&made.id, &at(&other, "copy:2")).unwrap();
    let (pushed, _) = push_with(&registries(), &store, &at(&other, "copy:2"), Credentials::Anonymous).await;
    assert_eq!(pushed.unwrap()[0].manifest.digest, made.manifest.digest);
    let (one, other) = (one.state(), other.state());
    assert_eq!(
        one.manifests[&("app".into(), "latest".into())],
        other.manifests[&("copy".into(), "2".into())]
    );
    assert!(
        made.layers.iter().all(|layer| other.blobs.contains_key(&("copy".into(), layer.digest.to_string())))
    );
}

#[tokio::test]
async fn another_repository_s_layers_are_mounted() {
    let double = Double::start();
    let made = image(&double, "library/base", "latest", &[tar("a", &noise(1000))]);
    let (_folder, store) = store();
    pulls(&store, &at(&double, "library/base")).await;
    let snapshot = store.snapshot_create("work", Some(&made.id)).unwrap();
    std::fs::write(snapshot.upper().join("new"), b"12345").unwrap();
    let reference = at(&double, "team/app:1");
    let commit =
        Commit { parent: Some(made.id.clone()), reference: Some(reference.clone()), ..Commit::default() };
    store.commit(&snapshot, &commit).unwrap();
    double.state().auth = Auth::Bearer { user: None, uses: usize::MAX };
    double.take_log();
    let (pushed, told) = push_with(&registries(), &store, &reference, Credentials::Anonymous).await;
    pushed.unwrap();
    let base = made.trees[0].short();
    assert!(told.contains(&format!("{base}: Mounted from library/base")), "{told:?}");
    let log = double.take_log();
    let mount = format!(
        "POST /v2/team/app/blobs/uploads/?mount={}&from=library%2Fbase",
        made.layers[0].digest.as_str().replace(':', "%3A")
    );
    assert!(log.contains(&mount), "{log:?}");
    // The token for it may read there as well.
    let scope = "scope=repository%3Alibrary%2Fbase%3Apull&scope=repository%3Ateam%2Fapp%3Apull%2Cpush";
    assert!(log.iter().any(|line| line.starts_with("GET /token") && line.ends_with(scope)), "{log:?}");
    let (_folder, elsewhere) = crate::faulty::make::store();
    pulls(&elsewhere, &reference).await;
}

#[tokio::test]
async fn a_registry_that_does_not_mount_is_sent_the_blob() {
    let double = Double::start();
    let made = image(&double, "base", "latest", &[tar("a", &noise(1000))]);
    let (_folder, store) = store();
    pulls(&store, &at(&double, "base")).await;
    store.tag(&made.id, &at(&double, "copy")).unwrap();
    for fault in [
        Effect::Answer(403, vec![], br#"{"errors":[{"code":"DENIED"}]}"#.to_vec()),
        Effect::Answer(202, vec![("location", "/v2/copy/blobs/uploads/upload-0".into())], Vec::new()),
    ] {
        double.state().blobs.retain(|(repository, _), _| repository != "copy");
        if matches!(fault, Effect::Answer(202, ..)) {
            double.fault("PUT /v2/copy/blobs/uploads/upload-0", 1, Effect::Answer(201, vec![], Vec::new()));
        }
        double.fault("POST /v2/copy/blobs/uploads/?mount=", 1, fault);
        let (pushed, told) =
            push_with(&registries(), &store, &at(&double, "copy"), Credentials::Anonymous).await;
        pushed.unwrap();
        assert!(told.contains(&format!("{}: Pushed", made.trees[0].short())), "{told:?}");
    }
}

#[tokio::test]
async fn a_cut_upload_goes_on_where_the_registry_has_it() {
    let double = Double::start();
    let (_folder, store) = store();
    let reference = at(&double, "app:1");
    import(&store, &tar("a", &noise(500_000)), &reference);
    double.fault("PUT /v2/app/blobs/uploads/", 1, Effect::CutUpload(100_000));
    let (pushed, _) = push_with(&registries(), &store, &reference, Credentials::Anonymous).await;
    pushed.unwrap();
    let size = store.image(&store.resolve(&reference.canonical()).unwrap()).unwrap().layers[0].blob.size;
    let patch = double.state().log.iter().find(|seen| seen.method == "PATCH").unwrap().clone();
    assert_eq!(patch.header("content-range"), Some(format!("100000-{}", size - 1).as_str()));
    let (_folder, elsewhere) = crate::faulty::make::store();
    pulls(&elsewhere, &reference).await;
}

#[tokio::test]
async fn what_is_too_much_at_once_goes_in_pieces() {
    let double = Double::start();
    let (_folder, store) = store();
    let reference = at(&double, "app:1");
    import(&store, &tar("a", &noise(1000)), &reference);
    double.fault("PUT /v2/app/blobs/uploads/", 1, Effect::Answer(413, vec![], b"<html>".to_vec()));
    let (pushed, _) = push_with(&registries(), &store, &reference, Credentials::Anonymous).await;
    pushed.unwrap();
    let log = double.take_log();
    assert!(log.iter().any(|line| line.starts_with("PATCH ")), "{log:?}");
    let (_folder, elsewhere) = crate::faulty::make::store();
    pulls(&elsewhere, &reference).await;
}

#[tokio::test]
async fn busy_registries_are_asked_again() {
    let double = Double::start();
    let (_folder, store) = store();
    let reference = at(&double, "app:1");
    import(&store, &tar("a", &noise(1000)), &reference);
    for begins in [
        "HEAD /v2/app/blobs/",
        "POST /v2/app/blobs/uploads/",
        "PUT /v2/app/blobs/uploads/",
        "PUT /v2/app/manifests/",
    ] {
        double.fault(begins, 1, Effect::Answer(503, vec![], Vec::new()));
    }
    push_with(&registries(), &store, &reference, Credentials::Anonymous).await.0.unwrap();
}

#[tokio::test]
async fn all_tags_of_a_repository_go() {
    let double = Double::start();
    let (_folder, store) = store();
    let id = import(&store, &tar("a", b"1"), &at(&double, "app:1"));
    store.tag(&id, &at(&double, "app:2")).unwrap();
    let (pushed, _) = push_with(&registries(), &store, &at(&double, "app"), Credentials::Anonymous).await;
    let pushed = pushed.unwrap();
    assert_eq!(pushed.len(), 2);
    assert_eq!(pushed[0].manifest, pushed[1].manifest);
    assert_eq!(store.image(&id).unwrap().digests.len(), 1);
}

#[tokio::test]
async fn refusals_have_docker_s_words() {
    let double = Double::start();
    let (_folder, store) = store();
    let check = async |reference: &oci::Reference, kind: Kind, words: &str| {
        let (pushed, told) = push_with(&registries(), &store, reference, Credentials::Anonymous).await;
        let error = pushed.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (kind, words.replace("HOST", &double.host())));
        assert!(told[0].starts_with("The push refers to repository ["));
    };
    let app = at(&double, "app:1");
    check(&app, Kind::NotFound, "An image does not exist locally with the tag: HOST/app").await;
    import(&store, &tar("a", b"1"), &app);
    check(&at(&double, "app:2"), Kind::NotFound, "tag does not exist: HOST/app:2").await;
    let digest = oci::Digest::sha256(b"");
    check(&app.with_digest(digest), Kind::Invalid, "cannot push a digest reference").await;
    double.state().auth = Auth::Bearer { user: Some(("me", "secret")), uses: usize::MAX };
    let words = "Head \"http://HOST/v2/app/blobs/ID\": unauthorized: incorrect username or password";
    let id = store.resolve(&app.canonical()).unwrap();
    check(&app, Kind::Unauthorized, &words.replace("ID", &id.to_string())).await;
    // Nothing was compressed for it.
    assert_eq!(store.image(&id).unwrap().layers[0].blob.media_type, media_type::OCI_LAYER);
    push_with(&registries(), &store, &app, me()).await.0.unwrap();
    double.state().blobs.clear();
    let denied = br#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    double.fault("POST ", 9, Effect::Answer(403, vec![], denied.to_vec()));
    let (pushed, _) = push_with(&registries(), &store, &app, me()).await;
    let error = pushed.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Denied, "denied: requested access to the resource is denied")
    );
}
