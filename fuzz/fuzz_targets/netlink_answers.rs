//! Any bytes as an answer of the kernel: messages, their attributes, and the attributes nested in those.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netlink::{Attribute, attributes, messages};

fuzz_target!(|bytes: &[u8]| {
    for message in messages(bytes) {
        attributes(message.payload).for_each(|attribute| look(&attribute, DEPTH_MAX));
    }
});

fn look(attribute: &Attribute<'_>, depth: u32) {
    let (_, _) = (attribute.number(), attribute.text());
    if depth > 0 {
        attribute.nested().for_each(|inner| look(&inner, depth - 1));
    }
}

/// As deep as the kernel's own tables nest.
const DEPTH_MAX: u32 = 4;
