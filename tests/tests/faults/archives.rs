//! Archives that are broken, or that want to write elsewhere.

use std::fs;

use fixtures::{Client, Host, image};

use crate::{left, witness};

/// A name as the archive has it, which no library would write.
fn with_raw_name(name: &str, kind: tar::EntryType, link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [&members.concat()[..], &[0; 1024]].concat()
}

/// None of these is an archive.
fn broken(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let noise = (0..40_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let mut flipped = good.to_vec();
    flipped[..4096].iter_mut().for_each(|byte| *byte = !*byte);
    vec![("truncated", good[..good.len() / 2].to_vec()), ("flipped", flipped), ("noise", noise)]
}

/// An image's archive with a byte changed in a blob: as a tree it is like any other.
fn damaged(good: &[u8]) -> Vec<u8> {
    let mut damaged = good.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] = !damaged[middle];
    damaged
}

/// Trees that want to write or read elsewhere.
fn hostile(outside: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (file, hard, link) = (tar::EntryType::Regular, tar::EntryType::Link, tar::EntryType::Symlink);
    let member = with_raw_name;
    vec![
        ("upwards", archive(&[member("../escaped", file, "")])),
        ("upwards inside", archive(&[member("a/../../../escaped", file, "")])),
        ("absolute", archive(&[member(&format!("{outside}/escaped"), file, "")])),
        ("through a link", archive(&[member("up", link, outside), member("up/escaped", file, "")])),
        ("hard link", archive(&[member("stolen", hard, "../../../../../etc/passwd")])),
    ]
}

fn everything(client: &Client, host: &Host) -> [String; 3] {
    let listed = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(host.folder().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.join(" ")
    };
    [client.ok(&["images", "-a"]), listed("data/store/content/blobs/sha256"), listed("data/store/ingest")]
}

#[track_caller]
fn is_refused(client: &Client, arguments: &[&str], name: &str, bytes: &[u8]) {
    let output = client.run_with(arguments, bytes);
    assert_eq!(output.code, 1, "{arguments:?} of {name}: {output:?}");
    assert_eq!(output.stderr.trim().lines().count(), 1, "{arguments:?} of {name}: {output:?}");
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let host = Host::new();
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    let saved = host.folder().join("saved.tar").display().to_string();
    client.ok(&["save", "-o", &saved, "busybox"]);
    let good = fs::read(&saved).unwrap();
    client.ok(&["rmi", "busybox"]);
    let before = everything(&client, &host);
    let outside = host.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    for (name, bytes) in broken(&good) {
        is_refused(&client, &["load"], name, &bytes);
        is_refused(&client, &["import", "-"], name, &bytes);
        if name == "truncated" {
            let told = |arguments: &[&str]| client.run_with(arguments, &bytes).stderr;
            assert_eq!(told(&["load"]), "unexpected EOF\n");
            assert_eq!(told(&["import", "-"]), "Error response from daemon: unexpected EOF\n");
        }
        assert_eq!(everything(&client, &host), before, "after {name}");
    }
    is_refused(&client, &["load"], "damaged", &damaged(&good));
    for (name, bytes) in hostile(&outside.display().to_string()) {
        is_refused(&client, &["load"], name, &bytes);
        // As with Docker, an absolute name or link counts from the root of the image.
        let imported = client.run_with(&["import", "-"], &bytes);
        if imported.code == 0 {
            client.ok(&["rmi", imported.stdout.trim()]);
        }
        assert_eq!(everything(&client, &host), before, "after {name}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{name}");
    }
    for folder in ["", "data", "data/store", "data/store/layers", "data/store/ingest"] {
        assert!(!host.folder().join(folder).join("escaped").exists(), "{folder}");
    }
    client.ok_with(&["load"], &good);
    client.ok_with(&["import", "-"], &image::single_file_root("a", b"a", 0o644).unwrap());
    left::nothing(&host, daemon);
}
