//! Any bytes as what registries and token servers answer: manifests, refusals, tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::client::foreign;

fuzz_target!(|input: (u16, Option<&str>, &[u8])| {
    let (status, content_type, bytes) = input;
    foreign::document(status, content_type, bytes);
});
