//! The default network with real traffic: a "host" of the test's own, containers on it, and a world outside.
//!
//! Every test runs on a thread in a fresh network namespace, which plays the host.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use fault::{Kind, Result};
use netlink::nft::{Chain, ChainKind, Hook, Policy, Transaction};
use netlink::route::{self, Veth, Which};
use netlink::{Batch, Channel, Protocol};
use network::{Config, Connection, Networks, PortWish, Proto, Request};
use sys::errno::EPROTONOSUPPORT;
use sys::seccomp::SockFilter;

/// No answer in this time is a failure; far more than any retransmission needs.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what must not be answered.
const SHORT: Duration = Duration::from_millis(200);
const WORLD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

struct Host {
    dir: tempfile::TempDir,
    networks: Networks,
    /// The other end of the host's uplink. It knows no way back to the containers.
    world: OwnedFd,
}

impl Host {
    fn config(&self) -> Config {
        Config { state_dir: self.dir.path().join("network"), ..Config::default() }
    }

    /// As after the end of the daemon, however it ended.
    fn restart(&mut self) {
        self.networks = Networks::open(self.config()).unwrap();
    }

    fn run(&self, id: &str, ports: Vec<PortWish>) -> Connection {
        self.try_run(id, ports).unwrap()
    }

    fn try_run(&self, id: &str, ports: Vec<PortWish>) -> Result<Connection> {
        self.networks.connect(&Request { id, network: "bridge", ports, ..Request::default() })
    }
}

/// Runs a test on a host of its own, with an uplink.
fn check(test: impl FnOnce(Host) + Send) {
    let work = || {
        test(set_up_host()?);
        Ok(())
    };
    sys::netlink::in_fresh_netns(|_| on_big_stack(work)).unwrap();
}

/// The threads that enter namespaces have small stacks, and test frameworks do not.
fn on_big_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

fn set_up_host() -> Result<Host> {
    let world = sys::netlink::fresh_netns()?;
    let channel = Channel::open(Protocol::Route)?;
    let mut batch = Batch::default();
    route::set_up(&mut batch, Which::Name("lo"));
    let peer_mac = [2, 0, 0, 0, 0, 1];
    let peer_netns = world.as_fd();
    let veth = Veth { name: "uplink", master: None, mtu: 1500, peer_name: "eth0", peer_mac, peer_netns };
    route::add_veth(&mut batch, &veth);
    channel.commit(&batch)?;
    add_address(&channel, "uplink", HOST)?;
    add_address(&Channel::open_in(world.as_fd(), Protocol::Route)?, "eth0", WORLD)?;
    route::notice_carrier(&channel, Which::Name("uplink"))?;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let networks = Networks::open(Config { state_dir: dir.path().join("network"), ..Config::default() })?;
    Ok(Host { dir, networks, world })
}

fn add_address(channel: &Channel, link: &str, address: Ipv4Addr) -> Result<()> {
    let index = route::link(channel, link)?.unwrap().index;
    let mut batch = Batch::default();
    route::add_address(&mut batch, index, address, 24);
    route::set_up(&mut batch, Which::Index(index));
    channel.commit(&batch)
}

fn within<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    sys::netlink::in_netns(netns.as_fd(), || Ok(work())).unwrap()
}

/// A server in a namespace that tells each client the address from which it came.
fn serve(netns: &OwnedFd, port: u16) {
    let listener = within(netns, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
        }
    });
}

fn serve_udp(netns: &OwnedFd, port: u16, name: &'static str) {
    let socket = within(netns, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(name.as_bytes(), peer).unwrap();
        }
    });
}

/// What the server says, or why it cannot be reached.
fn ask(address: impl Into<SocketAddr>) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(socket: &UdpSocket, address: impl Into<SocketAddr>) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"?", address.into()).unwrap();
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn tcp(host: u16, container: u16) -> PortWish {
    PortWish { container, proto: Proto::Tcp, host_ip: None, host: Some(host..=host) }
}

fn random(container: u16) -> PortWish {
    PortWish { container, proto: Proto::Tcp, host_ip: None, host: None }
}

fn ip(connection: &Connection) -> Ipv4Addr {
    connection.endpoint.address.addr()
}

