//! Repairs: each kind of damage is found, mended where that is safe, told where it is not; twice is as good as once.

use std::path::{Path, PathBuf};

use oci::Digest;
use store::{Commit, Image, MountOptions, Outcome, Owners, Problem, Repaired, Store};

use crate::make::{docker_archive, gzip, import, name, oci_layout, reopen, root, store, tar};

fn blob(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("store/content/blobs/sha256").join(digest.hex())
}

/// Repairs, and says what became of each problem; a second repair finds only what was left.
fn repaired(store: &Store) -> Vec<(Problem, Result<&'static str, String>)> {
    let tell = |Repaired { problem, outcome }| match outcome {
        Outcome::Mended(how) => (problem, Ok(how)),
        Outcome::Left(why) => (problem, Err(why)),
    };
    let first: Vec<_> = store.repair(&Owners::none()).unwrap().into_iter().map(tell).collect();
    let left = first.iter().filter(|(_, outcome)| outcome.is_err()).count();
    assert_eq!(store.verify().unwrap().len(), left, "{first:?}");
    first
}

const LOST: &str = "its bytes are lost: pull or load the image again";

/// An image whose layer was packed here, by a commit.
fn committed(store: &Store) -> Image {
    let base = import(store, &root(), "base");
    let snapshot = store.snapshot_create("work", Some(&base)).unwrap();
    std::fs::write(snapshot.upper().join("new"), b"changed").unwrap();
    let commit = Commit { parent: Some(base), reference: Some(name("new")), ..Commit::default() };
    let id = store.commit(&snapshot, &commit).unwrap();
    store.image(&id).unwrap()
}

#[test]
fn a_layer_packed_here_is_packed_again() {
    let (folder, store) = store();
    let image = committed(&store);
    let digest = &image.layers[1].blob.digest;
    let whole = std::fs::read(blob(folder.path(), digest)).unwrap();
    std::fs::write(blob(folder.path(), digest), b"rot").unwrap();
    assert_eq!(
        repaired(&store),
        [(Problem::Damaged(digest.clone(), vec![image.id.clone()]), Ok("made anew"))]
    );
    assert_eq!(std::fs::read(blob(folder.path(), digest)).unwrap(), whole);
    std::fs::remove_file(blob(folder.path(), digest)).unwrap();
    assert_eq!(repaired(&store), [(Problem::MissingBlob(image.id, digest.clone()), Ok("made anew"))]);
}

#[test]
fn a_manifest_made_here_is_made_again() {
    let (folder, store) = store();
    let image = committed(&store);
    let digest = &image.manifest.digest;
    std::fs::write(blob(folder.path(), digest), b"rot").unwrap();
    assert_eq!(
        repaired(&store),
        [(Problem::Damaged(digest.clone(), vec![image.id.clone()]), Ok("made anew"))]
    );
    assert_eq!(store.image(&image.id).unwrap().manifest, image.manifest);
}

/// One that came with the image cannot be: another takes its place.
#[test]
fn a_manifest_that_came_is_replaced() {
    let (folder, store) = store();
    let archive = oci_layout(
        "app:1",
        &[(&gzip(&root()), oci::media_type::OCI_LAYER_GZIP)],
        &crate::make::config(&[&root()]),
    );
    let id = store.load(archive.as_slice(), &[], &mut |_| ()).unwrap()[0].id.clone();
    let digest = store.image(&id).unwrap().manifest.digest;
    std::fs::remove_file(blob(folder.path(), &digest)).unwrap();
    let how = "another manifest was made from the image's config";
    assert_eq!(repaired(&store), [(Problem::MissingBlob(id.clone(), digest.clone()), Ok(how))]);
    assert_ne!(store.image(&id).unwrap().manifest.digest, digest);
    drop(store);
    assert_eq!(reopen(folder.path()).verify().unwrap(), []);
}

#[test]
fn lost_bytes_come_back_with_the_image() {
    let (folder, store) = store();
    let archive = docker_archive("app:1", &[&root()]);
    let id = store.load(archive.as_slice(), &[], &mut |_| ()).unwrap()[0].id.clone();
    let layer = store.image(&id).unwrap().layers[0].clone();
    for digest in [&id.0, &layer.blob.digest] {
        std::fs::write(blob(folder.path(), digest), b"rot").unwrap();
        let problem = Problem::Damaged(digest.clone(), vec![id.clone()]);
        assert_eq!(repaired(&store), [(problem, Err(LOST.into()))]);
        assert_eq!(std::fs::read(folder.path().join("store/damaged").join(digest.hex())).unwrap(), b"rot");
        // Listed, so that it can be removed; not usable.
        assert_eq!(store.images().unwrap()[0].tags, [name("app:1")]);
        let problem = Problem::MissingBlob(id.clone(), digest.clone());
        assert_eq!(repaired(&store), [(problem, Err(LOST.into()))]);
        store.load(archive.as_slice(), &[], &mut |_| ()).unwrap();
        assert_eq!(repaired(&store), []);
        store.sweep().unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("store/damaged")).unwrap().count(), 0);
    }
}

