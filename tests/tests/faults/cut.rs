//! A monitor killed, a daemon killed or ended while clients hang on it.

use std::io::Read;
use std::process::{Child, Stdio};

use fixtures::{Client, Daemon, Host, Output, remains};
use sys::process::PidFd;

use crate::left;
use crate::witness::{self, Witness};

const SIGKILL: i32 = 9;

/// A client that waits for something, without an end of its own.
struct Hanging {
    name: &'static str,
    child: Child,
}

impl Hanging {
    /// Started, and known to have reached the daemon: what it prints first is awaited.
    fn start(client: &Client, name: &'static str, arguments: &[&str]) -> Self {
        let mut command = client.command(arguments);
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { name, child }
    }

    /// Its first byte of output.
    fn is_served(&mut self) {
        let mut byte = [0];
        self.child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    }

    fn end(self) -> Output {
        let output = self.child.wait_with_output().unwrap();
        Output {
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

/// One of each kind that hangs on a container for as long as it lives.
fn hang(client: &Client, container: &str) -> Vec<Hanging> {
    let mut all = vec![
        Hanging::start(client, "logs", &["logs", "-f", container]),
        Hanging::start(client, "attach", &["attach", "--no-stdin", container]),
        Hanging::start(client, "exec", &["exec", container, "sh", "-c", "echo here; sleep 1000"]),
    ];
    all.iter_mut().for_each(Hanging::is_served);
    // These two are silent.
    all.push(Hanging::start(client, "wait", &["wait", container]));
    all.push(Hanging::start(client, "events", &["events"]));
    all
}

fn end_while_clients_hang(end: impl FnOnce(Daemon<'_>)) {
    let host = Host::new();
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    let witness = Witness::start(&client, 2000);
    let hanging = hang(&client, &witness.id);
    end(daemon);
    for one in hanging {
        let name = one.name;
        let output = one.end();
        assert!(CODES.contains(&(name, output.code)), "{name}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{name}: {output:?}");
    }
    let daemon = host.start();
    witness.has_lost_nothing(&client);
    client.ok(&["rm", "-f", &witness.id]);
    left::nothing(&host, daemon);
}

/// As with Docker.
const CODES: &[(&str, i32)] = &[("logs", 1), ("attach", 1), ("exec", 255), ("wait", 1), ("events", 1)];

#[test]
fn clients_of_a_killed_daemon_end_and_containers_live_on() {
    end_while_clients_hang(|daemon| daemon.kill());
}

#[test]
fn clients_of_an_ended_daemon_end_and_containers_live_on() {
    end_while_clients_hang(|daemon| daemon.end());
}

/// Kills the monitor of a container, and returns a handle of the container's first process.
fn kill_monitor(client: &Client, container: &str) -> PidFd {
    let pid = witness::pid(client, container).parse().unwrap();
    let first = PidFd::open(pid).unwrap();
    let monitor = PidFd::open(remains::parent(pid).unwrap()).unwrap();
    monitor.send_signal(SIGKILL).unwrap();
    first
}

#[track_caller]
fn was_killed(client: &Client, container: &str, first: &PidFd) {
    assert_eq!(client.ok(&["wait", container]), "137");
    assert!(remains::comes_true(|| first.has_ended().unwrap()), "its process lives on");
    let state =
        client.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", container]);
    assert_eq!(state, "exited 137 0");
}

#[test]
fn a_container_dies_with_its_monitor() {
    let host = Host::new();
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    let witness = Witness::start(&client, 2000);
    for pause in [false, true] {
        client.ok(&["run", "-d", "--name", "dies", "-p", "8081:80", "busybox", "sleep", "1000"]);
        client.ok(&[
            "run",
            "-d",
            "--name",
            "many",
            "--pid",
            "host",
            "busybox",
            "sh",
            "-c",
            "sleep 1000 & sleep 1000",
        ]);
        for name in ["dies", "many"] {
            if pause {
                client.ok(&["pause", name]);
            }
            let first = kill_monitor(&client, name);
            was_killed(&client, name, &first);
        }
        client.ok(&["start", "dies"]);
        client.ok(&["rm", "-f", "dies", "many"]);
    }
    client.ok(&["run", "-d", "--name", "again", "--restart", "always", "busybox", "sleep", "1000"]);
    kill_monitor(&client, "again");
    let restarted =
        || client.ok(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again"]) == "1 running";
    assert!(remains::comes_true(restarted), "{}", host.log());
    client.ok(&["rm", "-f", "again"]);
    left::only(&[&witness], &host, &daemon);
    witness.has_lost_nothing(&client);
}

#[test]
fn a_monitor_that_dies_without_a_daemon_is_found_out() {
    let host = Host::new();
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    client.ok(&["run", "-d", "--name", "dies", "-p", "8081:80", "busybox", "sleep", "1000"]);
    client.ok(&[
        "run",
        "-d",
        "--name",
        "many",
        "--pid",
        "host",
        "busybox",
        "sh",
        "-c",
        "sleep 1000 & sleep 1000",
    ]);
    client.ok(&["pause", "many"]);
    let pids = ["dies", "many"].map(|name| witness::pid(&client, name).parse().unwrap());
    daemon.kill();
    let first = pids.map(|pid| PidFd::open(pid).unwrap());
    for pid in pids {
        PidFd::open(remains::parent(pid).unwrap()).unwrap().send_signal(SIGKILL).unwrap();
    }
    let daemon = host.start();
    for (name, first) in ["dies", "many"].iter().zip(&first) {
        was_killed(&client, name, first);
    }
    left::nothing(&host, daemon);
}

/// Those that end while nobody is there: the first look at the next daemon finds none of them.
#[test]
fn what_was_to_be_removed_is_gone_when_the_next_daemon_answers() {
    let host = Host::new();
    let daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    let gate = host.folder().join("gate");
    std::fs::create_dir(&gate).unwrap();
    let bind = format!("{}:/gate", gate.display());
    let script = "while ! test -e /gate/open; do usleep 10000; done";
    for _ in 0..5 {
        client.ok(&["run", "-d", "--rm", "-v", &bind, "-v", "/anonymous", "busybox", "sh", "-c", script]);
    }
    daemon.kill();
    std::fs::write(gate.join("open"), "").unwrap();
    // The monitors are the last to go.
    assert!(remains::comes_true(|| host.processes().is_empty()), "{:?}", host.processes());
    let daemon = host.start();
    assert_eq!(daemon.own().ok(&["ps", "-aq"]), "");
    assert_eq!(daemon.own().ok(&["volume", "ls", "-q"]), "");
    left::nothing(&host, daemon);
}
