//! Names as `docker cp` has them: what a client's path asks for, and what the archive calls it. Pure.

use std::path::{Path, PathBuf};

use super::place::Last;

/// A path that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) path: PathBuf,
    /// It ends with `/` or `/.`: what a last link leads to is wanted, and it must be a folder.
    pub(super) is_folder: bool,
    /// Its last name, Go's `filepath.Base` of what was given.
    pub(super) base: String,
    /// How the archive calls it: as the base, but a trailing point stays, since clients rename by it.
    pub(super) name: PathBuf,
}

impl Wanted {
    pub(super) fn new(path: &str) -> Self {
        let is_dotted = path == "." || path.ends_with("/.");
        let path_clean = names_of(path);
        let last = path_clean.last().copied().unwrap_or("/");
        let base = if is_dotted { "." } else { last };
        Self {
            path: Path::new("/").join(path_clean.join("/")),
            is_folder: is_dotted || path.ends_with('/') || path_clean.is_empty(),
            base: base.to_owned(),
            name: if path_clean.is_empty() && !is_dotted { "/".into() } else { base.into() },
        }
    }

    pub(super) fn last(&self) -> Last {
        if self.is_folder { Last::Folder } else { Last::Kept }
    }
}

/// Go's `path.Clean` with a slash in front: `..` is taken away by name, as Docker does.
fn names_of(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_named_by_the_path() {
        let table = [
            ("/etc/passwd", "/etc/passwd", false, "passwd", "passwd"),
            ("etc", "/etc", false, "etc", "etc"),
            ("/etc/", "/etc", true, "etc", "etc"),
            ("/etc/.", "/etc", true, ".", "."),
            ("/a/../b//c", "/b/c", false, "c", "c"),
            ("/", "/", true, "/", "/"),
            ("/.", "/", true, ".", "."),
            ("../..", "/", true, "/", "/"),
        ];
        for (given, path, is_folder, base, name) in table {
            let expected = Wanted { path: path.into(), is_folder, base: base.into(), name: name.into() };
            assert_eq!(Wanted::new(given), expected, "{given}");
        }
    }
}
