//! The tar format: a stream of entries, each a [`Header`] and its content.
//!
//! Read: old v7, ustar, star, GNU (long names, base-256 numbers, sparse files) and PAX (records for the next entry,
//! extended attributes, sparse maps 0.0, 0.1 and 1.0). Written: ustar where an entry fits, PAX otherwise.
//! What is accepted, refused and preferred is as in Go's `archive/tar`, messages included; global PAX headers are
//! skipped, as Docker does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use fault::{Error, Kind};
use sys::time::Timestamp;

mod block;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::{Entry, Reader};
pub use writer::Writer;

/// What an entry makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EntryKind {
    #[default]
    Regular,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// A type flag that nobody here knows.
    Other(u8),
}

impl EntryKind {
    fn from_flag(flag: u8) -> Self {
        match flag {
            b'0' | 0 | b'S' => Self::Regular,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            other => Self::Other(other),
        }
    }

    fn flag(self) -> u8 {
        match self {
            Self::Regular => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::Other(flag) => flag,
        }
    }

    /// Whether no content follows, whatever the size field says.
    fn is_header_only(self) -> bool {
        !matches!(self, Self::Regular | Self::Other(_))
    }
}

/// An entry's metadata, the same for all formats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// As in the archive: may be absolute, hold `..`, and ends with a slash for directories.
    pub name: PathBuf,
    pub kind: EntryKind,
    /// The target of a hard or symbolic link.
    pub link: PathBuf,
    /// Permissions: the lower twelve bits of `st_mode`.
    pub mode: u32,
    /// Some writers store negative ids.
    pub uid: i64,
    pub gid: i64,
    /// Names that this project writes never and reads for completeness.
    pub user: OsString,
    pub group: OsString,
    /// Bytes of content, holes included; zero for kinds without content.
    pub size: u64,
    pub mtime: Timestamp,
    pub atime: Option<Timestamp>,
    pub ctime: Option<Timestamp>,
    /// (major, minor) of a device.
    pub device: (u32, u32),
    /// Extended attributes by full name, as `security.capability`.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

fn invalid_header() -> Error {
    Error::invalid("archive/tar: invalid tar header")
}

fn field_too_long() -> Error {
    Error::invalid("archive/tar: header field too long")
}

/// A failed read of the archive: a short one in Go's words, and an error of ours that passed through as it was.
pub(crate) fn read_failed(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::invalid("unexpected EOF");
    }
    match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(error) => Error::io("read archive", error),
    }
}

/// Whether an archive broke off: that is no matter of the entry where it did.
pub(crate) fn is_cut(error: &Error) -> bool {
    error.kind() == Kind::Invalid && error.to_string() == "unexpected EOF"
}

fn unexpected_eof() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF")
}
