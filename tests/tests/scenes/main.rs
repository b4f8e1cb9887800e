//! The acceptance scenes, end to end: once with the stock client, once with ours; the sessions must read alike.
//!
//! With KOGGE_PEER_DOCKERD, words that start a `dockerd`, each scene is played a third time: by the stock client on Docker's
//! own daemon. That session may differ from ours in what `dockerd.rs` lists.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so by a panic"
)]

mod dockerd;
mod sessions;
mod wishes;

use std::io::Write;
use std::process::{Command, Stdio};

use fixtures::transcript::compare;
use fixtures::{Client, Daemon, Host, Transcript, daemon, image};

type Scene = fn(&Host, &mut Transcript);

/// Plays a scene with both clients, each on a fresh host, and compares; then on Docker's own daemon, if there is one.
#[track_caller]
fn with_both(scene: Scene) {
    let stock = play(scene, Host::start, |daemon| daemon.stock());
    let own = play(scene, Host::start, |daemon| daemon.own());
    compare(&stock, &own, &[]).unwrap_or_else(|diff| panic!("the stock client (-) and ours (+): {diff}"));
    if let Some(words) = dockerd::words() {
        let theirs = play(scene, |host| dockerd::start(host, &words), |daemon| daemon.stock());
        compare(&theirs, &stock, dockerd::KNOWN)
            .unwrap_or_else(|diff| panic!("Docker's own daemon (-) and ours (+): {diff}"));
    }
}

fn play(scene: Scene, start: impl Fn(&Host) -> Daemon<'_>, client: fn(&Daemon<'_>) -> Client) -> String {
    let host = Host::new();
    let daemon = start(&host);
    let mut transcript = Transcript::new(client(&daemon));
    let busybox = image::busybox_root().expect("busybox-static is installed");
    transcript.client.ok_with(&["import", "-c", "CMD [\"sh\"]", "-", "busybox"], &busybox);
    scene(&host, &mut transcript);
    transcript.finish()
}

fn probe_image(transcript: &mut Transcript) {
    let probe = std::fs::read(daemon::program("probe")).expect("the probe is built with the tests");
    let mut tar = image::single_file_root("probe", &probe, 0o755).expect("written to memory");
    // A second archive's entry is put in front of the end-of-archive blocks.
    tar.truncate(tar.len() - 1024);
    tar.extend(
        image::single_file_root("etc/greeting", b"hello from scratch\n", 0o644).expect("written to memory"),
    );
    let changes = ["-c", "ENTRYPOINT [\"/probe\"]", "-c", "CMD [\"greet\", \"/etc/greeting\"]"];
    let arguments: Vec<&str> = [&["import"], &changes[..], &["-", "probe:1"]].concat();
    assert_eq!(transcript.run_with(&arguments, &tar).code, 0);
}

/// Fetches a page from inside the host's network namespace, as soon as the server answers.
fn fetch(host: &Host, server: &str) -> String {
    let probe = daemon::program("probe").display().to_string();
    for _ in 0..200 {
        let output = host.command(&probe, &["fetch", server]).output().unwrap();
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).into_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{server} does not answer\n{}", host.log());
}

