//! Filling a new volume with what the image has where it is mounted.
//!
//! The copy is made beside the data and takes its place at once, so that a volume is either empty or filled.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use archive::tar::Writer;
use archive::{Extract, Pack, Times};
use fault::{Call, Error, Kind, Result};
use sys::fs::OpenHow;

use super::DATA;

pub(super) const UNFINISHED: &str = ".populating";

pub(super) fn populate(folder: &Path, rootfs: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let data = folder.join(DATA);
    if !sys::fs::read_dir(&data)?.is_empty() {
        return Ok(());
    }
    let how = OpenHow { no_follow: false, ..OpenHow::DIRECTORY };
    let source = match sys::fs::open_beneath(rootfs, path, &how) {
        Ok(source) => source,
        // The image has nothing there, or a file: the volume stays as it is.
        Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(NOT_A_DIRECTORY) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let copy = folder.join(UNFINISHED);
    sys::fs::create_dir_all(&copy, 0o755)?;
    let target = sys::fs::open_dir(&copy)?;
    copy_tree(source.as_fd(), target.as_fd())?;
    let stat = sys::fs::fstat(&source)?;
    sys::fs::chown(&copy, stat.uid, stat.gid)?;
    sys::fs::chmod(&copy, stat.permissions())?;
    sys::crash::point("volume.populate.copied");
    sys::fs::rename(&copy, &data)
}

const NOT_A_DIRECTORY: i32 = 20;

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
