//! The rules of our table, as data: computed from the stored state, shown as text, sent in one transaction.
//!
//! Published ports are entries of two maps, so that a container costs one entry a port and no rule at all. `ports` has
//! the ports of one host address, `ports_any` those of all (published on 0.0.0.0).
//!
//! Does not know the host's own tables: a drop in one of them wins over our accept (see [`blocker`]).

use std::fmt;
use std::net::Ipv4Addr;

use fault::{Error, Kind, Result};
use ipnet::Ipv4Net;
use netlink::nft::{
    self, BaseChain, Chain, ChainKind, CtKey, Element, Expr, Family, Hook, Map, MetaKey, Part, PayloadBase,
    Policy, Register, Transaction, Verdict,
};

use netlink::{Channel, Protocol};
use sys::errno;

use crate::endpoint::{Endpoint, PortBinding};

const PORTS: Map<'_> = Map {
    name: "ports",
    key: &[Part::Address, Part::Proto, Part::Port],
    value: &[Part::Address, Part::Port],
};
const PORTS_ANY: Map<'_> =
    Map { name: "ports_any", key: &[Part::Proto, Part::Port], value: &[Part::Address, Part::Port] };

const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruleset {
    table: String,
    chains: Vec<(Chain<'static>, Vec<Rule>)>,
    ports: Vec<PortBindingTo>,
}

/// Matches, all of which must hold, and what then happens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    when: Vec<Match>,
    then: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
    From(Interface),
    To(Interface),
    Source(Ipv4Net),
    Destination(Ipv4Net),
    /// The destination is an address of this host.
    DestinationIsLocal,
    /// The destination was translated, which here means: it was published.
    Translated,
    /// An answer, or an error message about a connection that exists.
    Established,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Interface {
    Is(String),
    IsNot(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Accept,
    Drop,
    Return,
    Masquerade,
    /// To where the map of ports of one address says; else the next rule.
    DnatPorts,
    /// To where the map of ports of all addresses says; else the next rule.
    DnatPortsAny,
}

/// A published port and the address that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PortBindingTo {
    binding: PortBinding,
    target: Ipv4Addr,
}

/// The table for one bridge with these endpoints.
pub(crate) fn ruleset<'a>(
    table: &str,
    bridge: &str,
    subnet: Ipv4Net,
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
) -> Ruleset {
    let chains = vec![
        (chain("guard", ChainKind::Filter, Hook::Prerouting, RAW), guard(bridge)),
        (chain("prerouting", ChainKind::Nat, Hook::Prerouting, DSTNAT), prerouting()),
        (chain("output", ChainKind::Nat, Hook::Output, DSTNAT), translate()),
        (chain("forward", ChainKind::Filter, Hook::Forward, FILTER), forward(bridge)),
        (chain("postrouting", ChainKind::Nat, Hook::Postrouting, SRCNAT), postrouting(bridge, subnet)),
    ];
    let ports = endpoints.into_iter().flat_map(ports).collect();
    Ruleset { table: table.to_string(), chains, ports }
}

/// The priorities that the kernel's own hooks have: before connection tracking, address translation, filters.
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

