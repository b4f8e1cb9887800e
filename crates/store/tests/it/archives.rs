//! load and save: what others write is read, what is saved loads again.

use oci::media_type;
use store::{Loaded, Store};

use crate::make::{config, docker_archive, gzip, import, members, name, oci_layout, root, store, tar, zstd};

fn load(store: &Store, archive: &[u8]) -> fault::Result<Vec<Loaded>> {
    store.load(archive, &[], &mut |_| ())
}

fn save(store: &Store, names: &[&str]) -> fault::Result<Vec<u8>> {
    let mut archive = Vec::new();
    let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
    store.save(&names, &[], &mut archive).map(|()| archive)
}

#[test]
fn a_docker_archive_loads_plain_and_compressed() {
    let upper = tar(&[("etc/", b""), ("etc/motd", b"hi"), (".wh.bin", b"")]);
    let archive = docker_archive("app:1", &[&root(), &upper]);
    for packed in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let (_folder, store) = store();
        let mut reported = 0;
        let loaded = store.load(packed.as_slice(), &[], &mut |_| reported += 1).unwrap();
        assert_eq!(reported, 2);
        assert_eq!(loaded[0].reference, Some(name("app:1")));
        let image = store.image(&loaded[0].id).unwrap();
        assert_eq!(image.config_bytes, config(&[&root(), &upper]));
        assert_eq!(image.layers.iter().map(|layer| layer.size_unpacked).collect::<Vec<_>>(), [27, 2]);
        assert_eq!(store.verify().unwrap(), []);
    }
}

#[test]
fn links_between_members_are_followed() {
    let (_folder, store) = store();
    let plain = docker_archive("app:1", &[&root()]);
    let mut builder = tar::Builder::new(Vec::new());
    for (member, content) in members(&plain) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        let renamed = if member == "layer0/layer.tar" { "other/layer.tar" } else { &member };
        builder.append_data(&mut header, renamed, content.as_slice()).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "layer0/layer.tar", "../other/layer.tar").unwrap();
    load(&store, &builder.into_inner().unwrap()).unwrap();
    assert!(store.resolve("app:1").is_ok());
}

#[test]
fn an_oci_layout_loads_and_keeps_its_digests() {
    let (_folder, store) = store();
    let (packed, other) = (gzip(&root()), zstd(&tar(&[("a", b"1")])));
    let layers =
        [(packed.as_slice(), media_type::OCI_LAYER_GZIP), (other.as_slice(), media_type::OCI_LAYER_ZSTD)];
    let config = config(&[&root(), &tar(&[("a", b"1")])]);
    let archive = oci_layout("ghcr.io/me/app:2", &layers, &config);
    let loaded = load(&store, &archive).unwrap();
    assert_eq!(loaded[0].reference, Some(name("ghcr.io/me/app:2")));
    let image = store.image(&loaded[0].id).unwrap();
    assert!(members(&archive).contains_key(&format!("blobs/sha256/{}", image.manifest.digest.hex())));
    assert_eq!(image.layers[0].blob.media_type, media_type::OCI_LAYER_GZIP);
    assert_eq!(store.verify().unwrap(), []);
    // Saved and loaded elsewhere, manifest and blobs are the same.
    let (_folder, elsewhere) = crate::make::store();
    load(&elsewhere, &save(&store, &["ghcr.io/me/app:2"]).unwrap()).unwrap();
    let copy = elsewhere.image(&loaded[0].id).unwrap();
    assert_eq!((copy.manifest, copy.layers), (image.manifest, image.layers));
}

