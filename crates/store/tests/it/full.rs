//! A full disk: the action fails, nothing of it stays, and the store goes on.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use fault::Kind;
use oci::{Descriptor, media_type};
use store::{Import, Remove, Store};

use crate::make::{import, root, tar};

/// A small file system that nobody else sees, and where it can be reached.
fn small() -> (OwnedFd, PathBuf) {
    let mount = sys::mount::new_filesystem(
        "tmpfs",
        None,
        &[("size", Some("4m")), ("nr_inodes", Some("400"))],
        sys::mount::Attributes::NONE,
    )
    .unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    (mount, path)
}

fn check(too_much: &[u8]) {
    let (_mount, path) = small();
    let store = Store::open(&path).unwrap();
    let base = import(&store, &root(), "base");
    for _ in 0..3 {
        let error = store.import(too_much, &Import::default()).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (Kind::Unavailable, Some(28)), "{error}");
        assert_eq!(std::fs::read_dir(path.join("ingest")).unwrap().count(), 0);
    }
    assert_eq!(store.resolve("base").unwrap(), base);
    import(&store, &tar(&[("a", b"1")]), "more");
    assert_eq!(store.verify().unwrap(), []);
}

#[test]
fn too_many_bytes_leave_nothing() {
    check(&tar(&[("big", &vec![7; 5 << 20])]));
}

#[test]
fn too_many_files_leave_nothing() {
    let names: Vec<String> = (0..500).map(|number| format!("file{number}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    check(&tar(&files));
}

/// What was fetched would only be in the way: it goes too.
#[test]
fn a_fetch_that_has_no_room_leaves_nothing() {
    let (_mount, path) = small();
    let store = Store::open(&path).unwrap();
    let tar = tar(&[(
        "big",
        &(0..3 << 20).map(|number: u32| (number >> 7) as u8 ^ number as u8).collect::<Vec<u8>>(),
    )]);
    let blob = Descriptor::of(media_type::OCI_LAYER, &tar);
    for _ in 0..3 {
        let lease = store.lease();
        let partial = store.partial(&lease, &blob).unwrap();
        let error = partial.finish(&lease, &blob.digest, tar.as_slice(), &|_| ()).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (Kind::Unavailable, Some(28)), "{error}");
        for folder in ["ingest", "partials", "layers"] {
            let there = std::fs::read_dir(path.join(folder)).unwrap();
            assert_eq!(there.filter(|entry| entry.as_ref().unwrap().file_name() != "init").count(), 0);
        }
    }
    import(&store, &root(), "base");
}

/// The database cannot grow: names stay as they were, and go on once there is room.
#[test]
fn a_name_that_cannot_be_stored_is_not_there() {
    let (_mount, path) = small();
    let store = Store::open(&path).unwrap();
    let base = import(&store, &root(), "base");
    std::fs::write(path.join("filler"), vec![7; 8 << 20]).unwrap_err();
    let tag = |number: u32| store.tag(&base, &format!("base:{number:0100}").parse().unwrap());
    let failed = (0..10_000).find(|number| tag(*number).is_err()).unwrap();
    assert_eq!(store.images().unwrap()[0].tags.len() as u32, failed + 1);
    std::fs::remove_file(path.join("filler")).unwrap();
    tag(failed).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.images().unwrap()[0].tags.len() as u32, failed + 2);
}

/// Whoever has a full disk must be able to remove: names, images, snapshots, and what collection and sweep delete.
#[test]
fn on_a_full_disk_everything_can_be_removed() {
    let (_mount, path) = small();
    let store = Store::open(&path).unwrap();
    let base = import(&store, &root(), "base");
    let other = import(&store, &tar(&[("other", &[1; 9000])]), "other");
    store.tag(&base, &"base:again".parse().unwrap()).unwrap();
    store.snapshot_create("work", Some(&base)).unwrap();
    std::fs::write(path.join("filler"), vec![7; 8 << 20]).unwrap_err();
    // Names grow the database until it cannot grow any more, so that there is no slack in it.
    let tag = |number: u32| store.tag(&base, &format!("base:{number:0100}").parse().unwrap());
    (0..10_000).find(|number| tag(*number).is_err()).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    let how = Remove { force: true, prune_children: true, in_use: &|_| Vec::new() };
    store.remove("base:again", &how).unwrap();
    store.snapshot_remove("work").unwrap();
    store.remove("other", &how).unwrap();
    assert!(!store.has_image(&other));
    store.remove(&base.to_string(), &how).unwrap();
    store.sweep().unwrap();
    assert_eq!(store.images().unwrap().len(), 0);
    std::fs::remove_file(path.join("filler")).unwrap();
    store.sweep().unwrap();
    assert!(path.join("reserve").exists());
    assert_eq!(store.verify().unwrap(), []);
}
