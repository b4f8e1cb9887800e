//! Any bytes on a monitor's socket, read from either end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::protocol::{Call, Event, Inbox};

fuzz_target!(|bytes: &[u8]| {
    let mut inbox = Inbox::default();
    inbox.push(bytes, Vec::new());
    while let Ok(Some(frame)) = inbox.next_frame() {
        drop(Call::read(&frame));
        drop(Event::read(&frame));
    }
});
