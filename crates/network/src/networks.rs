//! The handle that the engine holds: records first, then the kernel.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::{Error, Kind, Result};
use ipnet::Ipv4Net;
use netlink::route::{self, Which};
use netlink::{Batch, Channel, Protocol, conntrack};
use sys::crash;
use tracing::{info, warn};

use crate::bridge::{self, Bridge};
use crate::endpoint::{Connection, Endpoint, Proto, Relay, RelayedPort, Request};
use crate::plumbing::{self, Place};
use crate::port::{EPHEMERAL, Ports};
use crate::reaper::{self, Dead, Reaper};
use crate::record::{self, BRIDGE, Identities, Identity, Named, Records};
use crate::state::{Added, Removed, State};
use crate::{address, firewall};

/// Where state lies and how the default network looks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Ids of the networks are kept here for ever, endpoints until they are disconnected.
    pub state_dir: PathBuf,
    /// The device of the default network.
    pub bridge: String,
    /// The nf_tables table that is ours; two daemons on one host need two.
    pub table: String,
    /// The first of these that no route of the host covers becomes the default network's subnet.
    pub pools: Vec<Ipv4Net>,
    /// The bridge's own address, whose subnet is taken instead of a pool's.
    pub address: Option<Ipv4Net>,
    pub mtu: u32,
}

impl Default for Config {
    fn default() -> Self {
        let pools =
            (17..=31).map(|second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16)).collect();
        Self {
            state_dir: PathBuf::from("/var/lib/kogge/network"),
            bridge: "kogge0".into(),
            table: "kogge".into(),
            pools,
            address: None,
            mtu: 1500,
        }
    }
}

/// A network as `docker network inspect` shows it.
#[derive(Clone, Debug)]
pub struct Network {
    pub name: String,
    /// 64 hex digits, the same for ever.
    pub id: String,
    /// `bridge`, `host` or `null`.
    pub driver: &'static str,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// Empty for `host` and `none`.
    pub subnets: Vec<Subnet>,
    pub options: BTreeMap<String, String>,
    pub endpoints: Vec<Endpoint>,
}

/// What distinguishes a network, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkName {
    pub name: &'static str,
    pub id: String,
    /// `bridge`, `host` or `null`.
    pub driver: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
}

/// All networks of a host. Cheap to clone; every method blocks and may be called from any thread of the host's network
/// namespace.
#[derive(Clone, Debug)]
pub struct Networks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    records: Records,
    identities: Identities,
    route: Channel,
    /// Held while the state and the table are changed together, so that the table never lags behind. Taken before `state`.
    firewall: Mutex<Channel>,
    state: Mutex<State>,
    /// Whether bridge, table and kernel settings were made by this process.
    prepared: Mutex<bool>,
    reaper: Reaper,
}

impl Networks {
    /// Reads the stored state. The kernel is first changed by [`Networks::converge`] or [`Networks::connect`].
    pub fn open(config: Config) -> Result<Self> {
        let records = Records::open(&config.state_dir)?;
        let route = Channel::open(Protocol::Route)?;
        let identities = identities(&records, &config, &route)?;
        let gateway = config.address.map(|address| address.addr());
        let ports = Ports::new(ephemeral_ports());
        let state = State::new(identities.subnet, gateway, ports, records.endpoints()?);
        Ok(Self(Arc::new(Inner {
            config,
            records,
            identities,
            route,
            firewall: Mutex::new(firewall::open()?),
            state: Mutex::new(state),
            prepared: Mutex::new(false),
            reaper: Reaper::start(Channel::open(Protocol::Route)?)?,
        })))
    }

    /// Makes an endpoint: recorded, then built. When it fails, nothing stays behind. An endpoint of the same id that is
    /// still there is disconnected first.
    ///
    /// `Conflict` when a port or the address is taken (`Bind for 0.0.0.0:8080 failed: port is already allocated`),
    /// `NotFound` for an unknown network.
    pub fn connect(&self, request: &Request<'_>) -> Result<Connection> {
        record::check_id(request.id)?;
        self.check_connectable(request.network)?;
        self.disconnect(request.id)?;
        let Added { endpoint, reserved, relays } = self.0.record(request)?;
        crash::point("network.connect.recorded");
        match self.0.build(&endpoint) {
            Ok(netns) => Ok(Connection { endpoint, netns, reserved, relays }),
            Err(error) => {
                self.disconnect(request.id).unwrap_or_else(|undo| warn!(%undo, "undoing a failed connect"));
                Err(error.doing(format!("connecting {} to network {}", request.id, request.network)))
            }
        }
    }

