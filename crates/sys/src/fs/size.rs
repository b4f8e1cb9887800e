//! How much a tree holds.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use fault::{Kind, Result};

use super::{OpenHow, Stat, open_at, open_dir, read_dir_at, stat_at};

/// Bytes of content below a directory: apparent sizes, a file with several names once, links not followed, other
/// mounts left out. What vanishes meanwhile does not count.
pub fn tree_size(path: impl AsRef<Path>) -> Result<u64> {
    let root = open_dir(path)?;
    let device = stat_at(&root, ".")?.dev;
    let mut size = 0;
    let mut counted = HashSet::new();
    // Handles of open folders, so that no path is walked twice; a folder is read when its turn comes.
    let mut open: Vec<OwnedFd> = vec![root];
    while let Some(folder) = open.pop() {
        for entry in read_dir_at(&folder, ".")? {
            let Some(stat) = unless_gone(stat_at(&folder, &entry.name))? else { continue };
            if stat.dev != device {
                continue;
            }
            if stat.is_dir() {
                open.extend(unless_gone(enter(&folder, &entry.name))?);
            } else if first_name(&stat, &mut counted) {
                size += stat.size;
            }
        }
    }
    Ok(size)
}

fn enter(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    open_at(folder, name, &OpenHow { no_follow: true, ..OpenHow::DIRECTORY })
}

fn first_name(stat: &Stat, counted: &mut HashSet<u64>) -> bool {
    stat.nlink == 1 || counted.insert(stat.ino)
}

fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_once_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("x"), [0; 100]).unwrap();
        std::fs::hard_link(deep.join("x"), folder.path().join("again")).unwrap();
        std::fs::write(folder.path().join("y"), [0; 11]).unwrap();
        assert_eq!(tree_size(folder.path()).unwrap(), 111);
    }
}
