//! Mounts by the descriptor-based calls: made or cloned *detached*, given their attributes, then attached in one step.
//!
//! A detached mount is visible to nobody until it is attached, and goes away with its descriptor. It may be sent to
//! another process and attached in that one's mount namespace.

use std::ffi::OsString;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fault::{Call, Error, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::namespace::{self, Kinds};
use crate::process::{c_string, check};

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

/// A new file system instance, detached. An option without a value is a flag.
pub fn new_filesystem(
    kind: &str,
    source: Option<&str>,
    options: &[(&str, Option<&str>)],
    attributes: Attributes,
) -> Result<OwnedFd> {
    let context = Context::open(kind)?;
    if let Some(source) = source {
        context.set("source", Some(source))?;
    }
    for (key, value) in options {
        context.set(key, *value)?;
    }
    context.mount(attributes)
}

/// A file system context, fsopen(2).
struct Context {
    fd: OwnedFd,
    kind: String,
}

impl Context {
    fn open(kind: &str) -> Result<Self> {
        let fd =
            rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen {kind}"))?;
        Ok(Self { fd, kind: kind.to_owned() })
    }

    fn set(&self, key: &str, value: Option<&str>) -> Result<()> {
        let result = match value {
            Some(value) => rustix::mount::fsconfig_set_string(self.fd.as_fd(), key, value),
            None => rustix::mount::fsconfig_set_flag(self.fd.as_fd(), key),
        };
        result.map_err(|errno| {
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            self.explain(format!("fsconfig {} {key}{value}", self.kind), errno.into())
        })
    }

    fn mount(&self, attributes: Attributes) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(self.fd.as_fd())
            .map_err(|errno| self.explain(format!("mount {}", self.kind), errno.into()))?;
        let flags = MountAttrFlags::from_bits_retain(attributes.0 as u32);
        rustix::mount::fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .call(|| format!("fsmount {}", self.kind))
    }

    /// Adds what the file system has to say about the failure: it is read from the context, a line a message.
    fn explain(&self, what: String, error: io::Error) -> Error {
        let mut text = [0; 1024];
        match rustix::io::read(&self.fd, &mut text) {
            Ok(count) if count > 2 => {
                let message = String::from_utf8_lossy(&text[2..count]);
                Error::io(format!("{what} ({})", message.trim_end()), error)
            }
            _ => Error::io(what, error),
        }
    }
}

/// Whether nothing can be written through the mount that holds `path`.
pub fn is_read_only(path: &Path) -> Result<bool> {
    let stat = rustix::fs::statvfs(path).call(|| format!("statvfs {}", path.display()))?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The working folder as a descriptor: with it, paths mean what they mean everywhere else.
pub fn current_folder() -> BorrowedFd<'static> {
    CWD
}

/// A detached clone of the mount at a path, or of the descriptor itself if the path is empty.
pub fn bind(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
    rustix::mount::open_tree(dir, path, flags).call(|| format!("open_tree {}", path.display()))
}

/// Attaches a detached mount onto an open file or folder.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).call(|| "move_mount")
}

