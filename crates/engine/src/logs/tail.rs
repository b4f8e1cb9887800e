//! Finding the last N lines: files are read backwards, newest first, until enough line ends are seen.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use fault::{Call, Result};

const BLOCK: u64 = 16 << 10;

/// Drops files and moves positions so that exactly `lines` lines are left, or all if there are fewer.
pub(super) fn skip_to(files: &mut VecDeque<File>, lines: u64) -> Result<()> {
    let mut left = lines;
    for index in (0..files.len()).rev() {
        match position(&mut files[index], left)? {
            Found::At(offset) => {
                files[index].seek(SeekFrom::Start(offset)).call(|| "lseek log")?;
                files.drain(..index);
                return Ok(());
            }
            Found::Fewer(count) => {
                left -= count;
                files[index].rewind().call(|| "lseek log")?;
            }
        }
    }
    Ok(())
}

enum Found {
    /// The last lines begin here.
    At(u64),
    /// The file has only so many.
    Fewer(u64),
}

/// Where the last `lines` lines of a file begin. An unfinished last line does not count.
fn position(file: &mut File, lines: u64) -> Result<Found> {
    let mut end = file.seek(SeekFrom::End(0)).call(|| "lseek log")?;
    let mut block = Vec::new();
    let mut seen = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start)).call(|| "lseek log")?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block).call(|| "read log")?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The line end before the wanted lines.
            if seen == lines {
                return Ok(Found::At(start + index as u64 + 1));
            }
            seen += 1;
        }
        end = start;
    }
    // With as many line ends as wanted lines, they begin at the beginning.
    if seen == lines && lines > 0 { Ok(Found::At(0)) } else { Ok(Found::Fewer(seen)) }
}
