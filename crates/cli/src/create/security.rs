//! `--security-opt`: what the daemon is told, and what is settled here.

use super::{Checked, environment};

#[derive(Debug, Default)]
pub(super) struct Security {
    pub(super) options: Vec<String>,
    /// An empty list unmasks everything; `None` leaves the default.
    pub(super) masked_paths: Option<Vec<String>>,
    pub(super) readonly_paths: Option<Vec<String>>,
}

pub(super) fn options(given: Vec<String>) -> Checked<Security> {
    let mut security = Security::default();
    for option in given {
        let option = resolve(option)?;
        if option == "systempaths=unconfined" {
            security.masked_paths = Some(Vec::new());
            security.readonly_paths = Some(Vec::new());
        } else {
            security.options.push(option);
        }
    }
    Ok(security)
}

/// A profile's file is sent as its content.
fn resolve(option: String) -> Checked<String> {
    let (key, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((&option, ""));
    if key == "no-new-privileges" {
        return Ok(option);
    }
    if value.is_empty() {
        return Err(format!("Invalid --security-opt: {option:?}"));
    }
    match (key, value) {
        ("seccomp", "builtin" | "unconfined") => Ok(option),
        ("seccomp", file) => profile(file),
        _ => Ok(option),
    }
}

fn profile(file: &str) -> Checked<String> {
    let text = std::fs::read(file).map_err(|error| {
        format!("opening seccomp profile ({file}) failed: {}", environment::unreadable(file, &error))
    })?;
    let compact = crate::format::compact(&text)
        .map_err(|error| format!("compacting json for seccomp profile ({file}) failed: {error}"))?;
    Ok(format!("seccomp={compact}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_paths_are_settled_here() {
        let given = ["no-new-privileges", "systempaths=unconfined", "seccomp=unconfined", "label:disable"];
        let security = options(given.map(String::from).to_vec()).unwrap();
        assert_eq!(security.options, ["no-new-privileges", "seccomp=unconfined", "label:disable"]);
        assert_eq!(security.masked_paths, Some(vec![]));
    }

    #[test]
    fn a_profile_is_sent_compact() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "{ \"b\": [1,\n 2], \"a\": \"x y\" }").unwrap();
        let option = format!("seccomp={}", file.path().display());
        assert_eq!(options(vec![option]).unwrap().options, [r#"seccomp={"b":[1,2],"a":"x y"}"#]);
        assert_eq!(options(vec!["x".into()]).unwrap_err(), r#"Invalid --security-opt: "x""#);
        assert_eq!(
            options(vec!["seccomp=/nope".into()]).unwrap_err(),
            "opening seccomp profile (/nope) failed: open /nope: no such file or directory"
        );
    }
}
