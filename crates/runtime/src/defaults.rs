//! The parts of a spec that Docker gives every container, and those of a privileged one. Facts, not decisions: who
//! writes a spec starts from these and applies what the user asked for.

mod profile;
mod seccomp;

use std::path::{Path, PathBuf};

use fault::Result;
use oci::runtime::{Device, DeviceRule, Mount};
use sys::fs::{FileKind, Stat};

pub use profile::seccomp_profile;
pub use seccomp::seccomp;

use crate::init::CAPABILITIES;

/// The capabilities of a container, in Docker's order. The inheritable and ambient sets are empty.
pub fn capabilities() -> Vec<String> {
    strings(&[
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ])
}

/// All capabilities that there are, by number (capabilities(7)): those of a privileged container.
pub fn all_capabilities() -> Vec<String> {
    CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect()
}

/// The mounts below the container's root, in the order in which they are made. `/dev/shm` has no size yet.
pub fn mounts() -> Vec<Mount> {
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777"]),
    ];
    table
        .iter()
        .map(|(destination, kind, source, options)| Mount {
            destination: destination.into(),
            kind: (*kind).into(),
            source: source.into(),
            options: strings(options),
            ..Mount::default()
        })
        .collect()
}

/// The mounts of a privileged container: `/sys` and the cgroups may be written.
pub fn privileged_mounts() -> Vec<Mount> {
    let mut mounts = mounts();
    for mount in mounts.iter_mut().filter(|mount| mount.destination.starts_with("/sys")) {
        mount.options.retain(|option| option != "ro");
    }
    mounts
}

/// Paths that a container must not see, because they tell about the host or act on it. Those that the kernel does not
/// have are to be skipped.
pub fn masked_paths() -> Vec<PathBuf> {
    paths(&[
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ])
}

/// Paths that a container may read but not write.
pub fn readonly_paths() -> Vec<PathBuf> {
    paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
}

/// The device nodes that the runtime specification gives every container, beside `/dev/console` and `/dev/ptmx`, which
/// are no nodes of their own.
pub fn devices() -> Vec<Device> {
    let device = |(path, (major, minor)): &(&str, (u32, u32))| Device {
        path: path.into(),
        kind: "c".into(),
        major: (*major).into(),
        minor: (*minor).into(),
        file_mode: Some(0o666),
        uid: Some(0),
        gid: Some(0),
    };
    DEVICES.iter().map(device).collect()
}

/// Character devices by path: major and minor (config-linux, "Default Devices").
pub(crate) const DEVICES: &[(&str, (u32, u32))] = &[
    ("/dev/null", (1, 3)),
    ("/dev/zero", (1, 5)),
    ("/dev/full", (1, 7)),
    ("/dev/random", (1, 8)),
    ("/dev/urandom", (1, 9)),
    ("/dev/tty", (5, 0)),
];

/// What a container may do with devices: nothing at first, then make any node, and use the harmless ones.
pub fn device_rules() -> Vec<DeviceRule> {
    let usable = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 200)];
    let mut rules = vec![
        rule(false, None, None, None, "rwm"),
        rule(true, Some("c"), None, None, "m"),
        rule(true, Some("b"), None, None, "m"),
    ];
    rules.extend(usable.map(|(major, minor)| rule(true, Some("c"), Some(major), Some(minor), "rwm")));
    // Pseudo terminals of whatever number (pts(4)).
    rules.push(rule(true, Some("c"), Some(136), None, "rwm"));
    rules
}

/// A privileged container may use all devices.
pub fn privileged_device_rules() -> Vec<DeviceRule> {
    vec![rule(true, None, None, None, "rwm")]
}

/// The host's device nodes, for a privileged container: all below `/dev` but for what every container has of its own.
pub fn host_devices() -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    collect(Path::new("/dev"), &mut devices)?;
    devices.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(devices)
}

fn collect(folder: &Path, devices: &mut Vec<Device>) -> Result<()> {
    for name in sys::fs::read_dir(folder)? {
        let path = folder.join(&name);
        let own = name.to_str().is_some_and(|name| HOST_DEVICES_SKIPPED.contains(&name));
        // A device may vanish while we look.
        let Some(stat) = sys::fs::lstat_if_exists(&path)?.filter(|_| !own) else { continue };
        if stat.is_dir() {
            collect(&path, devices)?;
        } else {
            devices.extend(device(path, &stat));
        }
    }
    Ok(())
}

fn device(path: PathBuf, stat: &Stat) -> Option<Device> {
    let kind = match stat.kind() {
        FileKind::CharDevice => "c",
        FileKind::BlockDevice => "b",
        _ => return None,
    };
    let (major, minor) = stat.device();
    let (major, minor) = (major.into(), minor.into());
    let file_mode = Some(stat.permissions());
    Some(Device {
        path,
        kind: kind.into(),
        major,
        minor,
        file_mode,
        uid: Some(stat.uid),
        gid: Some(stat.gid),
    })
}

/// File systems of the container's own, and other engines' business; the console is the container's terminal.
const HOST_DEVICES_SKIPPED: &[&str] =
    &["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"];

fn rule(allow: bool, kind: Option<&str>, major: Option<i64>, minor: Option<i64>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind: kind.map(Into::into), major, minor, access: access.into() }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privilege_is_to_write_below_sys() {
        let options = |mounts: &[Mount]| -> Vec<bool> {
            mounts.iter().map(|mount| mount.options.iter().any(|option| option == "ro")).collect()
        };
        assert_eq!(options(&mounts()), [false, false, false, true, true, false, false]);
        assert_eq!(options(&privileged_mounts()), [false; 7]);
    }

    #[test]
    fn host_devices_are_nodes_outside_of_the_containers_own_places() {
        let devices = host_devices().unwrap();
        let null = devices.iter().find(|device| device.path == Path::new("/dev/null")).unwrap();
        assert_eq!((null.kind.as_str(), null.major, null.minor), ("c", 1, 3));
        assert!(!devices.iter().any(|device| device.path.starts_with("/dev/pts")));
    }

    #[test]
    fn capabilities_open_calls() {
        let names = |capabilities: &[&str]| -> Vec<String> {
            seccomp(&strings(capabilities)).syscalls.into_iter().flat_map(|rule| rule.names).collect()
        };
        let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
        assert!(!has(&names(&[]), "mount"));
        assert!(has(&names(&["CAP_SYS_ADMIN"]), "mount"));
        assert!(has(&names(&["CAP_SYS_CHROOT"]), "chroot"));
    }
}
