//! Where `save` and `export` write: standard output, or a file that appears only when it is whole.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use client::Answer;
use fault::{Call, Result};

use crate::exit::{Exit, Outcome};
use crate::terminal;

pub(super) enum Target {
    Stdout,
    File { file: File, temporary: PathBuf, path: PathBuf },
}

impl Target {
    /// `failing` is what Docker says in front of a file that cannot be made.
    pub(super) fn open(path: &str, failing: &str) -> Outcome<Self> {
        if !path.is_empty() {
            return Self::file(Path::new(path)).map_err(|error| Exit::failure(format!("{failing}: {error}")));
        }
        match terminal::output_is_terminal() {
            true => {
                Err(Exit::failure("cowardly refusing to save to a terminal. Use the -o flag or redirect"))
            }
            false => Ok(Self::Stdout),
        }
    }

    fn file(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let temporary = path.with_file_name(format!(".tmp-{name}-{}", std::process::id()));
        let file = File::create(&temporary).call(|| format!("open {}", temporary.display()))?;
        Ok(Self::File { file, temporary, path: path.to_owned() })
    }

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

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { temporary, .. } = self {
            // After a success it has its real name already.
            std::fs::remove_file(temporary).ok();
        }
    }
}
