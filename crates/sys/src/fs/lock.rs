//! Locks on whole files that die with their holder.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use fault::{Call, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Access, Create, OpenHow, open};

/// A held flock(2); let go when dropped, or when the process dies. Children that inherit the descriptor share it,
/// but descriptors here are close-on-exec.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock file at `path`, which is made if missing.
    pub fn acquire(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::over(lock_file(path)?, FlockOperation::LockExclusive, path)
    }

    /// Takes the lock unless somebody holds it.
    pub fn try_acquire(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        Self::try_over(lock_file(path)?, FlockOperation::NonBlockingLockExclusive, path)
    }

    /// Waits until nobody holds it exclusively; any number may share.
    pub fn share(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::over(lock_file(path)?, FlockOperation::LockShared, path)
    }

    /// Shares the lock of a file that exists, unless somebody holds it exclusively.
    pub fn try_share(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        Self::try_over(open(path, &OpenHow::READ)?, FlockOperation::NonBlockingLockShared, path)
    }

    /// The locked file, to write a pid into it.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn over(file: File, how: FlockOperation, path: &Path) -> Result<Self> {
        loop {
            match flock(&file, how) {
                Ok(()) => return Ok(Self { file }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).call(|| format!("flock {}", path.display())),
            }
        }
    }

    fn try_over(file: File, how: FlockOperation, path: &Path) -> Result<Option<Self>> {
        match flock(&file, how) {
            Ok(()) => Ok(Some(Self { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).call(|| format!("flock {}", path.display())),
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn lock_file(path: &Path) -> Result<File> {
    let how =
        OpenHow { access: Access::ReadWrite, create: Create::IfMissing, mode: 0o600, ..OpenHow::default() };
    open(path, &how)
}
