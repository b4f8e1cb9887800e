//! Any text as what registries say in headers: challenges, pages, ranges, waiting times, where to go on.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use registry::client::foreign;

fuzz_target!(|text: &str| {
    for challenge in foreign::challenges(text) {
        assert!(!challenge.scheme.bytes().any(|byte| byte.is_ascii_uppercase()), "{challenge:?}");
    }
    if let Some(next) = foreign::next_page(text) {
        assert!(text.contains(next), "{next}");
    }
    foreign::received(text);
    foreign::part_begins(text);
    foreign::retry_after(text, SystemTime::UNIX_EPOCH);
    let base = "https://registry.example/v2/app/blobs/uploads/".parse().expect("an address");
    if let Ok(joined) = foreign::join(&base, text) {
        foreign::same_place(&base, &joined);
    }
});
