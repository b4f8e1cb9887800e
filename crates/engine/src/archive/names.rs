//! Names as `docker cp` has them: what a client's path asks for, and what the archive calls it. Pure.

use std::path::{Path, PathBuf};

use super::place::Last;
use crate::path::clean;

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
        let path_clean = clean(Path::new(path));
        let last = path_clean.file_name().map_or("/".into(), |name| name.to_string_lossy());
        let base = if is_dotted { ".".to_owned() } else { last.into_owned() };
        Self {
            is_folder: is_dotted || path.ends_with('/') || path_clean == Path::new("/"),
            path: path_clean,
            name: base.clone().into(),
            base,
        }
    }

    pub(super) fn last(&self) -> Last {
        if self.is_folder { Last::Folder } else { Last::Kept }
    }
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
