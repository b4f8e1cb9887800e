//! Any bytes as the kernel's list of mounts, in which others name sources, places and options.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::cgroup::Layout;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mounts) = sys::mount::parse_mountinfo(bytes) {
        drop(Layout::from_mounts(&mounts));
    }
});
