//! Images out of other engines' folders: the same ids, the same bytes, nothing believed.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::Kind;
use oci::Digest;
use serde_json::json;
use store::{Adopting, ImageId, Store};

use crate::make::{config, count, gzip, name, root, store, tar};

/// Unpacks a tar of regular files and writes its recipe, as the other engines do.
fn split(tar: &[u8], files: &Path) -> Vec<u8> {
    let mut lines = String::new();
    let mut segment = Vec::new();
    let mut rest = tar;
    while let Some((header, after)) = rest.split_at_checked(512) {
        segment.extend(header);
        rest = after;
        let name = String::from_utf8_lossy(&header[..100]).trim_end_matches('\0').to_owned();
        if name.is_empty() {
            continue;
        }
        let size = usize::from_str_radix(String::from_utf8_lossy(&header[124..135]).trim(), 8).unwrap();
        if name.ends_with('/') {
            std::fs::create_dir_all(files.join(&name)).unwrap();
        } else {
            std::fs::write(files.join(&name), &rest[..size]).unwrap();
        }
        lines += &format!("{}\n", json!({"type": 2, "payload": STANDARD.encode(&segment)}));
        lines += &format!("{}\n", json!({"type": 1, "name": name, "size": size, "payload": "AAAAAAAAAAA="}));
        segment = rest[size..size.next_multiple_of(512)].to_vec();
        rest = &rest[size.next_multiple_of(512)..];
    }
    lines += &format!("{}\n", json!({"type": 2, "payload": STANDARD.encode(&segment)}));
    gzip(lines.as_bytes())
}

