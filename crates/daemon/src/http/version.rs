//! A version of the Engine API, `1.41`, and whether we speak it.

use std::fmt;

use fault::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    pub(crate) const NEWEST: Self = Self::parse_const(api::VERSION);
    pub(crate) const OLDEST: Self = Self::parse_const(api::VERSION_MIN);

    /// `v1(42)` is 1.42; there has been no other major version.
    pub(crate) const fn v1(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// Digits and points only; missing parts count as zero.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        Some(Self { major: parts.next().unwrap_or(0), minor: parts.next().unwrap_or(0) })
    }

    /// Refuses what lies outside of the range that we speak, in Docker's words.
    pub(crate) fn check(self) -> Result<Self> {
        if self < Self::OLDEST {
            return Err(Error::invalid(format!(
                "client version {self} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
                api::VERSION_MIN
            )));
        }
        if self > Self::NEWEST {
            return Err(Error::invalid(format!(
                "client version {self} is too new. Maximum supported API version is {}",
                api::VERSION
            )));
        }
        Ok(self)
    }

    const fn parse_const(text: &str) -> Self {
        let bytes = text.as_bytes();
        assert!(bytes.len() == 4 && bytes[0] == b'1' && bytes[1] == b'.', "the version is 1.NN");
        Self::v1((bytes[2] - b'0') as u32 * 10 + (bytes[3] - b'0') as u32)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::parse("1.9").unwrap() < Version::v1(24));
        assert_eq!(Version::parse("1.41"), Some(Version::v1(41)));
        assert_eq!(Version::parse("1").unwrap().to_string(), "1.0");
        assert_eq!(Version::parse("1.4x"), None);
        assert_eq!(Version::NEWEST, Version::v1(51));
    }

    #[test]
    fn the_range_is_named_in_dockers_words() {
        let message = |minor| Version::v1(minor).check().unwrap_err().to_string();
        assert_eq!(message(60), "client version 1.60 is too new. Maximum supported API version is 1.51");
        assert!(
            message(12).starts_with("client version 1.12 is too old. Minimum supported API version is 1.24,")
        );
        assert!(Version::v1(24).check().is_ok() && Version::v1(51).check().is_ok());
    }
}
