//! Names that stand for an image on several platforms.

use std::collections::BTreeMap;
use std::time::Duration;

use fault::Kind;
use oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};
use serde_json::json;
use store::{Budget, Document, ImageId, Loaded, Outcome, Owners, Problem, Remove, Removed, Store};

use crate::make::{count, members, name, reopen, store, tar};

/// An archive of one index, as builders export it.
struct Many {
    files: BTreeMap<String, Vec<u8>>,
    entries: Vec<Descriptor>,
}

impl Many {
    fn of(platforms: &[&str]) -> Self {
        let mut many = Self { files: BTreeMap::new(), entries: Vec::new() };
        for platform in platforms {
            many.add(platform);
        }
        many
    }

    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.files.insert(format!("blobs/sha256/{}", descriptor.digest.hex()), bytes);
        descriptor
    }

    fn add(&mut self, platform: &str) {
        let layer = tar(&[("for", platform.as_bytes())]);
        let platform = Platform::parse(platform).unwrap();
        let config = json!({
            "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(&layer)]},
        });
        let layer = self.blob(media_type::OCI_LAYER, layer);
        let config = self.blob(media_type::OCI_CONFIG, config.to_string().into_bytes());
        let manifest = serde_json::to_vec(&Manifest::new(config, vec![layer])).unwrap();
        let manifest = self.blob(media_type::OCI_MANIFEST, manifest);
        self.entries.push(Descriptor { platform: Some(platform), ..manifest });
    }

    fn index(&self) -> Document {
        let bytes = serde_json::to_vec(&Index::new(self.entries.clone())).unwrap();
        Document { descriptor: Descriptor::of(media_type::OCI_INDEX, &bytes), bytes }
    }

    fn archive(&self, tag: &str) -> Vec<u8> {
        let Document { mut descriptor, bytes } = self.index();
        let mut files = self.files.clone();
        files.insert(format!("blobs/sha256/{}", descriptor.digest.hex()), bytes);
        descriptor.annotations.insert("io.containerd.image.name".into(), tag.into());
        files.insert("index.json".into(), serde_json::to_vec(&Index::new(vec![descriptor])).unwrap());
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        tar(&files)
    }
}

fn platforms(texts: &[&str]) -> Vec<Platform> {
    texts.iter().map(|text| Platform::parse(text).unwrap()).collect()
}

fn load(store: &Store, archive: &[u8], wanted: &[&str]) -> fault::Result<Vec<Loaded>> {
    store.load(archive, &platforms(wanted), &mut |_| ())
}

fn on(store: &Store, text: &str, platform: &str) -> Result<ImageId, String> {
    store.resolve_for(text, platforms(&[platform]).first()).map_err(|error| error.to_string())
}

fn save(store: &Store, text: &str, wanted: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut archive = Vec::new();
    let saved = store.save(&[text.into()], &platforms(wanted), &mut archive);
    saved.map(|()| members(&archive)).map_err(|error| error.to_string())
}

fn remove(store: &Store, text: &str, wanted: &[&str]) -> fault::Result<Vec<String>> {
    let how = Remove { force: false, prune_children: true, in_use: &|_| Vec::new() };
    let removed = match wanted {
        [] => store.remove(text, &how)?,
        wanted => store.remove_platforms(text, &platforms(wanted), &how)?,
    };
    let line = |step: &Removed| match step {
        Removed::Untagged(name, _) => format!("untagged {name}"),
        Removed::Deleted(_) => "deleted".into(),
        Removed::Layer(_) => "layer".into(),
    };
    Ok(removed.iter().map(line).collect())
}

const ALL: &[&str] = &["linux/arm64", "linux/amd64", "linux/arm/v6"];

