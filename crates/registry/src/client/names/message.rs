//! One question to a name server and its answer (RFC 1035, 4): sans I/O, bounded, foreign bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host's IPv4 address.
pub(crate) const A: u16 = 1;
/// A host's IPv6 address.
pub(crate) const AAAA: u16 = 28;

/// A name and the kind of record that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    labels: Vec<Vec<u8>>,
    kind: u16,
}

/// What a message is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Ours(Outcome),
    /// Nothing that answers this question.
    Foreign,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Found(Vec<IpAddr>),
    NoSuchName,
    /// Not all of the answer fitted.
    Truncated,
    /// The server failed, or does not keep to the protocol.
    Misbehaving,
}

impl Question {
    /// `None` if the text is no host's name.
    pub fn new(name: &str, kind: u16) -> Option<Self> {
        let labels: Vec<Vec<u8>> =
            name.split('.').map(|label| label.to_ascii_lowercase().into_bytes()).collect();
        let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label = |label: &Vec<u8>| (1..=63).contains(&label.len()) && label.iter().all(is_inner);
        (name.len() <= NAME_BYTES_MAX && labels.iter().all(is_label)).then_some(Self { labels, kind })
    }

    /// A query that wants recursion.
    pub fn encode(&self, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in &self.labels {
            message.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
            message.extend(label);
        }
        message.push(0);
        message.extend(self.kind.to_be_bytes());
        message.extend(INTERNET.to_be_bytes());
        message
    }
}

/// Reads a server's message. Addresses count whatever name they stand under: the question's, or an alias of it.
pub fn read(message: &[u8], question: &Question, id: u16) -> Answer {
    let sent = question.encode(id);
    let (Some(head), Some(asked)) = (message.get(..HEAD), message.get(HEAD..sent.len())) else {
        return Answer::Foreign;
    };
    let is_response = head[2] & RESPONSE != 0 && head[4..6] == [0, 1];
    if head[..2] != sent[..2] || !is_response || !asked.eq_ignore_ascii_case(&sent[HEAD..]) {
        return Answer::Foreign;
    }
    let records = u16::from_be_bytes([head[6], head[7]]);
    Answer::Ours(match (head[2] & TRUNCATED != 0, head[3] & 0xf) {
        (_, NAME_ERROR) => Outcome::NoSuchName,
        (_, 1..) => Outcome::Misbehaving,
        (true, _) => Outcome::Truncated,
        (false, _) => addresses(&message[sent.len()..], records, question.kind)
            .map_or(Outcome::Misbehaving, Outcome::Found),
    })
}

fn addresses(mut rest: &[u8], records: u16, kind: u16) -> Option<Vec<IpAddr>> {
    let mut found = Vec::new();
    for _ in 0..records {
        rest = skip_name(rest)?;
        let (fixed, after) = rest.split_at_checked(10)?;
        let length = u16::from_be_bytes([fixed[8], fixed[9]]);
        let (data, after) = after.split_at_checked(length.into())?;
        rest = after;
        if fixed[..4] == [kind.to_be_bytes(), INTERNET.to_be_bytes()].concat() && found.len() < ADDRESSES_MAX
        {
            found.push(address(data)?);
        }
    }
    Some(found)
}

fn address(data: &[u8]) -> Option<IpAddr> {
    match data.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
        _ => None,
    }
}

/// Labels, ended by an empty one or by a pointer to others (4.1.4); where those are does not matter here.
fn skip_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (&first, after) = rest.split_first()?;
        match first {
            0 => return Some(after),
            1..=63 => rest = after.get(first.into()..)?,
            0xc0.. => return after.get(1..),
            _ => return None,
        }
    }
}

const HEAD: usize = 12;
const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const NAME_ERROR: u8 = 3;
const INTERNET: u16 = 1;
const NAME_BYTES_MAX: usize = 253;
/// More than anybody connects to.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server answers that knows `registry.known.example` only, by an alias.
    pub(crate) fn answer(question: &[u8], truncated: bool) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] |= RESPONSE | if truncated { TRUNCATED } else { 0 };
        let is_known = question.windows(8).any(|window| window == b"registry")
            && question.windows(5).any(|window| window == b"known");
        if !is_known {
            message[2] &= !TRUNCATED;
            message[3] = NAME_ERROR;
            return message;
        }
        if truncated {
            return message;
        }
        message[7] = 2;
        message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\0\0\x03\x01a\0");
        if question[question.len() - 3] == 1 {
            message.extend(b"\x01a\0\0\x01\0\x01\0\0\0\0\0\x04\xc0\0\x02\x07");
        } else {
            message.extend(b"\x01a\0\0\x1c\0\x01\0\0\0\0\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07");
        }
        message
    }

    fn question() -> Question {
        Question::new("Registry.known.example", A).unwrap()
    }

    #[test]
    fn an_answer_is_read_through_its_aliases() {
        let answer = answer(&question().encode(7), false);
        let found = Outcome::Found(vec![Ipv4Addr::new(192, 0, 2, 7).into()]);
        assert_eq!(read(&answer, &question(), 7), Answer::Ours(found));
    }

    #[test]
    fn what_answers_something_else_is_foreign() {
        let right = answer(&question().encode(7), false);
        assert_eq!(read(&right, &question(), 8), Answer::Foreign);
        let other = Question::new("registry.known.exampl3", A).unwrap();
        assert_eq!(read(&right, &other, 7), Answer::Foreign);
        let aaaa = Question::new("registry.known.example", AAAA).unwrap();
        assert_eq!(read(&right, &aaaa, 7), Answer::Foreign);
        assert_eq!(read(&question().encode(7), &question(), 7), Answer::Foreign);
        assert_eq!(read(b"", &question(), 7), Answer::Foreign);
    }

    #[test]
    fn only_host_names_are_asked_for() {
        for name in ["", ".", "a..b", "a b", "ä", &"a".repeat(64), &"a.".repeat(127)] {
            assert_eq!(Question::new(name, A), None, "{name}");
        }
        assert!(Question::new("a_b.c-d", A).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes, &question(), 0);
        }

        #[test]
        fn no_damage_panics(at in 0..80_usize, byte: u8, cut in 0..80_usize) {
            let mut damaged = answer(&question().encode(7), false);
            let at = at % damaged.len();
            damaged[at] = byte;
            damaged.truncate(cut);
            read(&damaged, &question(), 7);
        }
    }
}
