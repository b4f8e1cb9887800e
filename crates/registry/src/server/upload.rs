//! What clients are sending: a file that grows chunk by chunk until it has its digest.
//!
//! An upload lives as its file: after a restart it goes on where the file ends. Its hash is written down now and then
//! (hash.rs), and what came after that is hashed again, slice by slice, so that nobody waits long for a thread. Its id is
//! a secret of 122 random bits, so whoever knows it began it. No file is open between two pieces, so that forgotten uploads
//! cost neither descriptors nor much memory; they are collected when nothing came for the grace.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::{Call, Error, Kind, Result};
use oci::Digest;
use sys::fs;

use crate::server::catalog::{Link, View};
use crate::server::failure::{Failure, Outcome};
use crate::server::storage::{Storage, now};

mod hash;

pub(crate) use hash::Algorithm;
use hash::Hash;

/// The uploads that this process has a hash of.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    hashes: PathBuf,
    known: Mutex<HashMap<String, Shared>>,
}

/// One request at a time works on an upload; others wait.
pub(crate) type Shared = Arc<tokio::sync::Mutex<Upload>>;

#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    hash: Hash,
    /// How many bytes that is the hash of.
    hashed: u64,
    /// Where it is written down, and of how many bytes that is.
    hash_path: PathBuf,
    saved: u64,
    /// Bytes that are here.
    pub(crate) size: u64,
    /// Finished or cancelled while another request waited.
    gone: bool,
}

/// Reads a hash that was written down; whether it can be relied on.
pub(crate) fn read_state(text: &[u8], size: u64) -> bool {
    hash::read(text, size, "").is_some()
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf, hashes: PathBuf) -> Self {
        Self { folder, hashes, known: Mutex::default() }
    }

    /// A new one, and its id.
    pub(crate) fn begin(&self, algorithm: Algorithm) -> Result<(String, Shared)> {
        let id = self.unique()?;
        let path = self.folder.join(&id);
        drop(fs::open(&path, &fs::OpenHow::NEW.with_mode(0o600))?);
        sys::crash::point("registry.upload.begun");
        let upload = Upload {
            path,
            hash: Hash::new(algorithm),
            hashed: 0,
            hash_path: self.hashes.join(&id),
            saved: 0,
            size: 0,
            gone: false,
        };
        let shared = Shared::new(upload.into());
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, shared| Arc::strong_count(shared) > 1);
        }
        known.insert(id.clone(), Shared::clone(&shared));
        Ok((id, shared))
    }

    /// One that was begun, here or before a restart. Its hash may lag then.
    pub(crate) fn find(&self, id: &str) -> Outcome<Shared> {
        if let Some(shared) = self.lock().get(id) {
            return Ok(Shared::clone(shared));
        }
        let upload = Upload::resume(self.folder.join(id), self.hashes.join(id))?;
        // Somebody else may have found it meanwhile: the first one counts.
        let mut known = self.lock();
        Ok(Shared::clone(known.entry(id.into()).or_insert_with(|| Shared::new(upload.into()))))
    }

    /// A name that nobody else has or guesses: a UUID (RFC 9562, version 4).
    pub(crate) fn unique(&self) -> Result<String> {
        let mut bytes = [0; 16];
        File::open(RANDOM)
            .and_then(|mut random| random.read_exact(&mut bytes))
            .map_err(|error| Error::io(format!("read {RANDOM}"), error))?;
        let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
        let hex = format!("{bits:032x}");
        Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> Result<usize> {
        Ok(fs::read_dir(&self.folder)?.len())
    }

    fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Whether nobody works on it in this process.
    pub(crate) fn is_idle(&self, id: &str) -> bool {
        !self.lock().contains_key(id)
    }

    /// Forgets those that no request holds: their files go on without us.
    pub(crate) fn close_idle(&self) {
        self.lock().retain(|_, shared| Arc::strong_count(shared) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shared>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    fn resume(path: PathBuf, hash_path: PathBuf) -> Outcome<Self> {
        let size = fs::fstat(opened(&path, fs::Access::Read)?)?.size;
        let (hash, hashed) = hash::load(&hash_path, size).unwrap_or((Hash::new(Algorithm::default()), 0));
        Ok(Self { path, hash, hashed, hash_path, saved: hashed, size, gone: false })
    }

    /// Whether something is still to be hashed by an algorithm, or by the one that it was begun with.
    pub(crate) fn lags(&self, algorithm: Option<Algorithm>) -> bool {
        self.hashed < self.size || algorithm.is_some_and(|algorithm| algorithm != self.hash.algorithm())
    }

    /// Hashes a slice of what is here and was not hashed yet.
    pub(crate) fn catch_up(&mut self, algorithm: Option<Algorithm>) -> Outcome<()> {
        self.here()?;
        if let Some(algorithm) = algorithm.filter(|algorithm| *algorithm != self.hash.algorithm()) {
            (self.hash, self.hashed) = (Hash::new(algorithm), 0);
        }
        let file = opened(&self.path, fs::Access::Read)?;
        let end = self.size.min(self.hashed + SLICE_BYTES);
        let mut buffer = vec![0; 256 << 10];
        while self.hashed < end {
            let length = (end - self.hashed).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..length], self.hashed).call(|| "read an upload")?;
            self.hash.update(&buffer[..length]);
            self.hashed += length as u64;
        }
        Ok(())
    }

    /// Writes down the hash, if much was hashed since. It is only of use to be faster.
    pub(crate) fn save_hash(&mut self) {
        if self.gone || self.hashed < self.size || self.size - self.saved < SAVE_BYTES {
            return;
        }
        match hash::save(&self.hash_path, &self.hash, self.hashed) {
            Ok(()) => self.saved = self.hashed,
            Err(error) => tracing::debug!(%error, "the hash of an upload was not written down"),
        }
    }

    fn forget_hash(&self) {
        if self.saved > 0
            && let Err(error) = fs::remove_file_if_exists(&self.hash_path)
        {
            tracing::debug!(%error, "the hash of an upload stays until it is collected");
        }
    }

    /// Adds bytes at the end. What a failed write left half there is not counted, and is written over.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        while self.lags(None) {
            self.catch_up(None)?;
        }
        self.here()?;
        let mut file = opened(&self.path, fs::Access::Write)?;
        let written = file.seek(SeekFrom::Start(self.size)).and_then(|_| file.write_all(bytes));
        if let Err(error) = written {
            fs::set_size(&file, self.size)?;
            return Err(Error::io(format!("write {}", self.path.display()), error).into());
        }
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.hashed = self.size;
        self.save_hash();
        sys::crash::point("registry.upload.appended");
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn here(&self) -> Outcome<()> {
        if self.gone { Err(Failure::upload_unknown()) } else { Ok(()) }
    }
}

