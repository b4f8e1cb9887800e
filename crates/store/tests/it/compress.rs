//! Layers that were made here are compressed once, for their first push.

use oci::{Digest, media_type};
use store::{Commit, Store};

use crate::make::{count, import, name, root, store};

fn compress(store: &Store, id: &store::ImageId) {
    store.image_compress(&store.lease(), id).unwrap();
    store.collect().unwrap();
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn plain_layers_are_compressed_once_and_stay_so() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let before = store.image(&id).unwrap();
    assert_eq!(before.layers[0].blob.media_type, media_type::OCI_LAYER);
    compress(&store, &id);
    let after = store.image(&id).unwrap();
    assert_eq!((&after.id, &after.tags), (&before.id, &before.tags));
    assert_eq!(after.layers[0].diff_id, before.layers[0].diff_id);
    assert_eq!(after.layers[0].blob.media_type, media_type::OCI_LAYER_GZIP);
    // The plain blob and the old manifest are gone: config, manifest, layer.
    assert_eq!(count(folder.path()), (3, 1));
    let manifest: oci::Manifest =
        serde_json::from_slice(&store.blob_read(&after.manifest.digest).unwrap()).unwrap();
    assert_eq!(manifest.layers, [after.layers[0].blob.clone()]);
    compress(&store, &id);
    assert_eq!(store.image(&id).unwrap().manifest, after.manifest);
}

#[test]
fn a_child_s_layers_are_its_parent_s() {
    let (_folder, store) = store();
    let base = import(&store, &root(), "base");
    let snapshot = store.snapshot_create("work", Some(&base)).unwrap();
    std::fs::write(snapshot.upper().join("new"), b"12345").unwrap();
    let commit = Commit { parent: Some(base.clone()), reference: Some(name("child")), ..Commit::default() };
    let child = store.commit(&snapshot, &commit).unwrap();
    compress(&store, &base);
    compress(&store, &child);
    let (base, child) = (store.image(&base).unwrap(), store.image(&child).unwrap());
    assert_eq!(base.layers[0], child.layers[0]);
    assert_eq!(child.layers[1].blob.media_type, media_type::OCI_LAYER_GZIP);
}

#[test]
fn what_a_registry_knows_stays_as_it_is() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    store.name(&id, &[name("base").with_digest(Digest::sha256(b"manifest"))]).unwrap();
    let before = store.image(&id).unwrap();
    compress(&store, &id);
    assert_eq!(store.image(&id).unwrap().manifest, before.manifest);
}
