//! What clients are sending: a file that grows chunk by chunk until it has its digest.
//!
//! An upload lives as its file: after a restart it goes on where the file ends, with the hash computed anew. Its id is a
//! secret of 122 random bits, so whoever knows it began it. No file is open between two pieces, so that forgotten uploads
//! cost neither descriptors nor much memory; they are collected when nothing came for the grace.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::{Call, Error, Kind, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256, Sha512};
use sys::fs;

use crate::server::catalog::{Link, View};
use crate::server::failure::{Failure, Outcome};
use crate::server::storage::{Storage, now};

/// The uploads that this process has a hash of.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    known: Mutex<HashMap<String, Shared>>,
}

/// One request at a time works on an upload; others wait.
pub(crate) type Shared = Arc<tokio::sync::Mutex<Upload>>;

#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    hash: Hash,
    /// Bytes that are here.
    pub(crate) size: u64,
    /// Finished or cancelled while another request waited.
    gone: bool,
}

/// The hash of what has come so far, by the algorithm that the client announced.
#[derive(Clone, Debug)]
enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The algorithms that blobs may be called by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(crate) fn parse(name: &str) -> Outcome<Self> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            other => Err(Failure::digest_invalid(format!("digest algorithm {other} is not supported"))),
        }
    }

    pub(crate) fn of(digest: &Digest) -> Outcome<Self> {
        Self::parse(digest.algorithm())
    }

    /// The digest of bytes in memory.
    pub(crate) fn digest(self, bytes: &[u8]) -> Digest {
        let mut hash = Hash::new(self);
        hash.update(bytes);
        hash.digest()
    }
}

impl Hash {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    fn digest(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Self::Sha512(hash) => {
                let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha512:{hex}").parse().expect("128 digits are a digest")
            }
        }
    }
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, known: Mutex::default() }
    }

    /// A new one, and its id.
    pub(crate) fn begin(&self, algorithm: Algorithm) -> Result<(String, Shared)> {
        let id = self.unique()?;
        let path = self.folder.join(&id);
        drop(fs::open(&path, &fs::OpenHow::NEW.with_mode(0o600))?);
        sys::crash::point("registry.upload.begun");
        let upload = Upload { path, hash: Hash::new(algorithm), size: 0, gone: false };
        let shared = Shared::new(upload.into());
        let mut known = self.lock();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, shared| Arc::strong_count(shared) > 1);
        }
        known.insert(id.clone(), Shared::clone(&shared));
        Ok((id, shared))
    }

    /// One that was begun, here or before a restart. Blocks while what is in the file is hashed.
    pub(crate) fn find(&self, id: &str) -> Outcome<Shared> {
        if let Some(shared) = self.lock().get(id) {
            return Ok(Shared::clone(shared));
        }
        let upload = Upload::resume(self.folder.join(id))?;
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
    fn resume(path: PathBuf) -> Outcome<Self> {
        let file = opened(&path, fs::Access::Read)?;
        let (hash, size) = hashed(&file, Algorithm::default())?;
        Ok(Self { path, hash, size, gone: false })
    }

    /// Adds bytes at the end. What a failed write left half there is not counted, and is written over.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.here()?;
        let mut file = opened(&self.path, fs::Access::Write)?;
        let written = file.seek(SeekFrom::Start(self.size)).and_then(|_| file.write_all(bytes));
        if let Err(error) = written {
            fs::set_size(&file, self.size)?;
            return Err(Error::io(format!("write {}", self.path.display()), error).into());
        }
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        sys::crash::point("registry.upload.appended");
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn here(&self) -> Outcome<()> {
        if self.gone { Err(Failure::upload_unknown()) } else { Ok(()) }
    }

    fn digest(&self, file: &File, algorithm: Algorithm) -> Result<Digest> {
        if self.hash.algorithm() == algorithm {
            return Ok(self.hash.clone().digest());
        }
        Ok(hashed(file, algorithm)?.0.digest())
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
        let got = upload.digest(&file, Algorithm::of(digest)?)?;
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

/// The hash of a whole file, and its size.
fn hashed(mut file: &File, algorithm: Algorithm) -> Result<(Hash, u64)> {
    file.rewind().call(|| "rewind an upload")?;
    let (mut hash, mut size) = (Hash::new(algorithm), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = file.read(&mut buffer).call(|| "read an upload")?;
        if length == 0 {
            return Ok((hash, size));
        }
        hash.update(&buffer[..length]);
        size += length as u64;
    }
}

const RANDOM: &str = "/dev/urandom";
/// Beyond this, hashes of uploads that no request holds are computed anew when they go on.
const KNOWN_MAX: usize = 4096;
