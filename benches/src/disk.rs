//! A disk for the stores: ext4 with a journal in a sparse file, because file systems differ more than engines do.

use std::path::{Path, PathBuf};
use std::process::Command;

use fault::{Call, Error, Result};
use sys::{fs, mount};

/// Mounted; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Disk {
    file: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// In the caller's mount namespace, which should be its own.
    pub(crate) fn create(file: &Path, folder: &Path) -> Result<Self> {
        fs::remove_file_if_exists(file)?;
        let disk = Self { file: file.to_owned(), folder: folder.to_owned() };
        std::fs::File::create(file)
            .and_then(|file| file.set_len(BYTES))
            .call(|| format!("create {}", file.display()))?;
        fs::create_dir_all(folder, 0o700)?;
        let eager = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", eager]).arg(file))?;
        run(Command::new("mount").args(["-o", "loop"]).args([file, folder]))?;
        Ok(disk)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Sparse: only what is used takes room.
const BYTES: u64 = 16 << 30;

impl Drop for Disk {
    /// The loop device goes with its last user.
    fn drop(&mut self) {
        for result in [mount::detach(&self.folder), fs::remove_file(&self.file)] {
            if let Err(error) = result {
                eprintln!("bench: {error}");
            }
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().call(|| format!("starting {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::internal(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
}
