//! Forgetting tracked connections of an address that changes hands.
//!
//! UDP has no end of connection: without this, a client that keeps sending to a published port would go on reaching the
//! old address after the port belongs to another endpoint.

use std::net::Ipv4Addr;

use fault::Result;
use sys::errno;

use crate::channel::Channel;
use crate::wire::{Attributes, Batch, Message, NLM_F_ACK, NLM_F_DUMP, attributes};

/// NFNL_SUBSYS_CTNETLINK in the high byte, IPCTNL_MSG_CT_* in the low one.
const CT_NEW: u16 = 1 << 8;
const CT_GET: u16 = (1 << 8) | 1;
const CT_DELETE: u16 = (1 << 8) | 2;

/// `struct nfgenmsg` for AF_INET.
const HEAD: [u8; 4] = [2, 0, 0, 0];

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_PROTO_NUM: u16 = 1;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const FILTER_IP_SRC: u32 = 1;
const FILTER_PROTO_NUM: u32 = 8;

/// Forgets the connections of an IP protocol whose answers come from `address`.
pub fn forget(channel: &Channel, address: Ipv4Addr, protocol: u8) -> Result<()> {
    let mut batch = Batch::default();
    batch.push(format!("listing connections to {address}"), CT_GET, NLM_F_DUMP, &HEAD, |out| {
        answers_from(out, address, protocol);
    });
    let originals = channel.dump(&batch, |message| parse_original(message, address, protocol))?;
    let mut batch = Batch::default();
    for original in originals {
        batch.push(format!("forgetting a connection to {address}"), CT_DELETE, NLM_F_ACK, &HEAD, |out| {
            out.put(CTA_TUPLE_ORIG, &original);
        });
        batch.tolerate(&[errno::ENOENT]);
    }
    channel.commit(&batch)
}

fn answers_from(out: &mut Attributes<'_>, address: Ipv4Addr, protocol: u8) {
    out.nested(CTA_TUPLE_REPLY, |out| {
        out.nested(CTA_TUPLE_IP, |out| out.put(CTA_IP_V4_SRC, &address.octets()));
        out.nested(CTA_TUPLE_PROTO, |out| out.byte(CTA_PROTO_NUM, protocol));
    });
    out.nested(CTA_FILTER, |out| {
        out.number(CTA_FILTER_ORIG_FLAGS, 0);
        out.number(CTA_FILTER_REPLY_FLAGS, FILTER_IP_SRC | FILTER_PROTO_NUM);
    });
}

/// The connection's key, as the kernel wrote it and wants it back. What matches is checked again, because kernels before
/// 5.8 do not know the filter and list everything.
fn parse_original(message: &Message<'_>, address: Ipv4Addr, protocol: u8) -> Option<Vec<u8>> {
    if message.kind != CT_NEW {
        return None;
    }
    let all = message.payload.get(HEAD.len()..)?;
    let find = |kind| attributes(all).find(|found| found.kind == kind);
    let reply = find(CTA_TUPLE_REPLY)?;
    let within = |outer, inner| {
        let outer = reply.nested().find(|found| found.kind == outer)?;
        outer.nested().find(|found| found.kind == inner)
    };
    let source = within(CTA_TUPLE_IP, CTA_IP_V4_SRC)?;
    let proto = within(CTA_TUPLE_PROTO, CTA_PROTO_NUM)?;
    let ours = source.payload == address.octets() && proto.payload == [protocol];
    ours.then(|| find(CTA_TUPLE_ORIG)).flatten().map(|original| original.payload.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages;
    use proptest::prelude::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

    fn parse(bytes: &[u8], address: Ipv4Addr, protocol: u8) -> Option<Vec<u8>> {
        messages(bytes).find_map(|message| parse_original(&message, address, protocol))
    }

    #[test]
    fn only_what_was_asked_for_is_forgotten() {
        let mut batch = Batch::default();
        batch.push("a connection", CT_NEW, 0, &HEAD, |out| {
            out.put(CTA_TUPLE_ORIG, b"key!");
            answers_from(out, ADDRESS, 17);
        });
        assert_eq!(parse(batch.bytes(), ADDRESS, 17), Some(b"key!".to_vec()));
        assert_eq!(parse(batch.bytes(), ADDRESS, 6), None);
        assert_eq!(parse(batch.bytes(), Ipv4Addr::new(172, 17, 0, 3), 17), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_original(&Message { kind: CT_NEW, flags: 0, sequence: 1, payload: &payload }, ADDRESS, 17);
        }
    }
}
