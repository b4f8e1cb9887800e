//! The archives that are imported.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use fault::{Call, Error, Result};

/// A tar file with one more file at its end, other each time, so that no engine can answer with a layer that it has.
pub(crate) fn never_seen(path: &Path) -> Result<(u64, impl Read)> {
    let what = || format!("read {}", path.display());
    let mut file = File::open(path).call(what)?;
    let end = end_of_entries(&mut file).call(what)?;
    file.seek(SeekFrom::Start(0)).call(what)?;
    let tail = tail(&sys::time::now_rfc3339_nano()).call(what)?;
    let length = end + tail.len() as u64;
    Ok((length, file.take(end).chain(Cursor::new(tail))))
}

/// Where the blocks of zeros begin, with which every tar ends.
fn end_of_entries(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0_u8; BLOCK_BYTES as usize];
    while end >= BLOCK_BYTES {
        file.seek(SeekFrom::Start(end - BLOCK_BYTES))?;
        file.read_exact(&mut block)?;
        if block.iter().any(|byte| *byte != 0) {
            break;
        }
        end -= BLOCK_BYTES;
    }
    // A last file that itself ends in a block of zeros would lose that: good enough for a bench's roots.
    Ok(end)
}

const BLOCK_BYTES: u64 = 512;

fn tail(content: &str) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "kogge-bench", content.as_bytes())?;
    tar.into_inner()
}

/// The root with busybox.
pub(crate) fn busybox() -> Result<Vec<u8>> {
    fixtures::image::busybox_root().map_err(|error| Error::io("making the busybox root", error))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_archive_that_was_never_seen_holds_the_old_files_and_one_more() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut old = tail("old").unwrap();
        old.resize(10240, 0);
        file.write_all(&old).unwrap();
        let (length, mut archive) = never_seen(file.path()).unwrap();
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, length);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let sizes: Vec<u64> = archive.entries().unwrap().map(|entry| entry.unwrap().size()).collect();
        assert_eq!((sizes.len(), sizes[0]), (2, 3));
    }
}
