//! What system calls without a wrapper take and give: strings that end in NUL, and -1 for an error.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use fault::{Error, Result};

pub(crate) fn c_string(text: impl AsRef<OsStr>) -> Result<CString> {
    let text = text.as_ref();
    CString::new(text.as_bytes()).map_err(|_| Error::invalid(format!("{text:?} holds a NUL byte")))
}

/// Turns -1 into the errno.
pub(crate) fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
