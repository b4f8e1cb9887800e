//! What a mount allows, and whether mounts travel between it and its copies: mount_setattr(2).

use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use fault::{Call, Result};

use crate::raw::{c_string, check};

/// Attributes of one mount (not of its file system), `MOUNT_ATTR_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    pub const NONE: Self = Self(0);
    pub const READ_ONLY: Self = Self(0x1);
    pub const NO_SUID: Self = Self(0x2);
    pub const NO_DEVICES: Self = Self(0x4);
    pub const NO_EXEC: Self = Self(0x8);
    /// The three access time modes share this mask; the default, zero, is relatime.
    pub const ACCESS_TIME_MASK: Self = Self(0x70);
    pub const NO_ACCESS_TIME: Self = Self(0x10);
    pub const STRICT_ACCESS_TIME: Self = Self(0x20);
    pub const NO_FOLDER_ACCESS_TIME: Self = Self(0x80);
    pub const NO_SYMLINKS: Self = Self(0x20_0000);
    const ID_MAPPED: Self = Self(0x10_0000);

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Whether mounts made at one place appear at its copies; mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Shared,
    Slave,
    Unbindable,
}

impl Propagation {
    fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// A change of attributes; clearing comes before setting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    pub set: Attributes,
    pub clear: Attributes,
    pub propagation: Option<Propagation>,
    /// Map ids as this user namespace does.
    pub id_map: Option<BorrowedFd<'a>>,
    /// All mounts beneath as well.
    pub recursive: bool,
}

impl Change<'_> {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.propagation.is_none() && self.id_map.is_none()
    }
}

/// Changes a mount that is open.
pub fn change(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<()> {
    change_at(mount, Path::new(""), change)
}

/// Changes the mount at a path.
fn change_at(dir: BorrowedFd<'_>, path: &Path, change: &Change<'_>) -> Result<()> {
    let mut attributes = RawMountAttr {
        set: change.set.0,
        clear: change.clear.0,
        propagation: change.propagation.map_or(0, Propagation::flag),
        userns: 0,
    };
    if let Some(userns) = change.id_map {
        attributes.set |= Attributes::ID_MAPPED.0;
        attributes.userns = userns.as_raw_fd() as u64;
    }
    let recursive = if change.recursive { AT_RECURSIVE } else { 0 };
    let raw_path = c_string(path)?;
    // SAFETY: `attributes` has the layout and the size given, and lives during the call, as does the path.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            raw_path.as_ptr(),
            recursive | libc::AT_EMPTY_PATH as u32,
            &raw const attributes,
            size_of::<RawMountAttr>(),
        )
    };
    check(result).call(|| format!("mount_setattr {}", path.display()))?;
    Ok(())
}

const AT_RECURSIVE: u32 = 0x8000;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct RawMountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Sets how mounts travel between a place and its copies.
pub fn set_propagation(dir: BorrowedFd<'_>, path: &Path, how: Propagation, recursive: bool) -> Result<()> {
    change_at(dir, path, &Change { propagation: Some(how), recursive, ..Change::default() })
}
