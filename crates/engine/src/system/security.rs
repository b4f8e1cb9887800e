//! What keeps containers in, as `info` lists it.

use fault::Result;

/// Blocks.
pub(super) fn options(unified: bool) -> Result<Vec<String>> {
    let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
    // A cgroup namespace of one's own is the default with v2 only.
    if unified && sys::fs::exists("/proc/self/ns/cgroup")? {
        options.push("name=cgroupns".into());
    }
    Ok(options)
}
