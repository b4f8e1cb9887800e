//! The file that names the daemon's process. A file of a process that is gone, or is no daemon, is replaced.
//!
//! Two daemons on one data root are kept apart by its lock, which dies with its holder; the file only keeps two on
//! different roots from sharing it, and tells people whom to signal.

use std::path::{Path, PathBuf};

use fault::{Doing, Error, Kind, Result};

use crate::settings::Persona;

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn write(path: &Path) -> Result<Self> {
        if let Some(pid) = alive(path)? {
            return Err(Error::conflict(format!(
                "process with PID {pid} is still running: see {}",
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

/// The process in the file, if there is one and it is a daemon that lives and is not ourselves.
pub(crate) fn alive(path: &Path) -> Result<Option<u32>> {
    let text = match sys::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let pid: Option<u32> = text.trim().parse().ok().filter(|pid| *pid != std::process::id());
    Ok(pid.filter(|pid| is_daemon(*pid)))
}

/// A process that has ended, or is just ending, has no command line any more, though its parent may not have waited for
/// it yet (proc_pid_cmdline(5)). A number may have become another program's.
fn is_daemon(pid: u32) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let name = read("comm");
    let known =
        [Persona::Kogged, Persona::Dockerd].iter().any(|one| one.name().as_bytes() == name.trim_ascii());
    let program = |process: &str| std::fs::read_link(format!("/proc/{process}/exe")).ok();
    let same = || program("self").is_some_and(|own| program(&pid.to_string()) == Some(own));
    !read("cmdline").is_empty() && (known || same())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};

    use super::*;

    /// A process of this name that waits for the end of its input.
    #[expect(clippy::disallowed_methods, reason = "a test needs a process that is not ours")]
    fn named(name: &str, folder: &Path) -> Child {
        let program = folder.join(name);
        std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
        let child = std::process::Command::new(program).stdin(Stdio::piped()).spawn().unwrap();
        while std::fs::read(format!("/proc/{}/comm", child.id())).unwrap().trim_ascii() != name.as_bytes() {}
        child
    }

    /// The process ends and is not waited for.
    fn end(child: &mut Child) {
        drop(child.stdin.take());
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {}
    }

    #[test]
    fn a_daemon_that_lives_is_respected_and_its_zombie_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kogged.pid");
        for name in ["kogged", "dockerd"] {
            let mut child = named(name, folder.path());
            std::fs::write(&path, child.id().to_string()).unwrap();
            let error = PidFile::write(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("process with PID {} is still running", child.id())), "{error}");
            end(&mut child);
            drop(PidFile::write(&path).unwrap());
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_stale_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/kogged.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());

        std::fs::write(&path, "4194999\n").unwrap();
        drop(PidFile::write(&path).unwrap());
        // Somebody else's number by now.
        std::fs::write(&path, "1").unwrap();
        drop(PidFile::write(&path).unwrap());
        std::fs::write(&path, "garbage").unwrap();
        assert!(PidFile::write(&path).is_ok());
    }
}
