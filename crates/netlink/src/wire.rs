//! The shape of every netlink message: a 16-byte header, a fixed part, then attributes that may nest; all padded to
//! four bytes (netlink(7)). Numbers are in the machine's order but where nf_tables wants network order.

use std::borrow::Cow;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

const HEADER_BYTES: usize = 16;
const FLAGS_OFFSET: usize = 6;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const NLA_F_NESTED: u16 = 0x8000;
/// Takes the flags for "nested" and "network order" off an attribute's type.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Messages that are sent in one go and carried out in order.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

/// What is known of one message of a batch, by its place (the sequence number is that place plus one).
#[derive(Debug)]
struct Step {
    /// Where its message starts.
    start: usize,
    intent: Cow<'static, str>,
    tolerated: &'static [i32],
    acknowledged: bool,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends a message; `head` is what follows the netlink header before the attributes.
    pub(crate) fn push(
        &mut self,
        intent: impl Into<Cow<'static, str>>,
        kind: u16,
        flags: u16,
        head: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        let acknowledged = flags & NLM_F_ACK != 0;
        self.steps.push(Step { start, intent: intent.into(), tolerated: &[], acknowledged });
        let sequence = u32::try_from(self.steps.len()).expect("a batch has fewer than 2^32 messages");
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(head);
        pad(&mut self.bytes);
        body(&mut Attributes { bytes: &mut self.bytes });
        let length = u32::try_from(self.bytes.len() - start).expect("a message is far below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Lets the message just pushed fail with these errors.
    pub(crate) fn tolerate(&mut self, errors: &'static [i32]) {
        if let Some(step) = self.steps.last_mut() {
            step.tolerated = errors;
        }
    }

    /// Asks for an acknowledgement of the message just pushed.
    pub(crate) fn acknowledge_last(&mut self) {
        let Some(step) = self.steps.last_mut() else { return };
        step.acknowledged = true;
        let flags = &mut self.bytes[step.start + FLAGS_OFFSET..][..2];
        let asking = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
        flags.copy_from_slice(&asking.to_ne_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// How many acknowledgements a faultless run brings.
    pub(crate) fn acknowledgements(&self) -> usize {
        self.steps.iter().filter(|step| step.acknowledged).count()
    }

    pub(crate) fn intent(&self, sequence: u32) -> &str {
        self.step(sequence).map_or("netlink", |step| step.intent.as_ref())
    }

    pub(crate) fn tolerates(&self, sequence: u32, error: i32) -> bool {
        self.step(sequence).is_some_and(|step| step.tolerated.contains(&error))
    }

    fn step(&self, sequence: u32) -> Option<&Step> {
        self.steps.get((sequence as usize).checked_sub(1)?)
    }
}

/// Writes attributes at the end of a message.
#[derive(Debug)]
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.write(kind, |bytes| bytes.extend(value));
    }

    /// Text with the closing zero that the kernel expects.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.write(kind, |bytes| {
            bytes.extend(value.as_bytes());
            bytes.push(0);
        });
    }

    pub fn byte(&mut self, kind: u16, value: u8) {
        self.put(kind, &[value]);
    }

    pub fn number(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// In network order, as nf_tables wants all its numbers.
    pub(crate) fn number_be(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        self.nested_after(kind, &[], body);
    }

    /// A nested attribute that starts with a fixed part, as the description of a veth's peer does.
    pub(crate) fn nested_after(&mut self, kind: u16, head: &[u8], body: impl FnOnce(&mut Attributes<'_>)) {
        self.write(kind | NLA_F_NESTED, |bytes| {
            bytes.extend(head);
            pad(bytes);
            body(&mut Attributes { bytes });
        });
    }

    fn write(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        body(self.bytes);
        let length = u16::try_from(self.bytes.len() - start).expect("lists are cut below 64 KiB before");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// One attribute; `kind` is without flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub kind: u16,
    pub payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub fn number(&self) -> Option<u32> {
        self.payload.try_into().ok().map(u32::from_ne_bytes)
    }

    pub(crate) fn number_be(&self) -> Option<u32> {
        self.payload.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn text(&self) -> Option<&'a str> {
        let end = self.payload.iter().position(|byte| *byte == 0).unwrap_or(self.payload.len());
        std::str::from_utf8(&self.payload[..end]).ok()
    }

    pub fn nested(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        attributes(self.payload)
    }
}

/// The messages of a datagram; ends at the first that does not fit.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(array(rest, 0)?) as usize;
        let payload = rest.get(HEADER_BYTES..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(array(rest, 4)?),
            flags: u16::from_ne_bytes(array(rest, 6)?),
            sequence: u32::from_ne_bytes(array(rest, 8)?),
            payload,
        };
        rest = after(rest, length);
        Some(message)
    })
}

