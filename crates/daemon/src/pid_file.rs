//! The file that names the daemon's process. A file of a process that is gone is replaced.

use std::path::{Path, PathBuf};

use fault::{Doing, Error, Kind, Result};

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn write(path: &Path) -> Result<Self> {
        if let Some(pid) = alive(path)? {
            return Err(Error::conflict(format!(
                "process with PID {pid} is still running, or another process took its number: see {}",
                path.display()
            )))
            .doing(|| "failed to start daemon");
        }
        if let Some(folder) = path.parent() {
            sys::fs::create_dir_all(folder, 0o755)?;
        }
        sys::fs::write(path, std::process::id().to_string().as_bytes())?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = sys::fs::remove_file_if_exists(&self.0) {
            tracing::warn!(%error, "the pid file stays behind");
        }
    }
}

/// The process in the file, if there is one and it lives and is not ourselves.
pub(crate) fn alive(path: &Path) -> Result<Option<u32>> {
    let text = match sys::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let pid: Option<u32> = text.trim().parse().ok().filter(|pid| *pid != std::process::id());
    Ok(pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_is_respected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/kogged.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());

        std::fs::write(&path, "4194999\n").unwrap();
        drop(PidFile::write(&path).unwrap());
        std::fs::write(&path, "1").unwrap();
        let error = PidFile::write(&path).unwrap_err().to_string();
        assert!(error.contains("process with PID 1 is still running"), "{error}");
        std::fs::write(&path, "garbage").unwrap();
        assert!(PidFile::write(&path).is_ok());
    }
}
