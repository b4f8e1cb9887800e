//! A program killed in the middle of a transfer: whoever looks afterwards sees nothing half-made, and the next try needs
//! fewer bytes than the first.

use std::sync::{Arc, Mutex, mpsc};

use fixtures::Host;
use sys::process::kill;

use crate::wire::{Asked, Fate};
use crate::world::{MEGABYTE, World, comes_true, is_here, make};

const SIGKILL: i32 = 9;

/// In the middle of which transfer of a blob, and after how many of its bytes. The first is the config's or the upper
/// layer's, depending on the direction.
const MOMENTS: &[(u32, u64)] = &[
    (1, 0),
    (1, 10),
    (1, 1_700_000),
    (2, 0),
    (2, 1),
    (2, 700_001),
    (2, 1_999_999),
    (2, u64::MAX),
    (3, 0),
    (3, 1_234_567),
    AT_THE_END,
];

/// Everything has been carried.
const AT_THE_END: (u32, u64) = (3, u64::MAX);

fn kills(pid: u32) -> Arc<dyn Fn() + Send + Sync> {
    let pid = pid.cast_signed();
    Arc::new(move || kill(pid, SIGKILL).unwrap())
}

#[test]
fn a_daemon_killed_while_it_pulls_goes_on_after_its_next_start() {
    let host = Host::new();
    let world = World::new(&host);
    let publisher = world.daemon();
    let id = world.publish(&publisher.own(), "app:1", &[2, 3]);
    let name = world.wire.name("app:1");
    world.wire.take();
    publisher.own().ok(&["pull", "-q", &name]);
    let (_, whole) = world.wire.take();
    publisher.own().ok(&["rmi", &name]);
    publisher.kill();
    for moment in MOMENTS {
        let daemon = world.daemon();
        world.wire.nth(moment.0, Asked::is_blob, Fate::StopAt(moment.1, kills(daemon.pid())));
        assert_ne!(daemon.own().run(&["pull", "-q", &name]).code, 0, "{moment:?}");
        daemon.kill();
        let here = world.partial_bytes();
        world.wire.passes();
        world.wire.take();
        let daemon = world.daemon();
        let client = daemon.own();
        world.store_is_whole(&client);
        assert_eq!(client.ok(&["images", "-q"]), "", "{moment:?}");
        client.ok(&["pull", "-q", &name]);
        let (_, again) = world.wire.take();
        assert_eq!(again + here, whole, "{moment:?}: {again} and {here} bytes that were here");
        is_here(&client, &name, &id);
        world.store_is_whole(&client);
        assert_eq!(world.partial_bytes(), 0, "{moment:?}");
        client.ok(&["rmi", &name]);
        daemon.kill();
    }
}

#[test]
fn a_daemon_killed_while_it_pushes_sends_what_is_there_no_second_time() {
    let host = Host::new();
    let world = World::new(&host);
    // Each moment needs an image that the registry does not have; every other one is enough.
    for (round, moment) in MOMENTS.iter().step_by(2).enumerate() {
        let daemon = world.daemon();
        let client = daemon.own();
        let name = world.wire.name(&format!("app{round}:1"));
        let id = make(&client, &name, &[2, 3]);
        world.wire.nth(moment.0, Asked::is_upload, Fate::StopAt(moment.1, kills(daemon.pid())));
        assert_ne!(client.run(&["push", "-q", &name]).code, 0, "{moment:?}");
        daemon.kill();
        world.registry_is_whole();
        world.wire.passes();
        world.wire.take();
        let daemon = world.daemon();
        let client = daemon.own();
        world.store_is_whole(&client);
        client.ok(&["push", "-q", &name]);
        let (_, again) = world.wire.take();
        // The upper layer, which has three megabytes, goes first.
        let most = if moment.0 == 1 {
            6
        } else if moment.0 == 2 {
            3
        } else {
            1
        };
        assert!(again < most * MEGABYTE, "{moment:?}: {again}");
        world.registry_is_whole();
        client.ok(&["rmi", "-f", &id]);
        client.ok(&["pull", "-q", &name]);
        is_here(&client, &name, &id);
        client.ok(&["rmi", "-f", &id]);
        daemon.kill();
    }
}

#[test]
fn a_registry_killed_while_it_is_pulled_from_is_gone_on_with() {
    let host = Host::new();
    let mut world = World::new(&host);
    let daemon = world.daemon();
    let client = daemon.own();
    let id = world.publish(&client, "app:1", &[2, 3]);
    let name = world.wire.name("app:1");
    world.wire.take();
    client.ok(&["pull", "-q", &name]);
    let (_, whole) = world.wire.take();
    client.ok(&["rmi", &name]);
    // At the end a pull needs it no more.
    for moment in MOMENTS.iter().filter(|moment| **moment != AT_THE_END) {
        world.wire.nth(moment.0, Asked::is_blob, Fate::StopAt(moment.1, kills(world.registry.pid())));
        assert_ne!(client.run(&["pull", "-q", &name]).code, 0, "{moment:?}");
        world.registry_starts_anew();
        world.registry_is_whole();
        world.store_is_whole(&client);
        let here = world.partial_bytes();
        world.wire.passes();
        world.wire.take();
        client.ok(&["pull", "-q", &name]);
        let (_, again) = world.wire.take();
        assert_eq!(again + here, whole, "{moment:?}: {again} and {here} bytes that were here");
        is_here(&client, &name, &id);
        client.ok(&["rmi", &name]);
    }
}

#[test]
fn a_registry_killed_while_it_is_pushed_to_gets_the_rest() {
    let host = Host::new();
    let mut world = World::new(&host);
    // It tries again by itself, after a pause.
    let daemon = host.start();
    let client = daemon.own();
    let name = world.wire.name("app:1");
    let id = make(&client, &name, &[4]);
    let (tell, arrival) = mpsc::channel();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let meet = Arc::new(move || {
        tell.send(()).unwrap();
        // Also if the test ends meanwhile: then nobody holds the other end.
        gone_on.lock().unwrap().recv().unwrap_or_default();
    });
    let sent = 2_500_000;
    world.wire.nth(1, Asked::is_upload, Fate::StopAt(sent, meet));
    world.wire.take();
    let held = std::thread::scope(|scope| {
        let go_on = go_on;
        let pushing = scope.spawn(|| client.ok(&["push", "-q", &name]));
        arrival.recv().unwrap();
        // It writes a megabyte or more at a time.
        comes_true("the registry has what has come", || world.upload_bytes() >= MEGABYTE);
        let held = world.registry_starts_anew();
        drop(go_on);
        pushing.join().unwrap();
        held
    });
    let (_, carried) = world.wire.take();
    let whole = 4 * MEGABYTE + MEGABYTE / 4;
    assert!(carried + held < sent + whole, "{carried}: of {held} that the registry had some was sent again");
    world.registry_is_whole();
    client.ok(&["rmi", "-f", &id]);
    client.ok(&["pull", "-q", &name]);
    is_here(&client, &name, &id);
}