/// Attaches a detached mount at a path; links on the way are followed, so the path must not be the container's.
pub fn attach_at(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    rustix::mount::move_mount(mount, "", dir, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call(|| format!("move_mount {}", path.display()))
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

/// mount(2), for what the newer calls lack. `flags` are `MS_*`.
pub(crate) fn mount_legacy(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> Result<()> {
    let (raw_source, raw_target, raw_kind, raw_data) =
        (c_string(source)?, c_string(target)?, c_string(kind)?, c_string(data)?);
    // SAFETY: all four strings end in NUL and live during the call.
    let result = unsafe {
        libc::mount(
            raw_source.as_ptr(),
            raw_target.as_ptr(),
            raw_kind.as_ptr(),
            flags,
            raw_data.as_ptr().cast(),
        )
    };
    check(i64::from(result)).call(|| format!("mount {kind} at {}", target.display()))?;
    Ok(())
}

/// Takes a mount and all beneath out of sight; it ends when the last user is gone.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .call(|| format!("umount {}", path.display()))
}

/// umount2(2) without flags: fails with EBUSY while in use.
pub fn unmount(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::NOFOLLOW).call(|| format!("umount {}", path.display()))
}

/// Makes the mount `root`, which must be attached in the caller's mount namespace, the root and working directory of
/// the caller, and takes the old root out of the namespace.
pub fn pivot_root(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).call(|| "fchdir to the new root")?;
    // pivot_root(2), "pivot_root(".", ".")": the old root ends up stacked on the new one, under ".".
    rustix::process::pivot_root(".", ".").call(|| "pivot_root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "umount of the old root")?;
    rustix::process::chdir("/").call(|| "chdir /")
}

/// A detached overlay mount to make.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overlay<'a> {
    /// Topmost first.
    pub lower: &'a [&'a Path],
    /// Without it (and its `work`) nothing can be written.
    pub upper: Option<&'a Path>,
    pub work: Option<&'a Path>,
    /// No fsync reaches the disk; for what need not survive a power loss.
    pub volatile: bool,
    pub readonly: bool,
}

/// Mounts an overlay without attaching it anywhere. Redirects, metadata-only copies and the index are off, so that
/// the upper folder holds the whole difference.
pub fn overlay(overlay: &Overlay<'_>) -> Result<OwnedFd> {
    if let (None, [only]) = (overlay.upper, overlay.lower) {
        return overlay_of_one(only);
    }
    match overlay_by_context(overlay) {
        Err(error) if wants_old_call(&error) => overlay_by_mount(overlay),
        result => result,
    }
}

/// The kernel takes no overlay of a single folder, which looks like the folder itself anyway.
fn overlay_of_one(lower: &Path) -> Result<OwnedFd> {
    let mount = bind(CWD, lower, false)?;
    let set = Attributes::READ_ONLY;
    change(mount.as_fd(), &Change { set, propagation: Some(Propagation::Private), ..Change::default() })?;
    Ok(mount)
}

/// The first `lowerdir+` fails with EINVAL on kernels before 6.8, as does any value of 256 bytes or more.
fn wants_old_call(error: &Error) -> bool {
    error.errno() == Some(libc::EINVAL) && error.to_string().starts_with("fsconfig overlay lowerdir+")
}

fn overlay_by_context(overlay: &Overlay<'_>) -> Result<OwnedFd> {
    let context = Context::open("overlay")?;
    // What mount(8) and df(1) call it.
    context.set("source", Some("overlay"))?;
    if let Some(long) = overlay.folders().find(|path| path.as_os_str().len() > CONTEXT_VALUE_BYTES_MAX) {
        let error = io::Error::from_raw_os_error(libc::EINVAL);
        return Err(Error::io(format!("fsconfig overlay lowerdir+ {}", long.display()), error));
    }
    for lower in overlay.lower {
        context.set("lowerdir+", Some(text(lower)?))?;
    }
    if let (Some(upper), Some(work)) = (overlay.upper, overlay.work) {
        context.set("upperdir", Some(text(upper)?))?;
        context.set("workdir", Some(text(work)?))?;
    }
    for (key, value) in overlay.options() {
        context.set(key, *value)?;
    }
    context.mount(overlay.attributes())
}

/// fsconfig(2) takes strings up to here.
const CONTEXT_VALUE_BYTES_MAX: usize = 255;

