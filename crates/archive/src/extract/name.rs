//! Names and link targets from archives, made relative to where the archive goes.
//!
//! As Docker: a name that leads out of the directory that the archive goes into is refused, with Docker's words, and so
//! is a link; in an absolute name `..` at the root is the root, and so it is in links of what goes into the root itself.

use std::path::{Component, Path, PathBuf};

use fault::{Error, Result};

/// An entry's path relative to where the archive goes, without `.`, `..` and a leading slash; empty for that itself.
pub(super) fn beneath(name: &Path) -> Result<PathBuf> {
    match name.is_absolute() || stays(name) {
        true => Ok(normalized(name)),
        false => Err(Error::invalid(format!("invalid entry name {name:?}"))),
    }
}

/// Whether a relative path never leads above its start.
fn stays(path: &Path) -> bool {
    let mut depth = 0_usize;
    path.components().all(|component| match component {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::ParentDir => {
            let deep = depth > 0;
            depth = depth.saturating_sub(1);
            deep
        }
        Component::RootDir | Component::CurDir | Component::Prefix(_) => true,
    })
}

/// A hard link's target, relative to `into` as [`beneath`].
pub(super) fn hard_link_target(link: &Path, into: &Path) -> Result<PathBuf> {
    resolved(Path::new(""), link, into).ok_or_else(|| {
        let target = shown(&normalized(&into.join(relative(link))));
        Error::invalid(format!("invalid hardlink {target:?} -> {link:?}"))
    })
}

/// Refuses a symbolic link at `path` that leads out of `into`; absolute ones count from it.
pub(super) fn check_symlink(path: &Path, link: &Path, into: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    match resolved(folder, link, into) {
        Some(_) => Ok(()),
        None => {
            let path = shown(into).join(path);
            Err(Error::invalid(format!("invalid symlink {path:?} -> {link:?}")))
        }
    }
}

/// A path beneath the root in the way users know it.
pub(super) fn shown(path: &Path) -> PathBuf {
    Path::new("/").join(relative(path))
}

fn resolved(folder: &Path, path: &Path, into: &Path) -> Option<PathBuf> {
    let full = normalized(&into.join(folder).join(relative(path)));
    full.strip_prefix(normalized(into)).ok().map(Path::to_owned)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn normalized(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_where_the_archive_goes() {
        let table = [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/a", Some("a")),
            ("/../a", Some("a")),
            ("a/../b", Some("b")),
            (".", Some("")),
            ("/", Some("")),
            ("../a", None),
            ("a/../../a", None),
            ("a/../../a/b", None),
            ("../.wh.a", None),
            ("..", None),
        ];
        for (name, expected) in table {
            let found = beneath(Path::new(name)).ok();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{name}");
        }
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        let into = Path::new("srv/www");
        assert_eq!(beneath(Path::new("../x")).unwrap_err().to_string(), r#"invalid entry name "../x""#);
        assert_eq!(
            hard_link_target(Path::new("../x"), into).unwrap_err().to_string(),
            r#"invalid hardlink "/srv/x" -> "../x""#
        );
        assert_eq!(
            check_symlink(Path::new("d/l"), Path::new("../../x"), into).unwrap_err().to_string(),
            r#"invalid symlink "/srv/www/d/l" -> "../../x""#
        );
        assert!(check_symlink(Path::new("d/l"), Path::new("../x"), into).is_ok());
        assert!(check_symlink(Path::new("d/l"), Path::new("/etc/passwd"), into).is_ok());
        assert!(check_symlink(Path::new("l"), Path::new("../../etc"), Path::new("")).is_ok());
    }
}
