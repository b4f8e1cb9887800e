//! The disk is full: what cannot be done is told and leaves nothing; when there is room, all goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Client, Host, image, remains};

use crate::left;
use crate::witness::{self, Witness};

/// A file system of its own under a host's data root; gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn under(host: &Host) -> Self {
        let root = host.folder().join("data");
        fs::create_dir(&root).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=16m", "small"], &root);
        Self(root)
    }

    fn free_bytes(&self) -> u64 {
        let output = Command::new("stat").args(["-f", "-c", "%f %S"]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (blocks, size) = text.trim().split_once(' ').unwrap();
        blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap()
    }

    /// Takes all room until the filler is removed.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let written = fs::write(&filler, vec![1; usize::try_from(self.free_bytes()).unwrap() + (1 << 20)]);
        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(self.free_bytes(), 0);
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon may still be there. An error would hide the test's own failure.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[track_caller]
fn mount(arguments: &[&str], target: &Path) {
    assert!(Command::new("mount").args(arguments).arg(target).status().unwrap().success());
}

/// An archive that does not compress away and does not fit.
fn big() -> Vec<u8> {
    image::single_file_root("big", &vec![7; 12 << 20], 0o644).unwrap()
}

#[track_caller]
fn is_refused_for_room(client: &Client, arguments: &[&str], input: &[u8]) {
    let output = client.run_with(arguments, input);
    assert_ne!(output.code, 0, "{arguments:?}: {output:?}");
    let told = output.stderr.to_lowercase().contains("no space left on device");
    assert!(told, "{arguments:?}: {output:?}");
}

#[test]
fn what_has_no_room_leaves_nothing() {
    let host = Host::new();
    let disk = SmallDisk::under(&host);
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    let witness = Witness::start(&client, 20_000);
    let free = disk.free_bytes();
    is_refused_for_room(&client, &["import", "-", "big"], &big());
    let spare = 64 << 10;
    assert!(remains::comes_true(|| disk.free_bytes() + spare > free), "{} of {free}", disk.free_bytes());
    assert_eq!(client.ok(&["images", "-q"]).lines().count(), 1);
    // It can be written to until the container's layer is full, and stays whole.
    let writing =
        client.run(&["run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/full", "bs=1M", "count=20"]);
    assert_eq!(writing.code, 1, "{writing:?}");
    left::only(&[&witness], &host, &daemon);
    witness.has_lost_nothing(&client);
    client.ok(&["rm", "-f", &witness.id]);
    left::nothing(&host, daemon);
}

#[test]
fn whoever_makes_room_needs_none() {
    let host = Host::new();
    let disk = SmallDisk::under(&host);
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    for name in ["first", "second"] {
        let root = image::single_file_root(name, &vec![8; 64 << 10], 0o644).unwrap();
        client.ok_with(&["import", "-", name], &root);
    }
    client.ok(&["create", "--name", "made", "busybox", "true"]);
    client.ok(&["run", "-d", "--name", "stopped", "--stop-signal", "KILL", "busybox", "sleep", "1000"]);
    let filler = disk.fill();
    // Each first of all on a full disk.
    client.ok(&["rmi", "first"]);
    fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    client.ok(&["rm", "made"]);
    fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    // Its end cannot be written down, and what is left of the run is in nobody's way.
    client.ok(&["stop", "stopped"]);
    let start = client.run(&["start", "stopped"]);
    assert!(start.code == 0 || start.stderr.to_lowercase().contains("no space left on device"), "{start:?}");
    client.run(&["stop", "stopped"]);
    fs::remove_file(filler).unwrap();
    client.ok(&["start", "stopped"]);
    client.ok(&["rm", "-f", "stopped"]);
    // What was given away is kept back again.
    assert!(remains::comes_true(|| host.folder().join("data/store/reserve").exists()));
    disk.fill();
    client.ok(&["rmi", "second"]);
    left::nothing(&host, daemon);
}

#[test]
fn a_full_disk_loses_no_exit_and_all_goes_on_afterwards() {
    let host = Host::new();
    let disk = SmallDisk::under(&host);
    let mut daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    client
        .ok_with(&["import", "-", "spare"], &image::single_file_root("spare", &[8; 1 << 20], 0o644).unwrap());
    let ends = "trap 'exit 7' TERM; while :; do usleep 10000; done";
    for name in ["stopped", "ended", "removed"] {
        client.ok(&["run", "-d", "--name", name, "busybox", "sh", "-c", ends]);
    }
    let filler = disk.fill();
    for arguments in [
        &["run", "-d", "--name", "none", "-v", "/v", "busybox", "true"][..],
        &["volume", "create", "none"],
        &["commit", "stopped", "none"],
        &["tag", "busybox", "none"],
        &["rename", "stopped", "none"],
    ] {
        is_refused_for_room(&client, arguments, b"");
    }
    // It may be there to make room.
    let exec = client.run(&["exec", "stopped", "sh", "-c", "echo seen; exit 5"]);
    assert!(exec.code == 5 && exec.stdout == "seen\n", "{exec:?}");
    is_refused_for_room(&client, &["import", "-", "none"], &image::busybox_root().unwrap());
    assert_eq!(client.ok(&["ps", "-aq"]).lines().count(), 3);
    client.ok(&["stop", "stopped"]);
    let code = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}"];
    let code = |name| client.ok(&[&code[..], &[name]].concat());
    assert_eq!(code("stopped"), "exited 7");
    // Whoever makes room must be able to.
    client.ok(&["rm", "-f", "-v", "removed"]);
    client.ok(&["rmi", "spare"]);
    fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    daemon.kill();
    let pid = remains::cgroups(host.cgroup()).iter().find_map(|folder| {
        fs::read_to_string(folder.join("cgroup.procs")).ok()?.lines().next()?.parse().ok()
    });
    sys::process::PidFd::open(pid.unwrap()).unwrap().send_signal(15).unwrap();
    // A daemon starts on a full disk too, and knows what an earlier one could not write down.
    daemon = host.start();
    assert_eq!(client.ok(&["wait", "ended"]), "7");
    assert_eq!(code("stopped"), "exited 7");
    daemon.kill();
    fs::remove_file(filler).unwrap();
    daemon = host.start();
    assert_eq!([code("stopped"), code("ended")], ["exited 7", "exited 7"]);
    client.ok(&["start", "stopped"]);
    client.ok(&["run", "--rm", "-v", "none:/v", "--name", "none", "busybox", "true"]);
    client.ok(&["tag", "busybox", "none"]);
    client.ok(&["commit", "stopped", "made"]);
    left::nothing(&host, daemon);
}
