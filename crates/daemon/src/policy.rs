//! The file that says which images may be pulled and used.
//!
//! What it says is `trust::Policy`'s affair; here file and keys are found. A file that is not understood is an error, never
//! a missing policy.

use std::path::{Path, PathBuf};

use fault::{Doing, Error, Kind, Result};
use trust::Policy;

use crate::settings::Settings;

pub(crate) fn setting(settings: &mut Settings, value: &str) -> Result<()> {
    settings.trust_policy = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
    Ok(())
}

/// The policy of the file that the settings name, or of the default one if it is there.
pub(crate) fn read(settings: &Settings) -> Result<Policy> {
    let path = settings.trust_policy.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let text = match text(path) {
        Err(error) if error.kind() == Kind::NotFound && settings.trust_policy.is_none() => {
            return Ok(Policy::default());
        }
        text => text.doing(|| "reading the trust policy")?,
    };
    // Keys may lie beside their policy.
    let folder = path.parent().unwrap_or(Path::new("/"));
    Policy::parse(&text, &mut |key| self::text(&folder.join(key)))
        .doing(|| format!("the trust policy {}", path.display()))
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(sys::fs::read_bounded(path, BYTES_MAX)?)
        .map_err(|_| Error::invalid(format!("{} is not text", path.display())))
}

/// Whatever name the daemon was called by: the machine has one operator.
const DEFAULT_FILE: &str = "/etc/kogge/policy.json";
/// Some thousand rules.
const BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Persona;

    fn policy(text: &str, key: &str) -> Result<Policy> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.json"), text).unwrap();
        std::fs::write(folder.path().join("k.pub"), key).unwrap();
        let mut settings = Settings::of(Persona::Kogged);
        setting(&mut settings, folder.path().join("policy.json").to_str().unwrap()).unwrap();
        read(&settings)
    }

    const SIGNED: &str =
        r#"{"version":1,"rules":[{"prefix":"a.example","require":"signature","keys":["k.pub"]}]}"#;

    #[test]
    fn keys_lie_beside_their_policy() {
        let key = trust::PrivateKey::generate().unwrap().public().to_pem();
        assert_eq!(policy(SIGNED, &key).unwrap().rules().count(), 1);
        let words = policy(SIGNED, "no key").unwrap_err().to_string();
        assert!(words.contains("the policy's key k.pub: the public key is not in PEM form"), "{words}");
    }

    #[test]
    fn a_policy_that_was_named_must_be_there() {
        let mut settings = Settings::of(Persona::Kogged);
        setting(&mut settings, "/nowhere/policy.json").unwrap();
        assert_eq!(read(&settings).unwrap_err().kind(), Kind::NotFound);
    }
}
