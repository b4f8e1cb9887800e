//! A whole engine in a folder and a network namespace of its own, with one image: a static busybox.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code, of which every program uses another part"
)]

use std::future::Future;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use engine::{Config, Engine};
use sys::namespace::Kinds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs a test inside a fresh house, which it gives back to be torn down: nothing may be left.
pub fn in_house<F: Future<Output = House>>(test: impl FnOnce(House) -> F + Send + 'static) {
    let ran = std::thread::spawn(move || {
        // Every thread of the runtime is born of this one, so all of the engine lives in the new namespace.
        sys::namespace::unshare(Kinds::NET).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            test(House::new().await).await.clear().await;
        });
    });
    ran.join().expect("the test passes");
}

/// In a mount namespace of its own, so that nothing of a failed test stays mounted.
pub fn with_own_mounts(test: impl FnOnce() + Send + 'static) {
    let ran = std::thread::spawn(|| {
        sys::namespace::unshare(Kinds::MOUNT).unwrap();
        let here = sys::mount::current_folder();
        sys::mount::set_propagation(here, "/".as_ref(), sys::mount::Propagation::Private, true).unwrap();
        test();
    });
    ran.join().expect("the test passes");
}

/// How many mounts lie on each other at a place.
pub fn mounted_at(place: &str) -> usize {
    let mounts = sys::mount::mountinfo("thread-self").unwrap();
    mounts.iter().filter(|mount| mount.target == Path::new(place)).count()
}

pub struct House {
    pub engine: Engine,
    config: Config,
    folder: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("kogge-engine-").tempdir_in("/dev/shm").unwrap();
        let config = Config {
            data_root: folder.path().join("data"),
            run_root: folder.path().join("run"),
            runtime: runtime_binary(),
            cgroup_parent: format!(
                "/kogge-test-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            ),
            ..Config::default()
        };
        let engine = Engine::open(config.clone()).await.unwrap();
        let house = Self { engine, config, folder };
        house.import().await;
        house
    }

    pub fn data_root(&self) -> &Path {
        &self.config.data_root
    }

    async fn import(&self) {
        let store = self.engine.store().clone();
        let import = store::Import {
            config: oci::image::Config {
                env: vec!["PATH=/bin".into()],
                cmd: Some(vec!["sh".into()]),
                ..oci::image::Config::default()
            },
            reference: Some("busybox".parse().unwrap()),
            ..store::Import::default()
        };
        tokio::task::spawn_blocking(move || store.import(Cursor::new(busybox()), &import))
            .await
            .unwrap()
            .unwrap();
    }

    /// Another engine over the same folders, as after the death of the first.
    pub async fn reopen(self) -> Self {
        self.reopen_with(|_| ()).await
    }

