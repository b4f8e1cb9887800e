//! The contract that every snapshot driver passes, on real mounts.
//!
//! A driver is told by what a mounted snapshot shows, by `changes`, and by the tar of its changes applied elsewhere.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault::Kind;
use store::{ChangeKind, Commit, ImageId, MountOptions, Remove, Snapshot, Store};

use crate::make::{docker_archive, import, members, root, store, tar};

/// A mounted snapshot: a path to its root that lives as long as the mount.
struct Mounted {
    _mount: Arc<OwnedFd>,
    path: PathBuf,
}

impl Mounted {
    fn new(snapshot: &Snapshot) -> Self {
        Self::with(snapshot, MountOptions::default())
    }

    fn with(snapshot: &Snapshot, options: MountOptions) -> Self {
        let mount = snapshot.mount(options).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Self { _mount: mount, path }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }
}

/// `C /etc`, as `docker diff` prints.
fn changes(snapshot: &Snapshot) -> Vec<String> {
    let letter = |kind| match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    };
    let changes = snapshot.changes().unwrap();
    changes.iter().map(|change| format!("{} {}", letter(change.kind), change.path.display())).collect()
}

/// Three layers: the second deletes, the third makes a directory opaque.
fn layered(store: &Store) -> ImageId {
    let lower = tar(&[
        ("a/", b""),
        ("a/one", b"1"),
        ("a/two", b"2"),
        ("b/", b""),
        ("b/old", b"old"),
        ("gone", b"x"),
        ("file", b"f"),
    ]);
    let middle = tar(&[(".wh.gone", b""), ("a/", b""), ("a/.wh.one", b""), ("a/three", b"3")]);
    let upper = tar(&[("b/", b""), ("b/.wh..wh..opq", b""), ("b/new", b"new")]);
    let archive = docker_archive("layered:1", &[&lower, &middle, &upper]);
    store.load(archive.as_slice(), &[], &mut |_| ()).unwrap()[0].id.clone()
}

#[test]
fn a_mount_shows_the_layers_merged() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", Some(&layered(&store))).unwrap();
    let mounted = Mounted::new(&snapshot);
    assert_eq!(
        (mounted.read("a/two"), mounted.read("a/three"), mounted.read("b/new")),
        ("2".into(), "3".into(), "new".into())
    );
    for gone in ["gone", "a/one", "b/old"] {
        assert!(!mounted.at(gone).exists(), "{gone}");
    }
    assert_eq!(changes(&snapshot), Vec::<String>::new());
    assert_eq!(snapshot.size_rw().unwrap(), 0);
}

