//! The daemon killed at every crash point of every plan, and at random moments under load: nothing is lost, and
//! nothing without an owner is left.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeSet;
use std::path::Path;

use fixtures::{Client, Daemon, Host, image};

/// The names of all crash points, read from the sources: whoever adds one need not remember this test.
fn crash_points() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut points = BTreeSet::new();
    let mut open: Vec<_> = ["engine", "store", "network"].map(|name| crates.join(name).join("src")).into();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                points.extend(points_in(&std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    points
}

fn points_in(source: &str) -> Vec<String> {
    // Unit tests may name points of their own.
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = production.split("crash::point(\"").skip(1);
    calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// Drives every plan once. Errors do not matter here: the daemon dies in the middle.
fn drive(client: &Client, host: &Host) {
    let busybox = image::busybox_root().unwrap();
    let saved = host.folder().join("saved.tar").display().to_string();
    client.run_with(&["import", "-", "again"], &busybox);
    client.run(&["volume", "create", "kept"]);
    client.run(&["volume", "create", "gone"]);
    client.run(&["volume", "rm", "gone"]);
    client.run(&[
        "run",
        "-d",
        "--name",
        "work",
        "-p",
        "8081:80",
        "-v",
        "kept:/v",
        "-v",
        "/anonymous",
        "busybox",
        "sleep",
        "1000",
    ]);
    client.run(&["exec", "work", "sh", "-c", "echo x >/v/x; echo y >/y; exit 3"]);
    client.run(&["rename", "work", "worked"]);
    client.run(&["pause", "worked"]);
    client.run(&["unpause", "worked"]);
    client.run(&["commit", "worked", "committed"]);
    client.run(&["restart", "-t", "0", "worked"]);
    client.run(&["stop", "-t", "0", "worked"]);
    client.run(&["rm", "-v", "worked"]);
    client.run(&["save", "-o", &saved, "committed"]);
    client.run(&["tag", "committed", "tagged"]);
    client.run(&["rmi", "committed", "tagged", "again"]);
    client.run(&["load", "-i", &saved]);
    client.run(&["run", "--rm", "busybox", "true"]);
    client.run(&["create", "--name", "missing", "busybox", "/nowhere"]);
    client.run(&["start", "missing"]);
    client.run(&["rm", "-f", "missing"]);
    client.run(&["image", "prune", "-f"]);
    client.run(&["volume", "prune", "-af"]);
    client.run(&["container", "prune", "-f"]);
}

const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; usleep 2000; done";

/// Containers that must live through everything.
fn witnesses(client: &Client, count: usize) -> Vec<String> {
    let busybox = image::busybox_root().unwrap();
    client.ok_with(&["import", "-", "busybox"], &busybox);
    (0..count).map(|_| client.ok(&["run", "-d", "busybox", "sh", "-c", COUNT])).collect()
}

/// A witness runs, with the process it had, and its log counts without a gap.
#[track_caller]
fn lives(client: &Client, id: &str, pid: &str) {
    assert_eq!(
        client.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", id]),
        format!("running {pid}")
    );
    counts_without_gap(&client.ok(&["logs", id]));
}

#[track_caller]
fn counts_without_gap(log: &str) {
    for (index, line) in log.lines().enumerate() {
        assert_eq!(line, (index + 1).to_string(), "a log line is lost or doubled");
    }
}

fn pid(client: &Client, id: &str) -> String {
    client.ok(&["inspect", "-f", "{{.State.Pid}}", id])
}

/// After everything was removed: no folder, cgroup or interface without an owner.
fn nothing_is_left(host: &Host, daemon: &Daemon<'_>) {
    daemon.clear();
    let client = daemon.own();
    client.run(&["image", "prune", "-af"]);
    client.run(&["volume", "prune", "-af"]);
    let empty = |folder: &str| {
        let left: Vec<_> = std::fs::read_dir(host.folder().join(folder))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name()).collect())
            .unwrap_or_default();
        assert!(left.is_empty(), "{folder} holds {left:?}\n{}", host.log());
    };
    for folder in ["data/containers", "data/snapshots", "data/ingest", "data/volumes", "run/containers"] {
        empty(folder);
    }
    let listed = host.ok("sh", &["-c", &format!("find /sys/fs/cgroup -path '*{}/*' -type d", host.cgroup())]);
    assert_eq!(listed, "", "cgroups without an owner");
    let links = host.ok("ip", &["-o", "link", "show", "type", "veth"]);
    assert_eq!(links, "", "interfaces without an owner");
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", daemon.pid())).unwrap();
    assert!(!mounts.contains("overlay /"), "mounts in the daemon's namespace:\n{mounts}");
}

#[test]
fn killed_at_every_crash_point_it_finishes_or_undoes() {
    let host = Host::new();
    let first = host.start();
    let witness = witnesses(&first.own(), 1).remove(0);
    let witness_pid = pid(&first.own(), &witness);
    first.kill();
    let mut unreached = Vec::new();
    for point in crash_points() {
        let mut dying = host.start_with(&[], &[("KOGGE_CRASH", &point)]);
        let own = dying.own();
        if dying.is_alive() {
            drive(&own, &host);
        }
        if dying.is_alive() {
            unreached.push(point.clone());
        }
        dying.kill();
        let daemon = host.start();
        lives(&daemon.own(), &witness, &witness_pid);
        for name in ["work", "worked", "missing"] {
            daemon.own().run(&["rm", "-f", "-v", name]);
        }
        daemon.kill();
    }
    let last = host.start();
    lives(&last.own(), &witness, &witness_pid);
    nothing_is_left(&host, &last);
    assert!(unreached.is_empty(), "no plan passes these points: {unreached:?}");
}

#[test]
fn killed_at_random_moments_under_load_nothing_is_lost() {
    let host = Host::new();
    let mut daemon = host.start();
    let client = daemon.own();
    let alive = witnesses(&client, 10);
    let pids: Vec<_> = alive.iter().map(|id| pid(&client, id)).collect();
    // This one ends while no daemon may be there, with a code of its own.
    for round in 0..20_u64 {
        let name = format!("ends{round}");
        let code = (round + 3).to_string();
        client.ok(&[
            "run",
            "-d",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            &format!("usleep 20000; echo last words; exit {code}"),
        ]);
        let load = client.clone();
        let noise = std::thread::spawn(move || {
            for _ in 0..20 {
                load.run(&["run", "--rm", "busybox", "true"]);
            }
        });
        // A different moment each round, without a clock that decides.
        for _ in 0..=(round * 7 % 11) {
            client.run(&["ps", "-q"]);
        }
        daemon.kill();
        noise.join().unwrap();
        daemon = host.start();
        assert_eq!(client.ok(&["wait", &name]), code, "{}", host.log());
        assert_eq!(client.ok(&["logs", &name]), "last words");
        client.ok(&["rm", &name]);
    }
    for (id, pid) in alive.iter().zip(&pids) {
        lives(&client, id, pid);
    }
    nothing_is_left(&host, &daemon);
}
