//! A host with a registry, a wire to it and a daemon, images that compress to their own size, and looks at what is left.

use std::fs;
use std::path::Path;

use fixtures::{Client, Daemon, Host, Registry, image, remains};

use crate::wire::Wire;

pub(crate) const MEGABYTE: u64 = 1 << 20;

/// Fields are dropped from the first to the last.
pub(crate) struct World<'h> {
    pub(crate) wire: Wire,
    pub(crate) registry: Registry<'h>,
    pub(crate) host: &'h Host,
}

impl<'h> World<'h> {
    pub(crate) fn new(host: &'h Host) -> Self {
        let registry = Registry::start(host, "registry", 5000);
        Self { wire: Wire::new(host, registry.address()), registry, host }
    }

    /// A daemon that gives up at the first failure, so that nobody waits and each try is a command, and that does one
    /// thing after the other.
    pub(crate) fn daemon(&self) -> Daemon<'h> {
        let flags = ["--max-download-attempts", "1", "--max-concurrent-downloads", "1"];
        self.host.start_with(&[&flags[..], &["--max-concurrent-uploads", "1"]].concat(), &[])
    }

    /// Puts an image of so many layers of so many megabytes into the registry, past the wire, and forgets it here; the
    /// image's id.
    pub(crate) fn publish(&self, client: &Client, name: &str, megabytes: &[u64]) -> String {
        let direct = self.registry.name(name);
        let id = make(client, &direct, megabytes);
        client.ok(&["push", "-q", &direct]);
        client.ok(&["rmi", "-f", &direct]);
        id
    }

    /// SIGKILL, if it has not ended yet; then another one takes its place. Tells how many bytes of half-sent blobs it finds.
    pub(crate) fn registry_starts_anew(&mut self) -> u64 {
        self.registry.kill();
        let held = self.upload_bytes();
        self.wire.hang_up();
        self.registry.kill_and_start();
        held
    }

    /// Nothing but whole blobs is to be seen in the registry's folder.
    #[track_caller]
    pub(crate) fn registry_is_whole(&self) {
        whole_blobs(&self.registry.root().join("blobs/sha256").display().to_string());
    }

    /// Nothing but whole blobs in the daemon's store, and nothing half-made but partial blobs.
    #[track_caller]
    pub(crate) fn store_is_whole(&self, client: &Client) {
        assert_eq!(client.get("/system/check"), serde_json::json!({ "Problems": [] }));
        let store = self.host.folder().join("data/store");
        whole_blobs(&store.join("content/blobs/sha256").display().to_string());
        // Threads of a pull that has failed end behind it.
        let ingest = store.join("ingest").display().to_string();
        comes_true("half-made things go", || listed(&ingest).is_empty());
    }

    /// Bytes of half-fetched blobs.
    pub(crate) fn partial_bytes(&self) -> u64 {
        bytes_in(&self.host.folder().join("data/store/partials"))
    }

    /// Bytes of half-sent blobs.
    pub(crate) fn upload_bytes(&self) -> u64 {
        bytes_in(&self.registry.root().join("uploads"))
    }
}

fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Every file is named by its content.
#[track_caller]
fn whole_blobs(folder: &str) {
    let names = listed(folder);
    if names.is_empty() {
        return;
    }
    let sums = std::process::Command::new("sha256sum").args(&names).current_dir(folder).output().unwrap();
    for line in String::from_utf8(sums.stdout).unwrap().lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        assert_eq!(sum, name, "in {folder}");
    }
}

fn listed(folder: &str) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// An image of so many layers of so many megabytes each, which no compression makes smaller; its id.
pub(crate) fn make(client: &Client, name: &str, megabytes: &[u64]) -> String {
    let [first, rest @ ..] = megabytes else { panic!("an image has a layer") };
    client.ok_with(&["import", "-", name], &layer(name, 0, *first));
    for (index, size) in rest.iter().enumerate() {
        let container = client.ok(&["create", name, "x"]);
        client.ok_with(&["cp", "-", &format!("{container}:/")], &layer(name, index + 1, *size));
        client.ok(&["commit", &container, name]);
        client.ok(&["rm", &container]);
    }
    client.ok(&["inspect", "-f", "{{.Id}}", name])
}

fn layer(name: &str, index: usize, megabytes: u64) -> Vec<u8> {
    let seed = name.bytes().fold(index as u64 + 1, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    image::single_file_root(&format!("file-{index}"), &noise(seed, megabytes * MEGABYTE), 0o644).unwrap()
}

/// Bytes without a pattern (xorshift64*), the same for the same seed.
fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let words = (0..length / 8).flat_map(|_| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    });
    words.collect()
}

/// The image is here, whole, under this name.
#[track_caller]
pub(crate) fn is_here(client: &Client, name: &str, id: &str) {
    assert_eq!(client.ok(&["inspect", "-f", "{{.Id}}", name]), id);
}

/// What goes on behind a command that has ended comes to its end.
#[track_caller]
pub(crate) fn comes_true(what: &str, condition: impl FnMut() -> bool) {
    assert!(remains::comes_true(condition), "{what}");
}