/// Runs the client with a terminal as its standard input, output and error, and types into it.
fn with_terminal(transcript: &Transcript, arguments: &[&str], typed: &str) -> String {
    let client = transcript.client.command(arguments);
    let words: Vec<String> = std::iter::once(client.get_program())
        .chain(client.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
        .collect();
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is part of bsdutils");
    let mut stdin = script.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    drop(stdin);
    format!(
        "{}[{}]",
        String::from_utf8_lossy(&output.stdout).replace('\r', ""),
        output.status.code().unwrap_or(-1)
    )
}

#[test]
fn t03_the_memory_eater_is_killed_at_its_limit() {
    with_both(|_, session| {
        probe_image(session);
        let output = session.quiet(&[
            "run",
            "--name",
            "eater",
            "-m",
            "100m",
            "--memory-swap",
            "100m",
            "probe:1",
            "eat",
        ]);
        assert_eq!(output.code, 137, "{}{}", output.stdout, output.stderr);
        let eaten: u32 = output.stdout.lines().last().unwrap().parse().unwrap();
        assert!((80..=100).contains(&eaten), "killed after {eaten} MB");
        assert_eq!(
            session.ok(&["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "eater"]),
            "true 137"
        );
    });
}

#[test]
fn t04_without_its_capability_a_low_port_cannot_be_bound() {
    with_both(|_, session| {
        let sysctl = ["--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"];
        let serve = ["--rm", "--cap-drop", "NET_BIND_SERVICE", "busybox", "httpd", "-f", "-p", "80"];
        let output = session.run(&[&["run"], &sysctl[..], &serve[..]].concat());
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains("bind: Permission denied"), "{}", output.stderr);
    });
}

#[test]
fn t10_a_static_program_in_an_image_from_nothing() {
    with_both(|_, session| {
        probe_image(session);
        assert_eq!(session.ok(&["run", "--rm", "probe:1"]), "hello from scratch");
        session.ok(&["image", "inspect", "-f", "{{json .Config}} {{.Os}} {{len .RootFS.Layers}}", "probe:1"]);
        assert_eq!(session.run(&["run", "--rm", "--entrypoint", "/bin/sh", "probe:1"]).code, 127);
    });
}

#[test]
fn t11_an_imported_tree_has_a_history_of_one_line() {
    with_both(|_, session| {
        let history = session.ok(&["history", "busybox"]);
        assert_eq!(history.lines().count(), 2, "{history}");
        assert!(history.contains("Imported from -"), "{history}");
        session.ok(&["images"]);
    });
}

#[test]
fn t13_images_and_containers_survive_round_trips() {
    with_both(|host, session| {
        let file = |name: &str| host.folder().join(name).display().to_string();
        session.ok(&[
            "run",
            "--name",
            "changed",
            "busybox",
            "sh",
            "-c",
            "echo new >/etc/new; rm /etc/group; mkdir /d",
        ]);
        session.ok_in_any_order(&["diff", "changed"]);
        session.ok(&["commit", "-m", "two files", "-a", "me", "-c", "ENV A=b", "changed", "changed:1"]);
        let [saved, exported] = [file("saved.tar"), file("exported.tar")];
        session.quiet(&["save", "-o", &saved, "changed:1"]);
        let id = session.ok(&["images", "-q", "--no-trunc", "changed:1"]);
        session.ok(&["rm", "changed"]);
        session.ok(&["rmi", "changed:1"]);
        session.quiet(&["load", "-i", &saved]);
        assert_eq!(session.ok(&["images", "-q", "--no-trunc", "changed:1"]), id);
        let show = "cat /etc/new; ls -d /etc/group /d; echo $A";
        session.run(&["run", "--rm", "changed:1", "sh", "-c", show]);
        session.ok(&["create", "--name", "again", "changed:1"]);
        session.quiet(&["export", "-o", &exported, "again"]);
        session.quiet(&["import", &exported, "flat"]);
        session.run(&["run", "--rm", "flat", "sh", "-c", show]);
        assert_eq!(session.ok(&["history", "-q", "flat"]).lines().count(), 1);
        session.ok(&["history", "--format", "{{.CreatedBy}} {{.Size}} {{.Comment}}", "changed:1"]);
    });
}

#[test]
fn t14_the_four_combinations_of_input_and_terminal() {
    with_both(|_, session| {
        let script = "test -t 0 && echo terminal; read line && echo got $line || echo nothing";
        let run = |flags: &[&'static str]| -> Vec<&'static str> {
            [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat()
        };
        assert_eq!(session.run_with(&run(&[]), b"typed\n").stdout, "nothing\n");
        assert_eq!(session.run_with(&run(&["-i"]), b"typed\n").stdout, "got typed\n");
        assert_eq!(session.run_with(&run(&["-i", "-t"]), b"typed\n").code, 1);
        let both = with_terminal(session, &run(&["-i", "-t"]), "typed\n");
        assert!(both.contains("terminal") && both.contains("got typed"), "{both}");
        let service = with_terminal(session, &run(&[]), "typed\n");
        assert!(service.contains("nothing"), "{service}");
    });
}

#[test]
fn t15_a_server_by_its_address_and_by_a_published_port() {
    with_both(|host, session| {
        let serve =
            ["busybox", "sh", "-c", "echo page >/var/www/index.html; exec httpd -f -p 80 -h /var/www"];
        session.ok(&[&["run", "-d", "--name", "plain", "--expose", "80"], &serve[..]].concat());
        let address = session.ok(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "plain"]);
        assert_eq!(fetch(host, &format!("{address}:80")), "page\n");
        assert_eq!(
            session.ok(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "plain"]),
            r#"{"80/tcp":null}"#
        );
        session.ok(&[&["run", "-d", "--name", "published", "--publish", "8888:80"], &serve[..]].concat());
        let ports = session.ok(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", "published"]);
        assert!(ports.starts_with(r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8888"}"#), "{ports}");
        for name in ["127.0.0.1", "172.17.0.1"] {
            assert_eq!(fetch(host, &format!("{name}:8888")), "page\n");
        }
        session.ok(&["port", "published"]);
        // A container reaches the published port through the host's address, the publisher itself included.
        for client in ["plain", "published"] {
            let fetched = session.ok(&["exec", client, "wget", "-q", "-O", "-", "http://172.17.0.1:8888/"]);
            assert_eq!(fetched, "page");
        }
        // Without the address it depends on luck which family Docker's own daemon complains about.
        let late = ["run", "--rm", "--name", "late", "-p", "0.0.0.0:8888:80", "busybox", "true"];
        let taken = session.run(&late);
        assert_eq!(taken.code, 125);
        assert!(
            taken.stderr.contains("Bind for 0.0.0.0:8888 failed: port is already allocated"),
            "{}",
            taken.stderr
        );
    });
}

#[test]
fn t17_the_init_reaps_what_a_careless_pid_1_leaves() {
    with_both(|_, session| {
        // Children that outlive their parent become pid 1's; `sleep` does not reap, the init does. They end when pid 1 is
        // `sleep` already, and are looked at when the last has ended.
        let orphans =
            "for i in 1 2 3; do (sh -c \"usleep 300000; touch /tmp/$i; exit 1\" &); done; exec sleep 1000";
        let count = "until [ -e /tmp/1 -a -e /tmp/2 -a -e /tmp/3 ]; do usleep 10000; done; usleep 200000; ps -o stat | grep -c Z; true";
        for (name, flags, zombies) in [("careless", &[][..], "3\n"), ("careful", &["--init"], "0\n")] {
            session.ok(&[&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", orphans]].concat());
            let counted = session.quiet(&["exec", name, "sh", "-c", count]);
            assert_eq!(counted.stdout, zombies, "{name}: {}", counted.stderr);
        }
        session.ok(&["stop", "-t", "5", "careful"]);
        session.ok(&["inspect", "-f", "{{.State.ExitCode}}", "careful"]);
    });
}

#[test]
fn t18_containers_share_network_and_ipc_or_the_hosts() {
    with_both(|_, session| {
        session.ok(&["run", "-d", "--name", "pause", "--ipc", "shareable", "busybox", "sleep", "1000"]);
        let shared = ["--network", "container:pause", "--ipc", "container:pause"];
        session.ok(&[&["run", "-d", "--name", "server"], &shared[..], &["busybox", "sh", "-c",
            "echo pod >/dev/shm/note; mkdir /w; cp /dev/shm/note /w/index.html; exec httpd -f -p 80 -h /w"]].concat());
        let look = "until wget -q -O - http://127.0.0.1/ 2>/dev/null; do :; done; cat /dev/shm/note";
        assert_eq!(
            session.ok(&[&["run", "--rm"], &shared[..], &["busybox", "sh", "-c", look]].concat()),
            "pod\npod"
        );
        // The names of host ends are random.
        let links = "ls /sys/class/net | sed s/veth.*/veth/";
        let inside = session.ok(&["run", "--rm", "--network", "host", "busybox", "sh", "-c", links]);
        let bridge = session.ok(&["network", "inspect", "-f", BRIDGE_NAME, "bridge"]);
        assert!(inside.lines().any(|link| link == bridge), "{inside}");
        assert_eq!(session.ok(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", links]), "lo");
    });
}

const BRIDGE_NAME: &str = "{{index .Options \"com.docker.network.bridge.name\"}}";
