//! The hash of what has come of an upload so far, which outlives the process: `<root>/hashes/<id>`.
//!
//! What is read back was written in the same boot of the machine: after a power cut the file of the upload may have lost
//! bytes that were hashed.

use std::io::Write;
use std::path::Path;

use fault::{Call, Result};
use oci::Digest;
use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use sys::fs;

use crate::server::failure::{Failure, Outcome};

/// By the algorithm that the client announced.
#[derive(Clone, Debug)]
pub(super) enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// The algorithms that blobs may be called by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(super) fn digest(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Self::Sha512(hash) => {
                format!("sha512:{}", hex(&hash.finalize())).parse().expect("128 digits are a digest")
            }
        }
    }
}

/// A hash as it is written down.
#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    boot: String,
    algorithm: Algorithm,
    /// Bytes that were hashed.
    size: u64,
    /// The inner state, in hexadecimal digits.
    state: String,
}

/// Writes down the hash of so many bytes, over what was written before.
pub(super) fn save(path: &Path, hash: &Hash, size: u64) -> Result<()> {
    let state = match hash {
        Hash::Sha256(hash) => hex(&hash.serialize()),
        Hash::Sha512(hash) => hex(&hash.serialize()),
    };
    let saved =
        Saved { version: VERSION, boot: sys::process::boot_id()?, algorithm: hash.algorithm(), size, state };
    let text = serde_json::to_vec(&saved).expect("a struct of texts and numbers is always JSON");
    let how =
        fs::OpenHow { create: fs::Create::IfMissing, truncate: true, ..fs::OpenHow::NEW.with_mode(0o600) };
    let mut file = fs::open(path, &how)?;
    file.write_all(&text).call(|| format!("write {}", path.display()))
}

/// A hash of an upload that has so many bytes now, and of how many of them; `None` if there is none to rely on.
pub(super) fn load(path: &Path, size: u64) -> Option<(Hash, u64)> {
    read(&fs::read_bounded(path, SAVED_BYTES_MAX).ok()?, size, &sys::process::boot_id().ok()?)
}

/// The same of what stands there, in this boot.
pub(super) fn read(text: &[u8], size: u64, boot: &str) -> Option<(Hash, u64)> {
    let saved: Saved = serde_json::from_slice(text).ok()?;
    if saved.version != VERSION || saved.boot != boot || saved.size > size {
        return None;
    }
    let hash = match saved.algorithm {
        Algorithm::Sha256 => Hash::Sha256(restored(&saved.state)?),
        Algorithm::Sha512 => Hash::Sha512(restored(&saved.state)?),
    };
    Some((hash, saved.size))
}

fn restored<H: SerializableState>(state: &str) -> Option<H> {
    let mut bytes = SerializedState::<H>::default();
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if state.len() != bytes.len() * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(state.as_bytes().chunks(2)) {
        *byte = digits(pair)?;
    }
    H::deserialize(&bytes).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const VERSION: u32 = 1;
const SAVED_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_goes_on_where_it_was_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hash");
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hash = Hash::new(algorithm);
            hash.update(&[7; 1000]);
            save(&path, &hash, 1000).unwrap();
            let (mut hash, size) = load(&path, 1500).unwrap();
            assert_eq!(size, 1000);
            hash.update(&[7; 500]);
            assert_eq!(hash.digest(), algorithm.digest(&[7; 1500]));
            assert!(load(&path, 999).is_none(), "the file lost bytes");
        }
    }

    #[test]
    fn what_another_boot_wrote_is_not_relied_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hash");
        save(&path, &Hash::new(Algorithm::Sha256), 0).unwrap();
        let text = std::fs::read(&path).unwrap();
        assert!(read(&text, 0, &sys::process::boot_id().unwrap()).is_some());
        assert!(read(&text, 0, "another").is_none());
        assert!(read(&text[..text.len() - 1], 0, &sys::process::boot_id().unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn no_state_panics(state in "[0-9a-f]{210}|\\PC{0,250}", algorithm in "sha256|sha512") {
            let text = serde_json::json!({"version": 1, "boot": "", "algorithm": algorithm, "size": 0, "state": state});
            drop(read(text.to_string().as_bytes(), 0, ""));
        }
    }
}
