//! Whiteouts: how a layer says that a name of the layers below is gone, in archives and on overlay file systems.
//!
//! In archives (OCI image specification, layer.md, "Whiteouts") an empty file `.wh.<name>` hides `<name>`, and
//! `.wh..wh..opq` hides all that lower layers have in its directory. On overlay (kernel, filesystems/overlayfs.rst)
//! a device 0:0 with that name hides it, and the attribute `trusted.overlay.opaque=y` makes a directory opaque.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What becomes of whiteouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Nothing: `.wh.` names and devices 0:0 are files as others.
    #[default]
    Keep,
    /// Between the archive's form and overlay's form; packing or extracting one layer by itself.
    Overlay,
    /// Extracting over the lower layers' tree: the names go. When packing, the same as [`Whiteouts::Keep`].
    Apply,
}

/// A name that has a meaning in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark<'a> {
    /// Hides this name.
    Hides(&'a OsStr),
    /// Makes its directory opaque.
    Opaque,
    /// AUFS's own bookkeeping, which old layers still carry: to be skipped.
    Bookkeeping,
}

impl<'a> Mark<'a> {
    pub(crate) fn of(name: &'a OsStr) -> Option<Self> {
        let hidden = name.as_bytes().strip_prefix(PREFIX)?;
        Some(match hidden {
            b".wh..opq" => Self::Opaque,
            b"" | b"." | b".." => Self::Bookkeeping,
            _ if hidden.starts_with(PREFIX) => Self::Bookkeeping,
            _ => Self::Hides(OsStr::from_bytes(hidden)),
        })
    }
}

/// The archive's name for a hidden name.
pub(crate) fn hiding(name: &OsStr) -> OsString {
    let mut hiding = OsString::from(OsStr::from_bytes(PREFIX));
    hiding.push(name);
    hiding
}

pub(crate) const OPAQUE_NAME: &str = ".wh..wh..opq";
pub(crate) const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";
const PREFIX: &[u8] = b".wh.";

/// Whether an attribute travels in archives. Overlay's own would let an image redirect its layers; labels of security
/// modules belong to the machine.
pub(crate) fn travels(attribute: &OsStr) -> bool {
    let name = attribute.as_bytes();
    let stays: [&[u8]; 5] =
        [b"trusted.overlay.", b"user.overlay.", b"security.selinux", b"security.ima", b"security.evm"];
    !stays.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_the_specification_says() {
        let table = [
            ("file", None),
            (".wh", None),
            (".wh.file", Some(Mark::Hides(OsStr::new("file")))),
            (".wh..hidden", Some(Mark::Hides(OsStr::new(".hidden")))),
            (".wh..wh..opq", Some(Mark::Opaque)),
            (".wh..wh.plnk", Some(Mark::Bookkeeping)),
            (".wh..wh.aufs", Some(Mark::Bookkeeping)),
            (".wh.", Some(Mark::Bookkeeping)),
            (".wh...", Some(Mark::Bookkeeping)),
        ];
        for (name, mark) in table {
            assert_eq!(Mark::of(OsStr::new(name)), mark, "{name}");
        }
        assert_eq!(hiding(OsStr::new("a")), ".wh.a");
    }
}
