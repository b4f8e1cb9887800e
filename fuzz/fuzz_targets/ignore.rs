//! Any text as ignore rules, asked about any path.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    if let Ok(matcher) = archive::ignore::Matcher::parse(input.0) {
        matcher.excludes(std::path::Path::new(input.1));
    }
});
