//! The messages against the real kernel, in a network namespace of the test's own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use fault::{Kind, Result};
use netlink::nft::{
    Chain, ChainKind, Element, Expr, Hook, Map, MetaKey, Part, PayloadBase, Policy, Register, Transaction,
    Verdict,
};
use netlink::route::{self, Veth, Which};
use netlink::{Batch, Channel, Protocol};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

fn check(test: impl FnOnce() -> Result<()> + Send) {
    sys::netlink::in_fresh_netns(|_| test()).unwrap();
}

fn bridge(channel: &Channel) -> Result<u32> {
    let mut batch = Batch::default();
    route::add_bridge(&mut batch, "br0", [2, 0x42, 1, 2, 3, 4], 1400);
    route::set_up(&mut batch, Which::Name("br0"));
    channel.commit(&batch)?;
    let index = route::link(channel, "br0")?.unwrap().index;
    let mut batch = Batch::default();
    route::add_address(&mut batch, index, GATEWAY, 24);
    route::add_address(&mut batch, index, GATEWAY, 24);
    channel.commit(&batch)?;
    Ok(index)
}

#[test]
fn a_veth_is_born_in_the_other_namespace() {
    check(|| {
        let host = Channel::open(Protocol::Route)?;
        let master = bridge(&host)?;
        let netns = sys::netlink::fresh_netns()?;
        let inside = Channel::open_in(netns.as_fd(), Protocol::Route)?;
        let peer_mac = [2, 0x42, 10, 9, 0, 2];
        let mut batch = Batch::default();
        let peer_netns = netns.as_fd();
        let veth =
            Veth { name: "veth0", master: Some(master), mtu: 1400, peer_name: "eth0", peer_mac, peer_netns };
        route::add_veth(&mut batch, &veth);
        route::set_hairpin(&mut batch, Which::Name("veth0"));
        host.commit(&batch)?;

        let ports = route::ports(&host, master)?;
        assert_eq!(ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["veth0"]);
        let eth0 = route::link(&inside, "eth0")?.unwrap();
        assert_eq!((eth0.mac, eth0.mtu, eth0.up), (Some(peer_mac), 1400, false));
        assert_eq!(eth0.kind.as_deref(), Some("veth"));

        let mut batch = Batch::default();
        route::add_address(&mut batch, eth0.index, Ipv4Addr::new(10, 9, 0, 2), 24);
        route::set_up(&mut batch, Which::Index(eth0.index));
        route::add_default_route(&mut batch, eth0.index, GATEWAY);
        inside.commit(&batch)?;
        let default = route::routes(&inside)?.into_iter().find(|route| route.prefix == 0 && route.unicast);
        assert_eq!(default.unwrap().link, Some(eth0.index));

        let mut batch = Batch::default();
        route::silence(&mut batch, Which::Name("veth0"));
        route::set_group(&mut batch, Which::Name("veth0"), 7);
        route::set_group(&mut batch, Which::Name("gone"), 7);
        route::delete_group(&mut batch, 7);
        route::delete_group(&mut batch, 7);
        host.commit(&batch)?;
        assert!(route::ports(&host, master)?.is_empty());
        assert!(route::link(&host, "veth0")?.is_none());
        Ok(())
    });
}

#[test]
fn refusals_name_the_step_and_the_reason() {
    check(|| {
        let host = Channel::open(Protocol::Route)?;
        bridge(&host)?;
        let mut batch = Batch::default();
        route::add_bridge(&mut batch, "br0", [2, 0x42, 1, 2, 3, 4], 1400);
        let error = host.commit(&batch).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(error.to_string(), "adding bridge br0: File exists (os error 17)");

        let mut batch = Batch::default();
        route::add_default_route(&mut batch, 1, Ipv4Addr::new(192, 0, 2, 1));
        let error = host.commit(&batch).unwrap_err().to_string();
        assert!(error.starts_with("adding the default route by 192.0.2.1: Nexthop"), "{error}");
        Ok(())
    });
}

const MAP: Map<'_> =
    Map { name: "ports", key: &[Part::Proto, Part::Port], value: &[Part::Address, Part::Port] };

fn table(channel: &Channel, elements: &[Element]) -> Result<()> {
    let mut change = Transaction::new("t");
    change.add_table();
    change.add_map(&MAP);
    change.add_chain(&Chain {
        name: "c",
        kind: ChainKind::Nat,
        hook: Hook::Prerouting,
        priority: -100,
        policy: Policy::Accept,
    });
    let rule = [
        Expr::Meta { key: MetaKey::Proto, to: Register(0) },
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: Register(1) },
        Expr::Lookup { map: MAP.name.into(), key: Register(0), to: Register(0) },
        Expr::Counter,
        Expr::Dnat { address: Register(0), port: Register(1) },
    ];
    change.add_rule("c", &rule);
    change.add_rule("c", &[Expr::Verdict(Verdict::Return)]);
    change.add_elements(MAP.name, elements);
    change.commit(channel)
}

#[test]
fn a_table_of_many_elements_goes_in_and_comes_out() {
    check(|| {
        let channel = Channel::open(Protocol::Netfilter)?;
        let element = |port: u16| {
            let [high, low] = port.to_be_bytes();
            Element { key: vec![6, 0, 0, 0, high, low, 0, 0], value: vec![10, 9, 0, 2, high, low, 0, 0] }
        };
        let elements: Vec<Element> = (1..=2000).map(element).collect();
        table(&channel, &elements)?;
        assert!(netlink::nft::elements(&channel, "t", "ports")? == elements);

        let mut change = Transaction::new("t");
        change.delete_elements("ports", &elements[1..]);
        change.commit(&channel)?;
        assert_eq!(netlink::nft::elements(&channel, "t", "ports")?, &elements[..1]);

        let chains = netlink::nft::base_chains(&channel)?;
        assert_eq!(chains.iter().map(|chain| chain.name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(chains[0].policy, Policy::Accept);
        Ok(())
    });
}

#[test]
fn a_transaction_is_whole_or_nothing() {
    check(|| {
        let channel = Channel::open(Protocol::Netfilter)?;
        let mut change = Transaction::new("t");
        change.add_table();
        change.delete_elements("nowhere", &[Element { key: vec![0; 8], value: vec![0; 8] }]);
        change.add_map(&MAP);
        let error = change.commit(&channel).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().starts_with("deleting elements of map nowhere"), "{error}");
        assert!(netlink::nft::elements(&channel, "t", "ports").is_err());
        Ok(())
    });
}
