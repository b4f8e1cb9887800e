//! The library as the monitor calls it: with descriptors instead of paths.
//!
//! Its callers must have one thread, and a test under libtest runs beside the harness's own; so this target brings its
//! own small harness, which speaks as much of libtest's command line as cargo and nextest need.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![expect(clippy::print_stdout, reason = "a harness lists and reports on standard output")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use oci::runtime::{Linux, Mount, Namespace, NamespaceKind, Process, Spec, VERSION};
use runtime::cgroup::Cgroup;
use runtime::defaults;
use runtime::exec::{ExecLaunch, exec};
use runtime::init::{self, Failure, Launch, Rootfs};
use sys::mount::Overlay;
use sys::namespace::{self, Kinds};

const TESTS: &[(&str, fn())] = &[
    ("a_container_is_made_of_descriptors", a_container_is_made_of_descriptors),
    ("a_terminal_comes_back", a_terminal_comes_back),
    ("an_exec_joins_and_reports", an_exec_joins_and_reports),
    ("failures_have_the_shells_codes", failures_have_the_shells_codes),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|known| known == word);
    let wanted: Vec<_> = words.iter().filter(|word| !word.starts_with('-') && *word != "terse").collect();
    if has("--ignored") {
        return;
    }
    for (name, test) in TESTS {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        if has("--list") {
            println!("{name}: test");
            continue;
        }
        test();
        println!("test {name} ... ok");
    }
}

/// A root file system in three folders, as an image gives it.
struct World {
    folder: tempfile::TempDir,
    id: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let id = format!(
            "lib-test-{}",
            folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.')
        );
        for name in
            ["lower/bin", "lower/etc", "lower/dev", "lower/proc", "lower/sys", "empty", "upper", "work"]
        {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let bin = folder.path().join("lower/bin");
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in ["sh", "cat", "touch", "readlink", "tty", "sleep"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        Self { folder, id }
    }

    fn root(&self) -> OwnedFd {
        let path = |name| self.folder.path().join(name);
        let (lower, empty, upper, work) = (path("lower"), path("empty"), path("upper"), path("work"));
        let overlay = Overlay {
            lower: &[&lower, &empty],
            upper: Some(&upper),
            work: Some(&work),
            volatile: true,
            readonly: false,
        };
        sys::mount::overlay(&overlay).unwrap()
    }

    fn spec(&self, args: &[&str]) -> Spec {
        let kinds = [NamespaceKind::Pid, NamespaceKind::Mount, NamespaceKind::Ipc, NamespaceKind::Uts];
        Spec {
            version: VERSION.into(),
            process: Some(process(args)),
            mounts: defaults::mounts(),
            linux: Some(Linux {
                cgroups_path: Path::new("/").join(&self.id),
                namespaces: kinds.map(Namespace::from).into(),
                ..Linux::default()
            }),
            ..Spec::default()
        }
    }

    fn start(&self, spec: &Spec, stdio: &UnixStream) -> Result<init::Process, Failure> {
        init::start(&self.launch(spec, stdio, Rootfs::Mount(self.root().as_fd())))
    }

    fn launch<'a>(&'a self, spec: &'a Spec, stdio: &'a UnixStream, rootfs: Rootfs<'a>) -> Launch<'a> {
        Launch {
            id: &self.id,
            spec,
            bundle: Path::new("/"),
            rootfs,
            mount_fds: &[],
            netns: None,
            stdio: [stdio.as_fd(); 3],
            kept_fds: 0,
            seccomp: None,
            gate: None,
            intent: None,
            dies_with_caller: true,
            keeps_line_ends: false,
            no_pivot: false,
        }
    }
}

impl Drop for World {
    /// For the tests that fail half-way.
    fn drop(&mut self) {
        let cgroup = Cgroup::at(Path::new(&self.id)).unwrap();
        if cgroup.exists().unwrap() {
            cgroup.kill().unwrap();
            cgroup.remove().unwrap();
        }
    }
}

fn process(args: &[&str]) -> Process {
    Process {
        args: args.iter().map(|word| (*word).to_owned()).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        ..Process::default()
    }
}

fn all_of(mut stream: impl Read) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    // EIO: the other end of a terminal is closed.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        text.extend(&buffer[..count]);
    }
    String::from_utf8(text).unwrap()
}

