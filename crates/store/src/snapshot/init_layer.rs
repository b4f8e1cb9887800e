//! The lowest layer of every snapshot: the mount points that a container needs, for images that lack them.
//!
//! It lies below the image, so whatever the image has wins; Docker lays the same files above it
//! (moby, daemon/initlayer/setup_unix.go). Nothing of it shows in `diff` or goes into a commit.

use std::path::Path;

use fault::Result;
use sys::fs;

use crate::Store;

/// In `layers`; no digest looks like that.
pub(crate) const NAME: &str = "init";

/// Makes the layer if it is not there.
pub(crate) fn ensure(store: &Store) -> Result<()> {
    let place = store.path("layers").join(NAME);
    if fs::exists(&place)? {
        return Ok(());
    }
    let scratch = store.scratch(NAME);
    fs::create_dir(scratch.path(), 0o700)?;
    let tree = scratch.path().join("diff");
    fs::create_dir(&tree, 0o755)?;
    for (path, what) in FILES {
        make(&tree.join(path), what)?;
    }
    store.sync()?;
    scratch.move_to(&place)?;
    fs::fsync_dir(store.path("layers"))
}

fn make(path: &Path, what: &What) -> Result<()> {
    match what {
        What::Folder => {
            fs::create_dir(path, 0o755)?;
            fs::chmod(path, 0o755)
        }
        What::File => {
            fs::write(path, b"")?;
            fs::chmod(path, 0o755)
        }
        What::Link(target) => fs::symlink(target, path),
    }
}

enum What {
    Folder,
    File,
    Link(&'static str),
}

const FILES: &[(&str, What)] = &[
    (".dockerenv", What::File),
    ("dev", What::Folder),
    ("dev/console", What::File),
    ("dev/pts", What::Folder),
    ("dev/shm", What::Folder),
    ("etc", What::Folder),
    ("etc/hostname", What::File),
    ("etc/hosts", What::File),
    ("etc/mtab", What::Link("/proc/mounts")),
    ("etc/resolv.conf", What::File),
    ("proc", What::Folder),
    ("sys", What::Folder),
];
