//! Namespaces: entered, left, made.
//!
//! A thread that has entered another mount or user namespace cannot be trusted with anything else, so a process with
//! several threads enters only on a throw-away thread ([`in_namespace`]).

use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use fault::{Call, Error, Result};

use crate::raw::check;

/// A set of kinds of namespaces, `CLONE_NEW*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    pub const NONE: Self = Self(0);
    pub const TIME: Self = Self(0x80);
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u32);
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u32);
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u32);
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u32);
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u32);
    pub const PID: Self = Self(libc::CLONE_NEWPID as u32);
    pub const NET: Self = Self(libc::CLONE_NEWNET as u32);

    pub fn bits(self) -> u32 {
        self.0
    }

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

    /// The name of a single kind's link under /proc/PID/ns.
    pub fn link(self) -> Option<&'static str> {
        LINKS.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name)
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const LINKS: &[(Kinds, &str)] = &[
    (Kinds::TIME, "time"),
    (Kinds::MOUNT, "mnt"),
    (Kinds::CGROUP, "cgroup"),
    (Kinds::UTS, "uts"),
    (Kinds::IPC, "ipc"),
    (Kinds::USER, "user"),
    (Kinds::PID, "pid"),
    (Kinds::NET, "net"),
];

/// Moves the calling thread into namespaces. `target` is a namespace of the one kind given, or a pidfd, whose
/// process's namespaces of all kinds given are entered at once, the user namespace first.
pub fn setns(target: BorrowedFd<'_>, kinds: Kinds) -> Result<()> {
    // SAFETY: no memory is passed; what a thread's namespaces are is no matter of memory safety.
    let result = unsafe { libc::setns(target.as_raw_fd(), kinds.0 as i32) };
    check(i64::from(result)).call(|| format!("setns {}", describe(kinds)))?;
    Ok(())
}

/// Gives the calling thread new namespaces. A new pid namespace is for its children only.
pub fn unshare(kinds: Kinds) -> Result<()> {
    raw_unshare(kinds.0 as i32).call(|| format!("unshare {}", describe(kinds)))
}

fn raw_unshare(flags: i32) -> io::Result<()> {
    // SAFETY: no memory is passed; what a thread's namespaces are is no matter of memory safety.
    check(i64::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// A handle to a namespace of `pid` ("self" or a number) that holds it alive.
pub fn open(pid: &str, kind: Kinds) -> Result<OwnedFd> {
    let link = kind.link().ok_or_else(|| Error::internal("one kind of namespace at a time"))?;
    open_path(Path::new(&format!("/proc/{pid}/ns/{link}")))
}

/// As [`open`], from a path that a user named.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call(|| format!("open {}", path.display()))
}

/// Where another process finds a namespace that this one holds open; no longer than it is held.
pub fn path_of(namespace: &OwnedFd) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd()).into()
}

