//! Extended attributes of open files and of names beside a directory, never following a link.
//!
//! Missing attributes are `None`, and so are file systems without attributes when reading; setting one there is an
//! error with errno EOPNOTSUPP.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use fault::{Call, Error, Result};
use rustix::fs::{self as kernel, XattrFlags};
use rustix::io::Errno;

use crate::fs::{place, proc_path};

/// The attribute of the file at `path`; a link is asked itself.
pub fn get(path: impl AsRef<Path>, attribute: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>> {
    let (path, attribute) = (path.as_ref(), attribute.as_ref());
    if let Some(value) = get_small(path, attribute)? {
        return Ok(value);
    }
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    match kernel::lgetxattr(path, attribute, kernel_buffer(&mut value)) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).call(|| describe("getxattr", path, attribute)),
    }
}

/// Most values fit a small buffer; the outer `None` says that this one does not.
fn get_small(path: &Path, attribute: &OsStr) -> Result<Option<Option<Vec<u8>>>> {
    let mut buffer = [0_u8; 256];
    match kernel::lgetxattr(path, attribute, &mut buffer[..]) {
        Ok(length) => Ok(Some(Some(buffer[..length].to_vec()))),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Some(None)),
        Err(Errno::RANGE) => Ok(None),
        Err(error) => Err(error).call(|| describe("getxattr", path, attribute)),
    }
}

fn kernel_buffer(value: &mut Vec<u8>) -> rustix::buffer::SpareCapacity<'_, u8> {
    rustix::buffer::spare_capacity(value)
}

/// All attribute names of the file at `path`, in byte order.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<OsString>> {
    let path = path.as_ref();
    let mut small = [0_u8; 512];
    match kernel::llistxattr(path, &mut small[..]) {
        Ok(length) => Ok(names(&small[..length])),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(Errno::RANGE) => list_long(path),
        Err(error) => Err(error).call(|| format!("listxattr {}", path.display())),
    }
}

fn list_long(path: &Path) -> Result<Vec<OsString>> {
    let mut list = Vec::with_capacity(LIST_BYTES_MAX);
    kernel::llistxattr(path, kernel_buffer(&mut list)).call(|| format!("listxattr {}", path.display()))?;
    Ok(names(&list))
}

fn names(list: &[u8]) -> Vec<OsString> {
    let parts = list.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let mut names: Vec<_> = parts.map(|part| OsString::from_vec(part.to_vec())).collect();
    names.sort_unstable();
    names
}

/// Sets an attribute, new or not.
pub fn set(path: impl AsRef<Path>, attribute: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
    let (path, attribute) = (path.as_ref(), attribute.as_ref());
    kernel::lsetxattr(path, attribute, value, XattrFlags::empty())
        .call(|| describe("setxattr", path, attribute))
}

/// [`get`] of `name` beside a directory.
pub fn get_at(
    dir: impl AsFd,
    name: impl AsRef<Path>,
    attribute: impl AsRef<OsStr>,
) -> Result<Option<Vec<u8>>> {
    get(beside(dir, name), attribute)
}

/// [`list`] of `name` beside a directory.
pub fn list_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<Vec<OsString>> {
    list(beside(dir, name))
}

/// [`set`] of `name` beside a directory.
pub fn set_at(
    dir: impl AsFd,
    name: impl AsRef<Path>,
    attribute: impl AsRef<OsStr>,
    value: &[u8],
) -> Result<()> {
    set(beside(dir, name), attribute, value)
}

/// Sets an attribute of an open file; not for `O_PATH` handles.
pub fn fset(file: impl AsFd, attribute: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
    let attribute = attribute.as_ref();
    kernel::fsetxattr(file.as_fd(), attribute, value, XattrFlags::empty())
        .call(|| describe("fsetxattr", place(&file, "").as_ref(), attribute))
}

/// The *xattrat calls are young (Linux 6.13); through /proc the same works everywhere. The handle's own magic link
/// is followed, the name is not.
fn beside(dir: impl AsFd, name: impl AsRef<Path>) -> PathBuf {
    proc_path(dir).join(name)
}

fn describe(call: &str, path: &Path, attribute: &OsStr) -> String {
    format!("{call} {} {}", path.display(), attribute.as_bytes().escape_ascii())
}

/// xattr(7): no value is larger.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// xattr(7): no list of names is longer.
const LIST_BYTES_MAX: usize = 64 * 1024;

/// Whether setting failed because the file system has no such attributes, or the kernel does not let this process
/// (one in a user namespace) set them: the two that Docker passes over.
pub fn is_refused(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EPERM))
}