    /// Forgets an endpoint and frees its ports and address; the devices are deleted later, in batches.
    /// An unknown id is fine.
    pub fn disconnect(&self, id: &str) -> Result<()> {
        let Some(removed) = self.0.unpublish(id) else { return Ok(()) };
        crash::point("network.disconnect.unpublished");
        let Removed { endpoint, netns } = removed;
        let forgotten = self.0.records.remove_endpoint(id);
        crash::point("network.disconnect.recorded");
        // Also if the record could not go: nobody asks for the device again before the next start.
        self.0.reaper.bury(Dead { veth: endpoint.veth, address: endpoint.address.addr(), netns });
        forgotten
    }

    /// Makes the kernel match the records of the endpoints that are still alive and forgets all others. For the start.
    pub fn converge(&self, alive: &[&str]) -> Result<()> {
        let gone = self.0.state().others(alive);
        for id in &gone {
            self.disconnect(id)?;
        }
        crash::point("network.converge.forgotten");
        let bridge = bridge::find(&self.0.route, &self.0.config.bridge)?;
        if bridge.is_none() && self.0.state().endpoints().next().is_none() {
            return firewall::remove(&self.0.firewall(), &self.0.config.table);
        }
        let bridge = self.0.prepare()?;
        crash::point("network.converge.prepared");
        self.0.sweep(bridge)?;
        info!(alive = alive.len(), gone = gone.len(), "networks converged");
        Ok(())
    }

    /// Keeps the namespace of an endpoint that an earlier daemon made, so that its end can be batched too. Optional.
    pub fn hold(&self, id: &str, netns: OwnedFd) {
        self.0.state().hold(id, netns);
    }

    /// Serves the ports again that an earlier daemon relayed. Which somebody else has taken meanwhile are left out.
    pub fn relays(&self, endpoint: &Endpoint) -> Vec<Relay> {
        let serve = |port: &RelayedPort| {
            port.serve().unwrap_or_else(|error| {
                warn!(endpoint = endpoint.id, port = port.host_port, %error, "a port on IPv6 is not served");
                None
            })
        };
        endpoint.relayed.iter().filter_map(serve).collect()
    }

    /// The stored facts of a connected endpoint.
    pub fn endpoint(&self, id: &str) -> Option<Endpoint> {
        self.0.state().endpoint(id).cloned()
    }

    /// `bridge`, `host` and `none`.
    pub fn list(&self) -> Vec<Network> {
        let [bridge, host, none] = self.0.identities.named();
        let plain = |one: Named<'_>| plain(one.name, one.driver, one.identity);
        vec![self.0.bridge_facts(bridge.identity), plain(host), plain(none)]
    }

    /// By name, id or unambiguous start of an id; otherwise `network NAME not found`.
    pub fn inspect(&self, name: &str) -> Result<Network> {
        let Named { name, driver, identity } = self.named(name)?;
        Ok(if name == BRIDGE { self.0.bridge_facts(identity) } else { plain(name, driver, identity) })
    }

    /// What a network is called by, for who need not know what is connected to it: waits for nothing and nobody.
    pub fn name(&self, name: &str) -> Result<NetworkName> {
        let Named { name, driver, identity } = self.named(name)?;
        Ok(NetworkName { name, driver, id: identity.id.clone() })
    }

    fn named(&self, name: &str) -> Result<Named<'_>> {
        let all = self.0.identities.named();
        let by = |is_it: &dyn Fn(&Named<'_>) -> bool| all.iter().filter(|one| is_it(one)).collect::<Vec<_>>();
        let mut found = by(&|one| one.name == name || one.identity.id == name);
        if found.is_empty() && !name.is_empty() {
            found = by(&|one| one.identity.id.starts_with(name));
        }
        match found[..] {
            [] => Err(Error::not_found(format!("network {name} not found"))),
            [one] => Ok(*one),
            _ => Err(Error::invalid(format!(
                "network {name} is ambiguous ({} matches found on ID prefix)",
                found.len()
            ))),
        }
    }

    /// A namespace with nothing but lo, up.
    pub fn isolated_netns(&self) -> Result<OwnedFd> {
        plumbing::isolated()
    }

    /// Names a foreign firewall chain that drops forwarded packets by policy, and so may cut our containers off.
    /// Sees nf_tables (and iptables-nft), not the legacy iptables tables.
    pub fn forward_policy_blocker(&self) -> Option<String> {
        firewall::blocker(&self.0.firewall(), &self.0.config.table).unwrap_or_else(|error| {
            warn!(%error, "looking for foreign firewall policies");
            None
        })
    }

    /// Waits until all that was disconnected is gone from the kernel.
    pub fn settle(&self) {
        self.0.reaper.settle();
    }

