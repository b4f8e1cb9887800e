//! What is kept on disk.
//!
//! ```text
//! <state_dir>/networks.json        ids and the default subnet: durable, written once
//! <state_dir>/endpoints/<id>.json  one a connected endpoint: not flushed, as no endpoint outlives the boot
//! ```

use std::path::{Path, PathBuf};

use fault::{Error, Result};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sys::fs;
use tracing::warn;

use crate::endpoint::Endpoint;
use crate::random;

/// The version of both formats.
const VERSION: u32 = 1;
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// What distinguishes a network for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) id: String,
    /// RFC 3339 with nanoseconds.
    pub(crate) created: String,
}

/// The three networks that every host has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identities {
    pub(crate) version: u32,
    pub(crate) bridge: Identity,
    pub(crate) host: Identity,
    pub(crate) none: Identity,
    pub(crate) subnet: Ipv4Net,
}

#[derive(Serialize, Deserialize)]
struct StoredEndpoint {
    version: u32,
    #[serde(flatten)]
    endpoint: Endpoint,
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Identities {
    pub(crate) fn new(subnet: Ipv4Net) -> Result<Self> {
        let identity = || Ok(Identity { id: random::id()?, created: sys::time::now_rfc3339_nano() });
        Ok(Self { version: VERSION, bridge: identity()?, host: identity()?, none: identity()?, subnet })
    }

    /// All of them.
    pub(crate) fn named(&self) -> [Named<'_>; 3] {
        [
            Named { name: BRIDGE, driver: "bridge", identity: &self.bridge },
            Named { name: "host", driver: "host", identity: &self.host },
            Named { name: "none", driver: "null", identity: &self.none },
        ]
    }
}

/// A network by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'static str,
    pub(crate) driver: &'static str,
    pub(crate) identity: &'a Identity,
}

/// The one that has endpoints.
pub(crate) const BRIDGE: &str = "bridge";

impl Records {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir.join("endpoints"), DIR_MODE)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    pub(crate) fn identities(&self) -> Result<Option<Identities>> {
        let path = self.dir.join("networks.json");
        let Some(text) = fs::read_to_string_if_exists(&path)? else { return Ok(None) };
        let stored: Identities = serde_json::from_str(&text).map_err(|error| damaged(&path, error))?;
        if stored.version == VERSION {
            return Ok(Some(stored));
        }
        Err(Error::internal(format!("{}: unknown version {}", path.display(), stored.version)))
    }

    pub(crate) fn put_identities(&self, identities: &Identities) -> Result<()> {
        fs::write_atomic(self.dir.join("networks.json"), json(identities))
    }

    /// All readable endpoints; the others are dropped, and `converge` removes what they had.
    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let names = fs::read_dir(self.dir.join("endpoints"))?;
        Ok(names.iter().filter_map(|name| self.endpoint(Path::new(name))).collect())
    }

    pub(crate) fn put_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        let stored = StoredEndpoint { version: VERSION, endpoint: endpoint.clone() };
        fs::write_swapped(self.path(&endpoint.id), json(&stored), FILE_MODE)
    }

    pub(crate) fn remove_endpoint(&self, id: &str) -> Result<()> {
        fs::remove_file_if_exists(self.path(id)).map(drop)
    }

    fn endpoint(&self, name: &Path) -> Option<Endpoint> {
        let path = self.dir.join("endpoints").join(name);
        match read_endpoint(&path) {
            Ok(endpoint) if self.path(&endpoint.id) == path => Some(endpoint),
            Ok(endpoint) => discard(&path, &format!("names endpoint {}", endpoint.id)),
            Err(error) => discard(&path, &error),
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join("endpoints").join(format!("{id}.json"))
    }
}

/// Ids become file names.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !id.is_empty() && id.len() <= 128 && id.bytes().all(harmless) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid endpoint id: {id:?}")))
}

fn read_endpoint(path: &Path) -> Result<Endpoint> {
    let text = fs::read_to_string(path)?;
    let stored: StoredEndpoint = serde_json::from_str(&text).map_err(|error| damaged(path, error))?;
    if stored.version == VERSION {
        return Ok(stored.endpoint);
    }
    Err(Error::internal(format!("{}: unknown version {}", path.display(), stored.version)))
}

/// A half-written record of a crash: nothing of it is worth keeping.
fn discard(path: &Path, reason: &dyn std::fmt::Display) -> Option<Endpoint> {
    warn!(path = %path.display(), %reason, "dropping endpoint record");
    if let Err(error) = fs::remove_file_if_exists(path) {
        warn!(%error, "removing endpoint record");
    }
    None
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are plain data with string keys")
}

fn damaged(path: &Path, error: serde_json::Error) -> Error {
    Error::internal(format!("reading {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Mac, PortBinding, Proto};
    use std::net::Ipv4Addr;

    pub(crate) fn endpoint(id: &str) -> Endpoint {
        Endpoint {
            id: id.into(),
            endpoint_id: "e".repeat(64),
            network_id: "b".repeat(64),
            address: "172.17.0.2/16".parse().unwrap(),
            gateway: Ipv4Addr::new(172, 17, 0, 1),
            mac: Mac::of(Ipv4Addr::new(172, 17, 0, 2)),
            veth: "veth0123abc".into(),
            relayed: Vec::new(),
            ports: vec![PortBinding {
                container: 80,
                proto: Proto::Tcp,
                host_ip: Ipv4Addr::UNSPECIFIED,
                host_port: 8080,
            }],
        }
    }

    #[test]
    fn records_come_back_and_damaged_ones_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        assert_eq!(records.identities().unwrap(), None);
        let identities = Identities::new("172.17.0.0/16".parse().unwrap()).unwrap();
        records.put_identities(&identities).unwrap();
        assert_eq!(records.identities().unwrap(), Some(identities));

        records.put_endpoint(&endpoint("one")).unwrap();
        records.put_endpoint(&endpoint("two")).unwrap();
        let broken = dir.path().join("endpoints/three.json");
        std::fs::write(&broken, "{\"version\":1,").unwrap();
        std::fs::copy(dir.path().join("endpoints/two.json"), dir.path().join("endpoints/liar.json")).unwrap();
        records.remove_endpoint("two").unwrap();
        records.remove_endpoint("two").unwrap();
        assert_eq!(records.endpoints().unwrap(), [endpoint("one")]);
        assert!(!broken.exists());
    }

    #[test]
    fn the_stored_form_is_fixed() {
        let stored = StoredEndpoint { version: VERSION, endpoint: endpoint("one") };
        insta::assert_snapshot!(json(&stored));
    }

    #[test]
    fn an_id_cannot_leave_the_folder() {
        for bad in ["", "..", "a/b", "a.b", &"a".repeat(129)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
        check_id(&"0f".repeat(32)).unwrap();
    }
}
