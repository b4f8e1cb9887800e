//! A daemon's place in the tests: a folder, a root file system of busybox, a real monitor and the link to it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use oci::runtime::{Capabilities, Linux, Namespace, NamespaceKind, Process, Resources, Root, Spec};
use runtime::cgroup::Cgroup;
use runtime::defaults;
use runtime::protocol::{
    Attachment, CONTROL_FD, Call, Container, Event, Exit, Fds, Hello, Inbox, Log, Outbox, Request, Running,
    Start, fill, flush,
};
use sys::process::{Command, PidFd, Program};

/// Far beyond what any step takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a root file system, and names that no other test has.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) id: String,
}

impl World {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("monitor-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("root/bin");
        for name in ["bin", "proc", "dev", "sys", "etc", "tmp"] {
            std::fs::create_dir_all(folder.path().join("root").join(name)).unwrap();
        }
        std::fs::copy("/usr/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "cat", "sleep", "stty", "head", "yes", "tail", "dd", "true", "kill"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        Self { folder, id }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// At the top, so that nothing of ours stays when it is gone.
    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::at(&Path::new("/").join(&self.id)).unwrap()
    }

    /// A container that runs a shell script.
    pub(crate) fn script(&self, script: &str) -> Start {
        self.program(&["sh", "-c", script])
    }

    pub(crate) fn program(&self, args: &[&str]) -> Start {
        Start {
            id: self.id.clone(),
            spec: self.spec(args),
            log: Some(Log { path: self.path("json.log"), ..Log::default() }),
            exit_file: self.path("exit.json"),
            ..Start::default()
        }
    }

    fn spec(&self, args: &[&str]) -> Spec {
        let kinds = [
            NamespaceKind::Pid,
            NamespaceKind::Mount,
            NamespaceKind::Ipc,
            NamespaceKind::Uts,
            NamespaceKind::Network,
        ];
        let namespaces = kinds.map(Namespace::from).to_vec();
        let linux = Linux {
            cgroups_path: self.cgroup().path(),
            namespaces,
            devices: defaults::devices(),
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            seccomp: Some(defaults::seccomp(&defaults::capabilities())),
            resources: Some(Resources { devices: defaults::device_rules(), ..Resources::default() }),
            ..Linux::default()
        };
        Spec {
            version: oci::runtime::VERSION.into(),
            process: Some(process(args)),
            root: Some(Root { path: self.path("root"), readonly: false }),
            mounts: defaults::mounts(),
            linux: Some(linux),
            ..Spec::default()
        }
    }

    pub(crate) fn monitor(&self) -> Monitor {
        let (near, far) = sys::socket::pair(sys::socket::Kind::Stream).unwrap();
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let errors = std::io::stderr();
        let process = sys::process::spawn(&Command {
            program: Program::Path(Path::new(env!("CARGO_BIN_EXE_kogge-runtime"))),
            args: &["kogge-runtime".as_ref(), "monitor".as_ref()],
            env: &[runtime::monitor::ENVIRONMENT.as_ref()],
            fds: &[(null.as_fd(), 0), (null.as_fd(), 1), (errors.as_fd(), 2), (far.as_fd(), CONTROL_FD)],
            session: true,
        })
        .unwrap();
        let mut monitor = Monitor { link: Link::new(near), process };
        let Event::Hello(Hello { container: Container::Awaited, .. }) = monitor.link.event() else {
            panic!("a spare says hello first");
        };
        monitor
    }

    /// The exit file.
    pub(crate) fn exit(&self, name: &str) -> Exit {
        serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The texts in the log with their streams.
    pub(crate) fn log(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.path("json.log")).unwrap();
        let line = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (value["stream"].as_str().unwrap().to_owned(), value["log"].as_str().unwrap().to_owned())
        };
        text.lines().map(line).collect()
    }
}

/// A process with Docker's default rights.
pub(crate) fn process(args: &[&str]) -> Process {
    let capabilities = defaults::capabilities();
    Process {
        args: args.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        capabilities: Some(Capabilities::bounded_by(capabilities)),
        ..Process::default()
    }
}

/// A running monitor, our child.
pub(crate) struct Monitor {
    pub(crate) link: Link,
    pub(crate) process: PidFd,
}

impl Monitor {
    pub(crate) fn start(&mut self, start: Start, fds: Fds) -> Running {
        self.link.send(Request::Start(Box::new(start)), fds);
        match self.link.event() {
            Event::Started(running) => running,
            other => panic!("{other:?}"),
        }
    }

    /// The container's exit, and the monitor's own, which follows.
    pub(crate) fn exited(mut self) -> Exit {
        let exit = loop {
            match self.link.event() {
                Event::Exited(exit) => break exit,
                Event::Oom | Event::Done { .. } | Event::Trouble { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        self.ended();
        exit
    }

    /// The monitor ends by itself.
    pub(crate) fn ended(&self) {
        assert!(sys::poll::wait_readable(&self.process, Some(PATIENCE)).unwrap(), "the monitor ends");
        assert_eq!(self.process.wait().unwrap().code, 0);
    }
}

/// One connection to a monitor.
pub(crate) struct Link {
    socket: OwnedFd,
    inbox: Inbox,
    number: u64,
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, inbox: Inbox::default(), number: 0 }
    }

    pub(crate) fn send(&mut self, request: Request, fds: Fds) -> u64 {
        self.number += 1;
        let mut outbox = Outbox::default();
        outbox.push(&Call { number: self.number, request }, fds).unwrap();
        flush(&mut outbox, &self.socket).unwrap();
        self.number
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Event {
        loop {
            if let Some(frame) = self.inbox.next_frame().unwrap() {
                return Event::read(&frame).unwrap();
            }
            assert!(sys::poll::wait_readable(&self.socket, Some(PATIENCE)).unwrap(), "an event comes");
            assert!(fill(&mut self.inbox, &self.socket).unwrap(), "the monitor is there");
        }
    }

    /// A request that is answered by nothing but done.
    pub(crate) fn ask(&mut self, request: Request, fds: Fds) {
        let number = self.send(request, fds);
        assert_eq!(self.event(), Event::Done { number });
    }
}

/// Our end of an attachment.
pub(crate) struct Terminal(pub(crate) UnixStream);

impl Terminal {
    /// Adds the other end to a request.
    pub(crate) fn attach(fds: &mut Fds, stdin: bool) -> (Self, Attachment) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        (Self(near), Attachment { socket: fds.put(far), stdin, stdout: true, stderr: true })
    }

    /// All that comes until the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).unwrap();
        all
    }

    /// Reads until the text has come.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(text) {
            let mut bytes = [0; 256];
            match self.0.read(&mut bytes) {
                Ok(0) => panic!("ended after {:?}", String::from_utf8_lossy(&all)),
                Ok(len) => all.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&all)),
            }
        }
        String::from_utf8(all).unwrap()
    }
}

/// Stdcopy frames as (stream, text), neighbours of one stream joined.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, String)> {
    let mut frames: Vec<(u8, String)> = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let text = String::from_utf8_lossy(&rest[..len]).into_owned();
        match frames.last_mut() {
            Some((stream, before)) if *stream == head[0] => before.push_str(&text),
            _ => frames.push((head[0], text)),
        }
        bytes = &rest[len..];
    }
    frames
}