#[test]
fn all_platforms_are_loaded_and_the_name_means_the_host_s() {
    let (folder, store) = store();
    let many = Many::of(ALL);
    let loaded = load(&store, &many.archive("docker.io/library/many:1"), &[]).unwrap();
    assert_eq!(loaded.len(), 1);
    let host = on(&store, "many:1", "linux/amd64").unwrap();
    assert_eq!((&loaded[0].id, store.resolve("many:1").unwrap()), (&host, host.clone()));
    let arm = on(&store, "many:1", "linux/arm64/v8").unwrap();
    assert_eq!(on(&store, "many:1", "linux/arm/v7").unwrap(), on(&store, "many:1", "linux/arm/v6").unwrap());
    assert_eq!(
        on(&store, "many:1", "linux/s390x").unwrap_err(),
        "image with reference many:1 was found but does not provide the specified platform (linux/s390x)"
    );
    // By its id an image is one platform.
    assert!(on(&store, &arm.to_string(), "linux/amd64").unwrap_err().contains("its platform (linux/arm64)"));
    let variants = store.variants(&host).unwrap();
    assert!(variants.are_whole() && variants.target == many.index().descriptor);
    let shown: Vec<_> =
        variants.all.iter().map(|one| one.manifest.platform.clone().unwrap().to_string()).collect();
    assert_eq!(shown, ALL);
    // The others have no name of their own and are kept all the same, over a restart too.
    store.collect().unwrap();
    drop(store);
    let store = reopen(folder.path());
    assert!(!store.image(&arm).unwrap().indexed_by.is_empty() && store.variants(&host).unwrap().are_whole());
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_saved_index_comes_back_whole_and_its_digest_stays() {
    let (_folder, store) = store();
    let many = Many::of(ALL);
    load(&store, &many.archive("many:1"), &[]).unwrap();
    let saved = save(&store, "many:1", &[]).unwrap();
    let index: Index = serde_json::from_slice(&saved["index.json"]).unwrap();
    assert_eq!(index.manifests[0].digest, many.index().descriptor.digest);
    for file in many.files.keys() {
        assert!(saved.contains_key(file), "{file}");
    }
    // What older programs read has the host's image.
    let host = store.resolve("many:1").unwrap();
    let items: serde_json::Value = serde_json::from_slice(&saved["manifest.json"]).unwrap();
    assert_eq!(items.as_array().unwrap().len(), 1);
    assert_eq!(items[0]["Config"], format!("blobs/sha256/{}", host.0.hex()));
    let files: Vec<(&str, &[u8])> = saved
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .filter(|(name, _)| !name.ends_with('/'))
        .collect();
    let (_other_folder, other) = crate::make::store();
    load(&other, &tar(&files), &[]).unwrap();
    assert_eq!(other.variants(&host).unwrap(), store.variants(&host).unwrap());
}

#[test]
fn some_platforms_are_saved_under_an_index_of_their_own() {
    let (_folder, store) = store();
    load(&store, &Many::of(ALL).archive("many:1"), &[]).unwrap();
    let saved = save(&store, "many:1", &["linux/arm64", "linux/amd64"]).unwrap();
    let index: Index = serde_json::from_slice(&saved["index.json"]).unwrap();
    let inner = &saved[&format!("blobs/sha256/{}", index.manifests[0].digest.hex())];
    let inner: Index = serde_json::from_slice(inner).unwrap();
    assert_eq!(inner.manifests.len(), 2);
    assert!(
        inner.manifests.iter().all(|one| saved.contains_key(&format!("blobs/sha256/{}", one.digest.hex())))
    );
    let one = save(&store, "many:1", &["linux/arm64"]).unwrap();
    let index: Index = serde_json::from_slice(&one["index.json"]).unwrap();
    assert_eq!(index.manifests[0].media_type, media_type::OCI_MANIFEST);
    assert_eq!(
        save(&store, "many:1", &["linux/s390x"]).unwrap_err(),
        "no suitable export target found for platform linux/s390x"
    );
}

#[test]
fn some_platforms_of_an_archive_are_loaded() {
    let (folder, store) = store();
    let archive = Many::of(ALL).archive("many:1");
    let error = load(&store, &archive, &["linux/s390x"]).unwrap_err();
    assert_eq!(error.to_string(), "requested platform(s) not found: linux/s390x");
    assert_eq!(count(folder.path()), (0, 0));
    let loaded = load(&store, &archive, &["linux/arm64"]).unwrap();
    assert_eq!(on(&store, "many:1", "linux/arm64").unwrap(), loaded[0].id);
    assert!(on(&store, "many:1", "linux/amd64").is_err());
    let variants = store.variants(&loaded[0].id).unwrap();
    assert_eq!(variants.all.iter().filter(|one| one.is_here).count(), 1);
    // The rest may come later, under the same name.
    load(&store, &archive, &["linux/amd64"]).unwrap();
    assert!(on(&store, "many:1", "linux/arm64").is_ok() && on(&store, "many:1", "linux/amd64").is_ok());
    // A part is no reason to lose the rest of an archive: nothing is missing but what it never had.
    let mut part = Many::of(&["linux/amd64", "linux/s390x"]);
    let layer = part.files.keys().next().unwrap().clone();
    part.files.remove(&layer);
    let error = load(&store, &part.archive("part:1"), &["linux/amd64", "linux/s390x"]);
    assert!(error.is_ok_and(|loaded| loaded.len() == 1));
}

#[test]
fn other_platforms_go_with_the_name_or_alone() {
    let (folder, store) = store();
    let three = &["linux/arm64", "linux/amd64", "linux/ppc64le"];
    load(&store, &Many::of(three).archive("many:1"), &[]).unwrap();
    let host = store.resolve("many:1").unwrap();
    assert_eq!(remove(&store, "many:1", &["linux/arm64"]).unwrap(), ["deleted", "layer"]);
    assert!(on(&store, "many:1", "linux/arm64").is_err() && on(&store, "many:1", "linux/amd64").is_ok());
    // The name lives on with what is left, and goes with the last.
    assert_eq!(remove(&store, "many:1", &["linux/amd64"]).unwrap(), ["deleted", "layer"]);
    assert_ne!(store.resolve("many:1").unwrap(), host);
    assert!(remove(&store, "many:1", &["linux/amd64"]).is_err());
    assert_eq!(
        remove(&store, "many:1", &["linux/ppc64le"]).unwrap(),
        ["untagged many:1", "deleted", "layer"]
    );
    store.collect().unwrap();
    assert_eq!(count(folder.path()), (0, 0));
    // By the name all of them go; what another name needs stays.
    load(&store, &Many::of(three).archive("many:1"), &[]).unwrap();
    store.tag_like(&host, &name("again:1"), Some(&name("many:1"))).unwrap();
    assert_eq!(remove(&store, "many:1", &[]).unwrap(), ["untagged many:1"]);
    // One name loses a platform, another keeps it.
    store.tag_like(&host, &name("third:1"), Some(&name("again:1"))).unwrap();
    assert_eq!(remove(&store, "third:1", &["linux/amd64"]).unwrap(), ["untagged third:1"]);
    assert!(on(&store, "third:1", "linux/amd64").is_err() && on(&store, "again:1", "linux/amd64").is_ok());
    assert_eq!(remove(&store, "third:1", &[]).unwrap(), ["untagged third:1"]);
    assert!(on(&store, "again:1", "linux/arm64").is_ok());
    let removed = remove(&store, "again:1", &[]).unwrap();
    assert_eq!(removed.iter().filter(|line| *line == "deleted").count(), 3, "{removed:?}");
    store.collect().unwrap();
    assert_eq!(count(folder.path()), (0, 0));
}

/// A bound on the room, and one platform of a name that has to stay: the name stays with it.
#[test]
fn a_platform_that_must_stay_keeps_the_others_of_its_name() {
    let (_folder, store) = store();
    let many = Many::of(&["linux/amd64", "linux/arm64"]);
    load(&store, &many.archive("app:1"), &[]).unwrap();
    let [amd, arm] = ["linux/amd64", "linux/arm64"].map(|platform| on(&store, "app:1", platform).unwrap());
    let nobody = |_: &ImageId| Vec::new();
    let nothing = Budget { bytes_max: 0, spared_for: Duration::ZERO };
    assert_eq!(store.taken_along(&amd), std::slice::from_ref(&arm));
    assert!(store.taken_along(&arm).is_empty());
    store.pin(&arm, true).unwrap();
    assert!(store.keep_within(&nothing, &nobody).unwrap().is_empty());
    assert_eq!(on(&store, "app:1", "linux/arm64").unwrap(), arm);
    store.pin(&arm, false).unwrap();
    // The other way round nothing is in the way.
    store.pin(&amd, true).unwrap();
    store.keep_within(&nothing, &nobody).unwrap();
    assert!(store.has_image(&amd) && !store.has_image(&arm));
    store.pin(&amd, false).unwrap();
    store.keep_within(&nothing, &nobody).unwrap();
    assert!(!store.has_image(&amd) && !store.has_image(&arm));
}

#[test]
fn a_name_that_moves_leaves_its_index() {
    let (folder, store) = store();
    let many = Many::of(&["linux/amd64", "linux/arm64"]);
    load(&store, &many.archive("many:1"), &[]).unwrap();
    let arm = on(&store, "many:1", "linux/arm64").unwrap();
    // Another image takes the name: what only its index led to is dangling, as with dockerd.
    store.tag(&arm, &name("many:1")).unwrap();
    assert!(store.image(&arm).unwrap().indexed_by.is_empty());
    assert!(store.variants(&arm).unwrap().target.media_type == media_type::OCI_MANIFEST);
    let error = remove(&store, "many:1", &["linux/amd64"]).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(store.images().unwrap().len(), 2);
    // An index that is no longer meant goes with the next collection.
    let before = count(folder.path()).0;
    store.collect().unwrap();
    assert_eq!(count(folder.path()).0, before - 1);
}

#[test]
fn hostile_indexes_are_bounded() {
    let (folder, store) = store();
    // Ten thousand entries of which two are there.
    let mut many = Many::of(&["linux/amd64", "linux/arm64"]);
    for number in 0..10_000_u32 {
        let entry = Descriptor::of(media_type::OCI_MANIFEST, &number.to_le_bytes());
        many.entries.push(Descriptor { platform: platforms(&["linux/s390x"]).pop(), ..entry });
    }
    load(&store, &many.archive("many:1"), &[]).unwrap();
    let variants = store.variants(&store.resolve("many:1").unwrap()).unwrap();
    assert!(variants.has_more && !variants.are_whole() && variants.all.len() == 1_000);
    assert_eq!(remove(&store, "many:1", &[]).unwrap().len(), 5);
    store.collect().unwrap();
    assert_eq!(count(folder.path()), (0, 0));
    // Indexes in indexes, deeper than anybody needs: no image is found.
    let mut deep = Many::of(&["linux/amd64"]);
    for _ in 0..10 {
        let Document { descriptor, bytes } = deep.index();
        deep.files.insert(format!("blobs/sha256/{}", descriptor.digest.hex()), bytes);
        deep.entries = vec![descriptor];
    }
    let error = load(&store, &deep.archive("deep:1"), &[]).unwrap_err();
    assert!(error.to_string().starts_with("invalid image archive: no image for "), "{error}");
    assert_eq!(count(folder.path()), (0, 0));
}

fn convert(
    store: &Store,
    compression: archive::compression::Compression,
    wanted: &[&str],
) -> store::Converted {
    let (source, target) = ("many:1".into(), name("other:1"));
    let level = None;
    store
        .convert(&store::Convert { source, target, compression, level, platforms: platforms(wanted) })
        .unwrap()
}

#[test]
fn a_converted_image_has_the_same_layers_in_another_form() {
    use archive::compression::Compression;
    for (compression, media_type) in [
        (Compression::Zstd, media_type::OCI_LAYER_ZSTD),
        (Compression::Gzip, media_type::OCI_LAYER_GZIP),
        (Compression::None, media_type::OCI_LAYER),
    ] {
        let (folder, store) = store();
        load(&store, &Many::of(ALL).archive("many:1"), &[]).unwrap();
        let source = store.image(&store.resolve("many:1").unwrap()).unwrap();
        let made = convert(&store, compression, &[]);
        assert_eq!(made, convert(&store, compression, &[]));
        let image = store.image(&made.id).unwrap();
        assert_eq!(image.layers[0].diff_id, source.layers[0].diff_id);
        assert_eq!(image.layers[0].blob.media_type, media_type);
        assert_ne!(image.id, source.id);
        assert_eq!(store.resolve("other:1").unwrap(), made.id);
        assert_eq!(made.target.media_type, media_type::OCI_INDEX);
        let variants = store.variants(&made.id).unwrap();
        assert!(variants.are_whole() && variants.all.len() == 3);
        assert!(on(&store, "other:1", "linux/arm64").is_ok());
        assert_eq!(store.image(&source.id).unwrap().manifest, source.manifest);
        assert_eq!(store.verify().unwrap(), []);
        let one = convert(&store, compression, &["linux/arm64"]);
        assert_eq!(one.target.media_type, media_type::OCI_MANIFEST);
        for name in ["many:1", "other:1"] {
            remove(&store, name, &[]).unwrap();
        }
        for image in store.images().unwrap() {
            remove(&store, &image.id.to_string(), &[]).unwrap();
        }
        store.collect().unwrap();
        assert_eq!(count(folder.path()), (0, 0));
    }
}

#[test]
fn images_are_compared_file_by_file() {
    let (_folder, store) = store();
    load(&store, &Many::of(ALL).archive("many:1"), &[]).unwrap();
    let (one, two) =
        (on(&store, "many:1", "linux/amd64").unwrap(), on(&store, "many:1", "linux/arm64").unwrap());
    let difference = store.difference(&one, &two).unwrap();
    assert_eq!(difference.files.len(), 1);
    assert_eq!(difference.files[0].path.to_str(), Some("/for"));
    assert_eq!(difference.settings[0].name, "architecture");
    assert_eq!(difference.layers.iter().filter(|layer| layer.in_first && layer.in_second).count(), 0);
    assert_eq!(store.difference(&one, &one).unwrap().files, []);
    let made = convert(&store, archive::compression::Compression::Gzip, &["linux/amd64"]);
    let difference = store.difference(&one, &made.id).unwrap();
    assert!(difference.files.is_empty() && difference.settings.is_empty() && difference.layers[0].in_second);
}

/// An index is a blob of all its images: a damaged one is not nobody's.
#[test]
fn a_damaged_index_is_set_aside_and_comes_back_with_the_image() {
    let (folder, store) = store();
    let many = Many::of(&["linux/amd64", "linux/arm64"]);
    let archive = many.archive("app:1");
    load(&store, &archive, &[]).unwrap();
    let digest = many.index().descriptor.digest;
    let path = folder.path().join("store/content/blobs/sha256").join(digest.hex());
    std::fs::write(&path, b"rot").unwrap();
    let users = match &store.verify().unwrap()[..] {
        [Problem::Damaged(damaged, users)] if *damaged == digest => users.len(),
        problems => panic!("{problems:?}"),
    };
    assert_eq!(users, 2);
    let repaired = store.repair(&Owners::none()).unwrap();
    assert!(matches!(repaired[0].outcome, Outcome::Left(_)), "{repaired:?}");
    assert!(folder.path().join("store/damaged").join(digest.hex()).exists());
    assert!(matches!(&store.verify().unwrap()[..], [Problem::MissingBlob(_, missing)] if *missing == digest));
    load(&store, &archive, &[]).unwrap();
    assert_eq!(store.verify().unwrap(), []);
}
