//! Filling a new volume with what the image has where it is mounted.
//!
//! ```text
//! .populating   the copy is made                  left over: it is thrown away
//! .populated    it is whole, and moves into _data  left over: the rest moves
//! ```
//!
//! A volume is either empty or filled, and its folder stays the same one, because containers may run that have it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use archive::tar::Writer;
use archive::{Extract, Pack, Times};
use fault::{Call, Error, Kind, Result};
use sys::fs::OpenHow;

use super::DATA;

const UNFINISHED: &str = ".populating";
const FINISHED: &str = ".populated";

/// What the image has at a path, if that is a folder: else a volume stays as it is.
pub(super) fn source(rootfs: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    let how = OpenHow { no_follow: false, ..OpenHow::DIRECTORY };
    match sys::fs::open_beneath(rootfs, path, &how) {
        Ok(source) => Ok(Some(source)),
        Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(sys::errno::ENOTDIR) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Fills an empty volume; one that is not empty is fine.
pub(super) fn populate(folder: &Path, source: &OwnedFd) -> Result<()> {
    if !sys::fs::read_dir(folder.join(DATA))?.is_empty() {
        return Ok(());
    }
    let copy = folder.join(UNFINISHED);
    // Of a copy that failed, perhaps of another image.
    if sys::fs::exists(&copy)? {
        sys::fs::remove_tree(&copy)?;
    }
    sys::fs::create_dir_all(&copy, 0o755)?;
    copy_into(&copy, source)?;
    sys::crash::point("volume.populate.copied");
    sys::fs::rename(&copy, folder.join(FINISHED))?;
    sys::crash::point("volume.populate.finished");
    move_in(folder)
}

/// The same for a volume on a device, which nothing can be moved into: a copy that is cut off stays as it is.
pub(super) fn populate_device(folder: &Path, source: &OwnedFd) -> Result<()> {
    let data = folder.join(DATA);
    if sys::fs::read_dir(&data)?.is_empty() { copy_into(&data, source) } else { Ok(()) }
}

/// What is in the folder, and its owner and mode.
fn copy_into(target: &Path, source: &OwnedFd) -> Result<()> {
    copy_tree(source.as_fd(), sys::fs::open_dir(target)?.as_fd())?;
    let stat = sys::fs::fstat(source)?;
    sys::fs::chown(target, stat.uid, stat.gid)?;
    sys::fs::chmod(target, stat.permissions())
}

/// Finishes or undoes what an earlier process left half-made.
pub(super) fn converge(folder: &Path) -> Result<()> {
    if sys::fs::exists(folder.join(UNFINISHED))? {
        sys::fs::remove_tree(folder.join(UNFINISHED))?;
    }
    if sys::fs::exists(folder.join(FINISHED))? { move_in(folder) } else { Ok(()) }
}

/// Moves a whole copy into the volume; what a container has put there meanwhile stays.
fn move_in(folder: &Path) -> Result<()> {
    let (copy, data) = (folder.join(FINISHED), folder.join(DATA));
    for name in sys::fs::read_dir(&copy)? {
        match sys::fs::rename_new(copy.join(&name), data.join(&name)) {
            Err(error) if error.kind() == Kind::Conflict => {}
            moved => moved?,
        }
        sys::crash::point("volume.populate.moved");
    }
    let stat = sys::fs::metadata(&copy)?;
    sys::fs::chown(&data, stat.uid, stat.gid)?;
    sys::fs::chmod(&data, stat.permissions())?;
    sys::fs::remove_tree(&copy)
}

/// Copies what is below `source` with everything that a layer would keep: one thread packs, this one extracts.
fn copy_tree(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let (reading, writing) = UnixStream::pair().call(|| "socketpair")?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut tar = Writer::new(writing);
            archive::pack(source, &Pack { times: Times::Exact, ..Pack::default() }, &mut tar)?;
            tar.finish().map(drop)
        });
        let extracted = archive::extract(reading, target, &Extract::default());
        let packed = packing.join().unwrap_or_else(|_| Err(Error::internal("packing broke off")));
        // A failed extraction breaks the pipe of the packing, so its error is the one that tells more.
        extracted.map(drop).and(packed)
    })
}