fn a_container_is_made_of_descriptors() {
    let world = World::new();
    std::fs::write(world.folder.path().join("hosts"), "from outside\n").unwrap();
    let hosts =
        sys::mount::bind(sys::mount::current_folder(), &world.folder.path().join("hosts"), false).unwrap();
    let netns =
        namespace::in_new_namespace(Kinds::NET, || namespace::open("thread-self", Kinds::NET)).unwrap();
    let netns_name = std::fs::read_link(sys::fs::proc_path(&netns)).unwrap();
    let own_netns = std::fs::read_link("/proc/self/ns/net").unwrap();
    let mut spec = world.spec(&["sh", "-c", "cat /etc/hosts; readlink /proc/self/ns/net; touch /written"]);
    spec.mounts.push(Mount { destination: "/etc/hosts".into(), ..Mount::default() });
    let mount_fds = [(spec.mounts.len() - 1, hosts)];
    let (ours, theirs) = UnixStream::pair().unwrap();
    let root = world.root();
    let launch = Launch {
        mount_fds: &mount_fds,
        netns: Some(netns.as_fd()),
        ..world.launch(&spec, &theirs, Rootfs::Mount(root.as_fd()))
    };
    let started = init::start(&launch).unwrap();
    drop(theirs);
    assert_eq!(all_of(&ours), format!("from outside\n{}\n", netns_name.display()));
    assert_eq!(started.pidfd.wait().unwrap().code, 0);
    assert!(world.folder.path().join("upper/written").exists());
    assert_eq!(std::fs::read_link("/proc/self/ns/net").unwrap(), own_netns, "the caller is back home");
    started.cgroup.remove().unwrap();
}

fn a_terminal_comes_back() {
    let world = World::new();
    let mut spec = world.spec(&["tty"]);
    spec.process.as_mut().unwrap().terminal = true;
    let (_, theirs) = UnixStream::pair().unwrap();
    let started = world.start(&spec, &theirs).unwrap();
    assert_eq!(all_of(File::from(started.console.unwrap())), "/dev/pts/0\r\n");
    started.pidfd.wait().unwrap();
    started.cgroup.remove().unwrap();
}

fn an_exec_joins_and_reports() {
    let world = World::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let started = world.start(&world.spec(&["cat"]), &theirs).unwrap();
    drop(theirs);
    let run = |args: &[&str], stream: &UnixStream| {
        exec(&ExecLaunch {
            pid: started.pid,
            pidfd: started.pidfd.as_fd(),
            process: &process(args),
            linux: None,
            cgroup: &started.cgroup,
            sub_cgroups: &[],
            seccomp: None,
            stdio: [stream.as_fd(); 3],
            kept_fds: 0,
            keeps_line_ends: false,
            state: None,
        })
    };
    let (far, near) = UnixStream::pair().unwrap();
    let executed = run(&["sh", "-c", "readlink /proc/1/exe; exit 5"], &near).unwrap();
    assert_eq!(executed.pidfd.wait().unwrap().code, 5);
    assert_eq!(run(&["nope"], &near).unwrap_err().exit_code, 127);
    drop(near);
    assert_eq!(all_of(&far), "/bin/busybox\n");
    ours.write_all(b"x").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    started.pidfd.wait().unwrap();
    let (_, near) = UnixStream::pair().unwrap();
    assert_eq!(run(&["cat"], &near).unwrap_err().to_string(), "cannot exec in a stopped container");
    started.cgroup.remove().unwrap();
}

fn failures_have_the_shells_codes() {
    let (_, theirs) = UnixStream::pair().unwrap();
    for (program, code) in [("nope", 127), ("/nope", 127), ("/etc", 126), ("/etc/plain", 126)] {
        let world = World::new();
        std::fs::write(world.folder.path().join("lower/etc/plain"), "").unwrap();
        let failure = world.start(&world.spec(&[program]), &theirs).unwrap_err();
        assert_eq!(failure.exit_code, code, "{failure}");
        assert!(failure.to_string().starts_with(&format!("exec: {program:?}: ")), "{failure}");
        assert!(!Cgroup::at(Path::new(&world.id)).unwrap().exists().unwrap());
    }
}
