//! The expressions that rules are made of: a small register machine with 16 registers of four bytes.

use crate::wire::Attributes;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;

const NFT_REG_VERDICT: u32 = 0;
const NFT_REG32_00: u32 = 8;
const NFPROTO_IPV4: u32 = 2;
const NFT_NAT_DNAT: u32 = 1;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 2;

/// One of the registers, counted from 0. A value longer than four bytes fills those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u32);

impl Register {
    fn number(self) -> u32 {
        NFT_REG32_00 + self.0
    }
}

/// What a packet carries beside its bytes (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    InputName = 6,
    OutputName = 7,
    Proto = 16,
}

/// What connection tracking knows (`enum nft_ct_keys`); bits in the machine's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKey {
    State = 0,
    Status = 2,
}

/// Where an offset counts from (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    Network = 1,
    Transport = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    /// Leave the chain.
    Return,
}

impl Verdict {
    fn code(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Return => (-5_i32).cast_unsigned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    Meta {
        key: MetaKey,
        to: Register,
    },
    Payload {
        base: PayloadBase,
        offset: u32,
        length: u32,
        to: Register,
    },
    Ct {
        key: CtKey,
        to: Register,
    },
    /// The type of the destination address (`RTN_LOCAL` …).
    DestinationType {
        to: Register,
    },
    /// `to = to & mask`
    Mask {
        register: Register,
        mask: Vec<u8>,
    },
    /// Goes on with the next rule unless the register has (`equal`), or has not, this value.
    Compare {
        register: Register,
        equal: bool,
        value: Vec<u8>,
    },
    /// Goes on with the next rule unless the map has the key; its value comes from `to` on.
    Lookup {
        map: String,
        key: Register,
        to: Register,
    },
    Counter,
    /// Translates the destination to the address in one register and the port in another.
    Dnat {
        address: Register,
        port: Register,
    },
    Masquerade,
    Verdict(Verdict),
}

impl Expr {
    pub(crate) fn write(&self, out: &mut Attributes<'_>) {
        out.text(NFTA_EXPR_NAME, self.name());
        out.nested(NFTA_EXPR_DATA, |out| self.write_body(out));
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Ct { .. } => "ct",
            Self::DestinationType { .. } => "fib",
            Self::Mask { .. } => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Lookup { .. } => "lookup",
            Self::Counter => "counter",
            Self::Dnat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Verdict(_) => "immediate",
        }
    }

    /// The attributes' numbers are those of `NFTA_META_*`, `NFTA_PAYLOAD_*` and so on, in the order of the header file.
    fn write_body(&self, out: &mut Attributes<'_>) {
        match self {
            Self::Meta { key, to } => numbers(out, &[(1, to.number()), (2, *key as u32)]),
            Self::Payload { base, offset, length, to } => {
                numbers(out, &[(1, to.number()), (2, *base as u32), (3, *offset), (4, *length)]);
            }
            Self::Ct { key, to } => numbers(out, &[(1, to.number()), (2, *key as u32)]),
            Self::DestinationType { to } => {
                numbers(out, &[(1, to.number()), (2, NFT_FIB_RESULT_ADDRTYPE), (3, NFTA_FIB_F_DADDR)]);
            }
            Self::Mask { register, mask } => write_mask(out, *register, mask),
            Self::Compare { register, equal, value } => {
                numbers(out, &[(1, register.number()), (2, u32::from(!equal))]);
                out.nested(3, |out| out.put(NFTA_DATA_VALUE, value));
            }
            Self::Lookup { map, key, to } => {
                out.text(1, map);
                numbers(out, &[(2, key.number()), (3, to.number())]);
            }
            Self::Counter | Self::Masquerade => {}
            Self::Dnat { address, port } => {
                numbers(
                    out,
                    &[(1, NFT_NAT_DNAT), (2, NFPROTO_IPV4), (3, address.number()), (5, port.number())],
                );
            }
            Self::Verdict(verdict) => {
                out.number_be(1, NFT_REG_VERDICT);
                out.nested(2, |out| {
                    out.nested(NFTA_DATA_VERDICT, |out| out.number_be(NFTA_VERDICT_CODE, verdict.code()));
                });
            }
        }
    }
}

fn write_mask(out: &mut Attributes<'_>, register: Register, mask: &[u8]) {
    let length = u32::try_from(mask.len()).expect("a mask fills at most all registers");
    numbers(out, &[(1, register.number()), (2, register.number()), (3, length)]);
    out.nested(4, |out| out.put(NFTA_DATA_VALUE, mask));
    out.nested(5, |out| out.put(NFTA_DATA_VALUE, &vec![0; mask.len()]));
}

fn numbers(out: &mut Attributes<'_>, values: &[(u16, u32)]) {
    for (kind, value) in values {
        out.number_be(*kind, *value);
    }
}
