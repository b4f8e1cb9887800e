//! The wire fails, the registry lies or has no time, the disk is full: each is told, nothing wrong stays, and the next try
//! goes on where the last one ended.

use std::fs;
use std::process::Command;

use fixtures::{Client, Host};

use crate::wire::{Asked, Fate};
use crate::world::{MEGABYTE, World, comes_true, is_here, make};

/// Of the blobs that a pull asks for, the config is the first.
const LAYER: u32 = 2;

#[track_caller]
fn refused(client: &Client, arguments: &[&str]) -> String {
    let output = client.run(arguments);
    assert_eq!(output.code, 1, "{arguments:?}: {output:?}");
    output.stderr.trim().to_owned()
}

#[test]
fn a_pull_that_is_cut_at_every_megabyte_goes_on_each_time() {
    let host = Host::new();
    let world = World::new(&host);
    let daemon = world.daemon();
    let client = daemon.own();
    let size = 8 * MEGABYTE;
    let id = world.publish(&client, "app:1", &[8]);
    let name = world.wire.name("app:1");
    // The config comes whole, and then every time a megabyte more.
    world.wire.rule(|asked| if asked.is_blob() { Fate::CutAt(MEGABYTE) } else { Fate::Pass });
    let mut begins = Vec::new();
    while client.run(&["pull", "-q", &name]).code != 0 {
        let (asked, carried) = world.wire.take();
        assert!(carried <= MEGABYTE + MEGABYTE / 16, "{carried}");
        begins.extend(asked.iter().filter(|asked| asked.is_blob()).map(|asked| asked.from).max());
        world.store_is_whole(&client);
        assert!(begins.len() < 20, "{begins:?}");
    }
    let wanted: Vec<u64> = (0..8).map(|megabyte| megabyte * MEGABYTE).collect();
    assert_eq!(begins, wanted, "each try begins where the one before was cut");
    let (_, last) = world.wire.take();
    assert!(last < size / 4, "{last}");
    is_here(&client, &name, &id);
    world.store_is_whole(&client);
    assert_eq!(world.partial_bytes(), 0);
}

#[test]
fn a_push_that_is_cut_goes_on_by_itself() {
    let host = Host::new();
    let world = World::new(&host);
    let daemon = host.start();
    let client = daemon.own();
    for megabyte in 1..=3 {
        // One of its own, because a registry that has a layer is not sent it.
        let name = world.wire.name(&format!("app{megabyte}:1"));
        make(&client, &name, &[4]);
        world.wire.nth(1, Asked::is_upload, Fate::CutAt(megabyte * MEGABYTE));
        world.wire.take();
        client.ok(&["push", "-q", &name]);
        let (_, carried) = world.wire.take();
        assert!(carried < 5 * MEGABYTE, "{carried}: what had arrived was sent again");
        world.registry_is_whole();
    }
}

#[test]
fn registries_without_time_are_asked_again_or_named() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
    const LATER: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let host = Host::new();
    let world = World::new(&host);
    let daemon = host.start();
    let client = daemon.own();
    let id = world.publish(&client, "app:1", &[1]);
    let name = world.wire.name("app:1");
    for answer in [BUSY, BROKEN, LATER] {
        world.wire.nth(LAYER, Asked::is_blob, Fate::Answer(answer));
        client.ok(&["pull", "-q", &name]);
        is_here(&client, &name, &id);
        world.store_is_whole(&client);
        client.ok(&["rmi", &name]);
    }
    daemon.end();
    // Without patience it is told.
    let daemon = world.daemon();
    for (answer, words) in [(BROKEN, "500"), (BUSY, "503"), (LATER, "429")] {
        world.wire.rule(move |asked| if asked.is_blob() { Fate::Answer(answer) } else { Fate::Pass });
        let told = refused(&client, &["pull", "-q", &name]);
        assert!(told.contains(words), "{words}: {told}");
        world.store_is_whole(&client);
    }
    world.wire.passes();
    client.ok(&["pull", "-q", &name]);
    let fresh = world.wire.name("other:1");
    client.ok(&["tag", &name, &fresh]);
    for answer in [BROKEN, BUSY, LATER] {
        world.wire.rule(move |asked| if asked.is_upload() { Fate::Answer(answer) } else { Fate::Pass });
        refused(&client, &["push", "-q", &fresh]);
        world.registry_is_whole();
    }
    world.wire.passes();
    client.ok(&["push", "-q", &fresh]);
    drop(daemon);
}

#[test]
fn what_a_registry_says_of_lengths_and_digests_is_not_believed() {
    let host = Host::new();
    let world = World::new(&host);
    let daemon = world.daemon();
    let client = daemon.own();
    let id = world.publish(&client, "app:1", &[2]);
    let name = world.wire.name("app:1");
    for (fate, words) in [
        (Fate::LongerBy(7), "expected"),
        (Fate::LongerBy(-7), "expected"),
        (Fate::FlipAt(MEGABYTE), "verification failed"),
    ] {
        world.wire.nth(LAYER, Asked::is_blob, fate);
        let told = refused(&client, &["pull", "-q", &name]);
        assert!(told.contains(words), "{words}: {told}");
        world.store_is_whole(&client);
        assert_eq!(client.ok(&["images", "-q"]), "");
    }
    world.wire.passes();
    client.ok(&["pull", "-q", &name]);
    is_here(&client, &name, &id);
    // The other way round: what arrives at the registry is not what was announced.
    let fresh = world.wire.name("other:1");
    client.ok(&["tag", &name, &fresh]);
    world.wire.rule(|asked| if asked.is_upload() { Fate::FlipAt(10) } else { Fate::Pass });
    refused(&client, &["push", "-q", &fresh]);
    world.registry_is_whole();
    world.wire.passes();
    client.ok(&["push", "-q", &fresh]);
}

#[test]
fn a_pull_without_room_leaves_nothing_and_the_next_one_has_it() {
    let host = Host::new();
    let world = World::new(&host);
    let publisher = world.daemon();
    let id = world.publish(&publisher.own(), "app:1", &[3, 6]);
    publisher.end();
    fs::remove_dir_all(host.folder().join("data")).unwrap();
    let disk = Disk::under(&host, "8m");
    let daemon = world.daemon();
    let client = daemon.own();
    let name = world.wire.name("app:1");
    let free = disk.free_bytes();
    let told = refused(&client, &["pull", "-q", &name]);
    assert!(told.to_lowercase().contains("no space left on device"), "{told}");
    comes_true("what was fetched in vain is gone", || disk.free_bytes() + MEGABYTE / 4 > free);
    world.store_is_whole(&client);
    disk.resize("64m");
    client.ok(&["pull", "-q", &name]);
    is_here(&client, &name, &id);
    world.store_is_whole(&client);
}

/// A file system of its own under the daemon's data root; gone with the value.
struct Disk(std::path::PathBuf);

impl Disk {
    fn under(host: &Host, size: &str) -> Self {
        let root = host.folder().join("data");
        fs::create_dir(&root).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "small"], &root);
        Self(root)
    }

    fn resize(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], &self.0);
    }

    fn free_bytes(&self) -> u64 {
        let output = Command::new("stat").args(["-f", "-c", "%f %S"]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (blocks, size) = text.trim().split_once(' ').unwrap();
        blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a daemon may still be there. An error would hide the test's own failure.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

fn mount(arguments: &[&str], at: &std::path::Path) {
    assert!(Command::new("mount").args(arguments).arg(at).status().unwrap().success());
}
