//! The engine's id: made once, the same as long as its data lives.

use std::path::Path;

use fault::{Kind, Result};

/// Reads the id, or makes it durably. Whoever is second takes what is there. Blocks.
pub(super) fn ensure(folder: &Path) -> Result<String> {
    let path = folder.join(FILE);
    if let Some(id) = sys::fs::read_to_string_if_exists(&path)? {
        return Ok(id.trim().to_owned());
    }
    let id = uuid(&crate::id::random_hex()?);
    let draft = folder.join(format!("{FILE}.{id}"));
    sys::fs::write_atomic(&draft, &id)?;
    match sys::fs::rename_new(&draft, &path) {
        Ok(()) => sys::fs::fsync_dir(folder).map(|()| id),
        Err(error) if error.kind() == Kind::Conflict => {
            sys::fs::remove_file(&draft)?;
            sys::fs::read_to_string(&path)
        }
        Err(error) => Err(error),
    }
}

/// A random UUID (RFC 9562, version 4) from hexadecimal digits.
fn uuid(hex: &str) -> String {
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

const FILE: &str = "engine-id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays() {
        let folder = tempfile::tempdir().unwrap();
        let id = ensure(folder.path()).unwrap();
        assert_eq!((id.len(), id.split('-').count()), (36, 5));
        assert_eq!(ensure(folder.path()).unwrap(), id);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
