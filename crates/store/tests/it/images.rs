//! Names, removal, history, sizes, leases, collection.

use fault::Kind;
use oci::Digest;
use store::{Commit, ImageId, Problem, Remove, Removed, Store};

use crate::make::{count, import, name, reopen, root, rubbish, store, tar};

fn unused(_: &ImageId) -> Vec<store::User> {
    Vec::new()
}

fn remove(store: &Store, name: &str) -> fault::Result<Vec<Removed>> {
    store.remove(name, &Remove { force: false, prune_children: true, in_use: &unused })
}

#[test]
fn an_import_is_one_uncompressed_layer() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let image = store.image(&id).unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(image.layers[0].diff_id, Digest::sha256(&root()));
    assert_eq!(image.layers[0].blob.digest, Digest::sha256(&root()));
    assert_eq!(image.layers[0].blob.media_type, oci::media_type::OCI_LAYER);
    assert_eq!(image.manifest.media_type, oci::media_type::OCI_MANIFEST);
    assert_eq!(image.size, 5 + 22);
    assert_eq!(image.tags, [name("base:latest")]);
    assert_eq!(image.config.history[0].comment.as_deref(), Some("Imported from -"));
    assert_eq!(Digest::sha256(&image.config_bytes), id.0);
    assert_eq!(rubbish(folder.path()), Vec::<std::path::PathBuf>::new());
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_compressed_import_is_stored_plain() {
    let (_folder, store) = store();
    let plain = import(&store, &root(), "plain");
    for (packed, tag) in [(crate::make::gzip(&root()), "gzip"), (crate::make::zstd(&root()), "zstd")] {
        let id = import(&store, &packed, tag);
        assert_eq!(store.image(&id).unwrap().layers, store.image(&plain).unwrap().layers);
    }
}

#[test]
fn everything_is_there_after_a_reopening() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    store.tag(&id, &name("ghcr.io/me/base:1")).unwrap();
    drop(store);
    let store = reopen(folder.path());
    assert_eq!(store.resolve("ghcr.io/me/base:1").unwrap(), id);
    assert_eq!(store.images().unwrap().len(), 1);
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn a_second_process_is_kept_out() {
    let (folder, _store) = store();
    let error = Store::open(&folder.path().join("store")).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().ends_with("another process has it open"), "{error}");
}

#[test]
fn a_damaged_database_is_named() {
    let (folder, store) = store();
    drop(store);
    let path = folder.path().join("store/meta.redb");
    std::fs::write(&path, b"this is no database, but long enough to look at").unwrap();
    let error = Store::open(&folder.path().join("store")).unwrap_err().to_string();
    assert!(error.contains("meta.redb is damaged"), "{error}");
}

#[test]
fn removing_the_last_name_removes_image_layers_and_blobs() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let layer = store.image(&id).unwrap().layers[0].diff_id.clone();
    let removed = remove(&store, "base").unwrap();
    let expected =
        [Removed::Untagged("base:latest".into(), id.clone()), Removed::Deleted(id), Removed::Layer(layer)];
    assert_eq!(removed, expected);
    assert_eq!(count(folder.path()), (0, 0));
    store.sweep().unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("store/trash")).unwrap().count(), 0);
    assert_eq!(remove(&store, "base").unwrap_err().to_string(), "No such image: base:latest");
}

#[test]
fn a_moved_name_leaves_a_dangling_image() {
    let (_folder, store) = store();
    let old = import(&store, &root(), "base");
    let new = import(&store, &tar(&[("a", b"1")]), "base");
    assert_eq!(store.resolve("base").unwrap(), new);
    let dangling = store.image(&old).unwrap();
    assert!(dangling.tags.is_empty() && dangling.digests.is_empty());
}

#[test]
fn a_snapshot_keeps_its_layers_when_the_image_goes() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let snapshot = store.snapshot_create("one", Some(&id)).unwrap();
    let removed = remove(&store, "base").unwrap();
    assert!(!removed.iter().any(|step| matches!(step, Removed::Layer(_))), "{removed:?}");
    assert_eq!(count(folder.path()), (0, 1));
    assert_eq!(snapshot.size_root().unwrap(), 27);
    store.snapshot_remove("one").unwrap();
    assert_eq!(store.collect().unwrap().layers, 1);
    assert_eq!(count(folder.path()), (0, 0));
}

#[test]
fn a_lease_keeps_what_nobody_names_yet() {
    let (folder, store) = store();
    let lease = store.lease();
    let layer = store.layer_apply(&lease, root().as_slice(), None).unwrap();
    let blob = store.blob_put(&lease, &b"hello"[..], None).unwrap();
    store.collect().unwrap();
    assert_eq!(count(folder.path()), (2, 1));
    assert!(store.blob_exists(&layer.blob.digest).unwrap());
    drop(lease);
    let collected = store.collect().unwrap();
    assert_eq!((collected.blobs, collected.layers), (2, 1));
    assert_eq!(collected.bytes, layer.blob.size + blob.size);
    assert_eq!(count(folder.path()), (0, 0));
}