    /// Removes everything: endpoints, bridge, table. A later connect makes them anew.
    pub fn teardown(&self) -> Result<()> {
        let all = self.0.state().others(&[]);
        for id in &all {
            self.disconnect(id)?;
        }
        self.settle();
        let mut prepared = lock(&self.0.prepared);
        *prepared = false;
        firewall::remove(&self.0.firewall(), &self.0.config.table)?;
        let Some(bridge) = bridge::find(&self.0.route, &self.0.config.bridge)? else { return Ok(()) };
        let mut batch = Batch::default();
        route::delete_link(&mut batch, Which::Index(bridge.index));
        self.0.route.commit(&batch)
    }

    fn check_connectable(&self, name: &str) -> Result<()> {
        let network = self.inspect(name)?;
        if network.driver == "bridge" {
            return Ok(());
        }
        Err(Error::invalid(format!("network {name} has no endpoints to connect to")))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn firewall(&self) -> MutexGuard<'_, Channel> {
        lock(&self.firewall)
    }

    /// Takes what the endpoint needs and writes it down.
    fn record(&self, request: &Request<'_>) -> Result<Added> {
        let added = self.state().add(request, &self.identities.bridge.id)?;
        match self.records.put_endpoint(&added.endpoint) {
            Ok(()) => Ok(added),
            Err(error) => {
                self.state().remove(&added.endpoint.id);
                Err(error)
            }
        }
    }

    fn build(&self, endpoint: &Endpoint) -> Result<OwnedFd> {
        let bridge = self.bridge_index()?;
        let predecessor = self.reaper.unburied().take(endpoint.address.addr());
        let place =
            Place { host: &self.route, bridge, mtu: self.config.mtu, predecessor: predecessor.as_deref() };
        let netns = plumbing::build(place, endpoint)?;
        self.publish(endpoint)?;
        crash::point("network.connect.published");
        let held = netns.try_clone().map_err(|error| Error::io("dup netns", error))?;
        self.state().hold(&endpoint.id, held);
        Ok(netns)
    }

    /// The bridge, made if it is not there: at the first connect, or because somebody deleted it.
    fn bridge_index(&self) -> Result<u32> {
        let prepared = *lock(&self.prepared);
        match bridge::find(&self.route, &self.config.bridge)? {
            Some(link) if prepared && link.up => Ok(link.index),
            _ => self.prepare(),
        }
    }

    /// Makes bridge, table and kernel settings be as they should; returns the bridge's index.
    fn prepare(&self) -> Result<u32> {
        let mut prepared = lock(&self.prepared);
        let (gateway, subnet) = {
            let state = self.state();
            (state.gateway(), state.subnet())
        };
        let gateway = Ipv4Net::new_assert(gateway, subnet.prefix_len());
        let wanted = Bridge { name: &self.config.bridge, gateway, mtu: self.config.mtu };
        let index = bridge::ensure(&self.route, &wanted)?;
        crash::point("network.prepare.bridge");
        set(&format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.config.bridge))?;
        set("/proc/sys/net/ipv4/ip_forward")?;
        self.replace_rules(&self.firewall())?;
        crash::point("network.prepare.rules");
        *prepared = true;
        Ok(index)
    }

    /// Puts the whole table in force as the state has it; `channel` is the locked one.
    fn replace_rules(&self, channel: &Channel) -> Result<()> {
        let Config { table, bridge, .. } = &self.config;
        let rules = {
            let state = self.state();
            firewall::ruleset(table, bridge, state.subnet(), state.endpoints())
        };
        firewall::replace(channel, &rules)
    }

    /// Adds the ports; if somebody flushed our table, all of it.
    fn publish(&self, endpoint: &Endpoint) -> Result<()> {
        let channel = self.firewall();
        match firewall::publish(&channel, &self.config.table, endpoint) {
            Err(error) if error.kind() == Kind::NotFound => self.replace_rules(&channel)?,
            other => other?,
        }
        self.redirect_senders(&channel, endpoint)
            .unwrap_or_else(|error| warn!(%error, "forgetting connections"));
        Ok(())
    }

    /// Who has been sending to a UDP port before it was published is tracked as talking to the host itself.
    fn redirect_senders(&self, channel: &Channel, endpoint: &Endpoint) -> Result<()> {
        let mut udp = endpoint.ports.iter().filter(|binding| binding.proto == Proto::Udp).peekable();
        if udp.peek().is_none() {
            return Ok(());
        }
        let all = route::addresses(&self.route)?;
        let own: Vec<Ipv4Addr> = all.into_iter().map(|address| address.address).collect();
        udp.try_for_each(|binding| {
            let one = [binding.host_ip];
            let addresses = if binding.host_ip.is_unspecified() { &own[..] } else { &one };
            conntrack::forget_sent_to(channel, addresses, binding.host_port, Proto::Udp.number())
        })
    }

    /// Takes an endpoint out of the state and the table, both under the lock: nobody can publish a port before its last
    /// user's entry is gone.
    fn unpublish(&self, id: &str) -> Option<Removed> {
        let channel = self.firewall();
        let removed = self.state().remove(id)?;
        // Where one entry was missing all are still there: an address in use again must not get another's packets.
        firewall::unpublish(&channel, &self.config.table, &removed.endpoint)
            .or_else(|_| self.replace_rules(&channel))
            .unwrap_or_else(
                |error| warn!(%error, "withdrawing ports; the next change of the whole table does"),
            );
        if removed.endpoint.ports.iter().any(|binding| binding.proto == Proto::Udp) {
            let address = removed.endpoint.address.addr();
            conntrack::forget_answered_by(&channel, address, Proto::Udp.number())
                .unwrap_or_else(|error| warn!(%error, "forgetting connections"));
        }
        Some(removed)
    }

    /// Deletes ports of the bridge that nobody owns, and puts those back that lost it.
    fn sweep(&self, bridge: u32) -> Result<()> {
        let ports = route::ports(&self.route, bridge)?;
        let state = self.state();
        let owned = state.veths();
        let orphans = ports.iter().map(|port| port.name.as_str()).filter(|name| !owned.contains(name));
        reaper::delete(&self.route, orphans)?;
        crash::point("network.converge.swept");
        let mut lost = route::links(&self.route)?;
        lost.retain(|link| owned.contains(link.name.as_str()) && link.master != Some(bridge));
        drop(state);
        for link in lost.iter().map(|link| Which::Index(link.index)) {
            let mut batch = Batch::default();
            route::set_master(&mut batch, link, bridge);
            route::set_hairpin(&mut batch, link);
            self.route.commit(&batch)?;
            route::notice_carrier(&self.route, link)?;
        }
        route::notice_carrier(&self.route, Which::Index(bridge))
    }

    fn bridge_facts(&self, identity: &Identity) -> Network {
        let state = self.state();
        let mut network = plain("bridge", "bridge", identity);
        network.subnets = vec![Subnet { subnet: state.subnet(), gateway: state.gateway() }];
        network.options = bridge_options(&self.config);
        network.endpoints = state.endpoints().cloned().collect();
        network
    }
}

