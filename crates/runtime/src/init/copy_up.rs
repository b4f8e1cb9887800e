//! `tmpcopyup`: a fresh file system begins with what the image has at its place.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use fault::{Call, Kind, Result};
use sys::fs::{self, FileKind, OpenHow};

/// Copies the folder `path` beneath `root`, if there is one, into `to`.
pub(super) fn copy_up(root: BorrowedFd<'_>, path: &Path, to: BorrowedFd<'_>) -> Result<()> {
    match fs::open_beneath(root, path, &OpenHow::DIRECTORY) {
        Ok(from) => copy_folder(from.as_fd(), to),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn copy_folder(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for entry in fs::read_dir_at(from, ".")? {
        let name = Path::new(&entry.name);
        let stat = fs::stat_at(from, name)?;
        match stat.kind() {
            FileKind::Directory => {
                fs::mkdir_at(to, name, 0o700)?;
                let inner_from = fs::open_at(from, name, &OpenHow { no_follow: true, ..OpenHow::DIRECTORY })?;
                let inner_to = fs::open_at(to, name, &OpenHow { no_follow: true, ..OpenHow::DIRECTORY })?;
                copy_folder(inner_from.as_fd(), inner_to.as_fd())?;
            }
            FileKind::Symlink => fs::symlink_at(fs::read_link_at(from, name)?, to, name)?,
            FileKind::Regular => copy_file(from, to, name)?,
            // Devices, fifos and sockets have no place in a scratch folder.
            _ => continue,
        }
        fs::chown_at(to, name, stat.uid, stat.gid)?;
        if !stat.is_symlink() {
            fs::chmod_at(to, name, stat.permissions())?;
        }
    }
    Ok(())
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &Path) -> Result<()> {
    let mut source: std::fs::File =
        fs::open_at(from, name, &OpenHow { no_follow: true, ..OpenHow::READ })?.into();
    let mut copy: std::fs::File = fs::open_at(to, name, &OpenHow::NEW)?.into();
    std::io::copy(&mut source, &mut copy).call(|| format!("copying {}", name.display()))?;
    Ok(())
}
