//! Images on several platforms: which one a container is made from, and what lists tell.

use std::collections::BTreeMap;

use api::container::Create;
use api::filters::Filters;
use api::image::ListOptions;
use bytes::Bytes;
use engine::{container, image, prune};
use fault::Kind;
use futures_util::StreamExt;
use futures_util::stream;
use oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};
use serde_json::json;

use crate::house::House;
use crate::in_house;

/// An archive of `many:1`, as builders export it.
fn archive(platforms: &[&str]) -> Vec<u8> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut blob = |media_type: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        files.insert(format!("blobs/sha256/{}", descriptor.digest.hex()), bytes);
        descriptor
    };
    let mut entries = Vec::new();
    for platform in platforms {
        let layer = tar(&[("for".to_owned(), platform.as_bytes().to_vec())]);
        let platform = Platform::parse(platform).unwrap();
        let config = json!({
            "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
            "config": {"Cmd": ["x"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer)]},
        });
        let layer = blob(media_type::OCI_LAYER, layer);
        let config = blob(media_type::OCI_CONFIG, config.to_string().into_bytes());
        let manifest = serde_json::to_vec(&Manifest::new(config, vec![layer])).unwrap();
        let manifest = blob(media_type::OCI_MANIFEST, manifest);
        entries.push(Descriptor { platform: Some(platform), ..manifest });
    }
    let mut index = blob(media_type::OCI_INDEX, serde_json::to_vec(&Index::new(entries)).unwrap());
    index.annotations.insert("io.containerd.image.name".into(), "many:1".into());
    files.insert("index.json".into(), serde_json::to_vec(&Index::new(vec![index])).unwrap());
    tar(&files.into_iter().collect::<Vec<_>>())
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

async fn load(house: &House, platforms: &[&str]) {
    let body = stream::iter([Ok(Bytes::from(archive(platforms)))]).boxed();
    let lines = image::load(&house.engine, body, true, vec![]).await.unwrap();
    let told: Vec<String> = lines.map(|line| line.stream + &line.error).collect().await;
    assert_eq!(told, ["Loaded image: many:1\n"]);
}

async fn create(house: &House, platform: &str) -> fault::Result<(String, Vec<String>)> {
    let wanted: Create = api::from_value(json!({"Image": "many:1"})).unwrap();
    let platform = Platform::parse(platform).ok();
    let created = container::create_for(&house.engine, None, platform, wanted).await?;
    Ok((house.inspect(&created.id).await.image, created.warnings))
}

async fn architecture(house: &House, platform: &str) -> String {
    let viewing = image::Viewing { platform: Platform::parse(platform).ok(), manifests: false };
    image::inspect_as(&house.engine, "many:1", viewing).await.unwrap().architecture
}

#[test]
fn a_container_is_made_from_the_platform_that_is_wanted() {
    in_house(async |house| {
        load(house, &["linux/s390x", "linux/amd64", "linux/arm64"]).await;
        assert_eq!(architecture(house, "").await, "amd64");
        assert_eq!(architecture(house, "linux/s390x").await, "s390x");
        let (ours, warnings) = create(house, "").await.unwrap();
        assert_eq!((&ours, warnings.len()), (&image::inspect(&house.engine, "many:1").await.unwrap().id, 0));
        // Who asks for a platform is not warned of it.
        let (other, warnings) = create(house, "linux/s390x").await.unwrap();
        assert!(other != ours && warnings.is_empty(), "{warnings:?}");
        let error = create(house, "linux/riscv64").await.unwrap_err();
        // Not found: clients pull then.
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            error.to_string(),
            "image with reference many:1 was found but does not provide the specified platform (linux/riscv64)"
        );
    });
}

#[test]
fn a_foreign_image_that_nobody_asked_for_is_told() {
    in_house(async |house| {
        load(house, &["linux/s390x"]).await;
        let (_, warnings) = create(house, "").await.unwrap();
        let host = Platform::host_newest();
        assert_eq!(
            warnings,
            [format!(
                "The requested image's platform (linux/s390x) does not match the detected host platform ({host}) and no \
                 specific platform was requested"
            )]
        );
    });
}

/// Other platforms have no name but their index's.
#[test]
fn a_pinned_platform_is_not_pruned_with_the_name_of_another() {
    in_house(async |house| {
        load(house, &["linux/amd64", "linux/s390x"]).await;
        let store = house.engine.store();
        let wanted = Platform::parse("linux/s390x").unwrap();
        let other = store.resolve_for("many:1", Some(&wanted)).unwrap();
        let all = || Filters::parse(r#"{"dangling":["false"]}"#).unwrap();
        store.pin(&other, true).unwrap();
        prune::images(&house.engine, all()).await.unwrap();
        assert_eq!(store.resolve_for("many:1", Some(&wanted)).unwrap(), other);
        store.pin(&other, false).unwrap();
        prune::images(&house.engine, all()).await.unwrap();
        assert!(!store.has_image(&other) && store.resolve("many:1").is_err());
    });
}

#[test]
fn lists_show_one_image_and_its_platforms_when_asked() {
    in_house(async |house| {
        load(house, &["linux/s390x", "linux/amd64"]).await;
        let list = async |manifests, all| {
            let options = ListOptions { manifests, all, ..ListOptions::default() };
            let rows = image::list(&house.engine, options).await.unwrap();
            rows.into_iter()
                .filter(|row| row.repo_tags.as_ref().is_none_or(|tags| tags != &["busybox:latest"]))
        };
        let plain: Vec<_> = list(false, false).await.collect();
        assert_eq!((plain.len(), plain[0].manifests.is_none()), (1, true));
        assert_eq!(list(false, true).await.count(), 2);
        let (_, _) = create(house, "linux/s390x").await.unwrap();
        let rows: Vec<_> = list(true, false).await.collect();
        let manifests = rows[0].manifests.as_ref().unwrap();
        let shown: Vec<_> = manifests
            .iter()
            .map(|one| {
                let data = one.image_data.as_ref().unwrap();
                (data.platform.to_string(), one.available, data.containers.len(), one.kind.as_str())
            })
            .collect();
        assert_eq!(
            shown,
            [("linux/s390x".into(), true, 1, "image"), ("linux/amd64".into(), true, 0, "image")]
        );
        let viewing = image::Viewing { platform: Some(Platform::host()), manifests: true };
        let error = image::inspect_as(&house.engine, "many:1", viewing).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "conflicting options: manifests and platform options cannot both be set"
        );
        // A container's platform stays; the other may go, and the name keeps what is left.
        let remove = async |platform: &str| {
            let platforms = vec![Platform::parse(platform).unwrap()];
            image::remove(&house.engine, "many:1", false, true, platforms).await
        };
        let error = remove("linux/s390x").await.unwrap_err().to_string();
        assert!(error.contains("(must be forced) - image is being used by stopped container"), "{error}");
        remove("linux/amd64").await.unwrap();
        assert_eq!(architecture(house, "").await, "s390x");
    });
}
