//! Moving file contents inside the kernel, and the holes of sparse files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use fault::{Call, Result};
use rustix::fs::{self as kernel, FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::at::place;

/// Copies up to `length` bytes between the files' own positions, inside the kernel where it can; fewer only at the
/// end of `from`. Returns the bytes copied.
pub fn copy_range(from: &File, to: &File, length: u64) -> Result<u64> {
    let mut copied = 0;
    while copied < length {
        match kernel::copy_file_range(from, None, to, None, chunk(length - copied)) {
            Ok(0) => break,
            Ok(count) => copied += count as u64,
            Err(Errno::INTR) => {}
            // Not between these two file systems, or not for this kind of file.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return Ok(copied + copy_plain(from, to, length - copied)?);
            }
            Err(error) => return Err(error).call(|| copying("copy_file_range", from, to)),
        }
    }
    Ok(copied)
}

/// Shares all of `from`'s extents with `to` (FICLONE); false where the file system cannot.
pub fn reflink(from: &File, to: &File) -> Result<bool> {
    match kernel::ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => Ok(false),
        Err(error) => Err(error).call(|| copying("ficlone", from, to)),
    }
}

/// sendfile(2) from `from` at `offset` into a socket, pipe or file; advances `offset`. Returns the bytes sent,
/// which may be fewer; zero at the end of the file.
pub fn sendfile(to: impl AsFd, from: impl AsFd, offset: &mut u64, length: u64) -> Result<u64> {
    kernel::sendfile(to.as_fd(), from.as_fd(), Some(offset), chunk(length))
        .map(|count| count as u64)
        .call(|| copying("sendfile", &from, &to))
}

fn copy_plain(mut from: &File, mut to: &File, length: u64) -> Result<u64> {
    let copied = io::copy(&mut io::Read::take(&mut from, length), &mut to);
    copied.call(|| copying("copy", from, to))
}

fn copying(call: &str, from: impl AsFd, to: impl AsFd) -> String {
    format!("{call} {} to {}", place(from, ""), place(to, ""))
}

/// One call's share: the kernel caps at 2 GiB anyway.
fn chunk(length: u64) -> usize {
    usize::try_from(length.min(1 << 30)).expect("1 GiB fits")
}

/// The next stretch of data at or after `offset`, or `None` if only a hole follows. Moves the file's position.
pub fn next_data(file: impl AsFd, offset: u64) -> Result<Option<Range<u64>>> {
    let seek = |target| kernel::seek(file.as_fd(), target);
    let start = match seek(SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error).call(|| format!("seek data {}", place(&file, ""))),
    };
    let end = seek(SeekFrom::Hole(start)).call(|| format!("seek hole {}", place(&file, "")))?;
    Ok(Some(start..end))
}

/// Gives the blocks of a range back; it reads as zeros then, and the size stays.
pub fn punch_hole(file: impl AsFd, range: Range<u64>) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    kernel::fallocate(file.as_fd(), flags, range.start, range.end - range.start)
        .call(|| format!("punch hole {}", place(&file, "")))
}

/// ftruncate(2): a longer size leaves a hole.
pub fn set_size(file: impl AsFd, size: u64) -> Result<()> {
    kernel::ftruncate(file.as_fd(), size).call(|| format!("ftruncate {}", place(&file, "")))
}
