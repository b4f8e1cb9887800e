//! The child between its clone and its exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Error, Kind, Result};
use runtime::defaults;
use sys::fs::{self, FileKind};
use sys::mount::{self, Attributes, Change, Propagation};
use sys::namespace::{self, Kinds};

use crate::cgroups::Joined;
use crate::rights::Rights;

pub(crate) struct Child<'a> {
    /// The detached overlay.
    pub(crate) root: BorrowedFd<'a>,
    /// The folder with hosts, hostname and resolv.conf.
    pub(crate) etc: &'a Path,
    pub(crate) cgroup: &'a Joined,
    /// To be entered; else it was born in one.
    pub(crate) netns: Option<BorrowedFd<'a>>,
    pub(crate) rights: &'a Rights,
}

pub(crate) fn execute(child: &Child<'_>) -> Result<Infallible> {
    child.cgroup.join_v1()?;
    match child.netns {
        Some(netns) => namespace::setns(netns, Kinds::NET)?,
        None => namespace::set_loopback_up()?,
    }
    mount::set_propagation(mount::current_folder(), Path::new("/"), Propagation::Slave, true)?;
    let etc = ETC.map(|name| mount::bind(mount::current_folder(), &child.etc.join(name), false));
    attach(child.root, Path::new("/"))?;
    mount::pivot_root(child.root)?;
    for (name, tree) in ETC.iter().zip(etc) {
        attach(tree?.as_fd(), &Path::new("/etc").join(name))?;
    }
    mount_file_systems()?;
    fill_dev()?;
    protect()?;
    namespace::set_hostname("c0ffee")?;
    sys::process::setsid()?;
    child.rights.apply()?;
    let error = sys::process::execve(c"/bin/true", &[CString::from(c"true")], &[]);
    Err(Error::io("execve /bin/true", error))
}

const ETC: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

fn mount_file_systems() -> Result<()> {
    let locked = Attributes::NO_SUID | Attributes::NO_DEVICES | Attributes::NO_EXEC;
    let dev = [("mode", Some("755")), ("size", Some("65536k"))];
    let pts = [("ptmxmode", Some("0666")), ("mode", Some("0620")), ("gid", Some("5"))];
    let shm = [("mode", Some("1777")), ("size", Some("65536k"))];
    attach_new("proc", &[], locked, "/proc")?;
    attach_new("tmpfs", &dev, Attributes::NO_SUID | Attributes::STRICT_ACCESS_TIME, "/dev")?;
    for folder in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        fs::create_dir(folder, 0o755)?;
    }
    attach_new("devpts", &pts, Attributes::NO_SUID | Attributes::NO_EXEC, "/dev/pts")?;
    attach_new("sysfs", &[], locked | Attributes::READ_ONLY, "/sys")?;
    attach_new("tmpfs", &shm, locked, "/dev/shm")?;
    attach_new("mqueue", &[], locked, "/dev/mqueue")
}

fn attach_new(kind: &str, options: &[(&str, Option<&str>)], attributes: Attributes, at: &str) -> Result<()> {
    let tree = mount::new_filesystem(kind, None, options, attributes)?;
    attach(tree.as_fd(), Path::new(at))
}

fn fill_dev() -> Result<()> {
    let here = mount::current_folder();
    for device in defaults::devices() {
        let number = (device.major as u32, device.minor as u32);
        fs::mknod_at(here, &device.path, FileKind::CharDevice, 0o666, number)?;
    }
    let links = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("pts/ptmx", "/dev/ptmx"),
        ("/proc/kcore", "/dev/core"),
    ];
    links.iter().try_for_each(|(target, name)| fs::symlink(target, name))
}

fn protect() -> Result<()> {
    for path in defaults::readonly_paths() {
        let Some(tree) = bind_if_exists(&path)? else { continue };
        mount::change(tree.as_fd(), &Change { set: Attributes::READ_ONLY, ..Change::default() })?;
        attach(tree.as_fd(), &path)?;
    }
    let mut empty = None;
    for path in defaults::masked_paths() {
        let Some(stat) = fs::lstat_if_exists(&path)? else { continue };
        let cover = if stat.is_dir() { empty_folder(&mut empty)? } else { bind("/dev/null")? };
        attach(cover.as_fd(), &path)?;
    }
    Ok(())
}

/// All share the first's file system.
fn empty_folder(first: &mut Option<OwnedFd>) -> Result<OwnedFd> {
    if first.is_none() {
        *first = Some(mount::new_filesystem("tmpfs", None, &[("mode", Some("555"))], Attributes::READ_ONLY)?);
    }
    let first = first.as_ref().map_or(mount::current_folder(), AsFd::as_fd);
    mount::bind(first, Path::new(""), false)
}

fn attach(tree: BorrowedFd<'_>, path: &Path) -> Result<()> {
    mount::attach_at(tree, mount::current_folder(), path)
}

fn bind(path: &str) -> Result<OwnedFd> {
    mount::bind(mount::current_folder(), Path::new(path), false)
}

fn bind_if_exists(path: &Path) -> Result<Option<OwnedFd>> {
    match mount::bind(mount::current_folder(), path, true) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