/// Whether the calling thread and process `pid` share the namespace of this one kind.
pub fn is_shared_with(pid: i32, kind: Kinds) -> Result<bool> {
    let link = kind.link().ok_or_else(|| Error::internal("one kind of namespace at a time"))?;
    let stat = |path: String| rustix::fs::stat(path.as_str()).call(|| format!("stat {path}"));
    let own = stat(format!("/proc/thread-self/ns/{link}"))?;
    let other = stat(format!("/proc/{pid}/ns/{link}"))?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// Whether the calling thread is in this namespace of the one kind given.
pub fn is_own(namespace: BorrowedFd<'_>, kind: Kinds) -> Result<bool> {
    let link = kind.link().ok_or_else(|| Error::internal("one kind of namespace at a time"))?;
    let path = format!("/proc/thread-self/ns/{link}");
    let own = rustix::fs::stat(path.as_str()).call(|| format!("stat {path}"))?;
    let other = rustix::fs::fstat(namespace).call(|| "fstat of a namespace")?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// Runs `f` on a throw-away thread inside namespaces (see [`setns`]). Not for user namespaces: the kernel lets no
/// process with several threads enter one.
pub fn in_namespace<T: Send>(
    target: BorrowedFd<'_>,
    kinds: Kinds,
    f: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    on_thread(|| {
        if kinds.contains(Kinds::MOUNT) {
            // setns(2): a mount namespace is entered only by who shares root and cwd with no other thread.
            raw_unshare(libc::CLONE_FS).call(|| "unshare fs")?;
        }
        setns(target, kinds)?;
        f()
    })
}

/// Runs `f` on a throw-away thread with namespaces of its own, which end with the thread unless `f` keeps a handle.
/// A new mount namespace gets nothing back to the one it was copied from.
pub fn in_new_namespace<T: Send>(kinds: Kinds, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_thread(|| {
        unshare(kinds)?;
        if kinds.contains(Kinds::MOUNT) {
            crate::mount::set_propagation(
                rustix::fs::CWD,
                Path::new("/"),
                crate::mount::Propagation::Slave,
                true,
            )?;
        }
        f()
    })
}

fn on_thread<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(THREAD_STACK_BYTES)
            .spawn_scoped(scope, f)
            .call(|| "starting a thread")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

const THREAD_STACK_BYTES: usize = 1024 * 1024;

/// Runs `f` inside other namespaces, then comes back; for a caller with one thread. Each target is a namespace of one
/// kind; pid namespaces hold for the children that `f` makes. User and mount namespaces cannot be left again and are
/// refused. If the way back is barred the process ends: it must not go on living in a container.
pub fn visit<T>(targets: &[(Kinds, BorrowedFd<'_>)], f: impl FnOnce() -> Result<T>) -> Result<T> {
    if targets.iter().any(|(kind, _)| *kind == Kinds::USER || *kind == Kinds::MOUNT) {
        return Err(Error::internal("user and mount namespaces cannot be visited"));
    }
    let mut ways_back = Vec::with_capacity(targets.len());
    let mut entered = Ok(());
    for (kind, target) in targets {
        let home = open("self", *kind)?;
        entered = setns(*target, *kind);
        if entered.is_err() {
            break;
        }
        ways_back.push(Home { kind: *kind, namespace: home });
    }
    entered?;
    f()
    // Dropping `ways_back` leads home, in a panic and after a failed entry too.
}

/// Runs `f` in a process with a single thread; the children that `f` makes are born in a new time namespace, whose
/// clocks are `offsets` ahead, written as time_namespaces(7) has it. The offsets stand from the first child on, so they
/// cannot be left to the child.
pub fn visit_new_time<T>(offsets: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    let _way_back = Home { kind: Kinds::TIME, namespace: open("self", Kinds::TIME)? };
    unshare(Kinds::TIME)?;
    if !offsets.is_empty() {
        let file = "/proc/self/timens_offsets";
        std::fs::write(file, offsets).call(|| format!("write {offsets:?} to {file}"))?;
    }
    f()
}

/// The way back of [`visit`].
struct Home {
    kind: Kinds,
    namespace: OwnedFd,
}

impl Drop for Home {
    fn drop(&mut self) {
        if setns(self.namespace.as_fd(), self.kind).is_err() {
            std::process::abort();
        }
    }
}

/// Names the machine, in the caller's UTS namespace.
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).call(|| "sethostname")
}

/// The NIS domain, in the caller's UTS namespace.
pub fn set_domainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).call(|| "setdomainname")
}

/// Sets `lo` up in the caller's network namespace; the kernel then gives it its addresses.
pub fn set_loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket")?;
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the ioctl reads an ifreq, which lives during the call.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) };
    check(i64::from(result)).call(|| "setting lo up")?;
    Ok(())
}

fn describe(kinds: Kinds) -> String {
    let names: Vec<_> =
        LINKS.iter().filter(|(kind, _)| kinds.contains(*kind)).map(|(_, name)| *name).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostname() -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    #[test]
    fn a_thread_enters_and_the_process_stays() {
        let before = hostname();
        let uts = in_new_namespace(Kinds::UTS, || {
            rustix::system::sethostname(b"kogge-test").call(|| "sethostname")?;
            open("thread-self", Kinds::UTS)
        })
        .unwrap();
        assert_eq!(hostname(), before);
        let inside = in_namespace(uts.as_fd(), Kinds::UTS, || Ok(hostname())).unwrap();
        assert_eq!(inside, "kogge-test");
        assert_eq!(hostname(), before);
    }

    #[test]
    fn a_new_mount_namespace_gives_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        in_new_namespace(Kinds::MOUNT, || {
            crate::mount::mount_legacy("none", &path, "tmpfs", 0, "")?;
            std::fs::write(path.join("inside"), "").call(|| "write")
        })
        .unwrap();
        assert!(!path.join("inside").exists());
    }

    #[test]
    fn namespaces_are_compared() {
        let me = std::process::id() as i32;
        assert!(is_shared_with(me, Kinds::NET).unwrap());
        let same = in_new_namespace(Kinds::NET, || is_shared_with(me, Kinds::NET)).unwrap();
        assert!(!same);
    }
}
