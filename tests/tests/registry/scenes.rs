//! The acceptance scenes that need a registry: once with the stock client, once with ours; the sessions must read alike.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use fixtures::transcript::compare;
use fixtures::{Client, Daemon, Host, Registry, Transcript, image};

use crate::world::make;

type Scene = fn(&Host, &Registry<'_>, &mut Transcript);

/// Plays a scene with both clients, each on a fresh host with a fresh registry, and compares.
#[track_caller]
fn with_both(scene: Scene) {
    let stock = play(scene, |daemon| daemon.stock());
    let own = play(scene, |daemon| daemon.own());
    compare(&stock, &own, &[]).unwrap_or_else(|diff| panic!("the stock client (-) and ours (+): {diff}"));
}

fn play(scene: Scene, client: fn(&Daemon<'_>) -> Client) -> String {
    let host = Host::new();
    let registry = Registry::start(&host, "registry", 5000);
    let daemon = host.start();
    let mut session = Transcript::new(client(&daemon));
    let busybox = image::busybox_root().expect("busybox-static is installed");
    session.client.ok_with(&["import", "-c", "CMD [\"sh\"]", "-", "busybox"], &busybox);
    scene(&host, &registry, &mut session);
    session.replace(&host.folder().display().to_string(), "@");
    session.finish()
}

/// Types into a client that has a terminal, and returns what it showed and its code.
fn at_a_terminal(session: &Transcript, arguments: &[&str], typed: &str) -> String {
    let client = session.client.command(arguments);
    let words = std::iter::once(client.get_program()).chain(client.get_args());
    let quoted: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut script = std::process::Command::new("script");
    script.args(["--quiet", "--return", "--command", &quoted.join(" "), "/dev/null"]);
    let mut script =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is part of bsdutils");
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
fn t05_found_pulled_run_left_and_come_back_to() {
    with_both(|_, registry, session| {
        let name = registry.name("team/busybox:1");
        session.ok(&["tag", "busybox", &name]);
        session.ok(&["push", &name]);
        session.ok(&["rmi", "busybox", &name]);
        let found = session.ok(&["search", &registry.name("busy")]);
        assert!(found.contains("team/busybox"), "{found}");
        session.ok(&["search", &registry.name("nothing")]);
        session.ok(&["pull", &name]);
        session.ok(&["pull", &name]);
        session.ok(&["images"]);
        let detach = ["--detach-keys", "ctrl-a,b"];
        let left = at_a_terminal(
            session,
            &[&["run", "-it", "--name", "box"], &detach[..], &[name.as_str()]].concat(),
            "\x01b",
        );
        assert!(left.ends_with("[0]"), "{left}");
        session.ok(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"]);
        let ended = at_a_terminal(session, &[&["attach"], &detach[..], &["box"]].concat(), "exit 7\n");
        assert!(ended.ends_with("[7]"), "{ended}");
        session.ok(&["ps", "-a", "--format", "{{.Names}} {{.Image}} {{.State}}"]);
        assert_eq!(session.run(&["attach", "box"]).code, 1);
        session.ok(&["restart", "box"]);
        let ended = at_a_terminal(session, &[&["attach"], &detach[..], &["box"]].concat(), "exit 8\n");
        assert!(ended.ends_with("[8]"), "{ended}");
        session.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.Config.Image}}", "box"]);
    });
}

#[test]
fn t12_a_history_of_many_rows_comes_back_from_a_registry() {
    with_both(|host, registry, session| {
        let copied = host.folder().join("copied");
        fs::write(&copied, vec![b'c'; 1234]).unwrap();
        session.ok(&["create", "--name", "copy", "busybox", "COPY", "copied", "/copied"]);
        session.quiet(&["cp", &copied.display().to_string(), "copy:/copied"]);
        session.ok(&["commit", "-m", "copied", "-c", "ENTRYPOINT [\"sh\", \"-c\"]", "copy", "row:1"]);
        session.ok(&["run", "--name", "run", "row:1", "head -c 20000 /dev/zero >/made; rm /copied"]);
        session.ok(&["commit", "-m", "made", "-c", "ENV A=b", "-c", "LABEL k=v", "run", "row:2"]);
        session.ok(&["create", "--name", "add", "row:2", "ADD", "tree", "/"]);
        let tree = image::single_file_root("added", &[b'a'; 999], 0o600).unwrap();
        session.client.ok_with(&["cp", "-", "add:/"], &tree);
        session.ok(&["commit", "-a", "me <me@here>", "-c", "CMD [\"cat /added\"]", "add", "row:3"]);
        session.ok(&[
            "commit",
            "--pause=false",
            "-c",
            "EXPOSE 80",
            "-c",
            "WORKDIR /w",
            "-c",
            "USER 33",
            "add",
            "row:4",
        ]);
        for name in ["row:3", "row:4"] {
            session.ok(&["history", name]);
            session.ok(&["history", "--no-trunc", "--human=false", "--format", ROW, name]);
        }
        let name = registry.name("history:1");
        session.ok(&["tag", "row:3", &name]);
        session.quiet(&["push", &name]);
        let before = session.client.ok(&["history", "--no-trunc", "--format", ROW, "row:3"]);
        let id = session.client.ok(&["inspect", "-f", "{{.Id}}", "row:3"]);
        session.ok(&["rm", "copy", "run", "add"]);
        session.ok(&["rmi", "row:1", "row:2", "row:3", "row:4", "busybox", &name]);
        session.quiet(&["pull", &name]);
        let after = session.client.ok(&["history", "--no-trunc", "--format", ROW, &name]);
        assert_eq!(before, after);
        assert_eq!(session.client.ok(&["inspect", "-f", "{{.Id}}", &name]), id);
        session.ok(&["history", &name]);
        session.ok(&["history", "-q", &name]);
        session.ok(&["image", "inspect", "-f", "{{json .Config}} {{.Author}} {{.Comment}} {{.Size}}", &name]);
    });
}

const ROW: &str = "{{.CreatedBy}}|{{.Size}}|{{.Comment}}";

#[test]
fn t13_round_trips_over_a_registry_an_archive_and_a_flat_tree() {
    with_both(|host, registry, session| {
        let file = |name: &str| host.folder().join(name).display().to_string();
        let name = registry.name("round/trip:1");
        session.ok(&[
            "run",
            "--name",
            "changed",
            "busybox",
            "sh",
            "-c",
            "echo new >/etc/new; rm /etc/group; mkdir /d",
        ]);
        session.ok(&["commit", "-c", "ENV A=b", "changed", &name]);
        session.ok(&["rm", "changed"]);
        let looks = |session: &Transcript, name: &str| {
            session.client.ok(&["inspect", "-f", "{{.Id}} {{json .RootFS.Layers}}", name])
        };
        let made = looks(session, &name);
        session.ok(&["push", "-q", &name]);
        session.ok(&["rmi", &name]);
        session.ok(&["pull", "-q", &name]);
        assert_eq!(looks(session, &name), made, "what comes back is what went");
        let saved = file("saved.tar");
        session.quiet(&["save", "-o", &saved, &name]);
        session.ok(&["rmi", &name]);
        session.ok(&["load", "-q", "-i", &saved]);
        assert_eq!(looks(session, &name), made);
        // What was loaded is in the registry already.
        let before = registry.received();
        session.ok(&["push", &name]);
        assert!(registry.received() - before < 8 << 10, "layers were sent again");
        let show = "cat /etc/new; ls -d /etc/group /d; echo $A";
        session.run(&["run", "--rm", &name, "sh", "-c", show]);
        session.ok(&["create", "--name", "again", &name]);
        let exported = file("exported.tar");
        session.quiet(&["export", "-o", &exported, "again"]);
        session.quiet(&["import", &exported, &registry.name("flat:1")]);
        session.ok(&["push", "-q", &registry.name("flat:1")]);
        session.ok(&["rmi", &registry.name("flat:1")]);
        session.run(&["run", "--rm", &registry.name("flat:1"), "sh", "-c", show]);
        session.ok(&[
            "history",
            "--format",
            "{{.CreatedBy}} {{.Size}} {{.Comment}}",
            &registry.name("flat:1"),
        ]);
    });
}

/// Images that share a layer of a megabyte.
const IMAGES: &[&str] = &["one:1", "two:1", "three:1"];
const HOSTS: usize = 3;
const SHARED: u64 = 1 << 20;
/// More than what an image has of its own, with its config and manifest.
const OWN: u64 = 64 << 10;

#[test]
fn t20_what_hosts_have_is_not_transferred_again() {
    with_both(|host, registry, session| {
        let base = registry.name("base:1");
        make(&session.client, &base, &[1]);
        let first = counted(|| registry.received(), || drop(session.quiet(&["push", &base])));
        assert!((SHARED..SHARED + OWN).contains(&first), "the shared layer came once: {first}");
        for image in IMAGES {
            let (name, container) = (registry.name(image), image.replace(':', ""));
            session.ok(&["create", "--name", &container, &base, "x"]);
            let own = image::single_file_root(image, image.as_bytes(), 0o644).unwrap();
            session.client.ok_with(&["cp", "-", &format!("{container}:/")], &own);
            session.ok(&["commit", &container, &name]);
            let sent = counted(|| registry.received(), || session.ok_in_any_order(&["push", &name]));
            assert!(sent < OWN, "{name}: {sent} bytes, though the shared layer is there");
        }
        for number in 0..HOSTS {
            let other = OtherHost::start(host, number);
            let pull = |name: &str| {
                let client = other.like(&session.client);
                counted(|| registry.sent(), || drop(client.ok(&["pull", "-q", &registry.name(name)])))
            };
            let bytes: Vec<u64> = IMAGES.iter().map(|image| pull(image)).collect();
            assert!((SHARED..SHARED + OWN).contains(&bytes[0]), "host {number}: {bytes:?}");
            assert!(bytes[1..].iter().all(|bytes| *bytes < OWN), "host {number}: {bytes:?}");
            let again: Vec<u64> = IMAGES.iter().map(|image| pull(image)).collect();
            assert_eq!(again, vec![0; IMAGES.len()], "host {number}");
        }
    });
}

fn counted(count: impl Fn() -> u64, act: impl FnOnce()) -> u64 {
    let before = count();
    act();
    count() - before
}

/// A daemon with everything of its own but the network.
struct OtherHost {
    process: std::process::Child,
    socket: std::path::PathBuf,
}

impl OtherHost {
    fn start(host: &Host, number: usize) -> Self {
        let folder = host.folder().join(format!("host-{number}"));
        fs::create_dir(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        let socket = folder.join("kogge.sock");
        let mut command = host.command(&fixtures::daemon::program("kogged").to_string_lossy(), &[]);
        command.args(["--host", &format!("unix://{}", socket.display()), "--data-root", &file("data")]);
        command.args([
            "--exec-root",
            &file("run"),
            "--pidfile",
            &file("pid"),
            "--bridge",
            &format!("host{number}"),
        ]);
        let log = fs::File::create(folder.join("log")).unwrap();
        let process =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let answers = || Client::own(&socket).run(&["version"]).code == 0;
        assert!(
            fixtures::remains::comes_true(answers),
            "{}",
            fs::read_to_string(folder.join("log")).unwrap()
        );
        Self { process, socket }
    }

    /// The same program as this client, speaking to this host.
    fn like(&self, client: &Client) -> Client {
        match client.name() {
            "kogge" => Client::own(&self.socket),
            _ => Client::stock(&self.socket),
        }
    }
}

impl Drop for OtherHost {
    fn drop(&mut self) {
        // An error would hide the test's own failure.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
