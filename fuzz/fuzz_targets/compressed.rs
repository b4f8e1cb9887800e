//! Any bytes as a stream in whatever format: an error or plain bytes, in little memory.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;

/// A few bytes may inflate to any length.
const PLAIN_MAX: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reader) = archive::compression::reader(bytes) {
        drop(io::copy(&mut reader.take(PLAIN_MAX), &mut io::sink()));
    }
});