fn write(path: PathBuf, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Docker's data root with one image, `app:1`, of these layers.
pub(crate) fn docker(root: &Path, layers: &[&[u8]]) -> ImageId {
    let (config, base) = (config(layers), root.join("image/overlay2"));
    let id = Digest::sha256(&config);
    write(base.join("imagedb/content/sha256").join(id.hex()), &config);
    let mut chain: Option<Digest> = None;
    for (index, layer) in layers.iter().enumerate() {
        let diff_id = Digest::sha256(layer);
        let chain_id = match &chain {
            None => diff_id.clone(),
            Some(below) => Digest::sha256(format!("{below} {diff_id}").as_bytes()),
        };
        let files = root.join(format!("overlay2/cache{index}/diff"));
        std::fs::create_dir_all(&files).unwrap();
        let folder = base.join("layerdb/sha256").join(chain_id.hex());
        write(folder.join("tar-split.json.gz"), split(layer, &files));
        write(folder.join("cache-id"), format!("cache{index}"));
        chain = Some(chain_id);
    }
    let repositories = json!({"Repositories": {"app": {"app:1": id}}});
    write(base.join("repositories.json"), repositories.to_string());
    ImageId(id)
}

/// podman's storage with the same.
fn podman(root: &Path, layers: &[&[u8]]) -> ImageId {
    let config = config(layers);
    let id = Digest::sha256(&config);
    let blobs = layers.iter().map(|layer| oci::Descriptor::of(oci::media_type::OCI_LAYER, layer)).collect();
    let manifest = oci::Manifest::new(oci::Descriptor::of(oci::media_type::OCI_CONFIG, &config), blobs);
    let image = root.join("overlay-images").join(id.hex());
    write(image.join("manifest"), serde_json::to_vec(&manifest).unwrap());
    write(image.join(format!("={}", STANDARD.encode(id.as_str()))), &config);
    let mut rows = Vec::new();
    let mut parent = String::new();
    for layer in layers {
        let diff_id = Digest::sha256(layer);
        let files = root.join("overlay").join(diff_id.hex()).join("diff");
        std::fs::create_dir_all(&files).unwrap();
        write(root.join(format!("overlay-layers/{}.tar-split.gz", diff_id.hex())), split(layer, &files));
        rows.push(json!({"id": diff_id.hex(), "parent": parent, "diff-digest": diff_id}));
        parent = diff_id.hex().to_owned();
    }
    write(root.join("overlay-layers/layers.json"), json!(rows).to_string());
    let images = json!([{"id": id.hex(), "names": ["localhost/app:1"], "layer": parent}]);
    write(root.join("overlay-images/images.json"), images.to_string());
    ImageId(id)
}

fn two_layers() -> [Vec<u8>; 2] {
    [root(), tar(&[("opt/", b""), ("opt/app", &[7; 3000])])]
}

/// That nothing of a failed adoption stays.
#[track_caller]
fn is_empty(folder: &Path, store: &Store) {
    assert!(store.images().unwrap().is_empty());
    assert_eq!(count(folder), (0, 0));
    assert_eq!(std::fs::read_dir(folder.join("store/ingest")).unwrap().count(), 0);
}

#[test]
fn dockers_images_come_over_with_their_ids() {
    let (folder, store) = store();
    let [lower, upper] = two_layers();
    let id = docker(folder.path(), &[&lower, &upper]);
    let mut told = Vec::new();
    let loaded = store.adopt(folder.path(), &[], &mut |step| told.push(step)).unwrap();
    assert_eq!((loaded[0].id.clone(), loaded[0].reference.clone()), (id.clone(), Some(name("app:1"))));
    assert!(matches!(told[..], [Adopting::Layer(_), Adopting::Layer(_), Adopting::Image(_)]), "{told:?}");
    let image = store.image(&id).unwrap();
    assert_eq!(image.layers[1].blob.digest, Digest::sha256(&upper));
    assert_eq!(store.blob_read(&image.layers[0].blob.digest).unwrap(), lower);
    assert_eq!(
        std::fs::read(store.layer_path(&Digest::sha256(&upper)).join("diff/opt/app")).unwrap(),
        [7; 3000]
    );
    assert!(store.verify().unwrap().is_empty());
}

#[test]
fn podmans_images_come_over_with_their_manifests() {
    let (folder, store) = store();
    let [lower, upper] = two_layers();
    let id = podman(folder.path(), &[&lower, &upper]);
    store.adopt(folder.path(), &[name("localhost/app:1")], &mut |_| ()).unwrap();
    let manifest =
        std::fs::read(folder.path().join("overlay-images").join(id.0.hex()).join("manifest")).unwrap();
    assert_eq!(store.image(&id).unwrap().manifest.digest, Digest::sha256(&manifest));
}

#[test]
fn an_image_that_is_here_is_not_read_again() {
    let (folder, store) = store();
    let [lower, upper] = two_layers();
    docker(folder.path(), &[&lower, &upper]);
    store.adopt(folder.path(), &[], &mut |_| ()).unwrap();
    std::fs::remove_dir_all(folder.path().join("overlay2")).unwrap();
    store.adopt(folder.path(), &[], &mut |_| ()).unwrap();
}

#[test]
fn a_name_that_is_not_there_and_a_folder_that_is_neither_are_told() {
    let (folder, store) = store();
    let error = store.adopt(folder.path(), &[], &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("is neither Docker's data root"), "{error}");
    docker(folder.path(), &[&root()]);
    let error = store.adopt(folder.path(), &[name("other")], &mut |_| ()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::NotFound, "No such image there: other:latest")
    );
    is_empty(folder.path(), &store);
}

#[test]
fn files_that_changed_are_found_out() {
    let (folder, store) = store();
    docker(folder.path(), &[&root()]);
    let file = folder.path().join("overlay2/cache0/diff/bin/sh");
    std::fs::write(&file, "SHELL").unwrap();
    let error = store.adopt(folder.path(), &[], &mut |_| ()).unwrap_err().to_string();
    assert!(error.ends_with("its files have changed since it was made"), "{error}");
    std::fs::write(&file, "longer than before").unwrap();
    let error = store.adopt(folder.path(), &[], &mut |_| ()).unwrap_err().to_string();
    assert!(error.ends_with("bin/sh has 18 bytes instead of 5"), "{error}");
    is_empty(folder.path(), &store);
}

#[test]
fn a_recipe_does_not_lead_out_of_its_layer() {
    let (folder, store) = store();
    docker(folder.path(), &[&root()]);
    let file = folder.path().join("overlay2/cache0/diff/bin/sh");
    write(folder.path().join("secret"), "12345");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("../../../../secret", &file).unwrap();
    assert!(store.adopt(folder.path(), &[], &mut |_| ()).is_err());
    let layerdb = folder.path().join("image/overlay2/layerdb/sha256");
    let layer = std::fs::read_dir(layerdb).unwrap().next().unwrap().unwrap().path();
    std::fs::write(layer.join("cache-id"), "../../..").unwrap();
    let error = store.adopt(folder.path(), &[], &mut |_| ()).unwrap_err().to_string();
    assert!(error.ends_with("\"../../..\" is no name of a folder"), "{error}");
    std::fs::write(layer.join("cache-id"), vec![b' '; (8 << 20) + 1]).unwrap();
    let error = store.adopt(folder.path(), &[], &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("cache-id") && !error.contains("no name"), "{error}");
    is_empty(folder.path(), &store);
}