/// The way of older kernels: mount(2) in a mount namespace of its own, where a clone is taken. All options must fit
/// into one page, so the folders are named by their descriptors' numbers, relative to /proc/self/fd.
fn overlay_by_mount(overlay: &Overlay<'_>) -> Result<OwnedFd> {
    let open = |path: &&Path| {
        rustix::fs::open(*path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open {}", path.display()))
    };
    // Mounts made in a copied namespace show only through its own descriptors: open there.
    namespace::in_new_namespace(Kinds::MOUNT, || {
        let target = overlay.upper.or(overlay.lower.first().copied());
        let target = target.ok_or_else(|| Error::invalid("an overlay needs a folder"))?;
        let lower: Vec<_> = overlay.lower.iter().map(open).collect::<Result<_>>()?;
        let upper = overlay.upper.as_ref().map(open).transpose()?;
        let work = overlay.work.as_ref().map(open).transpose()?;
        rustix::process::chdir("/proc/self/fd").call(|| "chdir /proc/self/fd")?;
        let data = overlay_data(overlay, &lower, upper.as_ref(), work.as_ref());
        mount_legacy("overlay", target, "overlay", 0, &data)?;
        let mount = bind(CWD, target, false)?;
        let propagation = Some(Propagation::Private);
        change(mount.as_fd(), &Change { set: overlay.attributes(), propagation, ..Change::default() })?;
        Ok(mount)
    })
}

fn overlay_data(
    overlay: &Overlay<'_>,
    lower: &[OwnedFd],
    upper: Option<&OwnedFd>,
    work: Option<&OwnedFd>,
) -> String {
    let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let mut data = format!("lowerdir={}", lower.iter().map(number).collect::<Vec<_>>().join(":"));
    if let (Some(upper), Some(work)) = (upper, work) {
        data += &format!(",upperdir={},workdir={}", number(upper), number(work));
    }
    for (key, value) in overlay.options() {
        data += &value.map_or_else(|| format!(",{key}"), |value| format!(",{key}={value}"));
    }
    data
}

impl<'a> Overlay<'a> {
    fn folders(&self) -> impl Iterator<Item = &'a Path> {
        self.lower.iter().copied().chain(self.upper).chain(self.work)
    }

    fn options(&self) -> &'static [(&'static str, Option<&'static str>)] {
        const OPTIONS: &[(&str, Option<&str>)] = &[
            ("redirect_dir", Some("off")),
            ("metacopy", Some("off")),
            ("index", Some("off")),
            ("volatile", None),
        ];
        if self.volatile && self.upper.is_some() { OPTIONS } else { &OPTIONS[..OPTIONS.len() - 1] }
    }

    fn attributes(&self) -> Attributes {
        if self.readonly { Attributes::READ_ONLY } else { Attributes::NONE }
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))
}

/// One line of /proc/PID/mountinfo, proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    pub id: u64,
    pub parent: u64,
    /// major:minor
    pub device: (u32, u32),
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where, relative to the process's root.
    pub target: PathBuf,
    pub options: String,
    /// `shared:1`, `master:2` and so on.
    pub tags: Vec<String>,
    pub kind: String,
    pub source: OsString,
    pub super_options: String,
}

/// The mounts that a process ("self" or a number) sees.
pub fn mountinfo(pid: &str) -> Result<Vec<MountInfo>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = std::fs::read(&path).call(|| format!("read {path}"))?;
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            parse_mountinfo(line)
                .ok_or_else(|| Error::internal(format!("{path}: {}", String::from_utf8_lossy(line))))
        })
        .collect()
}

