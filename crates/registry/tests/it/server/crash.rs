//! The server's process is killed at every crash point, and at random under load; the next one finds everything that was
//! acknowledged, nothing corrupt, and uploads that go on.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci::{Digest, media_type};
use registry::server::Config;

use crate::world::{CONFIG, Client, Reply, World, bytes, files, image};

/// Not a test by itself: what the tests below start as a process of its own.
#[test]
fn child() {
    let Ok(path) = std::env::var("REGISTRY_PATH") else { return };
    let config = match std::env::var("REGISTRY_UPSTREAM") {
        Ok(host) => super::cache::config(Path::new(&path), &host),
        Err(_) => Config::new(&path),
    };
    let world = World::with(config);
    let address = Path::new(&path).with_file_name("address");
    std::fs::write(address.with_extension("new"), world.address.to_string()).unwrap();
    std::fs::rename(address.with_extension("new"), address).unwrap();
    // Until the parent closes our input.
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}

/// A server that can be killed.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Process {
    fn start(root: &Path, crash: &str) -> Option<Self> {
        Self::start_with(root, &[("KOGGE_CRASH", crash)])
    }

    /// With the images of another registry.
    pub(super) fn start_through(root: &Path, host: &str) -> Self {
        Self::start_with(root, &[("REGISTRY_UPSTREAM", host)]).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "the process that is to die is this test's own program")]
    fn start_with(root: &Path, variables: &[(&str, &str)]) -> Option<Self> {
        let file = root.with_file_name("address");
        drop(std::fs::remove_file(&file));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["server::crash::child", "--exact"])
            .env("REGISTRY_PATH", root)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        loop {
            if let Ok(address) = std::fs::read_to_string(&file) {
                return Some(Self { child, address: address.parse().unwrap() });
            }
            // It may die while it opens.
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::yield_now();
        }
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Reply> {
        let headers = [("Content-Type", media_type::OCI_MANIFEST)];
        Client::connect(self.address)?.try_ask(method, path, &headers, body)
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it was killed, instead of coming to its end now.
    fn end(mut self) -> bool {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(9), "{status}");
        !status.success()
    }
}

/// What clients were told to be there.
#[derive(Default)]
struct Acknowledged {
    blobs: Vec<Digest>,
    manifests: Vec<Digest>,
    /// An upload that is under way: where, and how many bytes of it.
    upload: Option<(String, usize)>,
}

/// A push in chunks, of a blob at once, of a manifest; a deletion and a collection. Ends where the server does.
fn scene(process: &Process, root: &Path, known: &mut Acknowledged) -> io::Result<()> {
    let layer = bytes(3000);
    let begun = process.ask("POST", "/v2/new/blobs/uploads/", b"")?;
    let place = begun.header("location").to_owned();
    known.upload = Some((place.clone(), 0));
    process.ask("PATCH", &place, &layer[..1000])?;
    known.upload = Some((place.clone(), 1000));
    let digest = Digest::sha256(&layer);
    let done = process.ask("PUT", &format!("{place}?digest={digest}"), &layer[1000..]);
    known.upload = None;
    assert_eq!(done?.status, 201);
    known.blobs.push(digest);
    let digest = Digest::sha256(CONFIG);
    process.ask("POST", &format!("/v2/new/blobs/uploads/?digest={digest}"), CONFIG)?;
    known.blobs.push(digest);
    let manifest = image(&layer);
    assert_eq!(process.ask("PUT", "/v2/new/manifests/1", &manifest)?.status, 201);
    known.manifests.push(Digest::sha256(&manifest));
    let loose = Digest::sha256(b"loose");
    process.ask("POST", &format!("/v2/new/blobs/uploads/?digest={loose}"), b"loose")?;
    process.ask("DELETE", &format!("/v2/new/blobs/{loose}"), b"")?;
    drop(registry::server::ask_to_collect(root, Duration::ZERO));
    process.ask("GET", "/v2/", b"").map(drop)
}

fn points() -> BTreeSet<String> {
    let mut points = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            let calls = text.split("crash::point(\"").skip(1);
            points.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    points
}

