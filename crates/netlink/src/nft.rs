//! nf_tables: tables, chains, rules, maps and their elements, changed in whole transactions.
//!
//! All for the `ip` family. A transaction is carried out entirely or not at all.

mod expr;

pub use expr::{CtKey, Expr, MetaKey, PayloadBase, Register, Verdict};

use std::collections::BTreeSet;

use fault::{Error, Result};

use crate::channel::Channel;
use crate::wire::{
    Attribute, Attributes, Batch, Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, attributes,
};

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEWTABLE: u16 = SUBSYSTEM << 8;
const DELTABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEWCHAIN: u16 = (SUBSYSTEM << 8) | 3;
const GETCHAIN: u16 = (SUBSYSTEM << 8) | 4;
const NEWRULE: u16 = (SUBSYSTEM << 8) | 6;
const NEWSET: u16 = (SUBSYSTEM << 8) | 9;
const NEWSETELEM: u16 = (SUBSYSTEM << 8) | 12;
const GETSETELEM: u16 = (SUBSYSTEM << 8) | 13;
const DELSETELEM: u16 = (SUBSYSTEM << 8) | 14;

const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_SET_MAP: u32 = 8;

/// Elements of one message: keeps its list far below the 64 KiB that an attribute can hold.
const ELEMENTS_A_MESSAGE_MAX: usize = 256;

/// Where in a packet's way through the host a chain is called (`enum nf_inet_hooks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Prerouting = 0,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    Filter,
    Nat,
}

/// A base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    pub name: &'a str,
    pub kind: ChainKind,
    pub hook: Hook,
    pub priority: i32,
    /// What happens to packets that no rule decides about.
    pub policy: Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Drop = 0,
    Accept = 1,
}

/// The parts of a key or value: each has its place in a four-byte slot (`nft`'s concatenation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Address,
    Proto,
    Port,
}

impl Part {
    /// The number by which the `nft` command knows the type; the kernel only stores it.
    fn kind(self) -> u32 {
        match self {
            Self::Address => 7,
            Self::Proto => 12,
            Self::Port => 13,
        }
    }
}

/// A map from one concatenation to another.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    pub name: &'a str,
    pub key: &'a [Part],
    pub value: &'a [Part],
}

/// An entry of a map. Both sides are padded to four bytes a part, in network order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// A change of one table, sent by [`Transaction::commit`].
#[derive(Debug)]
pub struct Transaction<'a> {
    table: &'a str,
    batch: Batch,
    maps: u32,
}

impl<'a> Transaction<'a> {
    pub fn new(table: &'a str) -> Self {
        let mut batch = Batch::default();
        batch.push("beginning a transaction", NFNL_MSG_BATCH_BEGIN, 0, &transaction_head(), |_| {});
        Self { table, batch, maps: 0 }
    }

    /// Adds the table; one that is there is fine.
    pub fn add_table(&mut self) {
        let table = self.table;
        self.push("adding table", table, NEWTABLE, NLM_F_CREATE, |out| out.text(NFTA_TABLE_NAME, table));
    }

    /// Deletes the table with all that is in it.
    pub fn delete_table(&mut self) {
        let table = self.table;
        self.push("deleting table", table, DELTABLE, 0, |out| out.text(NFTA_TABLE_NAME, table));
    }

    pub fn add_chain(&mut self, chain: &Chain<'_>) {
        let table = self.table;
        self.push("adding chain", chain.name, NEWCHAIN, NLM_F_CREATE, |out| {
            out.text(NFTA_CHAIN_TABLE, table);
            out.text(NFTA_CHAIN_NAME, chain.name);
            out.nested(NFTA_CHAIN_HOOK, |out| {
                out.number_be(NFTA_HOOK_HOOKNUM, chain.hook as u32);
                out.number_be(NFTA_HOOK_PRIORITY, chain.priority.cast_unsigned());
            });
            out.number_be(NFTA_CHAIN_POLICY, chain.policy as u32);
            out.text(NFTA_CHAIN_TYPE, if chain.kind == ChainKind::Nat { "nat" } else { "filter" });
        });
    }

    pub fn add_rule(&mut self, chain: &str, expressions: &[Expr]) {
        let table = self.table;
        self.push("adding a rule to chain", chain, NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |out| {
            out.text(NFTA_RULE_TABLE, table);
            out.text(NFTA_RULE_CHAIN, chain);
            out.nested(NFTA_RULE_EXPRESSIONS, |out| {
                for expression in expressions {
                    out.nested(NFTA_LIST_ELEM, |out| expression.write(out));
                }
            });
        });
    }

