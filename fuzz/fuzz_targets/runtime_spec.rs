//! Any bytes as a bundle's config.json: its limits are planned or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::cgroup::{Layout, plan};

fuzz_target!(|bytes: &[u8]| {
    let Ok(spec) = serde_json::from_slice::<oci::runtime::Spec>(bytes) else { return };
    serde_json::to_vec(&spec).expect("what was read can be written");
    let layout = Layout::of_this_machine().expect("cgroups are mounted");
    if let Some(resources) = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
        drop(plan(resources, layout));
    }
});
