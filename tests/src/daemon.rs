//! A host of its own for a daemon: network namespace, folders in memory, cgroup parent; and the daemon in it.
//!
//! Everything is taken away when the host is dropped, also when the test fails: daemons, monitors, containers, cgroups.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sys::signal::SIGTERM;

use crate::{Client, remains};

/// A network namespace held open by a process, and folders for a daemon.
#[derive(Debug)]
pub struct Host {
    holder: Child,
    folder: tempfile::TempDir,
    cgroup: String,
    /// The folder of the project's programs.
    programs: PathBuf,
}

/// A running `kogged` on a [`Host`], or the `dockerd` that it is compared with.
#[derive(Debug)]
pub struct Daemon<'h> {
    host: &'h Host,
    process: Child,
}

impl Host {
    /// A fresh host. Stores lie in memory, because what is tested is not the disk.
    ///
    /// # Panics
    /// If the machine cannot give a namespace or a folder.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self::with_programs(programs())
    }

    /// The same for programs of this folder.
    ///
    /// # Panics
    /// If the machine cannot give a namespace or a folder.
    pub fn with_programs(programs: PathBuf) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder =
            tempfile::Builder::new().prefix("kogge-test-").tempdir_in("/dev/shm").expect("tmpfs is there");
        // The holder says "ready" once its namespace is its own.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec sleep infinity"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is part of util-linux");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the holder speaks");
        assert_eq!(line, "ready\n", "the holder of the network namespace did not start");
        let host = Self {
            holder,
            folder,
            cgroup: format!("/kogge-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
            programs,
        };
        host.ok("ip", &["link", "set", "lo", "up"]);
        host
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder().join("kogge.sock")
    }

    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Daemons and monitors: what lives in the host's network namespace, but for the process that holds it open.
    pub fn processes(&self) -> Vec<i32> {
        let holder = self.holder.id();
        let namespace = std::fs::read_link(format!("/proc/{holder}/ns/net")).expect("the holder lives");
        let mut pids = remains::in_netns(&namespace);
        pids.retain(|pid| u32::try_from(*pid) != Ok(holder));
        pids
    }

    /// A program in the host's network namespace.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--net")
            .arg("--target")
            .arg(self.holder.id().to_string())
            .arg("--")
            .arg(program)
            .args(arguments);
        command
    }

    /// Runs `f` on a thread in the host's network namespace; sockets and threads that it makes stay there.
    ///
    /// # Panics
    /// If the namespace cannot be entered.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let namespace = sys::namespace::open(&self.holder.id().to_string(), sys::namespace::Kinds::NET);
        let namespace = namespace.expect("the holder lives");
        sys::namespace::in_namespace(namespace.as_fd(), sys::namespace::Kinds::NET, || Ok(f()))
            .expect("the namespace can be entered")
    }

    /// Runs a program in the host's network namespace and returns its output.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().expect("nsenter is part of util-linux");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {}: {stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a daemon and waits until its socket answers.
    ///
    /// # Panics
    /// If it ends before.
    pub fn start(&self) -> Daemon<'_> {
        self.start_with(&[], &[])
    }

    /// The same with further flags and environment.
    ///
    /// # Panics
    /// If it ends before.
    pub fn start_with(&self, flags: &[&str], environment: &[(&str, &str)]) -> Daemon<'_> {
        let mut kogged = self.kogged();
        kogged.args(flags).envs(environment.iter().copied());
        self.started(kogged)
    }

    /// Starts Docker's own daemon in the place of ours. `words` start a `dockerd`, perhaps one in a root of its own, which
    /// sees this machine's /dev and /proc at their places. What it mounts vanishes with it, unless the words lead into
    /// another mount namespace.
    ///
    /// # Panics
    /// If it ends before its socket answers.
    pub fn start_dockerd(&self, words: &[&str]) -> Daemon<'_> {
        let settings = self.folder().join("daemon.json");
        std::fs::write(&settings, "{}").expect("the folder is ours");
        let mut dockerd = self.command("unshare", &[&["--mount", "--"], words].concat());
        dockerd.args(self.settings()).arg("--config-file").arg(settings);
        self.started(dockerd)
    }

    fn started(&self, mut command: Command) -> Daemon<'_> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file());
        let log = log.expect("the folder is ours");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let mut daemon =
            Daemon { host: self, process: command.spawn().expect("nsenter is part of util-linux") };
        daemon.wait_until_it_answers();
        daemon
    }

    /// `kogged` with this host's settings.
    fn kogged(&self) -> Command {
        let mut command = self.command(&self.programs.join("kogged").to_string_lossy(), &[]);
        command.args(self.settings());
        command
    }

    /// Flags that `kogged` and `dockerd` share.
    fn settings(&self) -> impl Iterator<Item = OsString> {
        let file = |name: &str| self.folder().join(name).into_os_string();
        let values = [
            ("--host", format!("unix://{}", self.socket().display()).into()),
            ("--data-root", file("data")),
            ("--exec-root", file("run")),
            ("--pidfile", file("kogged.pid")),
            ("--cgroup-parent", self.cgroup.clone().into()),
        ];
        values.into_iter().flat_map(|(flag, value)| [flag.into(), value])
    }

    /// Takes away what the daemons of this host have made of the kernel.
    ///
    /// # Panics
    /// If that fails.
    pub fn teardown(&self) {
        let output = self.kogged().arg("teardown").output().expect("kogged starts");
        assert!(output.status.success(), "teardown: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the daemons on this host wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("kogged.log")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Errors here would hide the test's own failure.
        remains::end(&self.processes(), &self.cgroup);
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

impl Daemon<'_> {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn stock(&self) -> Client {
        Client::stock(&self.host.socket())
    }

    pub fn own(&self) -> Client {
        Client::new(self.host.programs.join("kogge"), self.host.socket())
    }

    /// SIGKILL, as the fault tests want it. Containers live on.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill(mut self) {
        // One that died at a crash point is dead already.
        drop(self.process.kill());
        self.process.wait().expect("it is our child");
    }

    /// SIGTERM: it ends in peace, and says so by its code. Containers live on.
    ///
    /// # Panics
    /// If it cannot be waited for, or fails.
    pub fn end(mut self) {
        let pid = i32::try_from(self.pid()).expect("process numbers are below 2^22");
        sys::process::kill(pid, SIGTERM).expect("it is our child");
        let status = self.process.wait().expect("it is our child");
        assert!(status.success(), "kogged ended with {status}\n{}", self.host.log());
    }

    /// Has it not ended by itself, at a crash point?
    ///
    /// # Panics
    /// If it cannot be looked at.
    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().expect("it is our child").is_none()
    }

    /// Waits for the daemon to end by itself, at a crash point.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait(mut self) {
        self.process.wait().expect("it is our child");
    }

    /// Removes all containers and their volumes.
    pub fn clear(&self) {
        let client = self.own();
        let listed = client.run(&["ps", "-aq"]).stdout;
        for id in listed.lines() {
            client.run(&["rm", "-f", "-v", id]);
        }
    }

    fn wait_until_it_answers(&mut self) {
        let socket = self.host.socket();
        loop {
            // A child that a killed daemon was just starting may hold its socket open for another moment.
            if UnixStream::connect(&socket)
                .is_ok_and(|stream| listener(&stream) == Some(self.pid()) && pongs(stream))
            {
                return;
            }
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                // A crash point on the way up is a test's own wish.
                assert!(
                    std::os::unix::process::ExitStatusExt::signal(&status).is_some(),
                    "the daemon ended with {status}\n{}",
                    self.host.log()
                );
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.clear();
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

/// The process that listens at the other end.
fn listener(stream: &UnixStream) -> Option<u32> {
    sys::socket::peer(stream).ok().and_then(|peer| u32::try_from(peer.pid).ok())
}

/// It listens before it is ready; then it answers, or has died in between.
fn pongs(mut stream: UnixStream) -> bool {
    let asked = stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    asked.and_then(|()| stream.read_exact(&mut [0])).is_ok()
}

/// One of the project's programs.
pub fn program(name: &str) -> PathBuf {
    programs().join(name)
}

/// The folder that KOGGE_BIN names, else the one beside the running test.
fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("KOGGE_BIN") {
        return PathBuf::from(folder);
    }
    let test = std::env::current_exe().expect("a running program has a path");
    test.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned()
}
