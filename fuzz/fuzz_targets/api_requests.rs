//! Any bytes as the bodies and filters that clients send.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(api::from_slice::<api::container::Create>(bytes));
    drop(api::from_slice::<api::exec::Create>(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(api::filters::Filters::parse(text));
        drop(text.parse::<api::port::Port>());
    }
});
