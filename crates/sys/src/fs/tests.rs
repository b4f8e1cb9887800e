//! Files, folders and trees, on a real filesystem.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::FileKind::{CharDevice, Fifo, Regular, Symlink};
use super::*;
use crate::time::Timestamp;
use crate::xattr;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

#[test]
fn errors_name_call_and_path() {
    let error = read("/nonexistent/file").unwrap_err();
    assert_eq!(error.to_string(), "read /nonexistent/file: No such file or directory (os error 2)");
    let folder = folder();
    let dir = open_dir(folder.path()).unwrap();
    let error = open_beneath(&dir, "/some/file", &OpenHow::READ).unwrap_err();
    let path = folder.path().join("some/file");
    assert_eq!(
        error.to_string(),
        format!("openat2 {}: No such file or directory (os error 2)", path.display())
    );
}

#[test]
fn atomic_write_replaces_and_leaves_no_temporary() {
    let folder = folder();
    let path = folder.path().join("record.json");
    write_atomic(&path, b"old").unwrap();
    write_atomic_mode(&path, b"new", 0o644).unwrap();
    assert_eq!(read(&path).unwrap(), b"new");
    assert_eq!(lstat(&path).unwrap().permissions(), 0o644);
    assert_eq!(read_dir(folder.path()).unwrap(), [OsString::from("record.json")]);
    assert!(write_atomic(folder.path(), b"x").is_err(), "a directory is in the way");
    assert_eq!(read_dir(folder.path()).unwrap().len(), 1);
}

#[test]
fn bounded_read_refuses_more() {
    let folder = folder();
    let path = folder.path().join("f");
    write(&path, b"12345").unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
    assert!(read_bounded(&path, 4).unwrap_err().to_string().ends_with("larger than 4 bytes"));
}

#[test]
fn nothing_leads_out_of_a_root() {
    let folder = folder();
    let root = folder.path().join("root");
    create_dir_all(root.join("etc"), 0o755).unwrap();
    write(folder.path().join("secret"), b"outside").unwrap();
    write(root.join("secret"), b"inside").unwrap();
    symlink("/secret", root.join("etc/absolute")).unwrap();
    symlink("../../../secret", root.join("etc/relative")).unwrap();
    let handle = open_dir(&root).unwrap();
    for path in ["secret", "/secret", "../secret", "etc/absolute", "etc/relative", "etc/../../../secret"] {
        let mut file = File::from(open_beneath(&handle, path, &OpenHow::READ).unwrap());
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "inside", "{path}");
    }
    let how = OpenHow { no_links: true, ..OpenHow::READ };
    assert!(open_beneath(&handle, "etc/absolute", &how).is_err());
}

#[test]
fn removing_never_follows_links() {
    let folder = folder();
    let kept = folder.path().join("kept");
    create_dir(&kept, 0o755).unwrap();
    write(kept.join("file"), b"x").unwrap();
    let tree = folder.path().join("tree");
    create_dir_all(tree.join("a/b"), 0o755).unwrap();
    symlink(&kept, tree.join("a/link")).unwrap();
    symlink(&kept, folder.path().join("link")).unwrap();
    remove_tree(&tree).unwrap();
    remove_tree(folder.path().join("link")).unwrap();
    remove_tree(&tree).unwrap();
    assert!(exists(kept.join("file")).unwrap());
    assert_eq!(read_dir(folder.path()).unwrap(), [OsString::from("kept")]);
}

#[test]
fn removing_stops_at_mounts() {
    let folder = folder();
    for mount in ["top", "tree/inner"] {
        create_dir_all(folder.path().join(mount), 0o755).unwrap();
    }
    let remove = |tree: &str, mount: &str| {
        let (tree, mount) = (folder.path().join(tree), folder.path().join(mount));
        crate::namespace::in_new_namespace(crate::namespace::Kinds::MOUNT, || {
            crate::mount::mount_legacy("none", &mount, "tmpfs", 0, "")?;
            write(mount.join("kept"), b"x")?;
            let message = remove_tree(&tree).unwrap_err().to_string();
            assert!(exists(mount.join("kept"))?);
            crate::mount::detach(&mount)?;
            Ok(message)
        })
        .unwrap()
    };
    for (tree, mount) in [("top", "top"), ("tree", "tree/inner")] {
        assert!(remove(tree, mount).contains(": is a mount point"), "{tree}");
    }
}

#[test]
fn removing_copes_with_any_depth() {
    let folder = folder();
    let tree = folder.path().join("tree");
    create_dir(&tree, 0o755).unwrap();
    let mut dir = open_dir(&tree).unwrap();
    for _ in 0..3000 {
        mkdir_at(&dir, "a-long-enough-name", 0o755).unwrap();
        drop(open_at(&dir, "file", &OpenHow::NEW).unwrap());
        dir = open_at(&dir, "a-long-enough-name", &OpenHow::PATH).unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(!exists(&tree).unwrap());
}

#[test]
fn locks_exclude_and_die_with_their_holder() {
    let folder = folder();
    let path = folder.path().join("lock");
    let held = Lock::acquire(&path).unwrap();
    assert!(Lock::try_acquire(&path).unwrap().is_none());
    drop(held);
    assert!(Lock::try_acquire(&path).unwrap().is_some());
}

#[test]
fn names_beside_a_directory() {
    let folder = folder();
    let dir = open_dir(folder.path()).unwrap();
    drop(open_at(&dir, "file", &OpenHow::NEW).unwrap());
    link_at(&dir, "file", &dir, "second").unwrap();
    symlink_at("nowhere", &dir, "link").unwrap();
    mknod_at(&dir, "fifo", Fifo, 0o600, (0, 0)).unwrap();
    mknod_at(&dir, "null", CharDevice, 0o600, (1, 3)).unwrap();
    chown_at(&dir, "link", 7, 8).unwrap();
    set_times_at(&dir, "link", Timestamp::new(1, 2), Timestamp::new(-3, 4)).unwrap();
    let link = stat_at(&dir, "link").unwrap();
    assert_eq!((link.uid, link.gid, link.mtime), (7, 8, Timestamp::new(-3, 4)));
    assert_eq!(read_link_at(&dir, "link").unwrap(), Path::new("nowhere"));
    assert_eq!(stat_at(&dir, "second").unwrap().nlink, 2);
    assert_eq!(stat_at(&dir, "null").unwrap().device(), (1, 3));
    let kinds: Vec<_> = read_dir_at(&dir, ".").unwrap().into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Fifo, Regular, Symlink, CharDevice, Regular]);
    assert!(rename_new(folder.path().join("file"), folder.path().join("fifo")).is_err());
}

#[test]
fn attributes_of_files_and_of_links_themselves() {
    let folder = folder();
    let dir = open_dir(folder.path()).unwrap();
    let file = open_at(&dir, "file", &OpenHow::NEW).unwrap();
    symlink_at("file", &dir, "link").unwrap();
    xattr::set_at(&dir, "link", "trusted.on-link", b"1").unwrap();
    xattr::fset(&file, "trusted.large", &[b'x'; 3000]).unwrap();
    assert_eq!(xattr::list_at(&dir, "file").unwrap(), ["trusted.large"]);
    assert_eq!(xattr::list_at(&dir, "link").unwrap(), ["trusted.on-link"]);
    assert_eq!(xattr::get_at(&dir, "file", "trusted.large").unwrap().unwrap().len(), 3000);
    assert_eq!(xattr::get_at(&dir, "file", "trusted.none").unwrap(), None);
}

#[test]
fn umask_is_read() {
    assert!(umask().unwrap() <= 0o777);
}