fn flush_table() {
    let mut change = Transaction::new("kogge");
    change.delete_table();
    change.commit(&Channel::open(Protocol::Netfilter).unwrap()).unwrap();
}

#[test]
fn host_and_containers_reach_each_other_by_address() {
    check(|host| {
        let one = host.run("one", vec![]);
        let two = host.run("two", vec![]);
        assert_eq!(one.endpoint.address.to_string(), "172.17.0.2/16");
        assert_eq!(one.endpoint.mac.to_string(), "02:42:ac:11:00:02");
        serve(&one.netns, 80);
        assert_eq!(ask((ip(&one), 80)).unwrap(), GATEWAY.to_string());
        assert_eq!(within(&two.netns, || ask((ip(&one), 80)).unwrap()), ip(&two).to_string());

        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7000)).unwrap();
        thread::spawn(move || drop(listener.accept()));
        assert_eq!(within(&one.netns, || ask((GATEWAY, 7000)).unwrap()), "");
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    check(|host| {
        let server = host.run("server", vec![tcp(8080, 80)]);
        let other = host.run("other", vec![]);
        serve(&server.netns, 80);
        for address in [HOST, GATEWAY, Ipv4Addr::LOCALHOST] {
            let expected = if address == HOST { HOST } else { GATEWAY };
            assert_eq!(ask((address, 8080)).unwrap(), expected.to_string(), "asked at {address}");
        }
        assert_eq!(within(&host.world, || ask((HOST, 8080)).unwrap()), WORLD.to_string(), "the client's own");
        for address in [HOST, GATEWAY] {
            let from = |client: &Connection| within(&client.netns, || ask((address, 8080)).unwrap());
            assert_eq!(from(&other), GATEWAY.to_string());
            assert_eq!(from(&server), GATEWAY.to_string(), "hairpin");
        }
    });
}

#[test]
fn hairpin_works_without_bridged_frames_in_the_ip_hooks() {
    check(|host| {
        let server = host.run("server", vec![tcp(8080, 80)]);
        let other = host.run("other", vec![]);
        // Absent on hosts without br_netfilter, where it is as if 0.
        let switch = std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
        if switch.exists() {
            std::fs::write(switch, "0").unwrap();
        }
        serve(&server.netns, 80);
        for client in [&server, &other] {
            assert_eq!(within(&client.netns, || ask((HOST, 8080)).unwrap()), GATEWAY.to_string());
        }
    });
}

