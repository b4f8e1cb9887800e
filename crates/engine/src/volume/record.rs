//! A volume's record on disk.

use std::collections::BTreeMap;
use std::path::Path;

use api::volume::Volume;
use fault::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use super::{Wish, device};

const VERSION: u32 = 1;
const FILE: &str = "volume.json";

/// The label of volumes that were made for one container and have a random name.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) name: String,
    /// RFC 3339.
    created: String,
    pub(super) labels: BTreeMap<String, String>,
    /// The local driver's `type`, `device` and `o`.
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

impl Record {
    /// A new volume's record; refuses names and drivers that cannot be.
    pub(super) fn of(wish: &Wish<'_>) -> Result<Self> {
        if !matches!(wish.driver, "" | "local") {
            let driver = wish.driver;
            return Err(Error::not_found(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        let mut labels = wish.labels.clone();
        let random = wish.name.is_empty();
        if wish.anonymous || random {
            labels.insert(ANONYMOUS.into(), String::new());
        }
        let name = if random { crate::id::random_hex()? } else { wish.name.to_owned() };
        check_name(&name)
            .and_then(|()| device::check(&wish.options))
            .map_err(|error| error.doing(format!("create {name}")))?;
        let now = sys::time::Timestamp { nanoseconds: 0, ..sys::time::Timestamp::now() };
        let created = now.to_string().replace(".000000000", "");
        Ok(Self { version: VERSION, name, created, labels, options: wish.options.clone() })
    }

    /// What is mounted while somebody uses it.
    pub(super) fn device(&self) -> Option<device::Device> {
        device::Device::of(&self.options)
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_vec(self).expect("a record has string keys only");
        sys::fs::write_atomic(folder.join(FILE), json)
    }

    /// `None` if the folder holds no volume.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let bytes = match sys::fs::read(&path) {
            Ok(bytes) => bytes,
            // A file in the folder's place is no volume either.
            Err(error) if error.kind() == Kind::NotFound || sys::fs::is_nowhere(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let broken = |error: serde_json::Error| {
            Error::internal(format!("record {}", path.display())).with_source(error)
        };
        let record: Self = serde_json::from_slice(&bytes).map_err(broken)?;
        if record.version > VERSION {
            let version = record.version;
            return Err(Error::unsupported(format!(
                "version {version} of {}, newer than this program",
                path.display()
            )));
        }
        Ok(Some(record))
    }

    pub(super) fn show(&self, mountpoint: &Path) -> Volume {
        let or_null = |map: &BTreeMap<String, String>| if map.is_empty() { None } else { Some(map.clone()) };
        Volume {
            created_at: self.created.clone(),
            driver: "local".into(),
            labels: or_null(&self.labels),
            mountpoint: mountpoint.display().to_string(),
            name: self.name.clone(),
            options: or_null(&self.options),
            scope: "local".into(),
            usage_data: None,
        }
    }
}

/// Docker's grammar of names: two characters at least, no path.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if begins && goes_on && name.len() > 1 {
        return Ok(());
    }
    if name.len() == 1 && begins {
        return Err(Error::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    Err(Error::invalid(format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. \
         If you intended to pass a host directory, use absolute path"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_dockers_words() {
        assert!(check_name("a.b-c_1").is_ok());
        assert!(check_name("a").unwrap_err().to_string().starts_with("volume name is too short"));
        for bad in ["", ".a", "a/b", "..", "a b"] {
            assert!(
                check_name(bad).unwrap_err().to_string().contains("includes invalid characters"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_nameless_wish_gets_a_random_name_and_the_label() {
        let record = Record::of(&Wish::default()).unwrap();
        assert_eq!(record.name.len(), 64);
        assert!(record.is_anonymous());
        let named = Record::of(&Wish { name: "kept", ..Wish::default() }).unwrap();
        assert!(!named.is_anonymous());
    }

    #[test]
    fn what_the_driver_cannot_do_is_refused() {
        let wish = Wish { name: "kept", driver: "nfs", ..Wish::default() };
        let error = Record::of(&wish).unwrap_err().to_string();
        assert_eq!(error, "error looking up volume plugin nfs: plugin \"nfs\" not found");
        let options = BTreeMap::from([("type".to_owned(), "tmpfs".to_owned())]);
        let error = Record::of(&Wish { name: "kept", options, ..Wish::default() }).unwrap_err();
        assert_eq!(error.to_string(), "create kept: missing required option: \"device\"");
    }
}
