//! Device nodes and the links that programs expect in /dev (config-linux of the specification).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use fault::{Doing, Kind, Result};
use oci::runtime::DeviceRule;
use sys::fs::{self, OpenHow};
use sys::mount::{Attributes, Change};

use super::mounts::{self, host};
use super::plan::{DevicePlan, Plan};

pub(super) fn make(plan: &Plan<'_>, root: BorrowedFd<'_>) -> Result<()> {
    if !plan.fills_dev {
        return Ok(());
    }
    let dev = mounts::folder(root, Path::new("/dev"))?;
    // In a user namespace of its own nobody may make devices, so the host's are put in place.
    let cannot_make = plan.id_maps.is_some();
    for device in &plan.devices {
        let made = if cannot_make { borrow(root, device) } else { make_node(root, &dev, device) };
        made.doing(|| format!("making device {}", device.path.display()))?;
    }
    make_links(&dev)
}

fn make_node(root: BorrowedFd<'_>, dev: &OwnedFd, device: &DevicePlan<'_>) -> Result<()> {
    let (parent, name) = mounts::split(device.path)?;
    let other;
    let parent = if parent == Path::new("/dev") {
        dev
    } else {
        other = mounts::folder(root, parent)?;
        &other
    };
    match fs::mknod_at(parent, name, device.kind, device.mode, device.number) {
        // The image has a node there, or it is named twice.
        Err(error) if error.kind() == Kind::Conflict => return Ok(()),
        result => result?,
    }
    match device.owner {
        (0, 0) => Ok(()),
        (uid, gid) => fs::chown_at(parent, name, uid, gid),
    }
}

fn borrow(root: BorrowedFd<'_>, device: &DevicePlan<'_>) -> Result<()> {
    let target = mounts::file(root, device.path)?;
    let node = sys::mount::bind(host(), device.path, false)?;
    let set = Attributes::NO_SUID | Attributes::NO_EXEC;
    sys::mount::change(node.as_fd(), &Change { set, ..Change::default() })?;
    sys::mount::attach(node.as_fd(), target.as_fd())
}

/// The device rules of a specification and, at their end, what every container may do, as runc adds it: make nodes,
/// and use the default devices and terminals. No rules at all stay none.
pub(super) fn rules(wanted: &[DeviceRule]) -> Vec<DeviceRule> {
    let mut rules = wanted.to_vec();
    if rules.is_empty() {
        return rules;
    }
    for (kind, major, minor, access) in DEFAULT_RULES {
        let rule = DeviceRule {
            allow: true,
            kind: Some((*kind).to_owned()),
            major: *major,
            minor: *minor,
            access: (*access).to_owned(),
        };
        // Each is a write, so one that stands there already is left.
        if !wanted.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

const DEFAULT_RULES: &[(&str, Option<i64>, Option<i64>, &str)] = &[
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(136), None, "rwm"),
    ("c", Some(5), Some(2), "rwm"),
];

fn make_links(dev: &OwnedFd) -> Result<()> {
    for (name, target) in LINKS {
        // The kernel may be built without this one.
        if *target == KCORE && !fs::exists(KCORE)? {
            continue;
        }
        match fs::symlink_at(target, dev, name) {
            Err(error) if error.kind() == Kind::Conflict => {}
            result => result?,
        }
    }
    // Whatever the image has there: the container's own devpts is meant.
    fs::unlink_at(dev, "ptmx")
        .or_else(|error| if error.kind() == Kind::NotFound { Ok(()) } else { Err(error) })?;
    fs::symlink_at("pts/ptmx", dev, "ptmx")
}

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", KCORE),
];
const KCORE: &str = "/proc/kcore";

/// Puts the terminal at /dev/console.
pub(super) fn attach_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<()> {
    let path = Path::new("/dev/console");
    let target = match fs::open_beneath(root, path, &OpenHow::PATH) {
        Err(error) if error.kind() == Kind::NotFound => mounts::file(root, path)?,
        result => result?,
    };
    let node = sys::mount::bind(terminal, Path::new(""), false)?;
    sys::mount::attach(node.as_fd(), target.as_fd())
}