#[test]
fn a_port_on_one_host_address_is_not_on_the_others() {
    check(|host| {
        let wish = PortWish { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..tcp(8080, 80) };
        let server = host.run("server", vec![wish]);
        serve(&server.netns, 80);
        assert_eq!(ask((Ipv4Addr::LOCALHOST, 8080)).unwrap(), GATEWAY.to_string());
        assert_eq!(ask((HOST, 8080)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn udp_is_published_and_follows_the_port_to_its_next_owner() {
    check(|host| {
        let wish = || PortWish { proto: Proto::Udp, ..tcp(5353, 53) };
        let first = host.run("first", vec![wish()]);
        serve_udp(&first.netns, 53, "first");
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_eq!(ask_udp(&client, (Ipv4Addr::LOCALHOST, 5353)), "first");
        let world = within(&host.world, || UdpSocket::bind((WORLD, 0)).unwrap());
        assert_eq!(ask_udp(&world, (HOST, 5353)), "first");

        host.networks.disconnect("first").unwrap();
        drop((first.reserved, first.relays));
        let keeper = host.run("keeper", vec![]);
        let second = host.run("second", vec![wish()]);
        assert_ne!(ip(&keeper), ip(&second));
        serve_udp(&second.netns, 53, "second");
        assert_eq!(ask_udp(&world, (HOST, 5353)), "second", "from the same client port as before");
        assert_eq!(ask_udp(&client, (Ipv4Addr::LOCALHOST, 5353)), "second");
    });
}

#[test]
fn who_sends_before_a_udp_port_is_published_reaches_it_then() {
    check(|host| {
        // So that connections are tracked already.
        let _other = host.run("other", vec![]);
        let sender = within(&host.world, || UdpSocket::bind((WORLD, 0)).unwrap());
        let local = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        {
            // Heard by the host's own stack, which does not answer the one and answers the other.
            let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353)).unwrap();
            sender.send_to(b"?", (HOST, 5353)).unwrap();
            own.set_read_timeout(Some(PATIENCE)).unwrap();
            own.recv_from(&mut [0; 8]).unwrap();
            local.send_to(b"?", (Ipv4Addr::LOCALHOST, 5353)).unwrap();
            let (_, peer) = own.recv_from(&mut [0; 8]).unwrap();
            own.send_to(b"host", peer).unwrap();
            local.recv_from(&mut [0; 8]).unwrap();
        }
        let server = host.run("server", vec![PortWish { proto: Proto::Udp, ..tcp(5353, 53) }]);
        serve_udp(&server.netns, 53, "server");
        assert_eq!(ask_udp(&sender, (HOST, 5353)), "server");
        assert_eq!(ask_udp(&local, (Ipv4Addr::LOCALHOST, 5353)), "server");
    });
}

#[test]
fn outbound_packets_look_like_the_hosts() {
    check(|host| {
        let client = host.run("client", vec![]);
        serve(&host.world, 80);
        assert_eq!(within(&client.netns, || ask((WORLD, 80)).unwrap()), HOST.to_string());
    });
}

#[test]
fn the_outside_reaches_only_what_is_published() {
    check(|host| {
        let server = host.run("server", vec![]);
        serve(&server.netns, 80);
        // A neighbour with a route to our subnet, as anybody on the wire may have.
        let outside = Channel::open_in(host.world.as_fd(), Protocol::Route).unwrap();
        let eth0 = route::link(&outside, "eth0").unwrap().unwrap().index;
        let mut batch = Batch::default();
        route::add_default_route(&mut batch, eth0, HOST);
        outside.commit(&batch).unwrap();
        let target = SocketAddr::from((ip(&server), 80));
        let reach = || TcpStream::connect_timeout(&target, SHORT).unwrap_err().kind();
        assert_eq!(within(&host.world, reach), ErrorKind::TimedOut);
    });
}

#[test]
fn containers_do_not_reach_the_hosts_loopback() {
    check(|host| {
        let client = host.run("client", vec![]);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 7000)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let inside = Channel::open_in(client.netns.as_fd(), Protocol::Route).unwrap();
        let index = |name| route::link(&inside, name).unwrap().unwrap().index;
        let mut batch = Batch::default();
        route::delete_address(&mut batch, index("lo"), Ipv4Addr::LOCALHOST, 8);
        inside.commit(&batch).unwrap();
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 7000));
        within(&client.netns, || {
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            assert_eq!(TcpStream::connect_timeout(&target, SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
        });
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_failed_connect_leaves_nothing() {
    check(|host| {
        let channel = Channel::open(Protocol::Route).unwrap();
        let links = || route::links(&channel).unwrap().len();
        let squat = |name: &str| {
            let mut batch = Batch::default();
            let (peer_mac, peer_netns) = ([2, 0, 0, 0, 0, 9], host.world.as_fd());
            let veth = Veth { name, master: None, mtu: 1500, peer_name: "squatter", peer_mac, peer_netns };
            route::add_veth(&mut batch, &veth);
            channel.commit(&batch).unwrap();
        };
        squat("kogge0");
        let before = links();
        let error = host.try_run("one", vec![tcp(8080, 80)]).unwrap_err();
        let text = "connecting one to network bridge: device kogge0 exists and is not a bridge";
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Conflict, text));
        host.networks.settle();
        assert_eq!(links(), before);
        assert!(host.networks.endpoint("one").is_none());
        assert_eq!(std::fs::read_dir(host.dir.path().join("network/endpoints")).unwrap().count(), 0);

        let mut batch = Batch::default();
        route::delete_link(&mut batch, Which::Name("kogge0"));
        channel.commit(&batch).unwrap();
        let one = host.run("one", vec![tcp(8080, 80)]);
        assert_eq!(one.endpoint.address.to_string(), "172.17.0.2/16");
        assert_eq!(one.reserved.len(), 1);
    });
}

#[test]
fn a_taken_port_is_refused_and_leaves_nothing() {
    check(|host| {
        let first = host.run("first", vec![tcp(8080, 80)]);
        let error = host.try_run("second", vec![tcp(8081, 81), tcp(8080, 80)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(error.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
        assert!(host.networks.endpoint("second").is_none());

        let _foreign = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9090)).unwrap();
        let error = host.try_run("second", vec![tcp(9090, 90)]).unwrap_err();
        let text = "failed to bind host port for 0.0.0.0:9090:172.17.0.3:90/tcp: address already in use";
        assert_eq!(error.to_string(), text);

        host.networks.disconnect("first").unwrap();
        drop(first);
        let third = host.run("third", vec![tcp(8081, 81), tcp(8080, 80)]);
        assert_eq!(third.endpoint.address.to_string(), "172.17.0.2/16", "the lowest free one");
        assert_eq!(third.reserved.len(), 2);
    });
}

#[test]
fn random_ports_differ_and_work() {
    check(|host| {
        let connections = ["one", "two"].map(|id| host.run(id, vec![random(80), random(80)]));
        let bindings = connections.iter().flat_map(|connection| &connection.endpoint.ports);
        let ports: Vec<u16> = bindings.map(|binding| binding.host_port).collect();
        assert_eq!(ports, [32768, 32769, 32770, 32771]);
        for connection in &connections {
            serve(&connection.netns, 80);
        }
        for port in ports {
            assert_eq!(ask((Ipv4Addr::LOCALHOST, port)).unwrap(), GATEWAY.to_string());
        }
    });
}

#[test]
fn an_address_in_use_again_reaches_the_new_owner_at_once() {
    check(|host| {
        // Not settled in between: the old device is still there each time.
        for round in 0..5 {
            let id = format!("round{round}");
            let server = host.run(&id, vec![tcp(8080, 80)]);
            assert_eq!(server.endpoint.address.to_string(), "172.17.0.2/16");
            serve(&server.netns, 80);
            assert_eq!(ask((Ipv4Addr::LOCALHOST, 8080)).unwrap(), GATEWAY.to_string());
            host.networks.disconnect(&id).unwrap();
        }
    });
}

#[test]
fn a_restart_finds_everything_as_it_was() {
    check(|mut host| {
        let server = host.run("server", vec![tcp(8080, 80)]);
        let dead = host.run("dead", vec![tcp(8081, 80)]);
        serve(&server.netns, 80);
        let before = host.networks.inspect("bridge").unwrap();
        host.restart();
        host.networks.converge(&["server"]).unwrap();
        let after = host.networks.inspect("bridge").unwrap();
        assert_eq!(
            (&after.id, &after.created, &after.subnets),
            (&before.id, &before.created, &before.subnets)
        );
        assert_eq!(after.endpoints, std::slice::from_ref(&server.endpoint));
        assert_eq!(ask((Ipv4Addr::LOCALHOST, 8080)).unwrap(), GATEWAY.to_string());
        host.networks.settle();
        let channel = Channel::open(Protocol::Route).unwrap();
        assert!(route::link(&channel, &dead.endpoint.veth).unwrap().is_none());

        let error = host.try_run("new", vec![tcp(8080, 80)]).unwrap_err().to_string();
        assert_eq!(error, "Bind for 0.0.0.0:8080 failed: port is already allocated");
        drop(dead);
        let new = host.run("new", vec![tcp(8081, 80)]);
        assert_ne!(ip(&new), ip(&server));
    });
}

#[test]
fn converge_repairs_what_others_broke() {
    check(|mut host| {
        let server = host.run("server", vec![tcp(8080, 80)]);
        serve(&server.netns, 80);
        let channel = Channel::open(Protocol::Route).unwrap();
        let mut batch = Batch::default();
        route::delete_link(&mut batch, Which::Name("kogge0"));
        channel.commit(&batch).unwrap();
        flush_table();
        host.restart();
        host.networks.converge(&["server"]).unwrap();
        assert_eq!(ask((HOST, 8080)).unwrap(), HOST.to_string());
    });
}

#[test]
fn converge_on_a_clean_host_changes_nothing() {
    check(|host| {
        host.networks.converge(&["unknown"]).unwrap();
        let channel = Channel::open(Protocol::Route).unwrap();
        assert!(route::link(&channel, "kogge0").unwrap().is_none());
        let netfilter = Channel::open(Protocol::Netfilter).unwrap();
        assert!(netlink::nft::base_chains(&netfilter).unwrap().is_empty());
    });
}

#[test]
fn a_connect_repairs_a_flushed_table() {
    check(|host| {
        let first = host.run("first", vec![tcp(8080, 80)]);
        serve(&first.netns, 80);
        flush_table();
        let second = host.run("second", vec![tcp(8081, 80)]);
        serve(&second.netns, 80);
        for port in [8080, 8081] {
            assert_eq!(ask((HOST, port)).unwrap(), HOST.to_string());
        }
    });
}

#[test]
fn a_port_that_others_withdrew_does_not_keep_the_rest() {
    check(|host| {
        drop(host.run("server", vec![tcp(8080, 80), tcp(8081, 81)]));
        let netfilter = Channel::open(Protocol::Netfilter).unwrap();
        let published = || netlink::nft::elements(&netfilter, "kogge", "ports_any").unwrap();
        let mut change = Transaction::new("kogge");
        change.delete_elements("ports_any", &published()[..1]);
        change.commit(&netfilter).unwrap();
        assert_eq!(published().len(), 1);
        host.networks.disconnect("server").unwrap();
        assert_eq!(published(), []);
    });
}

#[test]
fn many_come_and_go_and_nothing_stays() {
    check(|host| {
        let ids: Vec<String> = (0..50).map(|number| format!("c{number}")).collect();
        for id in &ids {
            drop(host.run(id, vec![random(80)]));
        }
        let netfilter = Channel::open(Protocol::Netfilter).unwrap();
        let published = || netlink::nft::elements(&netfilter, "kogge", "ports_any").unwrap().len();
        assert_eq!(published(), 50);
        for id in &ids {
            host.networks.disconnect(id).unwrap();
        }
        host.networks.settle();
        assert_eq!(published(), 0);
        let channel = Channel::open(Protocol::Route).unwrap();
        let bridge = route::link(&channel, "kogge0").unwrap().unwrap();
        assert!(route::ports(&channel, bridge.index).unwrap().is_empty());
        let records = host.dir.path().join("network/endpoints");
        assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
        assert!(host.networks.inspect("bridge").unwrap().endpoints.is_empty());
    });
}

#[test]
fn teardown_leaves_the_host_as_it_was() {
    check(|host| {
        let channel = Channel::open(Protocol::Route).unwrap();
        let names =
            || -> Vec<String> { route::links(&channel).unwrap().into_iter().map(|link| link.name).collect() };
        let before = names();
        for round in 0..2 {
            let connections = ["one", "two"].map(|id| host.run(id, vec![random(80)]));
            assert_eq!(names().len(), before.len() + 3, "round {round}");
            host.networks.teardown().unwrap();
            assert_eq!(names(), before);
            drop(connections);
        }
        let netfilter = Channel::open(Protocol::Netfilter).unwrap();
        assert!(netlink::nft::base_chains(&netfilter).unwrap().is_empty());
    });
}

#[test]
fn connects_in_parallel_get_different_places() {
    check(|host| {
        let host = &host;
        let connect = |number: usize| host.run(&format!("c{number}"), vec![random(80)]);
        let connections: Vec<Connection> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || connect(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut addresses: Vec<_> = connections.iter().map(ip).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 8);
        for connection in &connections {
            serve(&connection.netns, 80);
            let port = connection.endpoint.ports[0].host_port;
            assert_eq!(ask((HOST, port)).unwrap(), HOST.to_string());
        }
    });
}

#[test]
fn a_subnet_that_the_host_uses_is_left_alone() {
    check(|host| {
        let channel = Channel::open(Protocol::Route).unwrap();
        add_address(&channel, "uplink", Ipv4Addr::new(172, 17, 9, 1)).unwrap();
        let (bridge, table) = ("kogge9".to_string(), "kogge9".to_string());
        let config = Config { state_dir: host.dir.path().join("second"), bridge, table, ..Config::default() };
        let second = Networks::open(config).unwrap();
        let request = Request { id: "one", network: "bridge", ..Request::default() };
        assert_eq!(second.connect(&request).unwrap().endpoint.address.to_string(), "172.18.0.2/16");
    });
}

#[test]
fn addresses_of_choice_are_given() {
    check(|host| {
        let wanted = Ipv4Addr::new(172, 17, 5, 5);
        let mac = "92:d0:c6:0a:29:33".parse().unwrap();
        let connect = |id| {
            let request = Request { id, network: "bridge", ip: Some(wanted), mac: Some(mac), ports: vec![] };
            host.networks.connect(&request)
        };
        let one = connect("one").unwrap();
        serve(&one.netns, 80);
        assert_eq!(ask((wanted, 80)).unwrap(), GATEWAY.to_string());
        let inside = Channel::open_in(one.netns.as_fd(), Protocol::Route).unwrap();
        let eth0 = route::link(&inside, "eth0").unwrap().unwrap();
        assert_eq!(eth0.mac, Some(mac.0));
        assert_eq!(connect("two").unwrap_err().to_string(), "Address already in use");
    });
}

#[test]
fn an_isolated_namespace_has_only_loopback() {
    check(|host| {
        let netns = host.networks.isolated_netns().unwrap();
        let inside = Channel::open_in(netns.as_fd(), Protocol::Route).unwrap();
        let links = route::links(&inside).unwrap();
        let up: Vec<&str> = links.iter().filter(|link| link.up).map(|link| link.name.as_str()).collect();
        assert_eq!(up, ["lo"]);
        serve(&netns, 80);
        assert_eq!(within(&netns, || ask((Ipv4Addr::LOCALHOST, 80)).unwrap()), "127.0.0.1");
    });
}

#[test]
fn networks_are_found_by_name_and_id() {
    check(|host| {
        let all = host.networks.list();
        let names: Vec<_> = all.iter().map(|network| (network.name.as_str(), network.driver)).collect();
        assert_eq!(names, [("bridge", "bridge"), ("host", "host"), ("none", "null")]);
        let bridge = host.networks.inspect("bridge").unwrap();
        assert_eq!(bridge.id.len(), 64);
        assert_eq!(host.networks.inspect(&bridge.id[..12]).unwrap().name, "bridge");
        assert_eq!(host.networks.inspect("nope").unwrap_err().to_string(), "network nope not found");
        let request = Request { id: "one", network: "nope", ..Request::default() };
        assert_eq!(host.networks.connect(&request).unwrap_err().kind(), Kind::NotFound);
    });
}

/// Makes sockets of the netfilter family fail for this thread, as a kernel without them would.
fn forget_netfilter() {
    const SYSTEM_CALL: SockFilter = SockFilter { code: 0x20, jump_true: 0, jump_false: 0, value: 0 };
    // The third argument's lower half, in `struct seccomp_data`.
    const PROTOCOL: SockFilter = SockFilter { value: 32, ..SYSTEM_CALL };
    let unless = |value, jump_false| SockFilter { code: 0x15, jump_true: 0, jump_false, value };
    let answer = |value| SockFilter { code: 0x06, jump_true: 0, jump_false: 0, value };
    let (socket, netlink_netfilter) = (if cfg!(target_arch = "aarch64") { 198 } else { 41 }, 12);
    let (fail, allow) = (0x0005_0000 | EPROTONOSUPPORT.cast_unsigned(), 0x7fff_0000);
    let program =
        [SYSTEM_CALL, unless(socket, 3), PROTOCOL, unless(netlink_netfilter, 1), answer(fail), answer(allow)];
    sys::seccomp::install(&program, sys::seccomp::Flags::NONE).unwrap();
}

#[test]
fn a_kernel_without_netfilter_is_named_as_the_reason() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let config = Config { state_dir: dir.path().into(), ..Config::default() };
    let open = || {
        forget_netfilter();
        Networks::open(config).unwrap_err()
    };
    let error = thread::scope(|scope| scope.spawn(open).join().unwrap());
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().starts_with("networks need nf_tables in the kernel"), "{error}");
}

#[test]
fn a_foreign_drop_policy_is_named() {
    check(|host| {
        host.run("one", vec![]);
        assert_eq!(host.networks.forward_policy_blocker(), None);
        let (kind, hook, policy) = (ChainKind::Filter, Hook::Forward, Policy::Drop);
        let mut change = Transaction::new("filter");
        change.add_table();
        change.add_chain(&Chain { name: "FORWARD", kind, hook, priority: 0, policy });
        change.commit(&Channel::open(Protocol::Netfilter).unwrap()).unwrap();
        let blocker = host.networks.forward_policy_blocker().unwrap();
        assert_eq!(blocker, "chain FORWARD of table ip filter");
    });
}
