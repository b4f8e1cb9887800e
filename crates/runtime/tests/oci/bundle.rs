//! A bundle in a folder of its own, and the means to run the binary on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use oci::runtime::{
    Capabilities, DeviceRule, Linux, Namespace, NamespaceKind, Process, Resources, Root, Spec, User, VERSION,
};
use runtime::cgroup::Cgroup;
use runtime::defaults;

/// Removed with all that it started.
pub(crate) struct Bundle {
    folder: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) spec: Spec,
}

impl Bundle {
    /// A shell script in a default container.
    pub(crate) fn script(script: &str) -> Self {
        Self::program(&["sh", "-c", script])
    }

    pub(crate) fn program(args: &[&str]) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let id = format!(
            "oci-test-{}",
            folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.')
        );
        make_rootfs(&folder.path().join("rootfs"));
        let spec = default_spec(&id, args);
        Self { folder, id, spec }
    }

    /// Lets the test change the specification.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Spec)) -> Self {
        change(&mut self.spec);
        self
    }

    pub(crate) fn with_process(self, change: impl FnOnce(&mut Process)) -> Self {
        self.with(|spec| change(spec.process.as_mut().unwrap()))
    }

    pub(crate) fn with_linux(self, change: impl FnOnce(&mut Linux)) -> Self {
        self.with(|spec| change(spec.linux.as_mut().unwrap()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `run ID`, to its end.
    pub(crate) fn run(&self) -> Answer {
        self.command(&["run", "--bundle", "BUNDLE", "ID"])
    }

    /// `create ID`. Its output goes to the file `output`, because the container keeps it open.
    pub(crate) fn create(&self) -> Answer {
        self.detached(&["create", "--bundle", "BUNDLE", "ID"])
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    /// Runs a command in which ID and BUNDLE stand for ours.
    pub(crate) fn command(&self, words: &[&str]) -> Answer {
        self.prepared(words, &[]).stdin(Stdio::null()).output().unwrap().into()
    }

    pub(crate) fn command_with_env(&self, words: &[&str], env: &[(&str, &str)]) -> Answer {
        self.prepared(words, env).stdin(Stdio::null()).output().unwrap().into()
    }

    /// As [`Self::command`], for those that leave a process behind.
    pub(crate) fn detached(&self, words: &[&str]) -> Answer {
        self.detached_with_env(words, &[])
    }

    pub(crate) fn detached_with_env(&self, words: &[&str], env: &[(&str, &str)]) -> Answer {
        let output = std::fs::File::create(self.path("output")).unwrap();
        let error = std::fs::File::create(self.path("error")).unwrap();
        let mut command = self.prepared(words, env);
        let status = command.stdin(Stdio::null()).stdout(output).stderr(error).status().unwrap();
        Answer {
            code: status.code().unwrap_or(-1),
            stdout: String::new(),
            stderr: std::fs::read_to_string(self.path("error")).unwrap(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the binary under test is a program of its own")]
    pub(crate) fn prepared(&self, words: &[&str], env: &[(&str, &str)]) -> Command {
        std::fs::write(self.path("config.json"), serde_json::to_vec(&self.spec).unwrap()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kogge-runtime"));
        command.arg("--root").arg(self.path("state")).envs(env.iter().copied());
        for word in words {
            match *word {
                "ID" => command.arg(&self.id),
                "BUNDLE" => command.arg(self.folder.path()),
                word => command.arg(word),
            };
        }
        command
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        let answer = self.command(&["state", "ID"]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        serde_json::from_str(&answer.stdout).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of the first process of a detached container, however it ends.
    pub(crate) fn wait(&self) {
        let pid = self.state()["pid"].as_i64().unwrap() as i32;
        if pid == 0 {
            return;
        }
        if let Ok(process) = sys::process::PidFd::open(pid) {
            assert!(sys::poll::wait_readable(&process, Some(PATIENCE)).unwrap(), "{} does not end", self.id);
        }
    }

    pub(crate) fn cgroup(&self) -> Cgroup {
        Cgroup::at(Path::new(&self.id)).unwrap()
    }

    /// The content of a file of the container's cgroup.
    pub(crate) fn limit(&self, controller: &str, file: &str) -> String {
        let folder = self.cgroup().folder_of(controller).unwrap();
        std::fs::read_to_string(folder.join(file)).unwrap().trim_end().to_owned()
    }

    pub(crate) fn assert_nothing_left(&self) {
        assert!(!self.cgroup().exists().unwrap(), "a cgroup is left");
        assert!(!self.path("state").join(&self.id).exists(), "state is left");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.folder.path().to_str().unwrap()), "a mount is left");
    }
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

impl Drop for Bundle {
    fn drop(&mut self) {
        self.command(&["delete", "--force", "ID"]);
        if self.cgroup().exists().unwrap() {
            self.cgroup().kill().unwrap();
            self.cgroup().remove().unwrap();
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    #[track_caller]
    pub(crate) fn failed_with(self, text: &str) {
        assert_ne!(self.code, 0, "{}", self.stdout);
        assert!(self.stderr.contains(text), "{}", self.stderr);
    }
}

fn make_rootfs(root: &Path) {
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )
    .unwrap();
}

const APPLETS: &[&str] = &[
    "awk", "cat", "echo", "env", "grep", "head", "hostname", "id", "ip", "kill", "ls", "mkdir", "mknod",
    "mount", "ps", "pwd", "readlink", "sh", "sleep", "stat", "stty", "tail", "touch", "true", "tty",
    "ulimit", "umask", "wc",
];

fn default_spec(id: &str, args: &[&str]) -> Spec {
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Mount,
        NamespaceKind::Cgroup,
    ];
    let capabilities = defaults::capabilities();
    Spec {
        version: VERSION.into(),
        root: Some(Root { path: "rootfs".into(), readonly: false }),
        hostname: "boxed".into(),
        process: Some(Process {
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            env: vec!["PATH=/bin:/usr/bin".into()],
            cwd: "/".into(),
            user: User::default(),
            capabilities: Some(Capabilities::bounded_by(capabilities)),
            ..Process::default()
        }),
        mounts: defaults::mounts(),
        linux: Some(Linux {
            cgroups_path: format!("/{id}").into(),
            namespaces: kinds.map(Namespace::from).into(),
            resources: Some(Resources {
                devices: vec![DeviceRule { access: "rwm".into(), ..DeviceRule::default() }],
                ..Resources::default()
            }),
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            seccomp: Some(defaults::seccomp(&defaults::capabilities())),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}