    /// With other settings.
    pub async fn reopen_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { engine, mut config, folder } = self;
        change(&mut config);
        engine.shutdown().await;
        drop(engine);
        // A monitor that was just started closes its copy of the store's lock a moment after its exec.
        let engine = loop {
            match Engine::open(config.clone()).await {
                Err(error) if error.kind() == fault::Kind::Unavailable => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        Self { engine, config, folder }
    }

    /// Makes a container from JSON as clients send it; `Image` is filled in.
    pub async fn create(&self, json: &str) -> String {
        self.try_create(None, json).await.unwrap()
    }

    pub async fn try_create(&self, name: Option<&str>, json: &str) -> fault::Result<String> {
        let mut wanted: api::container::Create = api::from_slice(json.as_bytes())?;
        if wanted.config.image.is_empty() {
            wanted.config.image = "busybox".into();
        }
        if wanted.host_config.network_mode.is_empty() {
            wanted.host_config.network_mode = "none".into();
        }
        Ok(engine::container::create(&self.engine, name.map(str::to_owned), wanted).await?.id)
    }

    /// A container that runs a line of shell.
    pub async fn create_shell(&self, line: &str) -> String {
        self.create(&serde_json::json!({ "Cmd": ["sh", "-c", line] }).to_string()).await
    }

    pub async fn start(&self, id: &str) {
        engine::container::start(&self.engine, id).await.unwrap();
    }

    /// Starts it, waits for its end and tells its code and output.
    pub async fn run(&self, id: &str) -> (i64, String) {
        use api::container::{Attach, WaitCondition};
        let options = Attach { stdout: true, stderr: true, stream: true, ..Attach::default() };
        let mut stream = engine::container::attach(&self.engine, id, options).await.unwrap();
        let ended = engine::container::wait(&self.engine, id, WaitCondition::NextExit).unwrap();
        self.start(id).await;
        let output = read_all(&mut stream).await;
        (ended.await.status_code, output)
    }

    pub async fn run_shell(&self, line: &str) -> (i64, String) {
        let id = self.create_shell(line).await;
        self.run(&id).await
    }

    /// Runs a line of shell with more settings.
    pub async fn run_with(&self, host_config: &str, line: &str) -> (i64, String) {
        let host_config: serde_json::Value = serde_json::from_str(host_config).unwrap();
        let json = serde_json::json!({ "Cmd": ["sh", "-c", line], "HostConfig": host_config });
        let id = self.create(&json.to_string()).await;
        self.run(&id).await
    }

    pub async fn inspect(&self, id: &str) -> api::container::Inspect {
        engine::container::inspect(&self.engine, id, false).await.unwrap()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn cgroup(&self) -> &str {
        &self.config.cgroup_parent
    }

    /// Removes every container and sees that nothing of them stays.
    async fn clear(self) {
        let options = api::container::Remove { force: true, volumes: true, ..Default::default() };
        for container in self.engine.containers().all() {
            engine::container::remove(&self.engine, container.id.as_str(), options).await.unwrap();
        }
        let folders = ["data/containers", "run/containers"].map(|name| self.folder.path().join(name));
        for folder in folders {
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{}", folder.display());
        }
        self.engine.shutdown().await;
        let parent = runtime::cgroup::Cgroup::at(Path::new(&self.config.cgroup_parent)).unwrap();
        for folder in parent.folders().filter(|folder| folder.exists()) {
            let inner =
                std::fs::read_dir(&folder).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
            assert_eq!(inner.count(), 0, "{}", folder.display());
        }
        parent.remove().unwrap();
    }
}

/// The monitor, if this is a container's first process.
pub fn parent(pid: i64) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The monitors that this test has started and that have not ended.
pub fn monitors() -> Vec<i32> {
    let own = std::process::id().to_string();
    let is_ours = |pid: &i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        fields.get(1) == Some(&own.as_str()) && words == b"kogge-runtime\0monitor\0"
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
}

/// Waits for something that comes from outside, so that there is nothing to be told by.
pub async fn until(mut is_true: impl AsyncFnMut() -> bool) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
    while !is_true().await {
        look.tick().await;
    }
}

/// All output of a container without a terminal, both streams together.
pub async fn read_all(stream: &mut engine::container::AttachStream) -> String {
    let mut bytes = Vec::new();
    stream.io.read_to_end(&mut bytes).await.unwrap();
    if stream.tty {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let (mut text, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let (_, length) = api::stdcopy::parse(*header).expect("a frame");
        let (payload, after) = after.split_at(length as usize);
        text.extend_from_slice(payload);
        rest = after;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes stdin and ends it.
pub async fn write_all(stream: &mut engine::container::AttachStream, text: &str) {
    stream.io.write_all(text.as_bytes()).await.unwrap();
    stream.io.shutdown().await.unwrap();
}

/// `KOGGE_RUNTIME`, or what `cargo build -p runtime` put beside the tests.
fn runtime_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KOGGE_RUNTIME") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let binary = test.ancestors().nth(2).unwrap().join("kogge-runtime");
    assert!(binary.exists(), "`cargo build -p runtime` makes {}", binary.display());
    binary
}

/// A tar of the static busybox with its usual names.
fn busybox() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, mode: u32, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        header.set_path(path).unwrap();
        header.set_cksum();
        tar.append(&header, content).unwrap();
    };
    for folder in ["bin/", "etc/", "tmp/", "root/"] {
        add(tar::EntryType::Directory, folder, 0o755, "", b"");
    }
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    add(tar::EntryType::Regular, "bin/busybox", 0o755, "", &program);
    for name in APPLETS {
        add(tar::EntryType::Symlink, &format!("bin/{name}"), 0o777, "busybox", b"");
    }
    add(tar::EntryType::Regular, "bin/noexec", 0o644, "", b"#!/bin/sh\n");
    add(
        tar::EntryType::Regular,
        "etc/passwd",
        0o644,
        "",
        b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/www:/bin/sh\n",
    );
    add(tar::EntryType::Regular, "etc/group", 0o644, "", b"root:x:0:root\nwww:x:33:\naudio:x:29:www\n");
    tar.into_inner().unwrap()
}

const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "id", "ls", "sleep", "true", "false", "env", "pwd", "hostname", "ip", "mount",
    "grep", "kill", "dd", "touch", "rm", "mkdir", "ps", "wc", "stty", "head", "tail", "trap", "df", "stat",
    "ulimit", "tty", "date", "mknod", "chroot", "test", "sort", "tr", "cut", "printf", "seq", "sed",
    "readlink", "uname", "nc", "wget", "httpd",
];
