//! A content address: `sha256:` and 64 hexadecimal digits (image-spec, descriptor.md, "Digests").
//!
//! A value that exists has a registered algorithm, the right length and lower case digits, so its text is safe as a
//! file name. Hashing of streams is the store's; here only bytes that are in memory anyway.

use std::fmt;
use std::str::FromStr;

use fault::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An algorithm and the lower-case hexadecimal hash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Box<str>);

impl Digest {
    /// The SHA-256 digest of bytes in memory.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// The digest whose raw SHA-256 hash was computed elsewhere, from a stream.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity("sha256:".len() + 64);
        text.push_str("sha256:");
        for byte in hash {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
        }
        Self(text.into())
    }

    /// `sha256` in `sha256:4f53…`.
    pub fn algorithm(&self) -> &str {
        self.split().0
    }

    /// `4f53…` in `sha256:4f53…`.
    pub fn hex(&self) -> &str {
        self.split().1
    }

    /// The first twelve digits, as Docker shows ids.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once(':').expect("a digest has a colon since it was parsed")
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Errors have the texts of Go's `opencontainers/go-digest`, which Docker passes on.
    fn from_str(text: &str) -> Result<Self> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(Error::invalid("invalid checksum digest format"));
        };
        let Some((_, digits)) = ALGORITHMS.iter().find(|(name, _)| *name == algorithm) else {
            return Err(Error::invalid("unsupported digest algorithm"));
        };
        if hex.len() != *digits {
            return Err(Error::invalid("invalid checksum digest length"));
        }
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::invalid("invalid checksum digest format"));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The registered algorithms and how many digits their hashes have.
const ALGORITHMS: &[(&str, usize)] = &[("sha256", 64), ("sha384", 96), ("sha512", 128)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_input_has_the_known_digest() {
        let digest = Digest::sha256(b"");
        let known = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), known);
        assert_eq!(known.parse::<Digest>().unwrap(), digest);
        assert_eq!((digest.algorithm(), digest.short()), ("sha256", "e3b0c44298fc"));
    }

    #[test]
    fn foreign_text_is_refused_with_docker_s_words() {
        let check = |text: &str, words: &str| {
            assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), words, "{text}");
        };
        check("busybox", "invalid checksum digest format");
        check("md5:00", "unsupported digest algorithm");
        check("sha256:00", "invalid checksum digest length");
        check(&format!("sha256:{}", "Z".repeat(64)), "invalid checksum digest format");
        check(&format!("sha256:{}", "A".repeat(64)), "invalid checksum digest format");
        check(&format!("sha256:{}/..", "a".repeat(61)), "invalid checksum digest format");
    }
}
