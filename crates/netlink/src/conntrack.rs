//! Forgetting tracked connections whose packets now belong elsewhere.
//!
//! UDP has no end of connection: a client that keeps sending to a published port would go on reaching the old address after
//! the port belongs to another endpoint, or the host's own stack if it began before the port was published.

use std::net::Ipv4Addr;

use fault::Result;
use sys::errno;

use crate::channel::Channel;
use crate::wire::{Attribute, Attributes, Batch, Message, NLM_F_ACK, NLM_F_DUMP, attributes};

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
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const FILTER_IP_SRC: u32 = 1;
const FILTER_PROTO_NUM: u32 = 8;
const FILTER_PROTO_DST_PORT: u32 = 32;

/// Forgets the connections of an IP protocol whose answers come from `address`.
pub fn forget_answered_by(channel: &Channel, address: Ipv4Addr, protocol: u8) -> Result<()> {
    let wanted = |connection: &Connection<'_>| {
        (connection.reply.source, connection.reply.protocol) == (address, protocol)
    };
    forget(channel, &format!("to {address}"), |out| answers_from(out, address, protocol), wanted)
}

/// Forgets the connections to a port of these addresses that were not translated.
pub fn forget_sent_to(channel: &Channel, addresses: &[Ipv4Addr], port: u16, protocol: u8) -> Result<()> {
    let wanted = |connection: &Connection<'_>| {
        let Connection { original, reply, .. } = connection;
        (original.port, original.protocol) == (port, protocol)
            && original.destination == reply.source
            && addresses.contains(&original.destination)
    };
    forget(channel, &format!("to port {port}"), |out| sent_to(out, port, protocol), wanted)
}

/// What matches is looked at again, because kernels before 5.8 do not know the filter and list everything.
fn forget(
    channel: &Channel,
    which: &str,
    filter: impl FnOnce(&mut Attributes<'_>),
    wanted: impl Fn(&Connection<'_>) -> bool,
) -> Result<()> {
    let mut batch = Batch::default();
    batch.push(format!("listing connections {which}"), CT_GET, NLM_F_DUMP, &HEAD, filter);
    let keys = channel
        .dump(&batch, |message| parse(message).filter(&wanted).map(|connection| connection.key.to_vec()))?;
    let mut batch = Batch::default();
    for key in keys {
        batch.push(format!("forgetting a connection {which}"), CT_DELETE, NLM_F_ACK, &HEAD, |out| {
            out.put(CTA_TUPLE_ORIG, &key);
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

fn sent_to(out: &mut Attributes<'_>, port: u16, protocol: u8) {
    out.nested(CTA_TUPLE_ORIG, |out| {
        out.nested(CTA_TUPLE_PROTO, |out| {
            out.byte(CTA_PROTO_NUM, protocol);
            out.put(CTA_PROTO_DST_PORT, &port.to_be_bytes());
        });
    });
    out.nested(CTA_FILTER, |out| {
        out.number(CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT);
        out.number(CTA_FILTER_REPLY_FLAGS, 0);
    });
}

/// A tracked connection.
struct Connection<'a> {
    /// As the kernel wrote it and wants it back.
    key: &'a [u8],
    original: Tuple,
    reply: Tuple,
}

/// One direction of it.
struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    /// The destination's; 0 for protocols without ports.
    port: u16,
}

fn parse<'a>(message: &Message<'a>) -> Option<Connection<'a>> {
    if message.kind != CT_NEW {
        return None;
    }
    let all = message.payload.get(HEAD.len()..)?;
    let find = |kind| attributes(all).find(|found| found.kind == kind);
    let original = find(CTA_TUPLE_ORIG)?;
    Some(Connection {
        key: original.payload,
        original: tuple(&original)?,
        reply: tuple(&find(CTA_TUPLE_REPLY)?)?,
    })
}

fn tuple(attribute: &Attribute<'_>) -> Option<Tuple> {
    let within = |outer, inner| {
        let outer = attribute.nested().find(|found| found.kind == outer)?;
        outer.nested().find(|found| found.kind == inner).map(|found| found.payload)
    };
    let address = |kind| <[u8; 4]>::try_from(within(CTA_TUPLE_IP, kind)?).ok().map(Ipv4Addr::from);
    let [protocol] = within(CTA_TUPLE_PROTO, CTA_PROTO_NUM)?.try_into().ok()?;
    let port = within(CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT).and_then(|port| port.try_into().ok());
    Some(Tuple {
        source: address(CTA_IP_V4_SRC)?,
        destination: address(CTA_IP_V4_DST)?,
        protocol,
        port: port.map_or(0, u16::from_be_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

    fn put(out: &mut Attributes<'_>, kind: u16, [source, destination]: [Ipv4Addr; 2], port: u16) {
        out.nested(kind, |out| {
            out.nested(CTA_TUPLE_IP, |out| {
                out.put(CTA_IP_V4_SRC, &source.octets());
                out.put(CTA_IP_V4_DST, &destination.octets());
            });
            out.nested(CTA_TUPLE_PROTO, |out| {
                out.byte(CTA_PROTO_NUM, 17);
                out.put(CTA_PROTO_DST_PORT, &port.to_be_bytes());
            });
        });
    }

    #[test]
    fn both_directions_and_the_key_are_read() {
        let mut batch = Batch::default();
        batch.push("a connection", CT_NEW, 0, &HEAD, |out| {
            put(out, CTA_TUPLE_ORIG, [CLIENT, HOST], 53);
            put(out, CTA_TUPLE_REPLY, [HOST, CLIENT], 4000);
        });
        let messages: Vec<_> = crate::wire::messages(batch.bytes()).collect();
        let connection = parse(&messages[0]).unwrap();
        let Connection { original, reply, key } = &connection;
        assert_eq!((original.source, original.destination, original.port), (CLIENT, HOST, 53));
        assert_eq!((reply.source, reply.destination, reply.port, reply.protocol), (HOST, CLIENT, 4000, 17));
        assert_eq!(*key, &messages[0].payload[8..8 + key.len()]);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&Message { kind: CT_NEW, flags: 0, sequence: 1, payload: &payload });
        }
    }
}
