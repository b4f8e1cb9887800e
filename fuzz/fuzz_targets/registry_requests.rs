//! Any text as what clients say to our registry: paths, ranges, tokens, queries, manifests, names of uploads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::server::foreign;

fuzz_target!(|input: (&str, u64)| {
    let (text, size) = input;
    foreign::read(text, size);
    for media_type in [oci::media_type::OCI_MANIFEST, oci::media_type::OCI_INDEX, ""] {
        foreign::manifest(media_type, text.as_bytes());
    }
    if foreign::is_upload_id(text) {
        assert!(!text.contains(['/', '.']) && text.len() == 36, "{text}");
    }
});
