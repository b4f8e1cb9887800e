//! Any bytes as a tar: an error or entries, never a panic, and no more memory than headers may take.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;

/// A sparse entry may describe a file of any size.
const CONTENT_MAX: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = archive::tar::Reader::new(bytes);
    while let Ok(Some(mut entry)) = reader.next() {
        let mut content = Vec::new();
        if entry.by_ref().take(CONTENT_MAX).read_to_end(&mut content).is_err() {
            return;
        }
    }
});
