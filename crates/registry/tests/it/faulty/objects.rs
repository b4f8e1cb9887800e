//! Single things of a repository, and what is asked of a registry as a whole.

use bytes::Bytes;
use fault::Kind;
use oci::{Descriptor, Digest, Manifest, Platform, media_type};
use registry::client::{Access, Credentials, Key, Repository, Search, resolve, search};
use serde_json::json;

use crate::faulty::double::Double;
use crate::faulty::make::{at, image, index, registries, tar};

fn repository(double: &Double, path: &str) -> Repository {
    registries().repository(&at(double, path), &Credentials::Anonymous, Access::Push).unwrap()
}

#[tokio::test]
async fn manifests_come_and_go() {
    let double = Double::start();
    let app = repository(&double, "app");
    let bytes =
        serde_json::to_vec(&Manifest::new(Descriptor::of(media_type::OCI_CONFIG, b"{}"), vec![])).unwrap();
    let tag = Key::Tag("1".into());
    assert_eq!(app.manifest_head(&tag).await.unwrap(), None);
    assert_eq!(app.manifest(&tag).await.unwrap_err().kind(), Kind::NotFound);
    let digest = app.manifest_put(&tag, media_type::OCI_MANIFEST, &bytes).await.unwrap();
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
    assert_eq!(app.manifest_head(&tag).await.unwrap(), Some(descriptor.clone()));
    let by_digest = app.manifest(&Key::Digest(digest.clone())).await.unwrap();
    assert_eq!((by_digest.bytes, by_digest.descriptor), (bytes, descriptor));
    app.manifest_delete(&Key::Digest(digest.clone())).await.unwrap();
    assert_eq!(app.manifest_head(&Key::Digest(digest)).await.unwrap(), None);
}

#[tokio::test]
async fn blobs_come_and_go() {
    let double = Double::start();
    let app = repository(&double, "app");
    let digest = app.blob_put(Bytes::from_static(b"0123456789")).await.unwrap();
    double.take_log();
    app.blob_put(Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(double.take_log(), [format!("HEAD /v2/app/blobs/{digest}")]);
    assert_eq!(app.blob_head(&digest).await.unwrap(), Some(10));
    let descriptor = Descriptor::new("x", digest.clone(), 10);
    assert_eq!(app.blob(&descriptor).await.unwrap(), "0123456789");
    assert_eq!(app.blob_range(&digest, 3..6).await.unwrap(), "345");
    assert!(app.blob_range(&digest, 3..3).await.is_err());
    double.fault("GET /v2/app/blobs/", 1, crate::faulty::double::Effect::IgnoreRange);
    assert_eq!(app.blob_range(&digest, 3..10).await.unwrap(), "3456789");
    let other = repository(&double, "other");
    assert!(other.blob_mount(&digest, "app").await.unwrap());
    assert_eq!(other.blob_head(&digest).await.unwrap(), Some(10));
    let missing = Digest::sha256(b"missing");
    double.take_log();
    assert!(!other.blob_mount(&missing, "app").await.unwrap());
    assert!(double.take_log()[1].starts_with("DELETE /v2/other/blobs/uploads/"));
    app.blob_delete(&digest).await.unwrap();
    assert_eq!(app.blob_head(&digest).await.unwrap(), None);
    assert_eq!(app.blob(&descriptor).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let double = Double::start();
    for tag in ["a", "b", "c", "d", "e"] {
        image(&double, "app", tag, &[tar("a", tag.as_bytes())]);
        image(&double, &format!("team/{tag}"), "latest", &[tar("a", b"1")]);
    }
    assert_eq!(repository(&double, "app").tags().await.unwrap(), ["a", "b", "c", "d", "e"]);
    let names = registries().catalogue(&double.host(), &Credentials::Anonymous).await.unwrap();
    assert_eq!(names, ["app", "team/a", "team/b", "team/c", "team/d", "team/e"]);
    assert_eq!(repository(&double, "none").tags().await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn referrers_are_found_with_and_without_their_api() {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let app = repository(&double, "app");
    let signature = |kind: &str| {
        let config = Descriptor::of(media_type::OCI_EMPTY, b"{}");
        let manifest = Manifest {
            subject: Some(made.manifest.clone()),
            artifact_type: Some(kind.into()),
            ..Manifest::new(config, vec![])
        };
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest =
            double.put_manifest("app", kind.rsplit('/').next().unwrap(), media_type::OCI_MANIFEST, &bytes);
        Descriptor {
            artifact_type: Some(kind.into()),
            ..Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64)
        }
    };
    let (one, other) = (signature("application/one"), signature("application/other"));
    let subject = &made.manifest.digest;
    assert_eq!(app.referrers(subject, None).await.unwrap().len(), 2);
    assert_eq!(app.referrers(subject, Some("application/one")).await.unwrap(), std::slice::from_ref(&one));
    double.state().has_referrers = false;
    assert_eq!(app.referrers(subject, None).await.unwrap(), []);
    index(&double, "app", &format!("sha256-{}", subject.hex()), &[one.clone(), other]);
    assert_eq!(app.referrers(subject, Some("application/one")).await.unwrap(), [one]);
}

#[tokio::test]
async fn names_are_resolved_to_descriptors_and_platforms() {
    let double = Double::start();
    let made = image(&double, "app", "1", &[tar("a", b"1")]);
    let arm = Descriptor { platform: Some(Platform::parse("linux/arm64").unwrap()), ..made.manifest.clone() };
    let top = index(&double, "app", "all", &[made.manifest.clone(), arm]);
    let resolved = async |tag: &str| {
        resolve(&registries(), &at(&double, tag), &Credentials::Anonymous)
            .await
            .map_err(|error| error.to_string())
    };
    let one = resolved("app:1").await.unwrap();
    assert_eq!((one.descriptor.digest, one.platforms), (made.manifest.digest, vec![Platform::host()]));
    let all = resolved("app:all").await.unwrap();
    assert_eq!((all.descriptor.digest, all.descriptor.media_type.as_str()), (top, media_type::OCI_INDEX));
    let platforms: Vec<_> = all.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, [Platform::host().to_string(), "linux/arm64".into()]);
    assert_eq!(resolved("app:none").await.unwrap_err(), "manifest unknown: manifest unknown");
}

#[tokio::test]
async fn search_asks_the_index_or_looks_through_the_list() {
    let double = Double::start();
    image(&double, "team/app", "latest", &[tar("a", b"1")]);
    image(&double, "other", "latest", &[tar("a", b"1")]);
    let look = async |term: &str, limit: u32| {
        let term = format!("{}/{term}", double.host());
        search(&registries(), &Search { term, limit, credentials: Credentials::Anonymous }).await
    };
    let names =
        |found: &[registry::client::Found]| found.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&look("APP", 0).await.unwrap()), [format!("{}/team/app", double.host())]);
    double.state().search = Some(json!({"num_results": 2, "results": [
        {"name": "a", "description": "first", "star_count": 7, "is_official": true, "is_automated": false},
        {"name": "b"},
    ]}));
    double.take_log();
    let found = look("a b", 10).await.unwrap();
    assert_eq!(names(&found), ["a", "b"]);
    assert_eq!((found[0].stars, found[0].official, found[0].description.as_str()), (7, true, "first"));
    assert_eq!(double.take_log(), ["GET /v1/search?q=a%20b&n=10"]);
    assert_eq!(look("a", 101).await.unwrap_err().to_string(), "limit 101 is outside the range of [1, 100]");
}
