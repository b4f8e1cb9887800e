//! Where `save` and `export` write: standard output, or a file of its owner alone that appears only when it is whole.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use client::Answer;
use fault::Call;

use crate::exit::{Exit, Outcome};
use crate::format::human;
use crate::terminal;

pub(super) enum Target {
    Stdout,
    File { file: File, temporary: PathBuf, path: PathBuf },
}

impl Target {
    /// `failing` is what Docker says in front of a file that cannot be made.
    pub(super) fn open(path: &str, failing: &str) -> Outcome<Self> {
        if !path.is_empty() {
            let refused = |exit: Exit| Exit::failure(format!("{failing}: {}", exit.message));
            return Self::file(Path::new(path)).map_err(refused);
        }
        match terminal::output_is_terminal() {
            true => {
                Err(Exit::failure("cowardly refusing to save to a terminal. Use the -o flag or redirect"))
            }
            false => Ok(Self::Stdout),
        }
    }

    fn file(path: &Path) -> Outcome<Self> {
        check_folder(path)?;
        check_place(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let temporary = path.with_file_name(format!(".tmp-{name}-{}", std::process::id()));
        let new = File::options().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = new.map_err(|error| {
            Exit::failure(format!("open {}: {}", temporary.display(), human::kernel_words(&error)))
        })?;
        Ok(Self::File { file, temporary, path: path.to_owned() })
    }

    /// The caller sees to it that a signal drops this.
    pub(super) async fn fill(mut self, mut answer: Answer) -> Outcome {
        while let Some(chunk) = answer.chunk().await? {
            match &mut self {
                Self::Stdout => terminal::write(&chunk)?,
                Self::File { file, temporary, .. } => {
                    file.write_all(&chunk).call(|| format!("write {}", temporary.display()))?;
                }
            }
        }
        if let Self::File { temporary, path, .. } = &self {
            std::fs::rename(temporary, path).call(|| format!("rename {}", path.display()))?;
        }
        Ok(())
    }
}

/// A name that ends in a slash is that of a folder.
fn check_folder(path: &Path) -> Outcome {
    let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let Some(folder) = (if is_folder { Some(path) } else { path.parent() }) else { return Ok(()) };
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let refused = |why: &str| {
        // Without the slash at its end.
        let folder: PathBuf = folder.components().collect();
        Exit::failure(format!("invalid output path: stat {}: {why}", folder.display()))
    };
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(refused("not a directory")),
        Err(error) => Err(refused(&human::kernel_words(&error))),
    }
}

/// Only what is a file already, or nothing, is replaced by the archive.
fn check_place(path: &Path) -> Outcome {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let kind = found.file_type();
    let what = match () {
        () if kind.is_dir() => "to a directory",
        () if kind.is_symlink() => "to a symbolic link directly",
        () if kind.is_fifo() => "to a named pipe (FIFO)",
        () if kind.is_socket() => "to a socket",
        () if kind.is_block_device() => "to a block device file",
        () if kind.is_char_device() => "to a character device file",
        () => return Ok(()),
    };
    Err(Exit::failure(format!("cannot write {what}")))
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { temporary, .. } = self {
            // After a success it has its real name already.
            std::fs::remove_file(temporary).ok();
        }
    }
}