/// A registry has other bytes for the same layer than the archive had from which the image came.
#[test]
fn lost_bytes_come_back_in_another_form() {
    let (folder, store) = store();
    let archive = docker_archive("app:1", &[&root()]);
    let id = store.load(archive.as_slice(), &[], &mut |_| ()).unwrap()[0].id.clone();
    let layer = store.image(&id).unwrap().layers[0].clone();
    std::fs::remove_file(blob(folder.path(), &layer.blob.digest)).unwrap();
    assert!(!store.is_whole(&id).unwrap());
    let packed = gzip(&root());
    let descriptor = oci::Descriptor::of(oci::media_type::OCI_LAYER_GZIP, &packed);
    let lease = store.lease();
    let partial = store.partial(&lease, &descriptor).unwrap();
    let fetched = partial.finish(&lease, &layer.diff_id, packed.as_slice(), &|_| ()).unwrap();
    let image = crate::fetch::fetched(&[&root()], vec![fetched], "app:1");
    let image = store::Fetched { config: store.image(&id).unwrap().config_bytes, ..image };
    assert_eq!(store.image_add(&lease, image).unwrap(), id);
    drop(lease);
    assert!(store.is_whole(&id).unwrap());
    assert_eq!(repaired(&store), []);
}

#[test]
fn trees_are_unpacked_again() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let diff_id = store.image(&id).unwrap().layers[0].diff_id.clone();
    store.sweep().unwrap();
    let tree = store.layer_path(&diff_id);
    std::fs::remove_file(tree.join("diff/bin/sh")).unwrap();
    assert_eq!(
        repaired(&store),
        [(Problem::DamagedLayer(diff_id.clone(), vec![id.clone()]), Ok("unpacked again"))]
    );
    assert_eq!(std::fs::read(tree.join("diff/bin/sh")).unwrap(), b"shell");
    std::fs::write(tree.join("layer.json"), "{").unwrap();
    assert_eq!(
        repaired(&store),
        [(Problem::DamagedLayer(diff_id.clone(), vec![id.clone()]), Ok("unpacked again"))]
    );
    store.snapshot_create("work", Some(&id)).unwrap();
    std::fs::remove_dir_all(&tree).unwrap();
    let outcomes = repaired(&store);
    assert_eq!(outcomes[0], (Problem::MissingLayer(id, diff_id.clone()), Ok("unpacked again")));
    assert_eq!(outcomes[1], (Problem::MissingLower("work".into(), diff_id), Ok("unpacked again")));
    drop(store);
    assert_eq!(reopen(folder.path()).verify().unwrap(), []);
}

#[test]
fn a_tree_that_is_mounted_stays_where_it_is() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    let diff_id = store.image(&id).unwrap().layers[0].diff_id.clone();
    store.snapshot_create("0123456789abcdef", Some(&id)).unwrap();
    store.sweep().unwrap();
    std::fs::remove_file(store.layer_path(&diff_id).join("diff/bin/sh")).unwrap();
    let owners = Owners { image_of: &|_| None, is_mounted: &|key| key == "0123456789abcdef" };
    let outcome = store.repair(&owners).unwrap().remove(0).outcome;
    assert_eq!(outcome, Outcome::Left("container 0123456789ab runs on it: stop that first".into()));
    assert!(!store.layer_path(&diff_id).join("diff/bin/sh").exists());
}

/// A container's root stays mounted for a while after its end, and for a look into it.
#[test]
fn a_tree_below_an_open_root_stays_where_it_is() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    let diff_id = store.image(&id).unwrap().layers[0].diff_id.clone();
    let snapshot = store.snapshot_create("0123456789abcdef", Some(&id)).unwrap();
    store.sweep().unwrap();
    std::fs::remove_file(store.layer_path(&diff_id).join("diff/bin/sh")).unwrap();
    let mount = snapshot.mount(MountOptions::default()).unwrap();
    let outcome = store.repair(&Owners::none()).unwrap().remove(0).outcome;
    let words = "the files of container 0123456789ab are still open: try again soon";
    assert_eq!(outcome, Outcome::Left(words.into()));
    drop(mount);
    let outcome = store.repair(&Owners::none()).unwrap().remove(0).outcome;
    assert_eq!(outcome, Outcome::Mended("unpacked again"));
}

