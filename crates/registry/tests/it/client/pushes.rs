//! What a push sends, and what it leaves out.

use registry::client::{Credentials, Push, push};

use super::scene::{Scene, Told, import, pull_with, push_with, registries, run};

#[test]
fn an_image_arrives_whole_and_comes_back_the_same() {
    let scene = Scene::honest();
    let (store, name, told) = (scene.store("mine"), scene.name("team/app:1"), Told::default());
    let id = import(&store, &name, 400_000);
    let wanted = Push { reference: name.clone(), platform: None, credentials: Credentials::Anonymous };
    let pushed = run(push(&registries(), &store, &wanted, &|step| told.take(&step))).unwrap();
    let manifest = &pushed[0].manifest;
    let lines = told.lines();
    assert_eq!(
        lines[..2],
        [format!("The push refers to repository [{}]", name.canonical_name()), "Preparing".into()]
    );
    assert_eq!(
        lines[lines.len() - 2..],
        ["Pushed".to_owned(), format!("1: digest: {} size: {}", manifest.digest, manifest.size)]
    );
    assert_eq!(store.image(&id).unwrap().digests, [name.with_digest(manifest.digest.clone())]);
    let other = scene.store("other");
    let pulled = run(pull_with(&registries(), &other, &name)).unwrap();
    assert_eq!((&pulled[0].id, &pulled[0].digest), (&id, &manifest.digest));
}

#[test]
fn what_is_there_is_not_sent_again_and_the_digest_stays() {
    let scene = Scene::honest();
    let (store, name, registries) = (scene.store("mine"), scene.name("app:1"), registries());
    import(&store, &name, 400_000);
    run(async {
        let first = push_with(&registries, &store, &name).await.unwrap();
        scene.double.forget();
        let again = push_with(&registries, &store, &name).await.unwrap();
        assert_eq!(first[0].manifest, again[0].manifest);
    });
    assert_eq!(scene.double.count("POST", "/uploads/"), 0);
}

#[test]
fn a_layer_of_another_repository_is_mounted() {
    let scene = Scene::honest();
    let (store, registries) = (scene.store("mine"), registries());
    let (one, other) = (scene.name("one:1"), scene.name("other:1"));
    let id = import(&store, &one, 400_000);
    run(async {
        push_with(&registries, &store, &one).await.unwrap();
        store.tag(&id, &other).unwrap();
        scene.double.forget();
        push_with(&registries, &store, &other).await.unwrap();
    });
    let mounts = scene.double.seen().into_iter().filter(|seen| seen.path.contains("from=one"));
    assert!(mounts.count() > 0, "{:?}", scene.double.seen());
    run(pull_with(&registries, &scene.store("other"), &other)).unwrap();
}

#[test]
fn without_a_tag_all_tags_go() {
    let scene = Scene::honest();
    let store = scene.store("mine");
    for tag in ["app:1", "app:2"] {
        import(&store, &scene.name(tag), 1000);
    }
    let pushed = run(push_with(&registries(), &store, &scene.name("app"))).unwrap();
    assert_eq!(pushed.len(), 2);
    assert_eq!(scene.world.get("/v2/app/tags/list").text(), r#"{"name":"app","tags":["1","2"]}"#);
}

#[test]
fn what_is_not_here_cannot_be_pushed() {
    let scene = Scene::honest();
    let (store, name) = (scene.store("mine"), scene.name("app:1"));
    let refusal = |name| run(push_with(&registries(), &store, name)).unwrap_err().to_string();
    assert_eq!(
        refusal(&name),
        format!("An image does not exist locally with the tag: {}", name.familiar_name())
    );
    import(&store, &name, 1000);
    let other = scene.name("app:2");
    assert_eq!(refusal(&other), format!("tag does not exist: {}", other.familiar()));
}
