//! Any bytes as the documents of an image.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(serde_json::from_slice::<oci::Manifest>(bytes));
    drop(serde_json::from_slice::<oci::Index>(bytes));
    if let Ok(image) = serde_json::from_slice::<oci::Image>(bytes) {
        serde_json::to_vec(&image).expect("what was read can be written");
    }
});