#[test]
fn a_broken_recipe_is_refused() {
    let (folder, store) = store();
    docker(folder.path(), &[&root()]);
    let layerdb = folder.path().join("image/overlay2/layerdb/sha256");
    let layer = std::fs::read_dir(layerdb).unwrap().next().unwrap().unwrap().path();
    for recipe in ["{", r#"{"type":7}"#, r#"{"type":1,"size":3}"#, r#"{"type":2,"payload":"%"}"#, "", "[]"] {
        std::fs::write(layer.join("tar-split.json.gz"), gzip(recipe.as_bytes())).unwrap();
        assert!(store.adopt(folder.path(), &[], &mut |_| ()).is_err(), "{recipe}");
    }
    is_empty(folder.path(), &store);
}

/// A second image of Docker's, over a layer of its own.
pub(crate) fn second(root: &Path) -> ImageId {
    let other = root.join("other");
    let id = docker(&other, &[&tar(&[("second", b"2")])]);
    let base = root.join("image/overlay2");
    std::fs::rename(other.join("overlay2/cache0"), root.join("overlay2/cache9")).unwrap();
    for folder in ["imagedb/content/sha256", "layerdb/sha256"] {
        for entry in std::fs::read_dir(other.join("image/overlay2").join(folder)).unwrap() {
            let entry = entry.unwrap();
            std::fs::rename(entry.path(), base.join(folder).join(entry.file_name())).unwrap();
            if folder.starts_with("layerdb") {
                write(base.join(folder).join(entry.file_name()).join("cache-id"), "cache9");
            }
        }
    }
    let text = std::fs::read_to_string(base.join("repositories.json")).unwrap();
    let mut repositories: serde_json::Value = serde_json::from_str(&text).unwrap();
    repositories["Repositories"]["second"] = json!({"second:1": id.0});
    write(base.join("repositories.json"), repositories.to_string());
    id
}

#[test]
fn a_broken_image_does_not_keep_the_others_from_coming() {
    let (folder, store) = store();
    let id = docker(folder.path(), &[&root()]);
    let whole = second(folder.path());
    std::fs::write(folder.path().join("overlay2/cache0/diff/bin/sh"), "SHELL").unwrap();
    let mut left = 0;
    let error = store
        .adopt(folder.path(), &[], &mut |step| left += usize::from(matches!(step, Adopting::Left(_))))
        .unwrap_err();
    assert!(error.to_string().ends_with("its files have changed since it was made"), "{error}");
    assert_eq!((left, store.has_image(&id), store.has_image(&whole)), (1, false, true));
    std::fs::write(folder.path().join("overlay2/cache0/diff/bin/sh"), "shell").unwrap();
    store.adopt(folder.path(), &[], &mut |_| ()).unwrap();
    assert!(store.has_image(&id) && store.verify().unwrap().is_empty());
}

#[test]
fn what_could_come_is_listed_and_nothing_is_changed() {
    let (folder, store) = store();
    let id = docker(folder.path(), &[&root()]);
    second(folder.path());
    let listed = store.adoptable(folder.path(), &[name("app:1")]).unwrap();
    let row = store::Adoptable { id, names: vec![name("app:1")], layers: 1, is_here: false };
    assert_eq!(listed, std::slice::from_ref(&row));
    is_empty(folder.path(), &store);
    store.adopt(folder.path(), &[name("app:1")], &mut |_| ()).unwrap();
    assert_eq!(
        store.adoptable(folder.path(), &[name("app:1")]).unwrap(),
        [store::Adoptable { is_here: true, ..row }]
    );
}

#[test]
fn a_layer_that_podman_never_finished_is_refused() {
    let (folder, store) = store();
    podman(folder.path(), &[&root()]);
    let path = folder.path().join("overlay-layers/layers.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    rows[0]["flags"] = json!({"incomplete": true});
    std::fs::write(&path, rows.to_string()).unwrap();
    let error = store.adopt(folder.path(), &[], &mut |_| ()).unwrap_err().to_string();
    assert!(error.ends_with("was never finished"), "{error}");
    is_empty(folder.path(), &store);
}
