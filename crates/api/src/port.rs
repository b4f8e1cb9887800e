//! Ports as the API writes them: `80/tcp` as a key, a list of host bindings as the value.

use std::collections::BTreeMap;
use std::fmt;
use std::num::IntErrorKind;
use std::ops::RangeInclusive;
use std::str::FromStr;

use fault::Error;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" | "" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::invalid(format!("invalid proto: {text}"))),
        }
    }
}

/// A container's port, `80/tcp`. Ordered by number, then protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    pub number: u16,
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl FromStr for Port {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number =
            number.parse().map_err(|_| Error::invalid(format!("invalid port specification: \"{text}\"")))?;
        Ok(Self { number, protocol: protocol.parse()? })
    }
}

/// `80` or `8000-8010`, not backwards. The words are those of Go's parser.
pub fn range(text: &str) -> Result<RangeInclusive<u16>, Error> {
    if text.is_empty() {
        return Err(Error::invalid("empty string specified for ports"));
    }
    let number = |part: &str| {
        part.parse::<u16>().map_err(|error| {
            let why = match error.kind() {
                IntErrorKind::PosOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Error::invalid(format!("strconv.ParseUint: parsing \"{part}\": {why}"))
        })
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    match first <= last {
        true => Ok(first..=last),
        false => Err(Error::invalid(format!("invalid range specified for port: {text}"))),
    }
}

impl Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a port is wanted, or found, on the host. `host_port` may be empty (any) or a range in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Binding {
    pub host_ip: String,
    pub host_port: String,
}

/// Exposed or published ports. `None` means exposed and not published, and is written as `null`.
pub type PortMap = BTreeMap<Port, Option<Vec<Binding>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_reads_back() {
        let port: Port = "53/udp".parse().unwrap();
        assert_eq!((port.number, port.to_string().as_str()), (53, "53/udp"));
        assert_eq!("80".parse::<Port>().unwrap().to_string(), "80/tcp");
        assert!("80/icmp".parse::<Port>().is_err());
        assert!("99999/tcp".parse::<Port>().is_err());
    }
}
