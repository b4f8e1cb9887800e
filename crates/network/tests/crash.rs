//! The daemon's end at every step: whatever was half-made is gone after the next start, and what lives stays.
//!
//! The victim is this test binary itself, started with `KOGGE_CRASH`; it inherits the network namespace that plays the
//! host.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use netlink::{Channel, Protocol, nft, route};
use network::{Config, Networks, PortWish, Proto, Request};
use sys::signal::SIGKILL;

const POINTS: &[&str] = &[
    "network.connect.recorded",
    "network.prepare.bridge",
    "network.prepare.rules",
    "network.connect.netns",
    "network.connect.veth",
    "network.connect.configured",
    "network.connect.published",
    "network.disconnect.unpublished",
    "network.disconnect.recorded",
    "network.reaper.batch",
    "network.converge.forgotten",
    "network.converge.prepared",
    "network.converge.swept",
];

const STATE_DIR: &str = "KOGGE_TEST_STATE_DIR";

fn open(state_dir: &Path) -> Networks {
    Networks::open(Config { state_dir: state_dir.into(), ..Config::default() }).unwrap()
}

fn connect(networks: &Networks, id: &str, port: u16) -> network::Connection {
    let wish = PortWish { container: 80, proto: Proto::Tcp, host_ip: None, host: Some(port..=port) };
    networks.connect(&Request { id, network: "bridge", ports: vec![wish], ..Request::default() }).unwrap()
}

/// Passes every crash point once; does nothing unless it was started as the victim.
#[test]
fn victim() {
    let Some(state_dir) = std::env::var_os(STATE_DIR) else { return };
    let networks = open(Path::new(&state_dir));
    drop(connect(&networks, "half", 8081));
    drop(connect(&networks, "other", 8082));
    networks.disconnect("half").unwrap();
    networks.settle();
    networks.converge(&["survivor"]).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the process to kill must be another one")]
fn kill_at(point: &str, state_dir: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim"])
        .env(STATE_DIR, state_dir)
        .env("KOGGE_CRASH", point)
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(SIGKILL), "{point} was not passed");
}

#[test]
fn nothing_is_left_and_nothing_lost_after_a_crash_at_any_point() {
    for point in POINTS {
        sys::netlink::in_fresh_netns(|_| {
            sys::namespace::set_loopback_up()?;
            // On a thread with a stack of the usual size.
            std::thread::scope(|scope| scope.spawn(|| check(point)).join().unwrap());
            Ok(())
        })
        .unwrap();
    }
}

fn check(point: &str) {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let networks = open(dir.path());
    let survivor = connect(&networks, "survivor", 8080);
    drop(networks);
    // So that the preparation has something to do.
    if point.starts_with("network.prepare") {
        delete_bridge();
    }
    kill_at(point, dir.path());

    let networks = open(dir.path());
    networks.converge(&["survivor"]).unwrap();
    networks.settle();
    let alive = networks.inspect("bridge").unwrap().endpoints;
    assert_eq!(alive, std::slice::from_ref(&survivor.endpoint), "{point}");
    assert_eq!(ports_of_bridge(), std::slice::from_ref(&survivor.endpoint.veth), "{point}");
    let netfilter = Channel::open(Protocol::Netfilter).unwrap();
    assert_eq!(nft::elements(&netfilter, "kogge", "ports_any").unwrap().len(), 1, "{point}");
    assert_eq!(std::fs::read_dir(dir.path().join("endpoints")).unwrap().count(), 1, "{point}");

    let listener = sys::netlink::in_netns(survivor.netns.as_fd(), || {
        Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap())
    })
    .unwrap();
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).expect(point);
    drop(listener);
    drop(connect(&networks, "half", 8081));
}

fn delete_bridge() {
    let channel = Channel::open(Protocol::Route).unwrap();
    let mut batch = netlink::Batch::default();
    route::delete_link(&mut batch, route::Which::Name("kogge0"));
    channel.commit(&batch).unwrap();
}

fn ports_of_bridge() -> Vec<String> {
    let channel = Channel::open(Protocol::Route).unwrap();
    let bridge = route::link(&channel, "kogge0").unwrap().unwrap();
    route::ports(&channel, bridge.index).unwrap().into_iter().map(|port| port.name).collect()
}
