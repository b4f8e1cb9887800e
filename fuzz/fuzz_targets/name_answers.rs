//! Any bytes as a name server's answer, as they are and behind a head that fits the question.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry::client::foreign::{Answer, Outcome, Question, name_answer};

/// Of the question.
const ID: u16 = 7;
const A: u16 = 1;

fuzz_target!(|bytes: &[u8]| {
    let question = Question::new("registry.example", A).expect("a host's name");
    name_answer(bytes, &question, ID);
    let mut fitting = question.encode(ID);
    // It answers, and the rest is the server's.
    fitting[2] |= 0x80;
    let rest = bytes.split_first_chunk::<2>().map_or(bytes, |(count, rest)| {
        fitting[6..8].copy_from_slice(count);
        rest
    });
    fitting.extend_from_slice(rest);
    if let Answer::Ours(Outcome::Found(addresses)) = name_answer(&fitting, &question, ID) {
        assert!(addresses.len() <= bytes.len(), "{addresses:?}");
    }
});
