//! Telling the kernel to begin writing to disk, without waiting for it.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

use fault::{Call, Result};

/// Begins to write a file's range to disk (sync_file_range(2) with `SYNC_FILE_RANGE_WRITE`), so that a later sync has
/// less to do. Promises nothing by itself: no metadata is written, and nothing is waited for.
pub fn begin(file: &File, range: Range<u64>) -> Result<()> {
    let offset = i64::try_from(range.start).unwrap_or(i64::MAX);
    let length = i64::try_from(range.end.saturating_sub(range.start)).unwrap_or(i64::MAX);
    // SAFETY: no memory is passed, and the descriptor is open while `file` is borrowed.
    let result =
        unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).call(|| "sync_file_range") }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn a_written_range_is_accepted_and_a_pipe_is_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        super::begin(&file, 0..10_000).unwrap();
        let (_reader, writer) = std::io::pipe().unwrap();
        let pipe = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
        assert!(super::begin(&pipe, 0..1).unwrap_err().to_string().starts_with("sync_file_range"));
    }
}
