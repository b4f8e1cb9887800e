//! `-v` and `--tmpfs`: what is bound, and what is an anonymous volume.

use std::collections::BTreeMap;
use std::path::Path;

use api::image::Empty;

use super::Checked;

#[derive(Debug, Default)]
pub(super) struct Volumes {
    /// `source:target[:options]`, where the source is a path or a volume's name.
    pub(super) binds: Vec<String>,
    pub(super) anonymous: BTreeMap<String, Empty>,
}

pub(super) fn sort(given: &[String]) -> Checked<Volumes> {
    let mut volumes = Volumes::default();
    for volume in given {
        match source(volume)? {
            None => {
                volumes.anonymous.insert(volume.clone(), Empty {});
            }
            Some(source) => {
                let bind = if is_path(&source) { absolute(volume) } else { volume.clone() };
                if !volumes.binds.contains(&bind) {
                    volumes.binds.push(bind);
                }
            }
        }
    }
    Ok(volumes)
}

pub(super) fn tmpfs(given: &[String]) -> BTreeMap<String, String> {
    let mount = |text: &String| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), options.to_owned())
    };
    given.iter().map(mount).collect()
}

/// The part before the first colon; a single letter there is a drive, as on Windows.
fn source(volume: &str) -> Checked<Option<String>> {
    if volume.is_empty() {
        return Err("invalid empty volume spec".into());
    }
    if volume.chars().count() <= 2 {
        return Ok(None);
    }
    let sections = sections(volume);
    if sections.iter().any(String::is_empty) {
        return Err(format!("invalid spec: {volume}: empty section between colons"));
    }
    if sections.len() > 3 {
        return Err(format!("invalid spec: {volume}: too many colons"));
    }
    Ok((sections.len() > 1).then(|| sections[0].clone()))
}

fn sections(volume: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for letter in volume.chars() {
        let section = sections.last_mut().expect("there is always a section");
        let is_drive = section.len() == 1 && section.chars().all(char::is_alphabetic);
        if letter == ':' && !is_drive {
            sections.push(String::new());
        } else {
            section.push(letter);
        }
    }
    sections
}

fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~'])
}

/// A relative source counts from where we stand.
fn absolute(volume: &str) -> String {
    match volume.split_once(':') {
        Some((source, target)) if source.starts_with('.') => format!("{}:{target}", absolute_path(source)),
        _ => volume.into(),
    }
}

/// Without `.`, `..` and a slash at the end, as Go cleans paths.
pub(crate) fn absolute_path(path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    clean(&here.join(path))
}

pub(crate) fn clean(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let text = path.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_bound_and_bare_paths_are_volumes() {
        let given = ["/a:/b:ro", "data:/d", "/anonymous", "./here:/x"].map(String::from);
        let volumes = sort(&given).unwrap();
        let here = absolute_path("here");
        assert_eq!(volumes.binds, ["/a:/b:ro".into(), "data:/d".into(), format!("{here}:/x")]);
        assert_eq!(volumes.anonymous.keys().collect::<Vec<_>>(), ["/anonymous"]);
        assert!(here.starts_with('/') && here.ends_with("/here"));
    }

    #[test]
    fn mistakes_are_told() {
        for (given, wanted) in [
            ("", "invalid empty volume spec"),
            ("/a::/b", "invalid spec: /a::/b: empty section between colons"),
            ("/a:/b:ro:x", "invalid spec: /a:/b:ro:x: too many colons"),
        ] {
            assert_eq!(sort(&[given.to_owned()]).unwrap_err(), wanted);
        }
    }
}