#[test]
fn blobs_are_checked_while_they_are_stored() {
    let (folder, store) = store();
    let lease = store.lease();
    let expected = oci::Descriptor::of("text/plain", b"hello");
    let error = store.blob_put(&lease, &b"hell"[..], Some(&expected)).unwrap_err();
    assert_eq!(error.to_string(), format!("blob {} has 4 bytes, expected 5", expected.digest));
    let error = store.blob_put(&lease, &b"hullo"[..], Some(&expected)).unwrap_err();
    let got = Digest::sha256(b"hullo");
    assert_eq!(error.to_string(), format!("blob has digest {got}, expected {}", expected.digest));
    let endless = store.blob_put(&lease, std::io::repeat(0), Some(&expected)).unwrap_err();
    assert_eq!(endless.to_string(), format!("blob {} has 6 bytes, expected 5", expected.digest));
    assert_eq!(count(folder.path()), (0, 0));
    assert_eq!(rubbish(folder.path()), Vec::<std::path::PathBuf>::new());
    assert_eq!(store.blob_put(&lease, &b"hello"[..], Some(&expected)).unwrap(), expected);
    assert_eq!(store.blob_read(&expected.digest).unwrap(), b"hello");
    let missing = store.blob_open(&got).unwrap_err();
    assert_eq!((missing.kind(), missing.to_string()), (Kind::NotFound, format!("blob {got} not found")));
}

#[test]
fn verify_finds_damage() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let layer = store.image(&id).unwrap().layers[0].clone();
    let path = folder.path().join("store/content/blobs/sha256").join(layer.blob.digest.hex());
    std::fs::write(path, b"rot").unwrap();
    std::fs::remove_dir_all(folder.path().join("store/layers").join(layer.diff_id.hex())).unwrap();
    // Nor does it heal by itself: what it would be made from is damaged. But the store opens.
    drop(store);
    let store = reopen(folder.path());
    let problems = store.verify().unwrap();
    assert_eq!(
        problems,
        [Problem::Damaged(layer.blob.digest, vec![id.clone()]), Problem::MissingLayer(id, layer.diff_id)]
    );
}

#[test]
fn history_and_usage_follow_commits() {
    let (_folder, store) = store();
    let base = import(&store, &root(), "base");
    let snapshot = store.snapshot_create("work", Some(&base)).unwrap();
    std::fs::write(snapshot.upper().join("new"), b"12345").unwrap();
    let commit = Commit {
        created_by: "sh -c true".into(),
        comment: Some("more".into()),
        parent: Some(base.clone()),
        reference: Some(name("child")),
        ..Commit::default()
    };
    let child = store.commit(&snapshot, &commit).unwrap();
    let rows = store.history(&child).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0].id.as_ref(), rows[0].size, rows[0].created_by.as_str()),
        (Some(&child), 5, "sh -c true")
    );
    assert_eq!(
        (rows[1].id.as_ref(), rows[1].size, rows[1].comment.as_str()),
        (Some(&base), 27, "Imported from -")
    );
    assert_eq!(
        (rows[0].tags.as_slice(), rows[1].tags.as_slice()),
        (&["child:latest".into()][..], &["base:latest".into()][..])
    );
    let usage = store.usage();
    assert_eq!(usage.layers, 32);
    assert_eq!((usage.images[&child].size, usage.images[&child].shared), (32, 27));
    let error = remove(&store, &base.to_string()).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
}

#[test]
fn a_commit_without_changes_adds_no_layer() {
    let (_folder, store) = store();
    let base = import(&store, &root(), "base");
    let snapshot = store.snapshot_create("work", Some(&base)).unwrap();
    let commit = Commit { parent: Some(base.clone()), ..Commit::default() };
    let image = store.image(&store.commit(&snapshot, &commit).unwrap()).unwrap();
    assert_eq!(image.layers, store.image(&base).unwrap().layers);
    assert!(image.config.history[1].empty_layer);
    assert_eq!(image.parent, Some(base));
}

#[test]
fn foreign_tools_find_an_oci_layout() {
    let (folder, store) = store();
    import(&store, &root(), "base");
    let content = folder.path().join("store/content");
    let index: oci::Index =
        serde_json::from_slice(&std::fs::read(content.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.manifests[0].annotations["io.containerd.image.name"], "docker.io/library/base:latest");
    assert!(content.join("oci-layout").exists());
    assert!(content.join("blobs/sha256").join(index.manifests[0].digest.hex()).exists());
}

#[test]
fn images_come_and_go_while_others_collect() {
    let (folder, store) = store();
    let busy = |thread: usize| {
        for round in 0..15 {
            // Neighbours share every second layer.
            let content = format!("{}", (thread / 2) * 100 + round);
            let tag = format!("t{thread}:r{round}");
            let id = import(&store, &tar(&[("file", content.as_bytes())]), &tag);
            let key = format!("s{thread}");
            let snapshot = store.snapshot_create(&key, Some(&id)).unwrap();
            let commit =
                Commit { parent: Some(id), reference: Some(name(&format!("c{tag}"))), ..Commit::default() };
            std::fs::write(snapshot.upper().join("new"), &tag).unwrap();
            store.commit(&snapshot, &commit).unwrap();
            store.snapshot_remove(&key).unwrap();
            remove(&store, &format!("c{tag}")).unwrap();
            remove(&store, &tag).unwrap();
            store.collect().unwrap();
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || busy(thread));
        }
    });
    assert_eq!(store.verify().unwrap(), []);
    assert!(store.images().unwrap().is_empty());
    assert_eq!(count(folder.path()), (0, 0));
}

#[test]
fn too_many_layers_are_refused() {
    let (_folder, store) = store();
    let layers: Vec<Vec<u8>> = (0..126).map(|number| tar(&[("a", format!("{number}").as_bytes())])).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let load = |layers: &[&[u8]]| {
        store.load(crate::make::docker_archive("a:1", layers).as_slice(), &[], &mut |_| ())
    };
    assert_eq!(load(&layers).unwrap_err().to_string(), "max depth exceeded");
    let id = load(&layers[1..]).unwrap()[0].id.clone();
    store.snapshot_create("one", Some(&id)).unwrap().mount(store::MountOptions::default()).unwrap();
}