#[test]
fn a_layer_that_is_here_may_be_missing_in_the_archive() {
    let upper = tar(&[("etc/", b""), ("etc/motd", b"hi")]);
    let archive = without(&docker_archive("app:1", &[&root(), &upper]), "layer0/layer.tar");
    let (_folder, store) = store();
    let refused = load(&store, &archive).unwrap_err().to_string();
    assert_eq!(refused, "invalid image archive: layer0/layer.tar is missing");
    let base = import(&store, &root(), "base");
    let loaded = load(&store, &archive).unwrap();
    let (image, base) = (store.image(&loaded[0].id).unwrap(), store.image(&base).unwrap());
    assert_eq!(image.layers[0], base.layers[0]);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_layout_whose_layer_is_here_in_another_packing_gets_a_new_manifest() {
    let packed = gzip(&root());
    let archive =
        oci_layout("app:1", &[(packed.as_slice(), media_type::OCI_LAYER_GZIP)], &config(&[&root()]));
    let blob = format!("blobs/sha256/{}", oci::Digest::sha256(&packed).hex());
    let archive = without(&archive, &blob);
    let (_folder, store) = store();
    import(&store, &root(), "base");
    let loaded = load(&store, &archive).unwrap();
    assert_eq!(store.verify().unwrap(), []);
    let (_folder, elsewhere) = crate::make::store();
    load(&elsewhere, &save(&store, &["app:1"]).unwrap()).unwrap();
    assert!(elsewhere.image(&loaded[0].id).is_ok());
}

fn without(archive: &[u8], missing: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (member, content) in members(archive).into_iter().filter(|(member, _)| member != missing) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, member, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_saved_archive_is_docker_s_and_oci_s() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    store.tag(&id, &name("base:2")).unwrap();
    let archive = save(&store, &["base"]).unwrap();
    let members = members(&archive);
    let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&members[name]).unwrap();
    let layer = store.image(&id).unwrap().layers[0].diff_id.clone();
    let manifest = json("manifest.json");
    assert_eq!(manifest[0]["Config"], format!("blobs/sha256/{}", id.0.hex()));
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["base:2", "base:latest"]));
    assert_eq!(manifest[0]["Layers"], serde_json::json!([format!("blobs/sha256/{}", layer.hex())]));
    assert_eq!(manifest[0]["LayerSources"][layer.as_str()]["mediaType"], media_type::OCI_LAYER);
    assert_eq!(json("index.json")["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
    assert_eq!(json("repositories")["base"]["latest"], layer.hex());
}

#[test]
fn several_images_share_their_layers_in_an_archive() {
    let (_folder, store) = store();
    let base = import(&store, &root(), "base");
    let snapshot = store.snapshot_create("work", Some(&base)).unwrap();
    std::fs::write(snapshot.upper().join("new"), b"12345").unwrap();
    let commit =
        store::Commit { parent: Some(base.clone()), reference: Some(name("child")), ..Default::default() };
    let child = store.commit(&snapshot, &commit).unwrap();
    let archive = save(&store, &["base", "child", child.0.hex()]).unwrap();
    let (_folder, elsewhere) = crate::make::store();
    let loaded = load(&elsewhere, &archive).unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(elsewhere.resolve("child").unwrap(), child);
    assert_eq!(elsewhere.resolve("base").unwrap(), base);
}

#[test]
fn an_image_saved_by_id_loads_without_a_name() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    let archive = save(&store, &[id.0.hex()]).unwrap();
    let (_folder, elsewhere) = crate::make::store();
    let loaded = load(&elsewhere, &archive).unwrap();
    assert_eq!(loaded, [Loaded { id, reference: None, replaced: None }]);
}

#[test]
fn loading_moves_a_name_and_says_from_where() {
    let (_folder, store) = store();
    let old = import(&store, &root(), "app:1");
    let loaded = load(&store, &docker_archive("app:1", &[&tar(&[("a", b"1")])])).unwrap();
    assert_eq!(loaded[0].replaced, Some(old));
    // A second time nothing changes.
    let again = load(&store, &docker_archive("app:1", &[&tar(&[("a", b"1")])])).unwrap();
    assert_eq!((again[0].id.clone(), again[0].replaced.clone()), (loaded[0].id.clone(), None));
}

#[test]
fn saving_what_is_not_there_has_docker_s_words() {
    let (_folder, store) = store();
    import(&store, &root(), "base");
    let words = |name: &str| save(&store, &[name]).unwrap_err().to_string();
    assert_eq!(words("foo"), "No such image: foo");
    assert_eq!(words("base:2"), "reference does not exist");
    assert_eq!(words("Foo"), "invalid reference format: repository name (library/Foo) must be lowercase");
}

/// As `buildx` exports it: an index for several platforms with attestations between them.
#[test]
fn of_several_platforms_the_host_s_is_loaded() {
    let (_folder, store) = store();
    let host = oci::Platform::host();
    let mut blobs = Vec::new();
    let mut entry = |layer: &[u8], os: &str, architecture: &str| {
        let mut blob = |media_type: &str, bytes: Vec<u8>| {
            let descriptor = oci::Descriptor::of(media_type, &bytes);
            blobs.push((format!("blobs/sha256/{}", descriptor.digest.hex()), bytes));
            descriptor
        };
        let layers = vec![blob(media_type::OCI_LAYER, layer.to_vec())];
        let config = blob(media_type::OCI_CONFIG, config(&[layer]));
        let manifest = serde_json::to_vec(&oci::Manifest::new(config, layers)).unwrap();
        let platform =
            oci::Platform { os: os.into(), architecture: architecture.into(), ..Default::default() };
        oci::Descriptor { platform: Some(platform), ..blob(media_type::OCI_MANIFEST, manifest) }
    };
    let other = entry(&tar(&[("other", b"")]), "linux", "s390x");
    let attestation = entry(b"{}", "unknown", "unknown");
    let ours = entry(&root(), &host.os, &host.architecture);
    let inner = serde_json::to_vec(&oci::Index::new(vec![attestation, other, ours.clone()])).unwrap();
    let mut top = oci::Descriptor::of(media_type::OCI_INDEX, &inner);
    blobs.push((format!("blobs/sha256/{}", top.digest.hex()), inner));
    top.annotations.insert("io.containerd.image.name".into(), "docker.io/library/many:1".into());
    blobs.push(("index.json".into(), serde_json::to_vec(&oci::Index::new(vec![top])).unwrap()));
    let files: Vec<(&str, &[u8])> =
        blobs.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let loaded = load(&store, &tar(&files)).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(store.image(&loaded[0].id).unwrap().manifest.digest, ours.digest);
    assert_eq!(store.resolve("many:1").unwrap(), loaded[0].id);
}
