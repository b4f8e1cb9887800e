//! Overlay mounts, with the newer calls or, where those cannot do it, with mount(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use fault::{Call, Error, Result};
use rustix::fs::{CWD, Mode, OFlags};

use super::filesystem::Context;
use super::{Attributes, Change, Propagation, bind, change, mount_legacy};
use crate::namespace::{self, Kinds};

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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::mount::mountinfo;

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
}