impl Storage {
    /// Makes a blob of what was sent, if it is that.
    pub(crate) fn upload_finish(
        &self,
        id: &str,
        upload: &mut Upload,
        name: &str,
        digest: &Digest,
    ) -> Outcome<()> {
        upload.here()?;
        let file = opened(&upload.path, fs::Access::ReadWrite)?;
        fs::set_size(&file, upload.size)?;
        let algorithm = Some(Algorithm::of(digest)?);
        while upload.lags(algorithm) {
            upload.catch_up(algorithm)?;
        }
        let got = upload.hash.clone().digest();
        if got != *digest {
            self.upload_cancel(id, upload)?;
            return Err(Failure::digest_invalid(format!("the bytes have digest {got}, not {digest}")));
        }
        self.check_room(&self.catalog.view()?, name, digest, upload.size)?;
        fs::fsync(&file)?;
        sys::crash::point("registry.upload.synced");
        self.promises.give(digest);
        self.settle(&upload.path, digest)?;
        // From here on the file is a blob, though nobody's yet.
        upload.gone = true;
        upload.forget_hash();
        self.uploads.forget(id);
        self.catalog.change(|change| {
            self.check_room(&change.before, name, digest, upload.size)?;
            Ok(change.link(name, digest, Link { size: upload.size, since: now() })?)
        })
    }

    /// Refuses a blob that a quota has no room for; one that is in the repository needs none.
    pub(crate) fn check_room(&self, view: &View<'_>, name: &str, digest: &Digest, size: u64) -> Outcome<()> {
        if view.link(name, digest)?.is_some() {
            return Ok(());
        }
        self.check_quotas(view, name, size)
    }

    pub(crate) fn upload_cancel(&self, id: &str, upload: &mut Upload) -> Outcome<()> {
        upload.here()?;
        upload.gone = true;
        upload.forget_hash();
        self.uploads.forget(id);
        Ok(fs::remove_file(&upload.path)?)
    }
}

fn opened(path: &Path, access: fs::Access) -> Outcome<File> {
    match fs::open(path, &fs::OpenHow { access, no_follow: true, ..fs::OpenHow::READ }) {
        Err(error) if error.kind() == Kind::NotFound => Err(Failure::upload_unknown()),
        result => Ok(result?),
    }
}

const RANDOM: &str = "/dev/urandom";
/// Beyond this, hashes of uploads that no request holds are computed anew when they go on.
const KNOWN_MAX: usize = 4096;
/// What one thread hashes before others have their turn: some tens of milliseconds.
const SLICE_BYTES: u64 = 16 << 20;
/// What is hashed again after a restart, at most; smaller uploads cost nothing more for it.
const SAVE_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(folder: &Path) -> Uploads {
        std::fs::create_dir_all(folder.join("hashes")).unwrap();
        Uploads::new(folder.into(), folder.join("hashes"))
    }

    #[test]
    fn a_resumed_upload_is_hashed_in_slices_and_from_where_its_hash_was_written_down() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let content = vec![7; (SAVE_BYTES + 1000) as usize];
        let (id, upload) = uploads(folder.path()).begin(Algorithm::Sha256).unwrap();
        upload.try_lock().unwrap().append(&content).unwrap();
        upload.try_lock().unwrap().append(b"behind").unwrap();
        let resumed = uploads(folder.path()).find(&id).unwrap();
        let mut resumed = resumed.try_lock().unwrap();
        assert_eq!((resumed.hashed, resumed.size), (content.len() as u64, content.len() as u64 + 6));
        resumed.catch_up(None).unwrap();
        let whole = Algorithm::Sha256.digest(&[&content, b"behind".as_slice()].concat());
        assert_eq!(resumed.hash.clone().digest(), whole);
        // By another algorithm everything is hashed anew, but not at once.
        resumed.catch_up(Some(Algorithm::Sha512)).unwrap();
        assert_eq!(resumed.hashed, SLICE_BYTES);
        assert!(resumed.lags(Some(Algorithm::Sha512)));
    }
}