/// The attributes of a message's rest; ends at the first that does not fit.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(array(rest, 0)?) as usize;
        let payload = rest.get(ATTRIBUTE_HEADER_BYTES..length)?;
        let attribute = Attribute { kind: u16::from_ne_bytes(array(rest, 2)?) & NLA_TYPE_MASK, payload };
        rest = after(rest, length);
        Some(attribute)
    })
}

/// Fixed-size bytes at an offset, if they are there.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tree of attributes to write and read back.
    #[derive(Clone, Debug, PartialEq)]
    enum Tree {
        Leaf(u16, Vec<u8>),
        Branch(u16, Vec<Self>),
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let kind = 0..NLA_TYPE_MASK;
        let leaf = (kind, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(k, v)| Tree::Leaf(k, v));
        leaf.prop_recursive(3, 24, 5, |inner| {
            (0..NLA_TYPE_MASK, proptest::collection::vec(inner, 0..5)).prop_map(|(k, v)| Tree::Branch(k, v))
        })
    }

    fn write(out: &mut Attributes<'_>, tree: &Tree) {
        match tree {
            Tree::Leaf(kind, value) => out.put(*kind, value),
            Tree::Branch(kind, inner) => {
                out.nested(*kind, |out| inner.iter().for_each(|tree| write(out, tree)));
            }
        }
    }

    fn assert_reads(attribute: &Attribute<'_>, tree: &Tree) {
        match tree {
            Tree::Leaf(kind, value) => assert_eq!((attribute.kind, attribute.payload), (*kind, &value[..])),
            Tree::Branch(kind, inner) => {
                assert_eq!(attribute.kind, *kind);
                assert_eq!(attribute.nested().count(), inner.len());
                attribute.nested().zip(inner).for_each(|(attribute, tree)| assert_reads(&attribute, tree));
            }
        }
    }

    /// Walks all that could be read in foreign bytes.
    fn walk(bytes: &[u8], depth: usize) {
        for attribute in attributes(bytes) {
            std::hint::black_box((attribute.number(), attribute.number_be(), attribute.text()));
            if depth > 0 {
                walk(attribute.payload, depth - 1);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trees in proptest::collection::vec(tree(), 0..6), kind: u16, head: [u8; 7]) {
            let mut batch = Batch::default();
            for _ in 0..2 {
                batch.push("test", kind, NLM_F_ACK, &head, |out| trees.iter().for_each(|tree| write(out, tree)));
            }
            let read: Vec<_> = messages(batch.bytes()).collect();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!(batch.acknowledgements(), 2);
            for (index, message) in read.iter().enumerate() {
                prop_assert_eq!((message.kind, message.sequence as usize), (kind, index + 1));
                prop_assert_eq!(&message.payload[..7], &head);
                prop_assert_eq!(attributes(&message.payload[8..]).count(), trees.len());
                for (attribute, tree) in attributes(&message.payload[8..]).zip(&trees) {
                    assert_reads(&attribute, tree);
                }
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            walk(&bytes, 4);
            messages(&bytes).for_each(|message| walk(message.payload, 4));
        }

        #[test]
        fn a_damaged_message_never_panics(trees in proptest::collection::vec(tree(), 0..6), at: usize, byte: u8) {
            let mut batch = Batch::default();
            batch.push("test", 1, 0, &[], |out| trees.iter().for_each(|tree| write(out, tree)));
            let mut bytes = batch.bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            messages(&bytes).for_each(|message| walk(message.payload, 4));
        }
    }
}