const fn chain(name: &'static str, kind: ChainKind, hook: Hook, priority: i32) -> Chain<'static> {
    Chain { name, kind, hook, priority, policy: Policy::Accept }
}

/// The bridge may carry loopback addresses (route_localnet), for connections of the host; a container's packet must not
/// use that to reach what listens on the host's loopback.
fn guard(bridge: &str) -> Vec<Rule> {
    vec![rule([from(bridge), Match::Destination(LOOPBACK)], Action::Drop)]
}

/// Packets from outside. A neighbour on the wire may address 127.0.0.1: what is published there is not for it.
fn prerouting() -> Vec<Rule> {
    let mut rules = vec![rule([Match::Destination(LOOPBACK)], Action::Return)];
    rules.extend(translate());
    rules
}

fn translate() -> Vec<Rule> {
    vec![
        rule([Match::DestinationIsLocal], Action::DnatPorts),
        rule([Match::DestinationIsLocal], Action::DnatPortsAny),
    ]
}

/// What may cross the bridge: answers, published ports, containers among each other and outward. Nobody outside reaches
/// a port that is not published, even with a route to it.
fn forward(bridge: &str) -> Vec<Rule> {
    vec![
        rule([to(bridge), Match::Established], Action::Accept),
        rule([to(bridge), Match::Translated], Action::Accept),
        rule([from(bridge)], Action::Accept),
        rule([to(bridge)], Action::Drop),
    ]
}

/// Who must look like the host: containers that talk to the outside, the host's loopback when it uses a published port,
/// and containers that reach each other (or themselves) over one, so that the answers come back this way.
fn postrouting(bridge: &str, subnet: Ipv4Net) -> Vec<Rule> {
    let outward = Match::To(Interface::IsNot(bridge.to_string()));
    vec![
        rule([Match::Source(subnet), outward], Action::Masquerade),
        rule([Match::Source(LOOPBACK), to(bridge)], Action::Masquerade),
        rule([Match::Source(subnet), to(bridge), Match::Translated], Action::Masquerade),
    ]
}

fn rule<const N: usize>(when: [Match; N], then: Action) -> Rule {
    Rule { when: when.into(), then }
}

fn from(bridge: &str) -> Match {
    Match::From(Interface::Is(bridge.to_string()))
}

fn to(bridge: &str) -> Match {
    Match::To(Interface::Is(bridge.to_string()))
}

fn ports(endpoint: &Endpoint) -> impl Iterator<Item = PortBindingTo> {
    let target = endpoint.address.addr();
    endpoint.ports.iter().map(move |binding| PortBindingTo { binding: binding.clone(), target })
}

/// The way to nf_tables.
pub(crate) fn open() -> Result<Channel> {
    Channel::open(Protocol::Netfilter).map_err(explained)
}

/// A kernel that lacks the subsystem, or a part of it, has nothing but a number to say about that.
fn explained(error: Error) -> Error {
    match error.errno() {
        Some(errno::EOPNOTSUPP | errno::EPROTONOSUPPORT | errno::ENOENT) => {
            error.with_kind(Kind::Unavailable).doing(NEEDED)
        }
        _ => error,
    }
}

const NEEDED: &str =
    "networks need nf_tables in the kernel (with nft_chain_nat, nft_nat, nft_masq, nft_ct, nft_fib_ipv4)";

/// Puts the table in force in place of what was there, at once.
pub(crate) fn replace(channel: &Channel, rules: &Ruleset) -> Result<()> {
    let mut change = Transaction::new(&rules.table);
    // Added first, because a table that is not there cannot be deleted.
    change.add_table();
    change.delete_table();
    change.add_table();
    change.add_map(&PORTS);
    change.add_map(&PORTS_ANY);
    for (chain, rules) in &rules.chains {
        change.add_chain(chain);
        for rule in rules {
            change.add_rule(chain.name, &expressions(rule));
        }
    }
    each_map(&rules.ports, |map, elements| change.add_elements(map, elements));
    // Nothing that a faultless kernel would not find: all of it was added right before.
    change.commit(channel).map_err(explained)
}

/// Removes the table; none is fine.
pub(crate) fn remove(channel: &Channel, table: &str) -> Result<()> {
    let mut change = Transaction::new(table);
    change.add_table();
    change.delete_table();
    change.commit(channel).map_err(explained)
}

/// Adds an endpoint's ports. `NotFound` when the table is gone.
pub(crate) fn publish(channel: &Channel, table: &str, endpoint: &Endpoint) -> Result<()> {
    let mut change = Transaction::new(table);
    each_map(&ports(endpoint).collect::<Vec<_>>(), |map, elements| change.add_elements(map, elements));
    change.commit(channel)
}

/// Takes an endpoint's ports away. `NotFound` when one of them, or the table, is gone; the others are there still.
pub(crate) fn unpublish(channel: &Channel, table: &str, endpoint: &Endpoint) -> Result<()> {
    let mut change = Transaction::new(table);
    each_map(&ports(endpoint).collect::<Vec<_>>(), |map, elements| change.delete_elements(map, elements));
    change.commit(channel)
}

fn each_map(ports: &[PortBindingTo], mut apply: impl FnMut(&str, &[Element])) {
    let (any, one): (Vec<_>, Vec<_>) = ports.iter().partition(|port| port.binding.host_ip.is_unspecified());
    for (map, ports) in [(PORTS_ANY, any), (PORTS, one)] {
        let elements: Vec<Element> = ports.into_iter().map(element).collect();
        apply(map.name, &elements);
    }
}

fn element(port: &PortBindingTo) -> Element {
    let PortBinding { container, proto, host_ip, host_port } = &port.binding;
    let mut key = Vec::new();
    if !host_ip.is_unspecified() {
        key.extend(host_ip.octets());
    }
    key.extend([proto.number(), 0, 0, 0]);
    key.extend(slot(*host_port));
    let mut value = port.target.octets().to_vec();
    value.extend(slot(*container));
    Element { key, value }
}

fn slot(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// What the register machine has to do for a rule.
fn expressions(rule: &Rule) -> Vec<Expr> {
    rule.when.iter().flat_map(matching).chain(acting(rule.then)).collect()
}

const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const RTN_LOCAL: u32 = 2;
const IPS_DST_NAT: u32 = 1 << 5;
/// NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED.
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

fn matching(what: &Match) -> Vec<Expr> {
    match what {
        Match::From(interface) => named(MetaKey::InputName, interface),
        Match::To(interface) => named(MetaKey::OutputName, interface),
        Match::Source(net) => within(SOURCE_OFFSET, *net),
        Match::Destination(net) => within(DESTINATION_OFFSET, *net),
        Match::DestinationIsLocal => {
            vec![Expr::DestinationType { to: R0 }, compare(true, &RTN_LOCAL.to_ne_bytes())]
        }
        Match::Translated => tracked(CtKey::Status, IPS_DST_NAT),
        Match::Established => tracked(CtKey::State, ESTABLISHED_OR_RELATED),
    }
}

const R0: Register = Register(0);

fn named(key: MetaKey, interface: &Interface) -> Vec<Expr> {
    let (name, equal) = match interface {
        Interface::Is(name) => (name, true),
        Interface::IsNot(name) => (name, false),
    };
    // The kernel compares all 16 bytes of the field, zeros after the name.
    let mut field = name.clone().into_bytes();
    field.resize(16, 0);
    vec![Expr::Meta { key, to: R0 }, compare(equal, &field)]
}

fn within(offset: u32, net: Ipv4Net) -> Vec<Expr> {
    vec![
        Expr::Payload { base: PayloadBase::Network, offset, length: 4, to: R0 },
        Expr::Mask { register: R0, mask: net.netmask().octets().to_vec() },
        compare(true, &net.network().octets()),
    ]
}

/// Any of these bits.
fn tracked(key: CtKey, bits: u32) -> Vec<Expr> {
    let mask = bits.to_ne_bytes().to_vec();
    vec![Expr::Ct { key, to: R0 }, Expr::Mask { register: R0, mask }, compare(false, &[0; 4])]
}

fn compare(equal: bool, value: &[u8]) -> Expr {
    Expr::Compare { register: R0, equal, value: value.to_vec() }
}

fn acting(action: Action) -> Vec<Expr> {
    let verdict = |verdict| vec![Expr::Counter, Expr::Verdict(verdict)];
    match action {
        Action::Accept => verdict(Verdict::Accept),
        Action::Drop => verdict(Verdict::Drop),
        Action::Return => verdict(Verdict::Return),
        Action::Masquerade => vec![Expr::Counter, Expr::Masquerade],
        Action::DnatPorts => dnat(&PORTS),
        Action::DnatPortsAny => dnat(&PORTS_ANY),
    }
}

/// Loads the parts of the map's key side by side, looks it up, and translates to what comes back.
fn dnat(map: &Map<'_>) -> Vec<Expr> {
    let mut expressions: Vec<Expr> =
        (0..).zip(map.key).map(|(slot, part)| load(*part, Register(slot))).collect();
    expressions.push(Expr::Lookup { map: map.name.to_string(), key: R0, to: R0 });
    expressions.push(Expr::Dnat { address: R0, port: Register(1) });
    expressions
}

fn load(part: Part, to: Register) -> Expr {
    match part {
        Part::Address => {
            Expr::Payload { base: PayloadBase::Network, offset: DESTINATION_OFFSET, length: 4, to }
        }
        Part::Proto => Expr::Meta { key: MetaKey::Proto, to },
        // TCP, UDP and SCTP all have the destination port here.
        Part::Port => Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to },
    }
}

/// A foreign chain that drops forwarded packets unless one of its own rules says otherwise.
pub(crate) fn blocker(channel: &Channel, own_table: &str) -> Result<Option<String>> {
    let chains = nft::base_chains(channel)?;
    Ok(chains.iter().find(|chain| blocks(chain, own_table)).map(|chain| {
        let family = if chain.family == Family::Ip { "ip" } else { "inet" };
        format!("chain {} of table {family} {}", chain.name, chain.table)
    }))
}

fn blocks(chain: &BaseChain, own_table: &str) -> bool {
    chain.hook == Hook::Forward as u32 && chain.policy == Policy::Drop && chain.table != own_table
}

/// As `nft list table` shows it.
impl fmt::Display for Ruleset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "table ip {} {{", self.table)?;
        each_map_text(&self.ports, out)?;
        for (chain, rules) in &self.chains {
            let kind = if chain.kind == ChainKind::Nat { "nat" } else { "filter" };
            let hook = format!("{:?}", chain.hook).to_lowercase();
            writeln!(out, "  chain {} {{", chain.name)?;
            writeln!(out, "    type {kind} hook {hook} priority {}; policy accept;", chain.priority)?;
            rules.iter().try_for_each(|rule| writeln!(out, "    {rule}"))?;
            writeln!(out, "  }}")?;
        }
        write!(out, "}}")
    }
}

