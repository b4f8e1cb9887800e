//! An image archive's members, spooled: each file a hashed blob in `ingest`, found again by its name.
//!
//! There may be thousands, so none is kept open; and documents are held together, so their sum is bounded.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicU64, Ordering};

use archive::compression;
use archive::tar::{Entry, EntryKind, Reader};
use fault::{Call, Error, Result};
use oci::Digest;

use crate::Store;
use crate::content::{DOCUMENT_BYTES_MAX, StagedBlob};
use crate::layer;

#[derive(Debug, Default)]
pub(crate) struct Members {
    by_name: BTreeMap<String, Member>,
    /// Of documents that were read.
    bytes_read: AtomicU64,
}

#[derive(Debug)]
enum Member {
    File(StagedBlob),
    /// Another member's name: old archives link to layers that they hold already.
    Link(String),
}

impl Members {
    /// Spools a whole archive.
    pub(crate) fn read(store: &Store, reader: impl Read) -> Result<Self> {
        let mut reader = BufReader::new(reader);
        if reader.fill_buf().map_err(layer::read_failed)?.is_empty() {
            return Err(Error::invalid("unexpected EOF"));
        }
        let mut tar = Reader::new(compression::reader(reader)?);
        let mut members = Self::default();
        while let Some(mut entry) = tar.next()? {
            if members.by_name.len() == MEMBERS_MAX {
                return Err(Error::invalid(format!("more than {MEMBERS_MAX} members")));
            }
            members.add(store, &mut entry)?;
        }
        // Bytes after the archive's end still belong to the stream that somebody sends.
        tar.drain()?;
        Ok(members)
    }

    fn add(&mut self, store: &Store, entry: &mut Entry<'_, impl Read>) -> Result<()> {
        let name = plain_name(&entry.header.name)?;
        let member = match entry.header.kind {
            EntryKind::Regular => Member::File(spool(store, &name, entry)?),
            EntryKind::Symlink => {
                let beside = Path::new(&name).parent().unwrap_or(Path::new(""));
                Member::Link(plain_name(&beside.join(&entry.header.link))?)
            }
            EntryKind::HardLink => Member::Link(plain_name(&entry.header.link)?),
            // Folders and devices carry nothing of an image.
            _ => return Ok(()),
        };
        self.by_name.insert(name, member);
        Ok(())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A member's bytes; links are followed a few steps.
    pub(crate) fn blob(&self, name: &str) -> Result<&StagedBlob> {
        let mut name = plain_name(Path::new(name))?;
        for _ in 0..LINKS_MAX {
            match self.by_name.get(&name) {
                Some(Member::File(blob)) => return Ok(blob),
                Some(Member::Link(target)) => name.clone_from(target),
                None => break,
            }
        }
        Err(Error::invalid(format!("invalid image archive: {name} is missing")))
    }

    /// All of a small member.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let blob = self.blob(name)?;
        if blob.size > DOCUMENT_BYTES_MAX {
            return Err(Error::invalid(format!("invalid image archive: {name} is too big")));
        }
        if self.bytes_read.fetch_add(blob.size, Ordering::Relaxed) + blob.size > DOCUMENTS_BYTES_MAX {
            return Err(Error::invalid("invalid image archive: its documents are too big"));
        }
        let mut bytes = Vec::new();
        blob.reopen()?.read_to_end(&mut bytes).call(|| format!("read {name}"))?;
        Ok(bytes)
    }

    /// A member that is JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.document(name)?)
            .map_err(|error| Error::invalid(format!("invalid image archive: {name}: {error}")))
    }

    /// Gives up the members with these digests, each once; the others vanish.
    pub(crate) fn into_blobs<'a>(self, wanted: impl Iterator<Item = &'a Digest>) -> Vec<StagedBlob> {
        let mut by_digest = BTreeMap::new();
        for member in self.by_name.into_values() {
            if let Member::File(blob) = member {
                by_digest.insert(blob.digest.clone(), blob);
            }
        }
        wanted.filter_map(|digest| by_digest.remove(digest)).collect()
    }
}

fn spool(store: &Store, name: &str, content: &mut impl Read) -> Result<StagedBlob> {
    let blob = layer::spool(store.blob_writer()?, content)?;
    match name.strip_prefix("blobs/sha256/") {
        Some(hex) if hex != blob.digest.hex() => {
            Err(Error::invalid(format!("invalid image archive: {name} has digest {}", blob.digest)))
        }
        _ => Ok(blob.closed()),
    }
}

/// A name without `./`; one that leads out of the archive is refused.
fn plain_name(path: &Path) -> Result<String> {
    let mut plain: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => plain.push(name.to_str().ok_or_else(|| escaping(path))?),
            Component::ParentDir if !plain.is_empty() => drop(plain.pop()),
            _ => return Err(escaping(path)),
        }
    }
    Ok(plain.join("/"))
}

fn escaping(path: &Path) -> Error {
    Error::invalid(format!("invalid image archive: invalid path {:?}", path.display().to_string()))
}

/// Images have some hundred layers at most, and old archives three members for each.
const MEMBERS_MAX: usize = 10_000;
/// Of manifests and configs as often as they are read, which is three times at most; usual ones have some kilobytes.
const DOCUMENTS_BYTES_MAX: u64 = 128 << 20;
/// More links in a row are a loop.
const LINKS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{store, tar};

    fn members(store: &Store, files: &[(String, Vec<u8>)]) -> Members {
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        Members::read(store, tar(&files).as_slice()).unwrap()
    }

    #[test]
    fn many_members_are_not_open_at_once() {
        let (_folder, store) = store();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let files: Vec<_> = (0..1_000).map(|number| (number.to_string(), b"x".to_vec())).collect();
        let before = open();
        let members = members(&store, &files);
        assert!(open() < before + 500);
        let digest = Digest::sha256(b"x");
        let blobs = members.into_blobs([&digest].into_iter());
        blobs[0].sync().unwrap();
    }

    #[test]
    fn documents_are_bounded_one_by_one_and_together() {
        let (_folder, store) = store();
        let padded = |more: usize| vec![b' '; DOCUMENT_BYTES_MAX as usize + more];
        let members = members(&store, &[("whole".into(), padded(0)), ("bigger".into(), padded(1))]);
        let words = |name: &str| members.document(name).unwrap_err().to_string();
        assert_eq!(words("bigger"), "invalid image archive: bigger is too big");
        for _ in 0..DOCUMENTS_BYTES_MAX / DOCUMENT_BYTES_MAX {
            members.document("whole").unwrap();
        }
        assert_eq!(words("whole"), "invalid image archive: its documents are too big");
    }

    #[test]
    fn names_stay_inside_the_archive() {
        let name = |path: &str| plain_name(Path::new(path)).map_err(|error| error.to_string());
        assert_eq!(name("./a/./b").unwrap(), "a/b");
        assert_eq!(name("a/../b").unwrap(), "b");
        assert_eq!(name("../a").unwrap_err(), "invalid image archive: invalid path \"../a\"");
        assert_eq!(name("/a").unwrap_err(), "invalid image archive: invalid path \"/a\"");
        assert_eq!(name("a/../../b").unwrap_err(), "invalid image archive: invalid path \"a/../../b\"");
    }
}
