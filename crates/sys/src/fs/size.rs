//! How much a tree holds, however deep it is.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fault::{Kind, Result};

use super::{
    OpenHow, Stat, duplicate, fstat, lstat_if_exists, open_at, open_dir, read_dir, read_dir_at, stat_at,
};

/// What a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Apparent sizes of everything but folders.
    pub content: u64,
    /// What the file system gave for it, folders and the root included: what `du --block-size=1` tells.
    pub allocated: u64,
}

/// Bytes of content below a directory: apparent sizes, a file with several names once, links not followed, other
/// mounts left out. What vanishes or is moved meanwhile does not count, or counts where it was found.
pub fn tree_size(path: impl AsRef<Path>) -> Result<u64> {
    Ok(tree_usage(path)?.content)
}

/// The same, and the room that it takes.
pub fn tree_usage(path: impl AsRef<Path>) -> Result<TreeUsage> {
    let root = open_dir(path)?;
    let stat = fstat(&root)?;
    let mut count = Count { device: stat.dev, counted: HashSet::new(), usage: TreeUsage::default() };
    count.allocate(&stat);
    let mut walk = Walk { here: duplicate(&root)?, root, levels: Vec::new() };
    walk.levels.push(Level { name: OsString::new(), stat, folders: count.folder(&walk.here)? });
    while let Some(level) = walk.levels.last_mut() {
        match level.folders.pop() {
            Some(name) => walk.descend(name, &mut count)?,
            None => walk.ascend()?,
        }
    }
    Ok(count.usage)
}

/// What a folder takes on disk without some of its entries; nothing for a folder that is not there.
pub fn allocated_around(folder: impl AsRef<Path>, except: &[&str]) -> Result<u64> {
    let folder = folder.as_ref();
    let Some(stat) = lstat_if_exists(folder)? else { return Ok(0) };
    let mut allocated = stat.allocated();
    let names = unless_gone(read_dir(folder))?.unwrap_or_default();
    for name in names.iter().filter(|name| !except.iter().any(|except| name == except)) {
        let path = folder.join(name);
        let Some(stat) = lstat_if_exists(&path)? else { continue };
        let usage = match stat.is_dir() {
            true => unless_gone(tree_usage(&path))?.unwrap_or_default().allocated,
            false => stat.allocated(),
        };
        allocated = allocated.saturating_add(usage);
    }
    Ok(allocated)
}

struct Count {
    device: u64,
    /// Files with several names, by inode.
    counted: HashSet<u64>,
    usage: TreeUsage,
}

impl Count {
    fn allocate(&mut self, stat: &Stat) {
        self.usage.allocated = self.usage.allocated.saturating_add(stat.allocated());
    }

    /// Adds the files of one folder and returns the folders in it.
    fn folder(&mut self, folder: &OwnedFd) -> Result<Vec<OsString>> {
        let mut folders = Vec::new();
        for entry in read_dir_at(folder, ".")? {
            let Some(stat) = unless_gone(stat_at(folder, &entry.name))? else { continue };
            if stat.dev != self.device {
                continue;
            }
            if stat.is_dir() {
                self.allocate(&stat);
                folders.push(entry.name);
            } else if stat.nlink == 1 || self.counted.insert(stat.ino) {
                self.allocate(&stat);
                self.usage.content = self.usage.content.saturating_add(stat.size);
            }
        }
        Ok(folders)
    }
}

/// A way through a tree that holds two handles at any depth, because somebody else may have made it deeper than
/// descriptors or stack allow. It goes up by `..`, and checks where that leads.
struct Walk {
    root: OwnedFd,
    here: OwnedFd,
    /// From the root to `here`.
    levels: Vec<Level>,
}

struct Level {
    /// In the level above.
    name: OsString,
    stat: Stat,
    /// Not walked yet.
    folders: Vec<OsString>,
}

impl Walk {
    fn descend(&mut self, name: OsString, count: &mut Count) -> Result<()> {
        let Some(below) = unless_gone(open_folder(&self.here, &name))? else { return Ok(()) };
        let stat = fstat(&below)?;
        if stat.dev != count.device {
            return Ok(());
        }
        let folders = count.folder(&below)?;
        self.levels.push(Level { name, stat, folders });
        self.here = below;
        Ok(())
    }

    fn ascend(&mut self) -> Result<()> {
        self.levels.pop();
        let Some(level) = self.levels.last() else { return Ok(()) };
        let above = open_folder(&self.here, "..")?;
        if fstat(&above)?.same_file(&level.stat) {
            self.here = above;
            return Ok(());
        }
        self.find_back()
    }

    /// Somebody has moved a folder of ours: goes down again from the root, as far as the levels are still there.
    fn find_back(&mut self) -> Result<()> {
        self.here = duplicate(&self.root)?;
        for place in 1..self.levels.len() {
            let level = &self.levels[place];
            match unless_gone(open_folder(&self.here, &level.name))? {
                Some(below) if fstat(&below)?.same_file(&level.stat) => self.here = below,
                _ => {
                    self.levels.truncate(place);
                    break;
                }
            }
        }
        Ok(())
    }
}

fn open_folder(dir: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd> {
    open_at(dir, name, &OpenHow { directory: true, ..OpenHow::PATH_NO_FOLLOW })
}

/// What became something else since it was listed is gone too.
fn unless_gone<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.kind() == Kind::NotFound || error.errno() == Some(libc::ENOTDIR) => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{mkdir_at, rename};

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

    #[test]
    fn no_depth_is_too_deep() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut dir = open_dir(folder.path()).unwrap();
        for _ in 0..20_000 {
            mkdir_at(&dir, "d", 0o755).unwrap();
            dir = open_folder(&dir, "d").unwrap();
        }
        std::fs::write(crate::fs::proc_path(&dir).join("f"), [0; 7]).unwrap();
        // With a stack that a call for each level would have used up.
        let path = folder.path().to_owned();
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let size = thread.spawn(move || tree_size(path).unwrap()).unwrap().join().unwrap();
        assert_eq!(size, 7);
        // The standard library's own removal of the folder would hold a handle for each level.
        crate::fs::remove_tree(folder.path().join("d")).unwrap();
    }

    #[test]
    fn a_folder_that_is_moved_meanwhile_does_not_lead_away() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        std::fs::create_dir_all(folder.path().join("tree/a/b")).unwrap();
        std::fs::create_dir_all(folder.path().join("tree/z")).unwrap();
        std::fs::write(folder.path().join("tree/z/f"), [0; 3]).unwrap();
        std::fs::write(folder.path().join("secret"), [0; 1000]).unwrap();
        let root = open_dir(folder.path().join("tree")).unwrap();
        let mut count =
            Count { device: fstat(&root).unwrap().dev, counted: HashSet::new(), usage: TreeUsage::default() };
        let top = Level { name: OsString::new(), stat: fstat(&root).unwrap(), folders: vec!["z".into()] };
        let mut walk = Walk { here: duplicate(&root).unwrap(), root, levels: vec![top] };
        walk.descend("a".into(), &mut count).unwrap();
        walk.descend("b".into(), &mut count).unwrap();
        rename(folder.path().join("tree/a/b"), folder.path().join("b")).unwrap();
        walk.ascend().unwrap();
        walk.ascend().unwrap();
        let z = walk.levels[0].folders.pop().unwrap();
        walk.descend(z, &mut count).unwrap();
        assert_eq!(count.usage.content, 3);
    }
}
