//! Signatures beside images, and pulls under a policy that asks for them.

use std::sync::Arc;

use fault::Kind;
use oci::{Descriptor, Digest, Index, Platform, Reference, media_type};
use registry::client::{Access, Credentials, Pull, Repository, pull};
use store::Store;
use trust::{Form, Policy, PrivateKey, Signature};

use super::double::Says;
use super::platforms;
use super::scene::{Scene, pull_with, push_with, registries, run, wanted};

/// A policy of one rule for everything.
fn policy(rule: &str, key: &PrivateKey) -> Arc<Policy> {
    let text = format!(r#"{{"version":1,"rules":[{{"prefix":"",{rule}}}]}}"#);
    Arc::new(Policy::parse(&text, &mut |_| Ok(key.public().to_pem())).unwrap())
}

fn signed_by(key: &PrivateKey) -> Arc<Policy> {
    policy(r#""require":"signature","keys":["k"]"#, key)
}

fn pull_under(policy: &Arc<Policy>, store: &Store, name: &Reference) -> fault::Result<()> {
    let wanted = Pull { policy: Arc::clone(policy), ..wanted(name) };
    run(pull(&registries(), store, &wanted, &|_| ())).map(drop)
}

fn repository(name: &Reference) -> Repository {
    registries().repository(name, &Credentials::Anonymous, Access::Push).unwrap()
}

fn digest_of(scene: &Scene, name: &str, tag: &str) -> Digest {
    Digest::sha256(&scene.world.get(&format!("/v2/{name}/manifests/{tag}")).body)
}

/// Signs `app:1` in both forms; the digest.
fn sign(scene: &Scene, key: &PrivateKey) -> Digest {
    let (name, digest) = (scene.name("app:1"), digest_of(scene, "app", "1"));
    let signatures = Signature::create(key, &name, &digest).unwrap();
    run(repository(&name).sign(&digest, &signatures)).unwrap();
    digest
}

#[track_caller]
fn check_refused(scene: &Scene, policy: &Arc<Policy>, words: &str) {
    let store = scene.store("mine");
    scene.double.forget();
    let error = pull_under(policy, &store, &scene.name("app:1")).unwrap_err();
    assert!(error.to_string().contains(words), "{error}");
    assert!(store.images().unwrap().is_empty() && store.names_in(&scene.name("app")).is_empty());
    assert_eq!(store.discard_partials().unwrap(), 0);
    let config = scene.world.get("/v2/app/manifests/1").text();
    let config = config.split("sha256:").nth(1).unwrap()[..64].to_owned();
    assert_eq!(scene.double.count("GET", &config), 0, "the refusal comes before the image");
}

#[test]
fn a_signed_image_is_pulled_and_keeps_what_speaks_for_it() {
    let scene = Scene::honest();
    let (key, id) = (PrivateKey::generate().unwrap(), scene.publish("app:1", 1000));
    let digest = sign(&scene, &key);
    let store = scene.store("mine");
    pull_under(&signed_by(&key), &store, &scene.name("app:1")).unwrap();
    let signed = store.image(&id).unwrap().signed;
    assert_eq!(signed.digests, [digest]);
    let forms: Vec<Form> = signed.signatures.iter().map(|signature| signature.form).collect();
    assert_eq!(forms, [Form::Claim, Form::Statement]);
    scene.double.forget();
    pull_under(&signed_by(&key), &store, &scene.name("app:1")).unwrap();
    assert_eq!(scene.double.count("GET", ""), 0, "what is known is not asked for again");
}

#[test]
fn a_registry_without_referrers_gets_a_tag_in_their_place() {
    let scene = Scene::honest();
    scene.double.forget_referrers();
    let (key, _) = (PrivateKey::generate().unwrap(), scene.publish("app:1", 1000));
    let digest = sign(&scene, &key);
    let index = scene.world.get(&format!("/v2/app/manifests/sha256-{}", digest.hex()));
    let index: Index = serde_json::from_slice(&index.body).unwrap();
    assert_eq!(index.manifests[0].artifact_type.as_deref(), Some(trust::BUNDLE_TYPE));
    let other = PrivateKey::generate().unwrap();
    sign(&scene, &other);
    let found = run(repository(&scene.name("app")).signatures(&digest)).unwrap();
    assert_eq!(found.len(), 4);
    for key in [key, other] {
        assert_eq!(found.iter().filter(|one| one.signer(&[key.public()]).is_some()).count(), 2);
        pull_under(&signed_by(&key), &scene.store("mine"), &scene.name("app:1")).unwrap();
    }
}

#[test]
fn an_unsigned_image_and_a_wrong_key_leave_nothing_behind() {
    let scene = Scene::honest();
    let key = PrivateKey::generate().unwrap();
    scene.publish("app:1", 1000);
    check_refused(&scene, &signed_by(&key), "app:1: not signed, and the policy asks for a signature");
    sign(&scene, &PrivateKey::generate().unwrap());
    check_refused(&scene, &signed_by(&key), "signed, but by none of the keys that the policy accepts");
}

#[test]
fn a_signature_of_another_image_does_not_count() {
    let scene = Scene::honest();
    let key = PrivateKey::generate().unwrap();
    scene.publish("app:1", 1000);
    let (name, digest) = (scene.name("app:1"), digest_of(&scene, "app", "1"));
    let other = Digest::sha256(b"another");
    for signature in Signature::create(&key, &name, &other).unwrap() {
        run(repository(&name).sign(&digest, &[signature])).unwrap();
        check_refused(&scene, &signed_by(&key), &format!("the signature is of another image, {other}"));
    }
}

#[test]
fn tampering_with_what_was_signed_is_seen() {
    let scene = Scene::new(|seen| {
        let is_claim = seen.path.contains(&CLAIM.get()?.to_string());
        is_claim.then(|| Says("200 OK", Vec::new(), b"{}".to_vec()))
    });
    let key = PrivateKey::generate().unwrap();
    scene.publish("app:1", 1000);
    let (name, digest) = (scene.name("app:1"), digest_of(&scene, "app", "1"));
    let [claim, _] = Signature::create(&key, &name, &digest).unwrap();
    // Replaced as a whole, so that all digests are right again.
    let text = String::from_utf8(claim.payload.clone()).unwrap();
    let payload = text.replace("\"optional\":null", "\"optional\":{}").into_bytes();
    let forged = Signature { payload, ..claim.clone() };
    run(repository(&name).sign(&digest, &[forged])).unwrap();
    check_refused(&scene, &signed_by(&key), "signed, but by none of the keys");
    // Bytes that are not those of the digest.
    let tag = format!("/v2/app/manifests/{}", trust::legacy_tag(&digest));
    assert_eq!(scene.world.ask("DELETE", &tag, &[], b"").status, 202);
    run(repository(&name).sign(&digest, std::slice::from_ref(&claim))).unwrap();
    CLAIM.set(Digest::sha256(&claim.payload)).unwrap();
    check_refused(&scene, &signed_by(&key), "reading a signature: blob verification failed for digest");
}

/// The blob that the double replaces, once there is one.
static CLAIM: std::sync::OnceLock<Digest> = std::sync::OnceLock::new();

#[test]
fn a_referrer_that_is_listed_and_gone_counts_for_nothing() {
    let scene = Scene::new(|seen| {
        let is_gone = seen.method == "GET"
            && seen.path.contains("/manifests/sha256:")
            && seen.path.ends_with(GONE.get()?);
        is_gone.then(|| Says("404 Not Found", Vec::new(), Vec::new()))
    });
    let key = PrivateKey::generate().unwrap();
    scene.publish("app:1", 1000);
    let (name, digest) = (scene.name("app:1"), digest_of(&scene, "app", "1"));
    let [_, statement] = Signature::create(&key, &name, &digest).unwrap();
    run(repository(&name).sign(&digest, &[statement])).unwrap();
    let referrers = run(repository(&name).referrers(&digest, Some(trust::BUNDLE_TYPE))).unwrap();
    GONE.set(referrers[0].digest.hex().to_owned()).unwrap();
    check_refused(&scene, &signed_by(&key), "not signed, and the policy asks for a signature");
}

static GONE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

#[test]
fn a_name_that_is_rejected_or_not_pinned_is_refused_without_a_request() {
    let scene = Scene::honest();
    let key = PrivateKey::generate().unwrap();
    scene.publish("app:1", 1000);
    check_refused(
        &scene,
        &policy(r#""require":"reject","reason":"ticket 7""#, &key),
        "by the policy: ticket 7",
    );
    assert!(scene.double.seen().is_empty());
    let pinned = policy(r#""require":"digest""#, &key);
    check_refused(&scene, &pinned, "is not named by its digest");
    assert!(scene.double.seen().is_empty());
    let name = scene.name("app").with_digest(digest_of(&scene, "app", "1"));
    pull_under(&pinned, &scene.store("pinned"), &name).unwrap();
}

#[test]
fn a_policy_that_comes_later_counts_for_what_is_here() {
    let scene = Scene::honest();
    let (key, id) = (PrivateKey::generate().unwrap(), scene.publish("app:1", 1000));
    let (store, name) = (scene.store("mine"), scene.name("app:1"));
    run(pull_with(&registries(), &store, &name)).unwrap();
    let error = pull_under(&signed_by(&key), &store, &name).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    sign(&scene, &key);
    pull_under(&signed_by(&key), &store, &name).unwrap();
    assert_eq!(store.image(&id).unwrap().signed.signatures.len(), 2);
}

#[test]
fn who_signs_an_index_or_its_manifest_vouches_for_the_image() {
    let scene = Scene::honest();
    let id = scene.publish("app:1", 1000);
    let manifest = scene.world.get("/v2/app/manifests/1").body;
    let entry = Descriptor {
        platform: Some(Platform::host()),
        ..Descriptor::of(media_type::OCI_MANIFEST, &manifest)
    };
    let index = serde_json::to_vec(&Index::new(vec![entry])).unwrap();
    let kind = ("Content-Type", media_type::OCI_INDEX);
    assert_eq!(scene.world.ask("PUT", "/v2/app/manifests/many", &[kind], &index).status, 201);
    for signed in [&index, &manifest] {
        let (key, name, digest) =
            (PrivateKey::generate().unwrap(), scene.name("app:many"), Digest::sha256(signed));
        run(repository(&name).sign(&digest, &Signature::create(&key, &name, &digest).unwrap())).unwrap();
        let store = scene.store(digest.short());
        pull_under(&signed_by(&key), &store, &name).unwrap();
        assert_eq!(
            store.image(&id).unwrap().signed.digests,
            [Digest::sha256(&index), Digest::sha256(&manifest)]
        );
    }
}

#[test]
fn a_copy_has_the_signatures_too() {
    let scene = Scene::honest();
    let (key, id) = (PrivateKey::generate().unwrap(), scene.publish("app:1", 1000));
    let digest = sign(&scene, &key);
    let (store, copy) = (scene.store("mine"), scene.name("copy:1"));
    pull_under(&signed_by(&key), &store, &scene.name("app:1")).unwrap();
    store.tag(&id, &copy).unwrap();
    run(push_with(&registries(), &store, &copy)).unwrap();
    assert_eq!(run(repository(&copy).signatures(&digest)).unwrap().len(), 2);
    pull_under(&signed_by(&key), &scene.store("theirs"), &copy).unwrap();
    // What is there is not put there again.
    scene.double.forget();
    run(push_with(&registries(), &store, &copy)).unwrap();
    assert_eq!(scene.double.count("PUT", "sha256-"), 0);
}

#[test]
fn an_index_is_signed_for_all_its_platforms() {
    let scene = Scene::honest();
    let host = Platform::host().to_string();
    let entries = [platforms::image(&scene, "app", "linux/s390x"), platforms::image(&scene, "app", &host)];
    let top = platforms::index(&scene, "app", "many", &entries);
    let (key, name, copy) = (PrivateKey::generate().unwrap(), scene.name("app:many"), scene.name("copy:1"));
    let store = scene.store("mine");
    let on = |store: &Store, name: &Reference, platform: &str| {
        let platform = Some(Platform::parse(platform).unwrap());
        let wanted = Pull { platform, policy: signed_by(&key), ..wanted(name) };
        run(pull(&registries(), store, &wanted, &|_| ())).map(|mut all| all.remove(0))
    };
    let error = on(&store, &name, &host).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(store.images().unwrap().is_empty());
    let signatures = Signature::create(&key, &name, &top.digest).unwrap();
    run(repository(&name).sign(&top.digest, &signatures)).unwrap();
    let ids = [host.as_str(), "linux/s390x"].map(|platform| on(&store, &name, platform).unwrap().id);
    store.collect().unwrap();
    for (id, entry) in ids.iter().zip(entries.iter().rev()) {
        let image = store.image(id).unwrap();
        assert_eq!(image.signed.digests, [top.digest.clone(), entry.digest.clone()]);
        assert_eq!((image.signed.signatures.len(), image.indexed_by.len()), (2, 2));
    }
    assert_eq!(store.verify().unwrap(), []);
    store.tag_like(&ids[1], &copy, Some(&name)).unwrap();
    let pushed = run(push_with(&registries(), &store, &copy)).unwrap();
    assert_eq!(pushed[0].manifest.digest, top.digest);
    assert_eq!(on(&scene.store("theirs"), &copy, "linux/s390x").unwrap().id, ids[1]);
}

#[test]
fn only_what_is_there_can_be_signed() {
    let scene = Scene::honest();
    scene.publish("app:1", 1000);
    let (key, digest) = (PrivateKey::generate().unwrap(), Digest::sha256(b"nothing"));
    let signatures = Signature::create(&key, &scene.name("app"), &digest).unwrap();
    let error = run(repository(&scene.name("app")).sign(&digest, &signatures)).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (Kind::NotFound, format!("the registry has no manifest {digest}"))
    );
}