    pub fn add_map(&mut self, map: &Map<'_>) {
        let table = self.table;
        self.maps += 1;
        let id = self.maps;
        self.push("adding map", map.name, NEWSET, NLM_F_CREATE, |out| {
            out.text(NFTA_SET_TABLE, table);
            out.text(NFTA_SET_NAME, map.name);
            out.number_be(NFTA_SET_FLAGS, NFT_SET_MAP);
            out.number_be(NFTA_SET_KEY_TYPE, kind(map.key));
            out.number_be(NFTA_SET_KEY_LEN, length(map.key));
            out.number_be(NFTA_SET_DATA_TYPE, kind(map.value));
            out.number_be(NFTA_SET_DATA_LEN, length(map.value));
            out.number_be(NFTA_SET_ID, id);
        });
    }

    /// Adds entries; one that is there with the same value is fine.
    pub fn add_elements(&mut self, map: &str, elements: &[Element]) {
        for some in elements.chunks(ELEMENTS_A_MESSAGE_MAX) {
            self.elements("adding elements to map", map, NEWSETELEM, NLM_F_CREATE, some);
        }
    }

    pub fn delete_elements(&mut self, map: &str, elements: &[Element]) {
        for some in elements.chunks(ELEMENTS_A_MESSAGE_MAX) {
            self.elements("deleting elements of map", map, DELSETELEM, 0, some);
        }
    }

    /// Sends it. Only the last message is acknowledged: the kernel answers after all of them are in force.
    pub fn commit(mut self, channel: &Channel) -> Result<()> {
        if self.batch.len() == 1 {
            return Ok(());
        }
        self.batch.acknowledge_last();
        self.batch.push("ending a transaction", NFNL_MSG_BATCH_END, 0, &transaction_head(), |_| {});
        channel.commit(&self.batch)
    }

    fn elements(&mut self, doing: &str, map: &str, message: u16, flags: u16, elements: &[Element]) {
        let table = self.table;
        self.push(doing, map, message, flags, |out| {
            out.text(NFTA_SET_ELEM_LIST_TABLE, table);
            out.text(NFTA_SET_ELEM_LIST_SET, map);
            out.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |out| {
                for element in elements {
                    out.nested(NFTA_LIST_ELEM, |out| write_element(out, element));
                }
            });
        });
    }

    fn push(
        &mut self,
        doing: &str,
        name: &str,
        message: u16,
        flags: u16,
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.batch.push(format!("{doing} {name}"), message, flags, &head(NFPROTO_IPV4), body);
    }
}

fn write_element(out: &mut Attributes<'_>, element: &Element) {
    out.nested(NFTA_SET_ELEM_KEY, |out| out.put(NFTA_DATA_VALUE, &element.key));
    out.nested(NFTA_SET_ELEM_DATA, |out| out.put(NFTA_DATA_VALUE, &element.value));
}

/// `struct nfgenmsg`: family, version, resource.
fn head(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

/// The frame of a transaction names the subsystem as its resource, in network order.
fn transaction_head() -> [u8; 4] {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    [NFPROTO_UNSPEC, 0, high, low]
}

/// `nft` packs the types of a concatenation into one number, six bits each.
fn kind(parts: &[Part]) -> u32 {
    parts.iter().fold(0, |kind, part| (kind << 6) | part.kind())
}

fn length(parts: &[Part]) -> u32 {
    parts.iter().map(|_| 4).sum()
}

/// A base chain that somebody has, as far as we look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    pub family: Family,
    pub table: String,
    pub name: String,
    pub hook: u32,
    pub priority: i32,
    pub policy: Policy,
}

/// The families whose chains see IPv4 packets on their way through a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ip,
    Inet,
}

/// All base chains of the host that see IPv4 packets.
pub fn base_chains(channel: &Channel) -> Result<Vec<BaseChain>> {
    let mut batch = Batch::default();
    batch.push("listing chains", GETCHAIN, NLM_F_DUMP, &head(NFPROTO_UNSPEC), |_| {});
    channel.dump(&batch, parse_chain)
}