fn assert_whole(root: &Path, known: &Acknowledged, when: &str) {
    let world = World::with(Config { grace: Duration::ZERO, ..Config::new(root) });
    for algorithm in ["sha256", "sha512"] {
        for entry in std::fs::read_dir(root.join("blobs").join(algorithm)).unwrap() {
            let entry = entry.unwrap();
            let digest = Digest::sha256(&std::fs::read(entry.path()).unwrap());
            assert_eq!(entry.file_name().to_str(), Some(digest.hex()), "{when}");
        }
    }
    let there = |path: String| assert_eq!(world.get(&path).status, 200, "{when}: {path}");
    there("/v2/base/manifests/1".into());
    known.blobs.iter().for_each(|digest| there(format!("/v2/new/blobs/{digest}")));
    known.manifests.iter().for_each(|digest| there(format!("/v2/new/manifests/{digest}")));
    if let Some((place, size)) = &known.upload {
        goes_on(&world, place, *size, when);
    }
    world.push_image("new", "1", &bytes(3000));
    // Nothing is left that nobody stands on: base and new have a manifest and a layer each, and one config together.
    world.server.collect(Duration::ZERO).unwrap();
    assert_eq!(files(root, "blobs/sha256"), 5, "{when}");
    drop(world);
}

/// What was acknowledged of an upload is there, and the rest can follow.
fn goes_on(world: &World, place: &str, size: usize, when: &str) {
    let layer = bytes(3000);
    let status = world.get(place);
    assert_eq!(status.status, 204, "{when}");
    let here = status.header("range").strip_prefix("0-").unwrap().parse::<usize>().unwrap();
    let here = if here == 0 { 0 } else { here + 1 };
    assert!(here >= size, "{when}: {here} of {size}");
    let digest = Digest::sha256(&layer);
    let done = world.ask("PUT", &format!("{place}?digest={digest}"), &[], &layer[here..]);
    assert_eq!(done.status, 201, "{when}: {}", done.text());
}

#[test]
fn a_server_killed_at_any_point_loses_nothing() {
    let mut unpassed = points();
    for point in points() {
        for times in 1..=PASSES_MAX {
            let folder = tempfile::tempdir_in("/dev/shm").unwrap();
            let root = folder.path().join("registry");
            World::new(&root).push_image("base", "1", b"layer");
            let mut known = Acknowledged::default();
            let when = format!("{point}:{times}");
            let Some(process) = Process::start(&root, &when) else {
                unpassed.remove(&point);
                assert_whole(&root, &known, &when);
                continue;
            };
            drop(scene(&process, &root, &mut known));
            let killed = process.end();
            assert_whole(&root, &known, &when);
            if !killed {
                break;
            }
            unpassed.remove(&point);
        }
    }
    assert_eq!(unpassed, BTreeSet::new(), "points that no step passes");
}

/// More than any point is passed in the scene.
const PASSES_MAX: usize = 12;

#[test]
fn a_server_killed_under_load_loses_nothing() {
    for round in 0..6 {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let root = folder.path().join("registry");
        World::new(&root).push_image("base", "1", b"layer");
        let process = Process::start(&root, "").unwrap();
        let (known, count) = (Mutex::new(Acknowledged::default()), AtomicUsize::new(0));
        let pidfd = sys::process::PidFd::open(process.child.id().cast_signed()).unwrap();
        std::thread::scope(|scope| {
            for client in 0..3 {
                let (process, known, count, pidfd) = (&process, &known, &count, &pidfd);
                scope.spawn(move || {
                    for number in 0.. {
                        let content = format!("{round} {client} {number}").repeat(500);
                        let digest = Digest::sha256(content.as_bytes());
                        let path = format!("/v2/new/blobs/uploads/?digest={digest}");
                        let Ok(reply) = process.ask("POST", &path, content.as_bytes()) else { return };
                        assert_eq!(reply.status, 201);
                        known.lock().unwrap().blobs.push(digest);
                        if count.fetch_add(1, Ordering::Relaxed) == 7 + round * 13 {
                            pidfd.send_signal(9).unwrap();
                        }
                    }
                });
            }
        });
        assert!(process.end());
        assert_whole(&root, &known.into_inner().unwrap(), "under load");
    }
}