/// The stored identities; the subnet is chosen anew if the host has come to use it otherwise.
fn identities(records: &Records, config: &Config, route: &Channel) -> Result<Identities> {
    let stored = records.identities()?;
    let bridge = bridge::find(route, &config.bridge)?;
    let subnet = match (config.address.map(|address| address.trunc()), &stored, &bridge) {
        (Some(wanted), _, Some(_)) => fixed(wanted, records)?,
        (Some(wanted), ..) => wanted,
        (None, Some(stored), Some(_)) => stored.subnet,
        (None, ..) => {
            let occupied = bridge::occupied(route, bridge.map(|link| link.index))?;
            address::choose(stored.as_ref().map(|stored| stored.subnet), &config.pools, &occupied)?
        }
    };
    let identities = match stored {
        Some(stored) if stored.subnet == subnet => return Ok(stored),
        Some(stored) => Identities { subnet, ..stored },
        None => Identities::new(subnet)?,
    };
    records.put_identities(&identities)?;
    Ok(identities)
}

/// A subnet that was asked for, unless somebody is still connected to another one.
fn fixed(wanted: Ipv4Net, records: &Records) -> Result<Ipv4Net> {
    match records.endpoints()?.iter().find(|endpoint| endpoint.address.trunc() != wanted) {
        Some(endpoint) => Err(Error::conflict(format!(
            "the bridge cannot move to {wanted}: container {} is connected at {}\n\
             hint: stop all containers under the old address first",
            endpoint.id, endpoint.address
        ))),
        None => Ok(wanted),
    }
}

/// The range that the host itself uses, as in Docker.
fn ephemeral_ports() -> RangeInclusive<u16> {
    let read = || -> Option<RangeInclusive<u16>> {
        let text = sys::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let (first, last) = text.trim().split_once(char::is_whitespace)?;
        let (first, last) = (first.parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    read().unwrap_or(EPHEMERAL)
}

/// Sets a switch to 1 unless it is.
fn set(switch: &str) -> Result<()> {
    if sys::fs::read_to_string(switch)?.trim() == "1" {
        return Ok(());
    }
    sys::fs::write(switch, "1")
}

fn plain(name: &str, driver: &'static str, identity: &Identity) -> Network {
    let Identity { id, created } = identity.clone();
    let (subnets, options, endpoints) = (Vec::new(), BTreeMap::new(), Vec::new());
    Network { name: name.into(), id, driver, created, subnets, options, endpoints }
}

fn bridge_options(config: &Config) -> BTreeMap<String, String> {
    let options = [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", &config.bridge),
        ("com.docker.network.driver.mtu", &config.mtu.to_string()),
    ];
    options.map(|(key, value)| (key.to_string(), value.to_string())).into()
}

/// A thread that panicked while it held one of our locks left whole values behind: they change in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
