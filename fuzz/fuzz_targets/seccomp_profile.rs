//! Any bytes as a seccomp profile, as `--security-opt seccomp=…` takes it; what is understood compiles or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(profile) = runtime::defaults::seccomp_profile(text, &[]) {
        drop(runtime::seccomp::compile(&profile));
    }
});
