//! Sending a file's content without bringing it into the process.

use std::io;
use std::os::fd::AsFd;

use rustix::fs as kernel;

/// sendfile(2) from `from` at `offset` into a socket, pipe or file; advances `offset`. Returns the bytes sent,
/// which may be fewer; zero at the end of the file.
///
/// A bare error, so that a caller can tell `WouldBlock`: that is no failure, and words for it would cost more than the call.
pub fn sendfile(to: impl AsFd, from: impl AsFd, offset: &mut u64, length: u64) -> io::Result<u64> {
    // The kernel caps at 2 GiB anyway.
    let length = usize::try_from(length.min(1 << 30)).expect("1 GiB fits");
    Ok(kernel::sendfile(to.as_fd(), from.as_fd(), Some(offset), length)? as u64)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    #[test]
    fn a_range_is_sent_as_far_as_the_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("from"), b"0123456789").unwrap();
        let from = File::open(folder.path().join("from")).unwrap();
        let to = File::create(folder.path().join("to")).unwrap();
        let mut offset = 8;
        assert_eq!(super::sendfile(&to, &from, &mut offset, 100).unwrap(), 2);
        assert_eq!(super::sendfile(&to, &from, &mut offset, 100).unwrap(), 0);
        assert_eq!((offset, std::fs::read(folder.path().join("to")).unwrap()), (10, b"89".to_vec()));
    }
}
