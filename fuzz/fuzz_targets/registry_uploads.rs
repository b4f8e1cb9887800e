//! Any bytes as how far an upload is hashed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::server::foreign;

fuzz_target!(|bytes: &[u8]| foreign::upload_state(bytes, 1 << 20));
