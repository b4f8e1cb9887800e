//! Half-fetched blobs, named by the digest that they are to have: what is here need not be fetched again.
//!
//! ```text
//!   partials/<hex> --grows, through cancels and kills--> whole and verified --an image needs it--> content/blobs/
//! ```
//! What is whole is only read from then on: whoever waits for it to become a blob finds the bytes that were verified,
//! whatever another image says of them.
//!
//! Nothing here is believed before all of it has the right digest, so nothing here is synced; what a power loss damaged
//! is noticed at the end and fetched anew. A partial that nobody went on with for three days goes.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fault::{Doing, Error, Result};
use oci::{Descriptor, Digest};
use sys::fs;

use crate::Store;
use crate::content::{StagedBlob, refuse_other_algorithms};
use crate::lease::{Held, Lease};
use crate::scratch::Scratch;

/// A blob that is being fetched; nobody else has it open.
#[derive(Debug)]
pub struct Partial {
    pub(crate) file: File,
    pub(crate) blob: Descriptor,
    pub(crate) length: u64,
    // Last: the file is closed before another may open it.
    pub(crate) claim: Claim,
}

impl Partial {
    /// How many bytes are here.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes away what is here: it was no beginning of the blob, or there is no room. What was whole before stays, for
    /// others may wait for it.
    pub(crate) fn discard(self) -> Result<()> {
        match self.claim.leaves {
            Some(State::Whole) => Ok(()),
            _ => self.discard_rotten(),
        }
    }

    /// Takes away bytes that have not the blob's digest.
    pub(crate) fn discard_rotten(mut self) -> Result<()> {
        self.claim.leaves = None;
        fs::remove_file_if_exists(self.claim.store.partial_path(&self.blob.digest)).map(drop)
    }
}

/// What this process knows of partials.
#[derive(Debug, Default)]
pub(crate) struct Partials {
    states: Mutex<HashMap<Digest, State>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    /// Closed, and the digest was right.
    Whole,
    /// The same, and unpacked once more.
    Reread,
}

impl Partials {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to a partial's file.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) store: Store,
    digest: Digest,
    /// What is known when the claim goes.
    leaves: Option<State>,
}

impl Claim {
    pub(crate) fn verified(&mut self) {
        self.leaves = Some(State::Whole);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut states = self.store.inner.partials.lock();
        match self.leaves {
            Some(state) => states.insert(self.digest.clone(), state),
            None => states.remove(&self.digest),
        };
    }
}

impl Store {
    /// Begins to fetch a blob, or goes on. The lease holds it. `Conflict` if somebody is at it.
    pub fn partial(&self, lease: &Lease, blob: &Descriptor) -> Result<Partial> {
        self.open_partial(lease, blob).doing(|| format!("fetching blob {}", blob.digest))
    }

    fn open_partial(&self, lease: &Lease, blob: &Descriptor) -> Result<Partial> {
        refuse_other_algorithms(&blob.digest)?;
        lease.hold(Held::Blob(blob.digest.clone()));
        let claim = self.claim(&blob.digest)?;
        if claim.leaves == Some(State::Whole) {
            let file = self.open_whole(blob)?;
            return Ok(Partial { file, blob: blob.clone(), length: blob.size, claim });
        }
        let how = fs::OpenHow {
            access: fs::Access::ReadWrite,
            create: fs::Create::IfMissing,
            no_follow: true,
            ..fs::OpenHow::READ
        };
        let file = fs::open(self.partial_path(&blob.digest), &how.with_mode(0o600))?;
        let mut length = fs::fstat(&file)?.size;
        if length > blob.size {
            fs::set_size(&file, 0)?;
            length = 0;
        }
        let now = sys::time::Timestamp::now();
        fs::set_times(&file, now, now)?;
        Ok(Partial { file, blob: blob.clone(), length, claim })
    }

    fn claim(&self, digest: &Digest) -> Result<Claim> {
        let mut states = self.inner.partials.lock();
        let (state, leaves) = match states.get(digest) {
            Some(State::Open | State::Reread) => return Err(Error::conflict("it is being fetched already")),
            Some(State::Whole) if fs::exists(self.partial_path(digest))? => {
                (State::Reread, Some(State::Whole))
            }
            _ => (State::Open, None),
        };
        states.insert(digest.clone(), state);
        Ok(Claim { store: self.clone(), digest: digest.clone(), leaves })
    }

    pub(crate) fn is_whole_partial(&self, digest: &Digest) -> Result<bool> {
        let state = self.inner.partials.lock().get(digest).copied();
        let is_whole = matches!(state, Some(State::Whole | State::Reread));
        Ok(is_whole && fs::exists(self.partial_path(digest))?)
    }

    /// A whole partial as a blob to be published; the file stays where it is until then.
    pub(crate) fn whole_partial(&self, blob: &Descriptor) -> Result<StagedBlob> {
        let file = self.open_whole(blob)?;
        if !self.is_whole_partial(&blob.digest)? {
            return Err(Error::not_found(format!("blob {} not found", blob.digest)));
        }
        let scratch = Scratch::lasting(self.partial_path(&blob.digest));
        Ok(StagedBlob { scratch, file: Some(file), digest: blob.digest.clone(), size: blob.size })
    }

    /// `Invalid` if the blob is said to have another size than it has.
    fn open_whole(&self, blob: &Descriptor) -> Result<File> {
        let file = fs::open(self.partial_path(&blob.digest), &fs::OpenHow::READ)?;
        let (got, wanted) = (fs::fstat(&file)?.size, blob.size);
        if got != wanted {
            return Err(Error::invalid(format!("blob {} has {got} bytes, expected {wanted}", blob.digest)));
        }
        Ok(file)
    }

    /// Removes all half-fetched blobs that nobody works with; says how many bytes that were.
    pub fn discard_partials(&self) -> Result<u64> {
        self.discard_partials_but(|_| false)
    }

    pub(crate) fn discard_old_partials(&self) -> Result<()> {
        let now = sys::time::Timestamp::now().seconds;
        self.discard_partials_but(|stat| now.saturating_sub(stat.mtime.seconds) < AGE_MAX_SECONDS).map(drop)
    }

    /// While leases are frozen nobody can begin to rely on a partial.
    fn discard_partials_but(&self, stays: impl Fn(&fs::Stat) -> bool) -> Result<u64> {
        self.inner.leases.while_frozen(|held| {
            let mut bytes = 0;
            for hex in fs::read_dir(self.path("partials"))? {
                let path = self.path("partials").join(&hex);
                let digest = format!("sha256:{}", hex.to_string_lossy()).parse::<Digest>().ok();
                let is_held = digest.is_some_and(|digest| held.contains(&Held::Blob(digest)));
                // One may just be moved to its place.
                let Some(stat) = fs::lstat_if_exists(&path)?.filter(|_| !is_held) else { continue };
                if !stays(&stat) && fs::remove_file_if_exists(&path)? {
                    bytes += stat.size;
                }
            }
            Ok(bytes)
        })
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.path("partials").join(digest.hex())
    }
}

/// Three days: whoever was cut off in the evening goes on after the weekend.
const AGE_MAX_SECONDS: i64 = 3 * 24 * 60 * 60;
