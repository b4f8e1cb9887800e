//! Manifests: whole or not at all, listed page by page, with what refers to them.

use oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::world::{Reply, World};

fn world() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(folder.path());
    (folder, world)
}

fn document(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[test]
fn a_manifest_has_its_bytes_by_tag_and_digest() {
    let (_folder, world) = world();
    let digest = world.push_image("team/app", "1", b"layer");
    let by_tag = world.get("/v2/team/app/manifests/1");
    let by_digest = world.get(&format!("/v2/team/app/manifests/{digest}"));
    assert_eq!(by_tag.body, by_digest.body);
    assert_eq!(by_tag.header("docker-content-digest"), digest.as_str());
    assert_eq!(by_tag.header("content-type"), media_type::OCI_MANIFEST);
    let head = world.ask("HEAD", "/v2/team/app/manifests/1", &[], b"");
    assert_eq!(head.header("content-length"), by_tag.body.len().to_string());
}

#[test]
fn a_manifest_needs_what_it_stands_on() {
    let (_folder, world) = world();
    let manifest = oci::Manifest::new(Descriptor::of(media_type::OCI_CONFIG, b"{}"), Vec::new());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let refused = world.put_manifest("a", "1", &bytes);
    assert_eq!((refused.status, refused.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
    // Being in another repository is not enough.
    world.push_blob("b", b"{}");
    assert_eq!(world.put_manifest("a", "1", &bytes).status, 404);
    world.push_blob("a", b"{}");
    assert_eq!(world.put_manifest("a", "1", &bytes).status, 201);
    let wrong = Digest::sha256(b"other");
    assert_eq!(world.put_manifest("a", wrong.as_str(), &bytes).code(), "DIGEST_INVALID");
}

#[test]
fn what_is_no_manifest_is_refused_by_name() {
    let (_folder, world) = world();
    let old = br#"{"schemaVersion":1,"name":"a","tag":"1"}"#;
    let refused = world.put_manifest("a", "1", old);
    assert_eq!((refused.status, refused.code().as_str()), (400, "MANIFEST_INVALID"));
    assert!(refused.text().contains("schema version 1 is not supported"), "{}", refused.text());
    for bytes in ["", "[]", "{", r#"{"schemaVersion":2,"mediaType":"text/plain"}"#, r#"{"schemaVersion":2}"#]
    {
        assert_eq!(world.put_manifest("a", "1", bytes.as_bytes()).code(), "MANIFEST_INVALID", "{bytes}");
    }
    let large = world.put_manifest("a", "1", &vec![b' '; (4 << 20) + 1]);
    assert_eq!((large.status, large.code().as_str()), (413, "MANIFEST_INVALID"));
}

#[test]
fn lists_come_page_by_page() {
    let (_folder, world) = world();
    for tag in ["3", "1", "2"] {
        world.push_image("a", tag, b"layer");
    }
    world.push_image("b", "1", b"layer");
    assert_eq!(document(&world.get("/v2/a/tags/list")), json!({"name": "a", "tags": ["1", "2", "3"]}));
    let page = world.get("/v2/a/tags/list?n=2");
    assert_eq!(document(&page)["tags"], json!(["1", "2"]));
    assert_eq!(page.header("link"), r#"</v2/a/tags/list?last=2&n=2>; rel="next""#);
    let last = world.get("/v2/a/tags/list?last=2&n=2");
    assert_eq!((document(&last)["tags"].clone(), last.header("link")), (json!(["3"]), ""));
    assert_eq!(document(&world.get("/v2/a/tags/list?n=0"))["tags"], json!([]));
    assert_eq!(document(&world.get("/v2/_catalog"))["repositories"], json!(["a", "b"]));
    assert_eq!(world.get("/v2/a/tags/list?n=x").code(), "PAGINATION_NUMBER_INVALID");
    assert_eq!(world.get("/v2/nobody/tags/list").code(), "NAME_UNKNOWN");
}

#[test]
fn referrers_are_found_by_subject_and_type() {
    let (_folder, world) = world();
    let subject = Descriptor::of(media_type::OCI_MANIFEST, b"not pushed yet");
    world.push_blob("a", b"{}");
    for kind in ["x/signature", "x/report"] {
        let manifest = oci::Manifest {
            artifact_type: Some(kind.into()),
            subject: Some(subject.clone()),
            annotations: [("who".to_owned(), "me".to_owned())].into(),
            ..oci::Manifest::new(Descriptor::of(media_type::OCI_EMPTY, b"{}"), Vec::new())
        };
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let put = world.put_manifest("a", Digest::sha256(&bytes).as_str(), &bytes);
        assert_eq!((put.status, put.header("oci-subject")), (201, subject.digest.as_str()));
    }
    let path = format!("/v2/a/referrers/{}", subject.digest);
    assert_eq!(document(&world.get(&path))["manifests"].as_array().unwrap().len(), 2);
    let signatures = world.get(&format!("{path}?artifactType=x/signature"));
    assert_eq!(signatures.header("oci-filters-applied"), "artifactType");
    let found = &document(&signatures)["manifests"];
    assert_eq!(
        (found[0]["artifactType"].as_str(), found[0]["annotations"]["who"].as_str()),
        (Some("x/signature"), Some("me"))
    );
    assert_eq!(found.as_array().unwrap().len(), 1);
    let none = world.get(&format!("/v2/nobody/referrers/{}", subject.digest));
    assert_eq!((none.status, document(&none)["manifests"].clone()), (200, json!([])));
}

#[test]
fn deleting_a_manifest_takes_its_tags_and_deleting_a_tag_only_that() {
    let (_folder, world) = world();
    let digest = world.push_image("a", "1", b"layer");
    world.push_image("a", "2", b"layer");
    assert_eq!(world.ask("DELETE", "/v2/a/manifests/1", &[], b"").status, 202);
    assert_eq!(world.get("/v2/a/manifests/1").code(), "MANIFEST_UNKNOWN");
    assert_eq!(world.get(&format!("/v2/a/manifests/{digest}")).status, 200);
    assert_eq!(world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"").status, 202);
    assert_eq!(world.get("/v2/a/manifests/2").status, 404);
    assert_eq!(world.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], b"").status, 404);
}

#[test]
fn who_understands_no_lists_gets_the_usual_platform() {
    let (_folder, world) = world();
    let one = world.push_image("a", "one", b"layer");
    let mut entry = Descriptor::new(media_type::OCI_MANIFEST, one.clone(), 1);
    entry.platform =
        Some(oci::Platform { architecture: "amd64".into(), os: "linux".into(), ..Default::default() });
    let list = serde_json::to_vec(&oci::Index::new(vec![entry])).unwrap();
    let put = world.ask("PUT", "/v2/a/manifests/list", &[("Content-Type", media_type::OCI_INDEX)], &list);
    assert_eq!(put.status, 201, "{}", put.text());
    let digest = Digest::sha256(&list);
    let asked = |accept: &str, key: &str| {
        let reply = world.ask("GET", &format!("/v2/a/manifests/{key}"), &[("Accept", accept)], b"");
        reply.header("docker-content-digest").to_owned()
    };
    assert_eq!(asked(media_type::OCI_MANIFEST, "list"), one.as_str());
    assert_eq!(asked(media_type::OCI_MANIFEST, digest.as_str()), digest.as_str());
    for accept in [
        "*/*",
        "application/*;q=0.5",
        media_type::OCI_INDEX,
        "text/plain",
        "a/b, application/vnd.oci.image.index.v1+json",
    ] {
        assert_eq!(asked(accept, "list"), digest.as_str(), "{accept}");
    }
    assert_eq!(
        asked(&format!("{}, {};q=0", media_type::OCI_MANIFEST, media_type::OCI_INDEX), "list"),
        one.as_str()
    );
}

#[test]
fn many_referrers_come_page_by_page() {
    let (_folder, world) = world();
    let subject = Descriptor::of(media_type::OCI_MANIFEST, b"not here");
    world.push_blob("a", b"{}");
    for number in 0..4 {
        let manifest = oci::Manifest {
            artifact_type: Some("x/y+z".into()),
            subject: Some(subject.clone()),
            annotations: [("much".to_owned(), number.to_string().repeat(1_500_000))].into(),
            ..oci::Manifest::new(Descriptor::of(media_type::OCI_EMPTY, b"{}"), Vec::new())
        };
        let bytes = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(world.put_manifest("a", Digest::sha256(&bytes).as_str(), &bytes).status, 201);
    }
    let first = world.get(&format!("/v2/a/referrers/{}?artifactType=x%2Fy%2Bz", subject.digest));
    assert_eq!(document(&first)["manifests"].as_array().unwrap().len(), 2);
    let link = first.header("link").to_owned();
    let next = link.strip_prefix('<').and_then(|link| link.split_once('>')).unwrap().0;
    let second = world.get(next);
    assert_eq!(second.header("oci-filters-applied"), "artifactType");
    assert_eq!((document(&second)["manifests"].as_array().unwrap().len(), second.header("link")), (2, ""));
}

#[test]
fn what_is_known_is_not_sent_again() {
    let (_folder, world) = world();
    let digest = world.push_image("a", "1", b"layer");
    let known = |tags: &str| world.ask("GET", "/v2/a/manifests/1", &[("If-None-Match", tags)], b"").status;
    assert_eq!(known(&format!("\"x\", W/\"{digest}\"")), 304);
    assert_eq!((known("*"), known("\"x\"")), (304, 200));
}
