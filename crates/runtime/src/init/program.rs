//! The program itself: found as Go's `exec.LookPath` does, because the texts of its failures are what users see.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fault::{Error, Kind, Result};

use super::channel::errno_text;

/// The file that `name` means to the caller, in its own root and with its own rights.
pub(super) fn find(name: &str, path_variable: &str) -> Result<PathBuf> {
    if name.contains('/') {
        let path = PathBuf::from(name);
        return check(&path).map(|()| path).map_err(|reason| failure(name, &reason));
    }
    for folder in path_variable.split(':').filter(|_| !name.is_empty()) {
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(name);
        if check(&candidate).is_err() {
            continue;
        }
        if candidate.is_relative() {
            return Err(failure(name, "cannot run executable found relative to current directory"));
        }
        return Ok(candidate);
    }
    Err(failure(name, "executable file not found in $PATH"))
}

/// Without `PATH` in the environment nothing is searched.
pub(super) fn path_variable(env: &[CString]) -> String {
    let value = env.iter().rev().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    value.map(|value| OsStr::from_bytes(value).to_string_lossy().into_owned()).unwrap_or_default()
}

fn check(path: &Path) -> std::result::Result<(), String> {
    let stat = sys::fs::metadata(path).map_err(|error| {
        format!("stat {}: {}", path.display(), errno_text(error.errno().unwrap_or_default()))
    })?;
    if stat.is_dir() {
        return Err("is a directory: permission denied".to_owned());
    }
    sys::process::may_execute(path).map_err(|error| errno_text(error.raw_os_error().unwrap_or_default()))
}

fn failure(name: &str, reason: &str) -> Error {
    Error::new(Kind::Invalid, format!("exec: {name:?}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_failure(name: &str, path: &str, expected: &str) {
        assert_eq!(find(name, path).unwrap_err().to_string(), expected);
    }

    #[test]
    fn failures_read_as_dockers() {
        check_failure("foo", "/usr/bin:/bin", r#"exec: "foo": executable file not found in $PATH"#);
        check_failure("", "/usr/bin", r#"exec: "": executable file not found in $PATH"#);
        check_failure("/nope", "", r#"exec: "/nope": stat /nope: no such file or directory"#);
        check_failure("/etc", "", r#"exec: "/etc": is a directory: permission denied"#);
        check_failure("/etc/passwd", "", r#"exec: "/etc/passwd": permission denied"#);
        check_failure("/etc/passwd/x", "", r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#);
    }

    #[test]
    fn the_first_match_in_path_wins() {
        assert_eq!(find("sh", "/nope:/bin:/usr/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
    }
}
