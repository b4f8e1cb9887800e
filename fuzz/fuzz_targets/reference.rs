//! Any text as an image's name: what parses reads back from its own canonical form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::Reference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let again = Reference::parse(&reference.canonical()).expect("a canonical name is a name");
        assert_eq!(again, reference);
    }
});
