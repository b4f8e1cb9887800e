//! What things take on disk: all parts together are what the file system gave.

use std::path::Path;

use crate::make::{docker_archive, import, root, store, tar};

/// A store on a disk, where files take blocks.
fn on_disk() -> (tempfile::TempDir, store::Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = store::Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

#[track_caller]
fn check(folder: &Path, store: &store::Store) -> store::DiskUsage {
    let usage = store.disk_usage().unwrap();
    let walked = sys::fs::tree_usage(folder.join("store")).unwrap().allocated;
    assert_eq!(usage.total(), walked, "{usage:?}");
    usage
}

#[test]
fn all_parts_together_are_the_whole() {
    for (folder, store) in [store(), on_disk()] {
        check(folder.path(), &store);
        let [lower, upper] = [root(), tar(&[("big", &[7; 100_000])])];
        let one = import(&store, &lower, "one");
        let two =
            store.load(docker_archive("two:1", &[&lower, &upper]).as_slice(), &[], &mut |_| ()).unwrap();
        // Trees that are not settled are walked through; settled ones are looked up.
        let before = check(folder.path(), &store);
        store.sweep().unwrap();
        let usage = check(folder.path(), &store);
        assert_eq!(before.images[&one].shared, usage.images[&one].shared);
        let share = usage.images[&two[0].id];
        assert!(share.size - share.shared >= 200_000 && share.shared > 0, "{share:?}");
        let unique: u64 = usage.images.values().map(|image| image.size - image.shared).sum();
        assert_eq!(usage.images_total, unique + share.shared);
        let snapshot = store.snapshot_create("work", Some(&two[0].id)).unwrap();
        std::fs::write(snapshot.upper().join("new"), [1; 50_000]).unwrap();
        std::fs::hard_link(snapshot.upper().join("new"), snapshot.upper().join("again")).unwrap();
        let usage = check(folder.path(), &store);
        let work = usage.snapshots["work"];
        assert!((50_000..100_000).contains(&work.changes) && work.layers >= 100_000, "{work:?}");
        let remove = store::Remove { force: true, prune_children: true, in_use: &|_| Vec::new() };
        store.remove("two:1", &remove).unwrap();
        store.remove("one", &remove).unwrap();
        // Only the snapshot still needs the layers.
        assert_eq!(check(folder.path(), &store).images_total, 0);
        store.snapshot_remove("work").unwrap();
        assert!(check(folder.path(), &store).trash >= 50_000);
    }
}