fn parse_mountinfo(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut next = || fields.next();
    let utf8 = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let number = |field: &[u8]| utf8(field)?.parse().ok();
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let device = utf8(next()?)?;
    let (major, minor) = device.split_once(':')?;
    let root = unescape(next()?);
    let target = unescape(next()?);
    let options = utf8(next()?)?;
    let tags =
        std::iter::from_fn(&mut next).take_while(|field| *field != b"-").map(utf8).collect::<Option<_>>()?;
    Some(MountInfo {
        id,
        parent,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: root.into(),
        target: target.into(),
        options,
        tags,
        kind: utf8(next()?)?,
        source: unescape(next()?),
        super_options: utf8(next()?)?,
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        if let Some(digits) = octal {
            bytes.push(
                digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
            );
            rest = &tail[3..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Two lower folders, an upper and a work folder on a tmpfs, which may be an overlay's upper.
    struct Folders {
        _root: tempfile::TempDir,
        paths: [PathBuf; 4],
    }

    fn folders() -> Folders {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let paths = ["top", "bottom", "upper", "work"].map(|name| root.path().join(name));
        for path in &paths {
            fs::create_dir(path).unwrap();
        }
        fs::write(paths[0].join("both"), "top").unwrap();
        fs::write(paths[1].join("both"), "bottom").unwrap();
        fs::write(paths[1].join("below"), "bottom").unwrap();
        Folders { _root: root, paths }
    }

    fn read(mount: &OwnedFd, name: &str) -> String {
        fs::read_to_string(format!("/proc/self/fd/{}/{name}", mount.as_raw_fd())).unwrap()
    }

    fn write(mount: &OwnedFd, name: &str) -> io::Result<()> {
        fs::write(format!("/proc/self/fd/{}/{name}", mount.as_raw_fd()), "new")
    }

    fn check_overlay(make: fn(&Overlay<'_>) -> Result<OwnedFd>) {
        let Folders { _root, paths: [top, bottom, upper, work] } = folders();
        let lower: &[&Path] = &[&top, &bottom];
        let mounts_before = mountinfo("self").unwrap().len();
        let writable = Overlay { lower, upper: Some(&upper), work: Some(&work), ..Overlay::default() };
        let mount = make(&writable).unwrap();
        assert_eq!((read(&mount, "both"), read(&mount, "below")), ("top".into(), "bottom".into()));
        write(&mount, "fresh").unwrap();
        assert!(upper.join("fresh").exists());
        assert_eq!(mountinfo("self").unwrap().len(), mounts_before);
        drop(mount);

        let mount = make(&Overlay { lower, readonly: true, ..Overlay::default() }).unwrap();
        assert_eq!(write(&mount, "fresh").unwrap_err().raw_os_error(), Some(libc::EROFS));
        drop(mount);

        let mount = make(&Overlay { volatile: true, ..writable }).unwrap();
        assert!(work.join("work/incompat/volatile").exists());
        drop(mount);
    }

    #[test]
    fn overlay_with_lowerdir_plus() {
        check_overlay(overlay_by_context);
    }

    #[test]
    fn overlay_with_mount_2() {
        check_overlay(overlay_by_mount);
    }

    #[test]
    fn overlay_of_long_names_takes_the_old_call() {
        let Folders { _root, paths: [top, bottom, ..] } = folders();
        let mut long = top.clone();
        for _ in 0..3 {
            long.push("x".repeat(100));
        }
        fs::create_dir_all(&long).unwrap();
        fs::write(long.join("deep"), "yes").unwrap();
        let mount = overlay(&Overlay { lower: &[&long, &bottom], ..Overlay::default() }).unwrap();
        assert_eq!(read(&mount, "deep"), "yes");
    }

    #[test]
    fn overlay_of_one_folder_is_that_folder_read_only() {
        let Folders { _root, paths: [top, ..] } = folders();
        let mount = overlay(&Overlay { lower: &[&top], readonly: true, ..Overlay::default() }).unwrap();
        assert_eq!(read(&mount, "both"), "top");
        assert_eq!(write(&mount, "fresh").unwrap_err().raw_os_error(), Some(libc::EROFS));
    }

    #[test]
    fn a_file_system_explains_itself() {
        let error = new_filesystem("tmpfs", None, &[("size", Some("much"))], Attributes::NONE).unwrap_err();
        assert!(error.to_string().starts_with("fsconfig tmpfs size=much ("), "{error}");
    }

    #[test]
    fn mountinfo_lines_are_parsed() {
        let line = br"36 35 98:0 /a\040b /mnt/c\134d rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue";
        let info = parse_mountinfo(line).unwrap();
        assert_eq!((info.id, info.parent, info.device), (36, 35, (98, 0)));
        assert_eq!((info.root.to_str().unwrap(), info.target.to_str().unwrap()), ("/a b", r"/mnt/c\d"));
        assert_eq!(info.tags, ["shared:1", "master:2"]);
        assert_eq!((info.kind.as_str(), info.super_options.as_str()), ("ext3", "rw,errors=continue"));
        assert!(parse_mountinfo(b"36 35 98 /").is_none());
    }
}