#[test]
fn the_init_layer_fills_in_what_the_image_lacks() {
    let (_folder, store) = store();
    let id = import(&store, &tar(&[("etc/", b""), ("etc/hosts", b"mine")]), "base");
    let mounted = Mounted::new(&store.snapshot_create("one", Some(&id)).unwrap());
    assert_eq!(mounted.read("etc/hosts"), "mine");
    assert_eq!(mounted.read("etc/resolv.conf"), "");
    assert_eq!(fs::read_link(mounted.at("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
    for made in [".dockerenv", "dev/console", "dev/pts", "dev/shm", "proc", "sys", "etc/hostname"] {
        assert!(mounted.at(made).exists(), "{made}");
    }
    let empty = Mounted::new(&store.snapshot_create("two", None).unwrap());
    assert!(empty.at("proc").is_dir());
}

#[test]
fn changes_are_told_as_docker_diff_does() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", Some(&layered(&store))).unwrap();
    let mounted = Mounted::new(&snapshot);
    fs::write(mounted.at("a/two"), b"changed").unwrap();
    fs::write(mounted.at("a/four"), b"4").unwrap();
    fs::remove_file(mounted.at("a/three")).unwrap();
    fs::create_dir_all(mounted.at("deep/er")).unwrap();
    fs::remove_file(mounted.at("file")).unwrap();
    let expected = ["C /a", "A /a/four", "D /a/three", "C /a/two", "A /deep", "A /deep/er", "D /file"];
    assert_eq!(changes(&snapshot), expected);
    assert_eq!(snapshot.size_rw().unwrap(), 8);
    // A directory that was removed and made again hides what was in it.
    fs::remove_dir_all(mounted.at("b")).unwrap();
    fs::create_dir(mounted.at("b")).unwrap();
    fs::write(mounted.at("b/newer"), b"n").unwrap();
    let told = changes(&snapshot);
    assert!(["C /b", "D /b/new", "A /b/newer"].iter().all(|line| told.contains(&(*line).into())), "{told:?}");
    assert!(!told.contains(&"D /b/old".into()), "{told:?}");
}

#[test]
fn a_file_that_becomes_a_directory_and_back_is_modified() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", Some(&layered(&store))).unwrap();
    let mounted = Mounted::new(&snapshot);
    fs::remove_file(mounted.at("file")).unwrap();
    fs::create_dir(mounted.at("file")).unwrap();
    fs::remove_dir_all(mounted.at("a")).unwrap();
    fs::write(mounted.at("a"), b"now a file").unwrap();
    assert_eq!(changes(&snapshot), ["C /a", "C /file"]);
}

#[test]
fn a_file_only_copied_up_is_no_change_and_a_mode_is_one() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", Some(&layered(&store))).unwrap();
    let mounted = Mounted::new(&snapshot);
    drop(fs::OpenOptions::new().append(true).open(mounted.at("a/two")).unwrap());
    assert_eq!(changes(&snapshot), Vec::<String>::new());
    fs::set_permissions(mounted.at("file"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(changes(&snapshot), ["C /file"]);
}

#[test]
fn packed_changes_make_the_same_tree_elsewhere() {
    let (_folder, store) = store();
    let base = layered(&store);
    let snapshot = store.snapshot_create("one", Some(&base)).unwrap();
    let mounted = Mounted::new(&snapshot);
    fs::write(mounted.at("a/two"), b"changed").unwrap();
    fs::remove_file(mounted.at("file")).unwrap();
    fs::remove_dir_all(mounted.at("b")).unwrap();
    fs::create_dir(mounted.at("b")).unwrap();
    fs::write(mounted.at("b/newer"), b"n").unwrap();
    fs::hard_link(mounted.at("b/newer"), mounted.at("b/twin")).unwrap();
    symlink("/nowhere", mounted.at("link")).unwrap();
    let mut packed = Vec::new();
    snapshot.pack_diff(&mut packed).unwrap();
    let names: Vec<String> = members(&packed).into_keys().collect();
    for name in [".wh.file", "b/.wh..wh..opq", "a/two", "link"] {
        assert!(names.contains(&name.to_string()), "{name} is not in {names:?}");
    }
    let commit = Commit { parent: Some(base), ..Commit::default() };
    let child = store.commit(&snapshot, &commit).unwrap();
    let copy = Mounted::new(&store.snapshot_create("two", Some(&child)).unwrap());
    assert_eq!(
        (copy.read("a/two"), copy.read("a/three"), copy.read("b/twin")),
        ("changed".into(), "3".into(), "n".into())
    );
    assert!(!copy.at("file").exists() && !copy.at("b/new").exists());
    assert_eq!(
        fs::metadata(copy.at("b/newer")).unwrap().ino(),
        fs::metadata(copy.at("b/twin")).unwrap().ino()
    );
    assert_eq!(fs::read_link(copy.at("link")).unwrap(), Path::new("/nowhere"));
}

#[test]
fn snapshots_of_one_image_do_not_see_each_other() {
    let (_folder, store) = store();
    let id = import(&store, &root(), "base");
    let one = Mounted::new(&store.snapshot_create("one", Some(&id)).unwrap());
    let two = Mounted::new(&store.snapshot_create("two", Some(&id)).unwrap());
    fs::write(one.at("etc/passwd"), b"mine").unwrap();
    assert!(two.read("etc/passwd").starts_with("root"));
}

#[test]
fn changes_survive_unmounting_and_a_volatile_mount_can_be_repeated() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", None).unwrap();
    let volatile = MountOptions { volatile: true, ..MountOptions::default() };
    fs::write(Mounted::with(&snapshot, volatile).at("kept"), b"yes").unwrap();
    assert_eq!(Mounted::with(&snapshot, volatile).read("kept"), "yes");
    assert_eq!(Mounted::new(&snapshot).read("kept"), "yes");
}

#[test]
fn a_readonly_mount_cannot_be_written() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", None).unwrap();
    let mounted = Mounted::with(&snapshot, MountOptions { readonly: true, ..MountOptions::default() });
    assert_eq!(fs::write(mounted.at("a"), b"").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn keys_are_unique_and_plain() {
    let (_folder, store) = store();
    store.snapshot_create("one", None).unwrap();
    assert_eq!(store.snapshot_create("one", None).unwrap_err().kind(), Kind::Conflict);
    for key in ["", "..", "a/b", ".hidden"] {
        assert_eq!(store.snapshot_create(key, None).unwrap_err().kind(), Kind::Invalid, "{key}");
    }
    assert_eq!(store.snapshot("two").unwrap_err().kind(), Kind::NotFound);
    let keys: Vec<String> = store.snapshots().unwrap().iter().map(|snapshot| snapshot.key().into()).collect();
    assert_eq!(keys, ["one"]);
}

#[test]
fn removing_is_at_once_and_may_be_repeated() {
    let (folder, store) = store();
    let snapshot = store.snapshot_create("one", None).unwrap();
    let mounted = Mounted::new(&snapshot);
    fs::write(mounted.at("still"), b"here").unwrap();
    store.snapshot_remove("one").unwrap();
    store.snapshot_remove("one").unwrap();
    assert!(!folder.path().join("store/snapshots/one").exists());
    assert_eq!(mounted.read("still"), "here");
    // The name is free again while the old one is still mounted.
    store.snapshot_create("one", None).unwrap();
    drop(mounted);
    store.sweep().unwrap();
}

#[test]
fn a_snapshot_lost_with_the_power_is_made_again_with_its_changes() {
    let (folder, store) = store();
    let id = layered(&store);
    for (key, record) in [("empty", Some("")), ("torn", Some("{\"vers")), ("missing", None)] {
        let snapshot = store.snapshot_create(key, Some(&id)).unwrap();
        fs::write(snapshot.upper().join("kept"), b"yes").unwrap();
        let file = folder.path().join("store/snapshots").join(key).join("snapshot.json");
        match record {
            Some(record) => fs::write(file, record).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
    }
    drop(store);
    let store = crate::make::reopen(folder.path());
    for key in ["empty", "torn", "missing", "not even a folder"].map(|key| key.replace(' ', "-")) {
        assert!(store.snapshot(&key).is_err(), "{key}");
        store.snapshot_restore(&key, Some(&id)).unwrap();
        let mounted = Mounted::new(&store.snapshot(&key).unwrap());
        assert_eq!(mounted.read("a/two"), "2");
        assert_eq!(mounted.at("kept").exists(), !key.starts_with("not"), "{key}");
    }
    assert_eq!(store.snapshots().unwrap().len(), 4);
}

#[test]
fn a_snapshot_whose_image_is_gone_cannot_be_made_again() {
    let (folder, store) = store();
    let id = layered(&store);
    store.snapshot_create("one", Some(&id)).unwrap();
    let forced = Remove { force: true, prune_children: true, in_use: &|_| Vec::new() };
    store.remove("layered:1", &forced).unwrap();
    store.snapshot_restore("one", Some(&id)).unwrap();
    fs::write(folder.path().join("store/snapshots/one/snapshot.json"), b"").unwrap();
    let error = store.snapshot_restore("one", Some(&id)).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

/// What the damaged one stands on is not known.
#[test]
fn nothing_is_collected_beside_a_damaged_snapshot() {
    let (folder, store) = store();
    let id = layered(&store);
    store.snapshot_create("one", Some(&id)).unwrap();
    fs::write(folder.path().join("store/snapshots/one/snapshot.json"), b"damaged").unwrap();
    let stray = folder.path().join("store/layers").join("8".repeat(64));
    fs::create_dir(&stray).unwrap();
    drop(store);
    let store = crate::make::reopen(folder.path());
    assert!(stray.exists());
    store.snapshot_restore("one", Some(&id)).unwrap();
    store.collect().unwrap();
    assert!(!stray.exists());
}

#[test]
fn a_very_deep_tree_is_walked_or_refused_but_never_too_much() {
    let (_folder, store) = store();
    let snapshot = store.snapshot_create("one", None).unwrap();
    let deep: PathBuf = std::iter::repeat_n("d", 1800).collect();
    fs::create_dir_all(snapshot.upper().join(&deep)).unwrap();
    fs::write(snapshot.upper().join(&deep).join("file"), b"12345").unwrap();
    assert_eq!(snapshot.size_rw().unwrap(), 5);
    assert_eq!(snapshot.changes().unwrap().len(), 1801);
    // Deeper than a path can say: made by a process that changes into each.
    let mut dir = sys::fs::open_dir(snapshot.upper().join(&deep)).unwrap();
    for _ in 0..5000 {
        sys::fs::mkdir_at(&dir, "d", 0o755).unwrap();
        dir = sys::fs::open_at(&dir, "d", &sys::fs::OpenHow::DIRECTORY).unwrap();
    }
    assert_eq!(snapshot.changes().unwrap_err().errno(), Some(36));
    assert_eq!(snapshot.size_rw().unwrap(), 5);
    store.snapshot_remove("one").unwrap();
    store.sweep().unwrap();
}
