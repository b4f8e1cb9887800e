//! Paths as Go's programs read them: by name, without a look at the disk. Pure.

use std::path::{Component, Path, PathBuf};

/// Go's `path.Clean` with a slash in front: `..` is taken away by name, and leads no further up than the root.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_name() {
        for (path, wanted) in [
            ("", "/"),
            ("/", "/"),
            ("a/./b//c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("../..", "/"),
            ("/a/b/..", "/a"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(wanted), "{path}");
        }
    }
}
