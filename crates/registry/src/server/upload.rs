//! What clients are sending: a file that grows chunk by chunk until it has its digest.
//!
//! An upload lives as its file: after a restart it goes on where the file ends, with the hash computed anew. Its id is a
//! secret of 128 random bits, so whoever knows it began it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::{Call, Error, Kind, Result};
use oci::Digest;
use sha2::{Digest as _, Sha256, Sha512};
use sys::fs;

use crate::server::catalog::Link;
use crate::server::failure::{Failure, Outcome};
use crate::server::route::UPLOAD_ID_DIGITS;
use crate::server::storage::{Storage, now};

/// The uploads that are open in this process.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    open: Mutex<HashMap<String, Shared>>,
}

/// One request at a time works on an upload; others wait.
pub(crate) type Shared = Arc<tokio::sync::Mutex<Upload>>;

#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    file: File,
    hash: Sha256,
    /// Bytes that are here.
    pub(crate) size: u64,
    /// Finished or cancelled while another request waited.
    gone: bool,
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::default() }
    }

    /// A new one, and its id.
    pub(crate) fn begin(&self) -> Result<(String, Shared)> {
        let id = new_id()?;
        let path = self.folder.join(&id);
        let how = fs::OpenHow { access: fs::Access::ReadWrite, ..fs::OpenHow::NEW }.with_mode(0o600);
        let file = fs::open(&path, &how)?;
        sys::crash::point("registry.upload.begun");
        let upload = Upload { path, file, hash: Sha256::new(), size: 0, gone: false };
        let shared = Shared::new(upload.into());
        self.lock().insert(id.clone(), Shared::clone(&shared));
        Ok((id, shared))
    }

    /// One that was begun, here or before a restart. Blocks while what is in the file is hashed.
    pub(crate) fn find(&self, id: &str) -> Outcome<Shared> {
        if let Some(shared) = self.lock().get(id) {
            return Ok(Shared::clone(shared));
        }
        let upload = Upload::resume(self.folder.join(id))?;
        // Somebody else may have found it meanwhile: the first one counts.
        let mut open = self.lock();
        Ok(Shared::clone(open.entry(id.into()).or_insert_with(|| Shared::new(upload.into()))))
    }

    /// A name that nobody else has or guesses.
    pub(crate) fn unique(&self) -> Result<String> {
        new_id()
    }

    fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Whether nobody works on it in this process.
    pub(crate) fn is_idle(&self, id: &str) -> bool {
        !self.lock().contains_key(id)
    }

    /// Closes those that no request holds: their files go on without us.
    pub(crate) fn close_idle(&self) {
        self.lock().retain(|_, shared| Arc::strong_count(shared) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shared>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    fn resume(path: PathBuf) -> Outcome<Self> {
        let how = fs::OpenHow { access: fs::Access::ReadWrite, no_follow: true, ..fs::OpenHow::READ };
        let mut file = match fs::open(&path, &how) {
            Err(error) if error.kind() == Kind::NotFound => return Err(Failure::upload_unknown()),
            result => result?,
        };
        let (hash, size) = hashed::<Sha256>(&mut file)?;
        Ok(Self { path, file, hash, size, gone: false })
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.here()?;
        let written = self.file.write_all(bytes).call(|| format!("write {}", self.path.display()));
        if let Err(error) = written {
            // What is half written is not counted, and the next chunk begins where the last whole one ended.
            fs::set_size(&self.file, self.size)?;
            self.file.seek(std::io::SeekFrom::Start(self.size)).call(|| "rewind an upload")?;
            return Err(error.into());
        }
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn here(&self) -> Outcome<()> {
        if self.gone { Err(Failure::upload_unknown()) } else { Ok(()) }
    }

    fn digest(&mut self, algorithm: &str) -> Result<Digest> {
        match algorithm {
            "sha512" => {
                let (hash, _) = hashed::<Sha512>(&mut self.file)?;
                written_out("sha512", &hash.finalize())
            }
            _ => Ok(Digest::from_sha256(self.hash.clone().finalize().into())),
        }
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
        let got = upload.digest(digest.algorithm())?;
        if got != *digest {
            self.upload_cancel(id, upload)?;
            return Err(Failure::digest_invalid(format!("the bytes have digest {got}, not {digest}")));
        }
        fs::fsync(&upload.file)?;
        sys::crash::point("registry.upload.synced");
        self.catalog.change(|change| {
            let known = change.before.link(name, digest)?.is_some();
            self.check_quotas(change, name, if known { 0 } else { upload.size })?;
            self.settle(&upload.path, digest)?;
            Ok(change.link(name, digest, Link { size: upload.size, since: now() })?)
        })?;
        upload.gone = true;
        self.uploads.forget(id);
        Ok(())
    }

    pub(crate) fn upload_cancel(&self, id: &str, upload: &mut Upload) -> Outcome<()> {
        upload.here()?;
        upload.gone = true;
        self.uploads.forget(id);
        Ok(fs::remove_file(&upload.path)?)
    }
}

/// Reads a file from its beginning; its position is at the end then.
fn hashed<H: sha2::Digest>(file: &mut File) -> Result<(H, u64)> {
    file.rewind().call(|| "rewind an upload")?;
    let (mut hash, mut size) = (H::new(), 0);
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

/// The digest of bytes in memory, by either algorithm.
pub(crate) fn digest_of(algorithm: &str, bytes: &[u8]) -> Result<Digest> {
    match algorithm {
        "sha512" => written_out("sha512", &Sha512::digest(bytes)),
        _ => Ok(Digest::sha256(bytes)),
    }
}

fn written_out(algorithm: &str, hash: &[u8]) -> Result<Digest> {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{algorithm}:{hex}").parse()
}

fn new_id() -> Result<String> {
    let mut bytes = [0; UPLOAD_ID_DIGITS / 2];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| Error::io(format!("read {RANDOM}"), error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const RANDOM: &str = "/dev/urandom";
