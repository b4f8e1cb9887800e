//! A tar stream whose entries lie under another name than they came with.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use archive::tar::{EntryKind, Reader, Writer};
use fault::Result;

use crate::packed::Packed;

/// The stream with `from` at the start of each name replaced by `to`.
pub(super) fn renamed(stream: impl Read + Send + 'static, from: String, to: String) -> Result<impl Read> {
    Packed::by(move |writer| rewrite(stream, writer, &from, &to))
}

fn rewrite(stream: impl Read, output: impl io::Write, from: &str, to: &str) -> Result<()> {
    let mut reader = Reader::new(stream);
    let mut writer = Writer::new(output);
    while let Some(mut entry) = reader.next()? {
        let mut header = entry.header.clone();
        header.name = moved(&header.name, from, to);
        if header.kind == EntryKind::HardLink {
            header.link = moved(&header.link, from, to);
        }
        writer.append(&header, &mut entry)?;
    }
    reader.drain()?;
    writer.finish().map(drop)
}

fn moved(name: &Path, from: &str, to: &str) -> PathBuf {
    match name.strip_prefix(from) {
        Ok(rest) if rest.as_os_str().is_empty() => to.into(),
        Ok(rest) => Path::new(to).join(rest),
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_of_a_name_changes() {
        assert_eq!(moved(Path::new("a"), "a", "b"), Path::new("b"));
        assert_eq!(moved(Path::new("a/a/c"), "a", "b"), Path::new("b/a/c"));
        assert_eq!(moved(Path::new("ab"), "a", "b"), Path::new("ab"));
    }
}
