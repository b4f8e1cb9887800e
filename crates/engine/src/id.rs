//! Ids: 64 random hexadecimal digits, as Docker makes them.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use fault::{Call, Error, Result};
use serde::{Deserialize, Serialize};

/// A container's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Box<str>);

impl ContainerId {
    /// A new one. Its short form is never a mere number, because it becomes a host name.
    pub(crate) fn random() -> Result<Self> {
        loop {
            let hex = random_hex()?;
            if !hex[..SHORT_LEN].bytes().all(|byte| byte.is_ascii_digit()) {
                return Ok(Self(hex.into()));
            }
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[..SHORT_LEN]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ContainerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if oci_is_id(&text) {
            Ok(Self(text.into()))
        } else {
            Err(Error::invalid(format!("not an id: {text}")))
        }
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0.into()
    }
}

/// 64 random hexadecimal digits.
pub(crate) fn random_hex() -> Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    let mut hex = String::with_capacity(64);
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
    }
    Ok(hex)
}

/// Fills with random bytes.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).call(|| "read /dev/urandom")
}

fn oci_is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

const SHORT_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_digits_and_read_back() {
        let id = ContainerId::random().unwrap();
        assert_eq!(id.as_str().len(), 64);
        assert_eq!(id.to_string().parse::<ContainerId>().unwrap(), id);
        assert!("../../etc".parse::<ContainerId>().is_err());
    }
}
