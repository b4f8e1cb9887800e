//! Any bytes as the process of an exec, as `exec --process` takes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::runtime::Process;

fuzz_target!(|bytes: &[u8]| {
    let Ok(process) = oci::runtime::read::<Process>(bytes) else { return };
    drop(runtime::init::refused_capabilities(&process));
    drop(runtime::exec::first_affinity(&process));
    let written = serde_json::to_vec(&process).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Process>(&written).expect("and read again"), process);
});