fn each_map_text(ports: &[PortBindingTo], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (map, any) in [(PORTS, false), (PORTS_ANY, true)] {
        writeln!(out, "  map {} {{", map.name)?;
        for PortBindingTo { binding, target } in ports {
            let PortBinding { container, proto, host_ip, host_port } = binding;
            match (host_ip.is_unspecified(), any) {
                (true, true) => writeln!(out, "    {proto} . {host_port} : {target} . {container}")?,
                (false, false) => {
                    writeln!(out, "    {host_ip} . {proto} . {host_port} : {target} . {container}")?;
                }
                _ => {}
            }
        }
        writeln!(out, "  }}")?;
    }
    Ok(())
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.when.iter().try_for_each(|what| write!(out, "{what} "))?;
        out.write_str(match self.then {
            Action::Accept => "counter accept",
            Action::Drop => "counter drop",
            Action::Return => "counter return",
            Action::Masquerade => "counter masquerade",
            Action::DnatPorts => "dnat to ip daddr . meta l4proto . th dport map @ports",
            Action::DnatPortsAny => "dnat to meta l4proto . th dport map @ports_any",
        })
    }
}

impl fmt::Display for Match {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(interface) => write!(out, "iifname {interface}"),
            Self::To(interface) => write!(out, "oifname {interface}"),
            Self::Source(net) => write!(out, "ip saddr {net}"),
            Self::Destination(net) => write!(out, "ip daddr {net}"),
            Self::DestinationIsLocal => write!(out, "fib daddr type local"),
            Self::Translated => write!(out, "ct status dnat"),
            Self::Established => write!(out, "ct state established,related"),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(name) => write!(out, "\"{name}\""),
            Self::IsNot(name) => write!(out, "!= \"{name}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Mac, Proto};

    fn endpoint(last: u8, ports: &[(Proto, [u8; 4], u16, u16)]) -> Endpoint {
        let address = Ipv4Addr::new(172, 17, 0, last);
        let binding = |&(proto, host_ip, host_port, container): &(Proto, [u8; 4], u16, u16)| PortBinding {
            proto,
            host_ip: host_ip.into(),
            host_port,
            container,
        };
        Endpoint {
            id: format!("c{last}"),
            endpoint_id: "e".repeat(64),
            network_id: "b".repeat(64),
            address: Ipv4Net::new_assert(address, 16),
            gateway: Ipv4Addr::new(172, 17, 0, 1),
            relayed: Vec::new(),
            mac: Mac::of(address),
            veth: format!("veth000000{last}"),
            ports: ports.iter().map(binding).collect(),
        }
    }

    #[test]
    fn the_whole_table() {
        let any = [0, 0, 0, 0];
        let endpoints = [
            endpoint(2, &[(Proto::Tcp, any, 8080, 80), (Proto::Udp, any, 53, 53)]),
            endpoint(3, &[(Proto::Tcp, [127, 0, 0, 1], 9000, 90), (Proto::Sctp, any, 32768, 7)]),
        ];
        insta::assert_snapshot!(ruleset("kogge", "kogge0", "172.17.0.0/16".parse().unwrap(), &endpoints));
    }

    #[test]
    fn a_kernel_without_the_parts_is_named_as_the_reason() {
        let lacking = Error::io("adding chain output", std::io::Error::from_raw_os_error(errno::ENOENT));
        let error = explained(lacking);
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(
            error.to_string(),
            format!("{NEEDED}: adding chain output: No such file or directory (os error 2)")
        );
        let denied = Error::io("adding chain output", std::io::Error::from_raw_os_error(errno::EPERM));
        assert_eq!(explained(denied).kind(), Kind::Denied);
    }

    #[test]
    fn a_container_costs_entries_but_no_rule() {
        let count = |containers: u8| {
            let endpoints: Vec<_> = (2..2 + containers).map(|last| endpoint(last, &[])).collect();
            let rules = ruleset("kogge", "kogge0", "172.17.0.0/16".parse().unwrap(), &endpoints);
            rules.chains.iter().map(|(_, rules)| rules.len()).sum::<usize>()
        };
        assert_eq!(count(0), count(100));
    }

    #[test]
    fn entries_have_a_four_byte_slot_a_part() {
        let to = |host_ip: [u8; 4]| PortBindingTo {
            binding: PortBinding {
                container: 80,
                proto: Proto::Tcp,
                host_ip: host_ip.into(),
                host_port: 0x1f90,
            },
            target: Ipv4Addr::new(172, 17, 0, 2),
        };
        let value = vec![172, 17, 0, 2, 0, 80, 0, 0];
        let any = Element { key: vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0], value: value.clone() };
        assert_eq!(element(&to([0, 0, 0, 0])), any);
        let one = Element { key: vec![127, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0], value };
        assert_eq!(element(&to([127, 0, 0, 1])), one);
    }
}
