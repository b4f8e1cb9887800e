//! What keeps containers in, as `info` lists it.

use fault::Result;

use crate::resolve::Confinement;

/// Blocks.
pub(super) fn options(unified: bool) -> Result<Vec<String>> {
    let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
    // A cgroup namespace of one's own is the default with v2 only.
    if unified && sys::fs::exists("/proc/self/ns/cgroup")? {
        options.push("name=cgroupns".into());
    }
    Ok(options)
}

/// What this kernel confines with beside namespaces and filters. Blocks.
pub(crate) fn confinement() -> Result<Confinement> {
    let apparmor = sys::fs::read_to_string_if_exists("/sys/module/apparmor/parameters/enabled")?;
    Ok(Confinement {
        apparmor: apparmor.is_some_and(|text| text.starts_with('Y')),
        // Only SELinux itself mounts this, and only when it is on.
        selinux: sys::fs::exists("/sys/fs/selinux/enforce")?,
    })
}
