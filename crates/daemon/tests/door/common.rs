//! A daemon of a test's own, in a folder of its own, and the bytes to speak with it.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// Ends with the test.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
    /// What it said until it answered.
    pub(crate) log: String,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Returns when the daemon answers at all its sockets.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir_in("/dev/shm").unwrap(), flags)
    }

    /// Another name of the program.
    pub(crate) fn start_program(program: &Path, flags: &[&str]) -> Self {
        Self::launch(program, tempfile::tempdir_in("/dev/shm").unwrap(), flags)
    }

    pub(crate) fn start_in(folder: TempDir, flags: &[&str]) -> Self {
        Self::launch(Path::new(env!("CARGO_BIN_EXE_kogged")), folder, flags)
    }

    fn launch(program: &Path, folder: TempDir, flags: &[&str]) -> Self {
        let mut child = command(program, &folder).args(flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let sockets = 1 + flags.iter().filter(|flag| **flag == "-H").count();
        while seen.matches("API listen on").count() < sockets {
            assert!(log.read_line(&mut seen).unwrap() > 0, "the daemon ended early:\n{seen}");
        }
        // Keeps the pipe empty; ends with the daemon.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, folder, log: seen }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("kogge.sock")
    }

    /// Where it has everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.folder.path().join("kogged.pid")
    }

    /// A second daemon's try on the same folder.
    pub(crate) fn rival(&self) -> std::process::Output {
        self.command(Path::new(env!("CARGO_BIN_EXE_kogged"))).output().unwrap()
    }

    /// The program with this daemon's settings.
    pub(crate) fn command(&self, program: &Path) -> Command {
        command(program, &self.folder)
    }

    /// Waits for the end that somebody else has brought about.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn signal(&self, number: &str) {
        let pid = self.child.id().to_string();
        assert!(tool("kill").args([number, &pid]).status().unwrap().success());
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.child.wait().unwrap()
    }

    /// A connection with the request sent and the input left open.
    pub(crate) fn open(&self, request: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Sends all bytes, ends the input, and returns all bytes that come back but for dates.
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = self.open(request);
        if !request.contains("Connection: close") {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let text = read_rest(&mut stream).replace('\r', "");
        text.lines().filter(|line| !line.starts_with("date: ")).map(|line| format!("{line}\n")).collect()
    }

    /// Status and body.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n");
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let answer = self.ask(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        let (head, body) = answer.split_once("\n\n").unwrap_or((&answer, ""));
        format!("{} {}", head.split(' ').nth(1).unwrap(), body.trim_end())
    }

    /// One line of path, status and body each.
    pub(crate) fn get_all(&self, paths: &[&str]) -> String {
        let lines: Vec<String> =
            paths.iter().map(|path| format!("GET {path}: {}", self.send("GET", path, &[], ""))).collect();
        lines.join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}

fn command(program: &Path, folder: &TempDir) -> Command {
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Nothing is run here. A real runtime beside the daemon is found first.
    drop(std::os::unix::fs::symlink("/bin/true", path("kogge-runtime")));
    let mut command = tool(program);
    command.args(["-H", &format!("unix://{}", path("kogge.sock")), "--data-root", &path("data")]);
    command.args(["--exec-root", &path("run"), "--pidfile", &path("kogged.pid"), "--bridge", "koggetest0"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
    command
}

#[expect(clippy::disallowed_methods, reason = "tests drive the real program")]
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Up to the empty line.
pub(crate) fn read_head(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn read_rest(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
