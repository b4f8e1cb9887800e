//! The end of a copy that lies here.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use archive::Pack;
use client::Body;
use fault::{Call, Error, Result};

use super::{Place, asserts_folder, last_entry};
use crate::create::absolute_path;
use crate::format::human::kernel_words;
use crate::packed::Packed;

/// What is copied from here.
#[derive(Debug)]
pub(super) struct Source {
    folder: PathBuf,
    /// In the folder; `.` means all of its content.
    entry: String,
    /// The name that the copy has by itself.
    name: String,
    pub(super) is_folder: bool,
}

impl Source {
    pub(super) fn find(path: &str, follow: bool) -> Result<Self> {
        let whole = kept_ending(path);
        let (folder, entry) = last_entry(&whole);
        let name = entry.clone();
        let lstat = |path: &Path| fs::symlink_metadata(path).map_err(|error| gone("lstat", path, &error));
        let place = Path::new(&folder).join(&entry);
        let found = lstat(&place)?;
        let (folder, entry) = match found.is_symlink() && (follow || asserts_folder(&whole)) {
            true => {
                let real = fs::canonicalize(&place).map_err(|error| gone("lstat", &place, &error))?;
                last_entry(&real.to_string_lossy())
            }
            false => (folder, entry),
        };
        let is_folder = lstat(&Path::new(&folder).join(&entry))?.is_dir();
        if !is_folder && asserts_folder(&whole) {
            return Err(Error::invalid("not a directory"));
        }
        Ok(Self { folder: folder.into(), entry, name, is_folder })
    }

    /// The tar stream, under `name` if given, and a count of its bytes.
    pub(super) fn pack(self, name: Option<String>) -> Result<(Body, Counted)> {
        let root = File::open(&self.folder).call(|| format!("open {}", self.folder.display()))?;
        let packed = Packed::by(move |writer| {
            let whole_content = self.entry == ".";
            let path = if whole_content { "" } else { self.entry.as_str() };
            let own = if whole_content { "" } else { self.name.as_str() };
            let name = name.as_deref().unwrap_or(own);
            let how = Pack { path: Path::new(path), name: Path::new(name), ..Pack::default() };
            let mut writer = archive::tar::Writer::new(writer);
            archive::pack(root.as_fd(), &how, &mut writer)?;
            writer.finish().map(drop)
        })?;
        let counted = Counted::default();
        Ok((Body::reader(Counting { packed, counted: counted.clone() }), counted))
    }
}

/// How many bytes went through.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted(Arc<AtomicU64>);

impl Counted {
    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counting {
    packed: Packed,
    counted: Counted,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.packed.read(buffer)?;
        self.counted.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What a copy to here finds.
pub(super) fn target(path: &str) -> Result<Place> {
    let path = kept_ending(path);
    let (folder, _) = last_entry(&path);
    if !asserts_folder(&path) && !Path::new(&folder).exists() {
        return Err(Error::invalid(format!("invalid output path: directory {folder:?} does not exist")));
    }
    match fs::metadata(&path) {
        Ok(found) => {
            let kind = found.file_type();
            if kind.is_block_device() || kind.is_char_device() {
                return Err(Error::invalid(format!(
                    "invalid output path: {path:?} must be a directory or a regular file: got a device"
                )));
            }
            Ok(Place { exists: true, is_folder: found.is_dir(), path: real(&path) })
        }
        Err(_) => Ok(Place { path, exists: false, is_folder: false }),
    }
}

/// A link at the end is followed; the ending stays.
fn real(path: &str) -> String {
    match fs::canonicalize(path) {
        Ok(real) => real.to_string_lossy().into_owned(),
        Err(_) => path.to_owned(),
    }
}

/// Absolute and clean, but `/` or `/.` at the end keep their meaning.
fn kept_ending(path: &str) -> String {
    let absolute = absolute_path(path);
    match path {
        "." => format!("{absolute}/."),
        _ if path.ends_with("/.") => format!("{absolute}/."),
        _ if path.ends_with('/') && absolute != "/" => format!("{absolute}/"),
        _ => absolute,
    }
}

/// Files that come out of a container belong to who asked for them.
pub(super) fn owner() -> Result<(u32, u32)> {
    let own = fs::metadata("/proc/self").call(|| "stat /proc/self")?;
    Ok((own.uid(), own.gid()))
}

fn gone(call: &str, path: &Path, error: &io::Error) -> Error {
    Error::invalid(format!("{call} {}: {}", path.display(), kernel_words(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body_of: Source, name: Option<&str>) -> Vec<String> {
        let root = File::open(&body_of.folder).unwrap();
        let whole = body_of.entry == ".";
        let path = if whole { "" } else { &body_of.entry };
        let own = if whole { "" } else { &body_of.name };
        let how = Pack { path: Path::new(path), name: Path::new(name.unwrap_or(own)), ..Pack::default() };
        let mut writer = archive::tar::Writer::new(Vec::new());
        archive::pack(root.as_fd(), &how, &mut writer).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = archive::tar::Reader::new(bytes.as_slice());
        let mut names = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            names.push(entry.header.name.to_string_lossy().into_owned());
        }
        names
    }

    #[test]
    fn a_source_is_packed_under_its_name_or_another() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("d", folder.path().join("l")).unwrap();
        let at = |path: &str, follow| {
            Source::find(&format!("{}/{path}", folder.path().display()), follow).unwrap()
        };
        assert_eq!(names(at("d", false), None), ["d/", "d/f"]);
        assert_eq!(names(at("d", false), Some("e")), ["e/", "e/f"]);
        assert_eq!(names(at("d/.", false), None), ["f"]);
        assert_eq!(names(at("d/f", false), Some("g")), ["g"]);
        assert_eq!(names(at("l", false), None), ["l"]);
        assert_eq!(names(at("l", true), None), ["l/", "l/f"]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let error = Source::find("/nope/x", false).unwrap_err();
        assert_eq!(error.to_string(), "lstat /nope/x: no such file or directory");
        let error = target("/nope/x").unwrap_err();
        assert_eq!(error.to_string(), "invalid output path: directory \"/nope\" does not exist");
    }
}