/// The entries of a map in the order of their keys; an error with `NotFound` if there is none.
///
/// While the map's table grows the kernel lists an entry that moves twice or not at all (`rhashtable_walk_next`), so what
/// two lists agree on is told.
pub fn elements(channel: &Channel, table: &str, map: &str) -> Result<Vec<Element>> {
    let mut found = elements_once(channel, table, map)?;
    for _ in 0..LISTS_MAX {
        let again = elements_once(channel, table, map)?;
        if again == found {
            return Ok(found.into_iter().collect());
        }
        found = again;
    }
    Err(Error::unavailable(format!("map {map} of table {table} changes all the time")))
}

/// A table has grown after a few.
const LISTS_MAX: usize = 100;

fn elements_once(channel: &Channel, table: &str, map: &str) -> Result<BTreeSet<Element>> {
    let mut batch = Batch::default();
    batch.push(format!("listing map {map}"), GETSETELEM, NLM_F_DUMP, &head(NFPROTO_IPV4), |out| {
        out.text(NFTA_SET_ELEM_LIST_TABLE, table);
        out.text(NFTA_SET_ELEM_LIST_SET, map);
    });
    Ok(channel.dump(&batch, parse_elements)?.into_iter().flatten().collect())
}

fn parse_chain(message: &Message<'_>) -> Option<BaseChain> {
    if message.kind != NEWCHAIN {
        return None;
    }
    let family = match *message.payload.first()? {
        NFPROTO_INET => Family::Inet,
        NFPROTO_IPV4 => Family::Ip,
        _ => return None,
    };
    let all = message.payload.get(4..)?;
    let find = |kind| attributes(all).find(|attribute| attribute.kind == kind);
    let hook = find(NFTA_CHAIN_HOOK)?;
    let within = |kind| hook.nested().find(|attribute| attribute.kind == kind)?.number_be();
    Some(BaseChain {
        family,
        table: find(NFTA_CHAIN_TABLE)?.text()?.to_string(),
        name: find(NFTA_CHAIN_NAME)?.text()?.to_string(),
        hook: within(NFTA_HOOK_HOOKNUM)?,
        priority: within(NFTA_HOOK_PRIORITY)?.cast_signed(),
        policy: if find(NFTA_CHAIN_POLICY)?.number_be()? == 0 { Policy::Drop } else { Policy::Accept },
    })
}

fn parse_elements(message: &Message<'_>) -> Option<Vec<Element>> {
    if message.kind != NEWSETELEM {
        return None;
    }
    let all = message.payload.get(4..)?;
    let list = attributes(all).find(|attribute| attribute.kind == NFTA_SET_ELEM_LIST_ELEMENTS)?;
    Some(list.nested().filter_map(|element| parse_element(&element)).collect())
}

fn parse_element(element: &Attribute<'_>) -> Option<Element> {
    let value = |kind| {
        let data = element.nested().find(|attribute| attribute.kind == kind)?;
        let value = data.nested().find(|attribute| attribute.kind == NFTA_DATA_VALUE)?;
        Some(value.payload.to_vec())
    };
    Some(Element { key: value(NFTA_SET_ELEM_KEY)?, value: value(NFTA_SET_ELEM_DATA)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages;
    use proptest::prelude::*;

    fn element() -> impl Strategy<Value = Element> {
        (any::<[u8; 12]>(), any::<[u8; 8]>())
            .prop_map(|(key, value)| Element { key: key.to_vec(), value: value.to_vec() })
    }

    proptest! {
        #[test]
        fn elements_are_read_as_written(elements in proptest::collection::vec(element(), 0..600)) {
            let mut change = Transaction::new("t");
            change.add_elements("m", &elements);
            let read: Vec<Element> =
                messages(change.batch.bytes()).filter_map(|message| parse_elements(&message)).flatten().collect();
            prop_assert_eq!(read, elements);
        }

        #[test]
        fn foreign_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in [NEWCHAIN, NEWSETELEM] {
                let message = Message { kind, flags: 0, sequence: 1, payload: &payload };
                drop((parse_chain(&message), parse_elements(&message)));
            }
        }
    }

    #[test]
    fn a_chain_is_read_as_written() {
        let mut change = Transaction::new("t");
        change.add_chain(&Chain {
            name: "c",
            kind: ChainKind::Filter,
            hook: Hook::Forward,
            priority: -5,
            policy: Policy::Drop,
        });
        let read: Vec<BaseChain> = messages(change.batch.bytes()).filter_map(|m| parse_chain(&m)).collect();
        let [chain] = &read[..] else { panic!("{read:?}") };
        assert_eq!(
            (chain.table.as_str(), chain.name.as_str(), chain.hook, chain.priority),
            ("t", "c", 2, -5)
        );
    }
}