/// Somebody starts a container between the question and the answer.
#[test]
fn nobody_mounts_a_tree_that_is_just_replaced() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    let diff_id = store.image(&id).unwrap().layers[0].diff_id.clone();
    let snapshot = store.snapshot_create("work", Some(&id)).unwrap();
    store.sweep().unwrap();
    std::fs::remove_file(store.layer_path(&diff_id).join("diff/bin/sh")).unwrap();
    std::thread::scope(|scope| {
        let (mounted, mounts) = std::sync::mpsc::channel();
        let snapshot = &snapshot;
        let is_mounted = |_: &str| {
            let mounted = mounted.clone();
            scope.spawn(move || mounted.send(snapshot.mount(MountOptions::default()).unwrap()));
            // It would come by now if it could.
            assert!(mounts.recv_timeout(std::time::Duration::from_millis(100)).is_err());
            false
        };
        let outcome =
            store.repair(&Owners { image_of: &|_| None, is_mounted: &is_mounted }).unwrap().remove(0).outcome;
        assert_eq!(outcome, Outcome::Mended("unpacked again"));
        let mount = mounts.recv().unwrap();
        sys::fs::open_beneath(&*mount, Path::new("bin/sh"), &sys::fs::OpenHow::READ).unwrap();
    });
}

#[test]
fn a_tree_and_its_blob_lost_are_told() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let layer = store.image(&id).unwrap().layers[0].clone();
    std::fs::remove_dir_all(store.layer_path(&layer.diff_id)).unwrap();
    std::fs::remove_file(blob(folder.path(), &layer.blob.digest)).unwrap();
    let outcomes: Vec<_> = repaired(&store).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, [Err(LOST.into()), Err(LOST.into())]);
}

#[test]
fn a_snapshots_record_comes_from_who_remembers_and_its_changes_stay() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let snapshot = store.snapshot_create("work", Some(&id)).unwrap();
    std::fs::write(snapshot.upper().join("mine"), b"precious").unwrap();
    std::fs::write(folder.path().join("store/snapshots/work/snapshot.json"), "{").unwrap();
    let problem = Problem::DamagedSnapshot("work".into());
    assert_eq!(repaired(&store), [(problem.clone(), Err("nobody knows its image; its files stay".into()))]);
    let image_of = |key: &str| (key == "work").then(|| id.clone());
    let done = store.repair(&Owners { image_of: &image_of, is_mounted: &|_| false }).unwrap();
    assert_eq!(done, [Repaired { problem, outcome: Outcome::Mended("its record was made anew") }]);
    assert_eq!(std::fs::read(snapshot.upper().join("mine")).unwrap(), b"precious");
    assert_eq!(repaired(&store), []);
}

#[test]
fn a_stale_index_stray_files_and_blobs_of_nobody_are_put_right() {
    let (folder, store) = store();
    let id = import(&store, &root(), "base");
    let diff_id = store.image(&id).unwrap().layers[0].diff_id.clone();
    std::fs::write(folder.path().join("store/content/index.json"), "{}").unwrap();
    let strays = [
        folder.path().join("store/content/.index.json.4000000-1"),
        store.layer_path(&diff_id).join(".layer.json.4000000-2"),
    ];
    strays.iter().for_each(|stray| std::fs::write(stray, "half").unwrap());
    let nobodys = Digest::sha256(b"nobody's");
    std::fs::write(blob(folder.path(), &nobodys), "rot").unwrap();
    let [first, second] = strays;
    assert_eq!(
        repaired(&store),
        [
            (Problem::Damaged(nobodys, Vec::new()), Ok("removed, for nobody needs it")),
            (Problem::StrayFile(first), Ok("removed")),
            (Problem::StrayFile(second), Ok("removed")),
            (Problem::StaleIndex, Ok("written anew")),
        ]
    );
}

/// Everything at once, and a kill after each step: the next repair goes on.
#[test]
fn several_kinds_at_once_are_all_mended() {
    let (folder, store) = store();
    let image = committed(&store);
    import(&store, &tar(&[("x", b"1")]), "other");
    store.sweep().unwrap();
    std::fs::remove_file(blob(folder.path(), &image.manifest.digest)).unwrap();
    std::fs::remove_file(blob(folder.path(), &image.layers[1].blob.digest)).unwrap();
    std::fs::remove_dir_all(store.layer_path(&image.layers[0].diff_id)).unwrap();
    std::fs::write(folder.path().join("store/content/index.json"), "{}").unwrap();
    let outcomes = repaired(&store);
    assert!(outcomes.len() >= 5 && outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
}
