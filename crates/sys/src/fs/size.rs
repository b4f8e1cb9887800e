//! How much a tree holds.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use fault::{Kind, Result};

use super::{OpenHow, open_at, open_dir, read_dir_at, stat_at};

/// Bytes of content below a directory: apparent sizes, a file with several names once, links not followed, other
/// mounts left out. What vanishes meanwhile does not count. Holds a handle for each level of depth.
pub fn tree_size(path: impl AsRef<Path>) -> Result<u64> {
    let root = open_dir(path)?;
    let device = stat_at(&root, ".")?.dev;
    let mut count = Count { device, counted: HashSet::new(), size: 0 };
    count.folder(&root)?;
    Ok(count.size)
}

struct Count {
    device: u64,
    /// Files with several names, by inode.
    counted: HashSet<u64>,
    size: u64,
}

impl Count {
    fn folder(&mut self, folder: &OwnedFd) -> Result<()> {
        for entry in read_dir_at(folder, ".")? {
            let Some(stat) = unless_gone(stat_at(folder, &entry.name))? else { continue };
            if stat.dev != self.device {
                continue;
            }
            if stat.is_dir() {
                let how = OpenHow { no_follow: true, ..OpenHow::DIRECTORY };
                if let Some(below) = unless_gone(open_at(folder, &entry.name, &how))? {
                    self.folder(&below)?;
                }
            } else if stat.nlink == 1 || self.counted.insert(stat.ino) {
                self.size += stat.size;
            }
        }
        Ok(())
    }
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
